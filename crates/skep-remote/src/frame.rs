//! Frames: a length of four bytes, little-endian, and so many bytes; perhaps a descriptor with the length.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Bytes of a frame at most: what a batch or an object takes, and no more than a peer may make us keep.
pub(crate) const FRAME_MAX: usize = 256 << 20;
const LENGTH: usize = 4;

/// Sends a frame.
pub(crate) fn send(mut stream: &UnixStream, bytes: &[u8], passed: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= FRAME_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too large"))?;
    let header = length.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = passed.map(|fd| [fd]);
    if let Some(fds) = &fds {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(stream.as_fd(), &[IoSlice::new(&header)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    // Rests of so few bytes do not happen on a stream that blocks, but are allowed to.
    stream.write_all(&header[sent..])?;
    stream.write_all(bytes)
}

/// Receives a frame into `bytes`; `None` when the other end is gone.
pub(crate) fn receive(mut stream: &UnixStream, bytes: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let mut header = [0; LENGTH];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::io::retry_on_intr(|| {
        let buffer = &mut [IoSliceMut::new(&mut header)];
        recvmsg(stream.as_fd(), buffer, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    stream.read_exact(&mut header[got.bytes..])?;
    let length = u32::from_le_bytes(header) as usize;
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too large"));
    }
    // As much as comes, not as much as is announced.
    bytes.clear();
    let read = stream.take(length as u64).read_to_end(bytes)?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Received { passed }))
}

/// What came beside the bytes.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) passed: Option<OwnedFd>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_whole_with_their_descriptors() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        send(&here, b"four", None).expect("it is sent");
        send(&here, b"", Some(writer.as_fd())).expect("it is sent");
        drop(writer);
        let mut bytes = Vec::new();
        assert!(receive(&there, &mut bytes).expect("a frame").expect("no end").passed.is_none());
        assert_eq!(bytes, b"four");
        let passed = receive(&there, &mut bytes).expect("a frame").expect("no end").passed;
        assert!(bytes.is_empty());
        rustix::io::write(passed.expect("a descriptor"), b"x").expect("it is written");
        let mut one = [0];
        reader.read_exact(&mut one).expect("it comes through");
        drop(here);
        assert!(receive(&there, &mut bytes).expect("an end").is_none());
    }

    #[test]
    fn frames_that_lie_are_errors() {
        let (mut here, there) = UnixStream::pair().expect("a pair");
        here.write_all(&u32::MAX.to_le_bytes()).expect("it is written");
        assert!(receive(&there, &mut Vec::new()).is_err());
        let (mut here, there) = UnixStream::pair().expect("a pair");
        here.write_all(&[8, 0, 0, 0, 1]).expect("it is written");
        drop(here);
        assert!(receive(&there, &mut Vec::new()).is_err());
    }
}
