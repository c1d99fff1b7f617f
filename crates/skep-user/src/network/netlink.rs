//! Questions to rtnetlink(7), which anybody may ask.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Kinds of messages that end an answer.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A message: its own header, and attributes.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) header: Vec<u8>,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Message {
    /// Reads attributes one after another; what is cut off is left out.
    pub(super) fn of_attributes(mut bytes: &[u8]) -> Self {
        /// Marks that say how an attribute is meant, not which it is.
        const KIND: u16 = 0x3fff;
        let mut attributes = Vec::new();
        while let [a, b, c, d, ..] = *bytes {
            let len = usize::from(u16::from_ne_bytes([a, b]));
            let Some(value) = bytes.get(4..len) else { break };
            attributes.push((u16::from_ne_bytes([c, d]) & KIND, value.to_vec()));
            bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Self { header: Vec::new(), attributes }
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(known, _)| *known == kind).map(|(_, value)| value.as_slice())
    }
}

/// A question.
pub(super) struct Request {
    kind: u16,
    /// Bytes of the header behind netlink's.
    header_bytes: usize,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(kind: u16, header: &[u8]) -> Self {
        Self { kind, header_bytes: header.len(), body: header.to_vec() }
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.body.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    /// Asks for one thing.
    pub(super) fn ask(&self) -> io::Result<Message> {
        let mut found = self.answers(0)?;
        if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found.swap_remove(0)) }
    }

    /// Asks for all there are.
    pub(super) fn ask_all(&self) -> io::Result<Vec<Message>> {
        /// `NLM_F_DUMP`.
        const ALL: u16 = 0x300;
        self.answers(ALL)
    }

    fn answers(&self, flags: u16) -> io::Result<Vec<Message>> {
        /// `NLM_F_REQUEST`.
        const REQUEST: u16 = 1;
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend(((HEADER + self.body.len()) as u32).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]); // sequence number and port
        bytes.extend(&self.body);
        // Without a protocol it is NETLINK_ROUTE, whose number is 0.
        let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        send(&socket, &bytes, SendFlags::empty())?;
        let mut found = Vec::new();
        let mut room = vec![0; 1 << 16];
        loop {
            let (len, _) = recv(&socket, &mut room[..], RecvFlags::empty())?;
            if self.read(&room[..len], &mut found)? || flags == 0 {
                return Ok(found);
            }
        }
    }

    /// Reads the messages of one datagram; answers whether it was the last.
    fn read(&self, mut bytes: &[u8], found: &mut Vec<Message>) -> io::Result<bool> {
        while let Some(header) = bytes.first_chunk::<HEADER>() {
            let [a, b, c, d, e, f, ..] = *header;
            let len = u32::from_ne_bytes([a, b, c, d]) as usize;
            let Some(body) = bytes.get(HEADER..len) else { return Ok(true) };
            match u16::from_ne_bytes([e, f]) {
                DONE => return Ok(true),
                ERROR => {
                    let errno = body.first_chunk().map_or(0, |errno| -i32::from_ne_bytes(*errno));
                    return Err(io::Error::from_raw_os_error(errno));
                }
                _ => {
                    let (header, attributes) = body.split_at(self.header_bytes.min(body.len()));
                    found.push(Message { header: header.to_vec(), ..Message::of_attributes(attributes) });
                }
            }
            bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(false)
    }
}
