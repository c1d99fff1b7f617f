//! rtnetlink: requests to the kernel's network configuration, and what it answers.
//!
//! A request is a header, the fixed part of its kind, and attributes that nest (`Documentation/userspace-api/netlink`).
//! Only what attaching programs, and seeing what is attached, takes is here.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use skep_runtime::{Error, Fd, Result};

use crate::explain::describe;
use crate::sys::undo::{Guard, Step};
use crate::sys::{errno, socket};

/// Bytes of `struct nlmsghdr`, and of an attribute's length and kind.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// Attributes in an attribute (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: tell all there are.
const DUMP: u16 = 0x300;
/// `NLM_F_EXCL | NLM_F_CREATE`: make something that is not there yet.
pub(crate) const NEW: u16 = 0x200 | 0x400;

/// `NLMSG_ERROR`, which also says that all is well.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: there is no more to tell.
const DONE: u16 = 3;
/// Room for the messages of one answer; the kernel sends no more at a time (`NLMSG_GOODSIZE`, and twice that if asked).
const ANSWER: usize = 64 << 10;
/// `NLM_F_CAPPED`: the answer does not repeat the whole request. `NLM_F_ACK_TLVS`: attributes follow.
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`.
const SENTENCE: u16 = 1;

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A request with the fixed part of its kind.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self(bytes).padded()
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE + value.len()).expect("invariant: attributes are short");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.padded()
    }

    /// Adds a string, with its zero.
    pub(crate) fn with_text(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.with(kind, &bytes)
    }

    /// Adds an attribute of attributes.
    pub(crate) fn with_nested(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self = inside(self.with(kind | NESTED, &[]));
        let length = u16::try_from(self.0.len() - start).expect("invariant: attributes are short");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// The bytes to send.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("invariant: requests are short");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }

    fn padded(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// A socket to the configuration of the network namespace that it was opened in.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn open() -> Result<Self> {
        // The protocol that is none is rtnetlink's.
        let opened = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from);
        let fd = opened.map_err(|e| failed(&e, ""))?;
        // Without sentences and with the request repeated in answers, requests are served just as well.
        let _ = socket::set_number(&fd, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        let _ = socket::set_number(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        Ok(Self(fd))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn request(&self, request: Request) -> Result<()> {
        send(&self.0, &request.finish(), SendFlags::empty()).map_err(|e| failed(&e.into(), ""))?;
        let mut answer = [0; 4096];
        let (bytes, _) = rustix::io::retry_on_intr(|| recv(&self.0, &mut answer, RecvFlags::empty()))
            .map_err(|e| failed(&e.into(), ""))?;
        verdict(answer.get(..bytes).unwrap_or(&answer))
    }

    /// Has everything of a kind told: the payload of each message, behind its header, goes to `sink`.
    pub(crate) fn dump(&self, kind: u16, fixed: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        let request = Request::new(kind, DUMP, fixed).finish();
        send(&self.0, &request, SendFlags::empty()).map_err(|e| failed(&e.into(), ""))?;
        let mut answer = vec![0; ANSWER];
        loop {
            let received =
                rustix::io::retry_on_intr(|| recv(&self.0, answer.as_mut_slice(), RecvFlags::empty()));
            let (bytes, _) = received.map_err(|e| failed(&e.into(), ""))?;
            if !hand_on(answer.get(..bytes).unwrap_or(&answer), sink)? {
                return Ok(());
            }
        }
    }

    /// Makes something that refers to `prog`, and has a guard remove it by another request.
    pub(crate) fn guarded(self, make: Request, undo: Request, prog: Fd) -> Result<Guard> {
        let socket = self.0.as_raw_fd();
        let step = |request: Request| Step::Send { socket, message: request.finish() };
        let (guard, answer) = Guard::start(&step(make), &step(undo), &[socket, prog.0]).map_err(|e| {
            Error::os(errno(&e), format!("no process can be started to guard it: {}", describe(&e)))
        })?;
        verdict(&answer).map(|()| guard)
    }
}

/// Reads an answer: an errno, and perhaps a sentence of the kernel's.
fn verdict(answer: &[u8]) -> Result<()> {
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(i32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let (Some(ERROR), Some(flags), Some(negative)) = (half(4), half(6), word(HEADER)) else {
        return Err(Error::os(libc::EPROTO, "netlink answers something else than was asked"));
    };
    if negative == 0 {
        return Ok(());
    }
    // The errno, the request's header or all of it, attributes.
    let repeated = if flags & CAPPED != 0 {
        HEADER
    } else {
        word(HEADER + 4).map_or(HEADER, |n| n.unsigned_abs() as usize)
    };
    let sentence = (flags & ACK_TLVS != 0)
        .then(|| sentence(answer.get(HEADER + 4 + repeated.next_multiple_of(4)..)?))
        .flatten();
    Err(failed(
        &io::Error::from_raw_os_error(negative.wrapping_neg()),
        sentence.as_deref().unwrap_or_default(),
    ))
}

/// Hands on the messages of one answer; false when it was the last.
fn hand_on(mut answer: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<bool> {
    while let Some(header) = answer.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(message) = answer.get(..length).filter(|message| message.len() >= HEADER) else {
            return Err(Error::os(libc::EPROTO, "netlink answers with a message cut short"));
        };
        match u16::from_ne_bytes([header[4], header[5]]) {
            DONE => return Ok(false),
            ERROR => return verdict(message).map(|()| false),
            _ => sink(&message[HEADER..]),
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// What the kernel says in words, among an answer's attributes.
fn sentence(bytes: &[u8]) -> Option<String> {
    attributes(bytes).find(|(kind, _)| *kind == SENTENCE).map(|(_, value)| text(value))
}

/// Attributes with their kinds, as far as they are whole.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & !NESTED;
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A string attribute.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn failed(error: &io::Error, sentence: &str) -> Error {
    let said = if sentence.is_empty() { String::new() } else { format!(" ({sentence})") };
    let failed = Error::os(errno(error), format!("netlink: {}{said}", describe(error)));
    match errno(error) {
        libc::EPERM => failed.hint("it takes CAP_NET_ADMIN in the network namespace"),
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_nest() {
        let request =
            Request::new(44, NEW, &[1, 2, 3]).with_text(1, "bpf").with_nested(2, |r| r.with(6, &[7]));
        let bytes = request.finish();
        assert_eq!(bytes[..8], [40, 0, 0, 0, 44, 0, 5, 6]);
        assert_eq!(bytes[16..28], [1, 2, 3, 0, 8, 0, 1, 0, b'b', b'p', b'f', 0]);
        assert_eq!(bytes[28..], [12, 0, 2, 0x80, 5, 0, 6, 0, 7, 0, 0, 0][..]);
    }

    #[test]
    fn answers_are_read() {
        let mut answer = vec![0; HEADER + 4 + HEADER];
        answer[4] = 2;
        assert!(verdict(&answer).is_ok());
        answer[HEADER..HEADER + 4].copy_from_slice(&(-libc::EINVAL).to_ne_bytes());
        answer[6..8].copy_from_slice(&(CAPPED | ACK_TLVS).to_ne_bytes());
        answer.extend([8, 0, 2, 0, 0, 0, 0, 0, 7, 0, 1, 0, b'n', b'o', 0, 0]);
        let refused = verdict(&answer).expect_err("it is an error");
        assert_eq!(refused.to_string(), "netlink: invalid argument (no)");
        for end in 0..answer.len() {
            assert!(verdict(&answer[..end]).is_err());
        }
    }

    #[test]
    fn dumps_end_with_a_message_of_their_own() {
        let message = |kind: u16, payload: &[u8]| {
            Request(vec![0; 4])
                .0
                .iter()
                .chain(&kind.to_ne_bytes())
                .chain(&[0; 10])
                .chain(payload)
                .copied()
                .collect::<Vec<u8>>()
        };
        let sized = |mut message: Vec<u8>| {
            let length = message.len() as u32;
            message[..4].copy_from_slice(&length.to_ne_bytes());
            message.resize(message.len().next_multiple_of(4), 0);
            message
        };
        let mut answer = sized(message(16, &[5, 0, 3, 0, b'x']));
        let mut names = Vec::new();
        let mut sink = |payload: &[u8]| names.extend(attribute(payload, 3).map(text));
        assert!(hand_on(&answer, &mut sink).unwrap());
        answer.extend(sized(message(DONE, &[0; 4])));
        assert!(!hand_on(&answer, &mut sink).unwrap());
        assert_eq!(names, ["x", "x"]);
        answer[0] = 200;
        assert!(hand_on(&answer, &mut |_| {}).is_err());
    }
}
