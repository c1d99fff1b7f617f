//! Frames of a live network device.
//!
//! A TAP device is a cable whose other end we hold: what the machine sends into it comes here, and what is sent here it
//! receives. Any other device is listened to by a packet socket: it goes on as before, whatever the verdicts are. Neither
//! needs more than the rights over the network namespace, which an ordinary user has in a user namespace of their own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_runtime::{Error, Result};

use crate::sys::net;

/// Longest frame received.
const MAX_FRAME: usize = 1 << 17;
/// Bytes of a VLAN tag, and of the addresses before it.
const TAG_BYTES: usize = 4;
const ADDRESSES: usize = 12;

/// A device that frames come from and go to.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    ifindex: u32,
    /// A TAP device's frames come as they are; of others the kernel has taken VLAN tags out.
    is_tap: bool,
    frame: Vec<u8>,
}

impl Device {
    /// Opens a device by its name; one that does not exist is made, as a TAP device that goes away again.
    pub fn open(name: &str) -> Result<Self> {
        let failed = |e: io::Error| {
            let errno = e.raw_os_error().unwrap_or(libc::EIO);
            Error::os(errno, format!("device `{name}`: {e}")).hint(
                "it needs CAP_NET_ADMIN for a TAP device and CAP_NET_RAW for others; `unshare -rn` gives both, in a network of \
                 your own",
            )
        };
        let tap = || net::open_tap(name).and_then(|fd| net::set_up(name).map(|()| (fd, true)));
        let fd = match index(name) {
            // A device of another kind cannot be opened as a TAP device.
            Ok(ifindex) => tap().or_else(|_| net::open_packet_socket(ifindex).map(|fd| (fd, false))),
            Err(_) => tap(),
        };
        let (fd, is_tap) = fd.map_err(failed)?;
        let ifindex = index(name).map_err(failed)?;
        Ok(Self { fd, ifindex, is_tap, frame: vec![0; MAX_FRAME] })
    }

    /// Its number.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Waits for a frame and takes it, as it was on the wire.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        if self.is_tap {
            let len = rustix::io::read(&self.fd, &mut self.frame)?;
            return Ok(&self.frame[..len]);
        }
        let (len, tag) = net::receive(&self.fd, &mut self.frame[TAG_BYTES..])?;
        let end = TAG_BYTES + len;
        let Some(tag) = tag.filter(|_| len >= ADDRESSES) else { return Ok(&self.frame[TAG_BYTES..end]) };
        self.frame.copy_within(TAG_BYTES..TAG_BYTES + ADDRESSES, 0);
        self.frame[ADDRESSES..ADDRESSES + 2].copy_from_slice(&tag.proto.to_be_bytes());
        self.frame[ADDRESSES + 2..ADDRESSES + TAG_BYTES].copy_from_slice(&tag.tci.to_be_bytes());
        Ok(&self.frame[..end])
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.fd, frame)?;
        Ok(())
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The number of a device of this network namespace.
fn index(name: &str) -> io::Result<u32> {
    let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM);
    let any = rustix::net::socket(family, kind, None)?;
    Ok(rustix::net::netdevice::name_to_index(any, name)?)
}
