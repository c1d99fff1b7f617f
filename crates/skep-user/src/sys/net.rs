//! Network devices and namespaces: TAP devices, packet sockets.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use super::check;

/// `struct ifreq` as these calls use it: a name, then flags or a number.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

impl Request {
    fn new(name: &str, flags: i16) -> io::Result<Self> {
        let mut request = Self { name: [0; libc::IFNAMSIZ], value: [0; 24] };
        let room = request.name.get_mut(..name.len()).filter(|room| room.len() < libc::IFNAMSIZ);
        let room = room.ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
        room.copy_from_slice(name.as_bytes());
        request.value[..2].copy_from_slice(&flags.to_ne_bytes());
        Ok(request)
    }

    fn flags(&self) -> i16 {
        i16::from_ne_bytes([self.value[0], self.value[1]])
    }

    fn ask(&mut self, fd: i32, request: libc::c_ulong) -> io::Result<()> {
        // SAFETY: the structure is at least as large as the kernel's, live, and writable.
        check(unsafe { libc::ioctl(fd, request, &raw mut *self) }.into()).map(drop)
    }
}

/// Opens a TAP device, which is made if there is none of this name, and goes away with the last descriptor then.
pub(crate) fn open_tap(name: &str) -> io::Result<OwnedFd> {
    /// `IFF_TAP | IFF_NO_PI`: whole frames and nothing before them.
    const TAP_NO_PI: i16 = 0x1002;
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    Request::new(name, TAP_NO_PI)?.ask(tun.as_raw_fd(), libc::TUNSETIFF as libc::c_ulong)?;
    Ok(tun.into())
}

/// Opens a socket for all frames that a device receives.
pub(crate) fn open_packet_socket(ifindex: u32) -> io::Result<OwnedFd> {
    /// Frames that this machine sends are not received (Linux 4.20).
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: plain numbers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) }.into())? as i32;
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // VLAN tags, which the kernel takes out of frames, are told beside them.
    for option in [PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA] {
        let one = 1i32;
        let size = size_of::<i32>() as u32;
        // SAFETY: the options are ints, which are live.
        let set = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, (&raw const one).cast(), size) };
        check(set.into())?;
    }
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = ifindex as i32;
    let size = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address is live and of the size that is given.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), size) }.into())?;
    Ok(socket)
}

/// A VLAN tag: protocol and control information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) proto: u16,
    pub(crate) tci: u16,
}

/// Takes a frame from a packet socket, with the tag that was told beside it.
pub(crate) fn receive(socket: &OwnedFd, frame: &mut [u8]) -> io::Result<(usize, Option<Tag>)> {
    // Room for `struct tpacket_auxdata` behind the head of a message, aligned as this is.
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
    // SAFETY: a structure of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
    // SAFETY: the message names memory that is live and as large as it says.
    let len = check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) } as i64)?;
    let told = message.msg_controllen.min(size_of_val(&control));
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).take(told).collect();
    Ok((len as usize, tag_of(&bytes)))
}

/// The tag in what is told beside a frame (`struct cmsghdr`, `struct tpacket_auxdata`).
fn tag_of(control: &[u8]) -> Option<Tag> {
    const HEAD: usize = 16;
    const STATUS: usize = HEAD;
    const TCI: usize = HEAD + 16;
    const PROTO: usize = HEAD + 18;
    const VLAN_VALID: u32 = libc::TP_STATUS_VLAN_VALID;
    const PROTO_VALID: u32 = libc::TP_STATUS_VLAN_TPID_VALID;
    let word = |at: usize| control.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let half = |at: usize| control.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    let is_ours = word(8)? == libc::SOL_PACKET as u32 && word(12)? == libc::PACKET_AUXDATA as u32;
    let status = word(STATUS).filter(|status| is_ours && status & VLAN_VALID != 0)?;
    let proto = if status & PROTO_VALID != 0 { half(PROTO)? } else { 0x8100 };
    Some(Tag { proto, tci: half(TCI)? })
}

/// The number of this process's network namespace (Linux 5.14).
pub(crate) fn netns_cookie() -> io::Result<u64> {
    const SO_NETNS_COOKIE: i32 = 71;
    // SAFETY: plain numbers.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut cookie = 0u64;
    let mut size = size_of_val(&cookie) as u32;
    // SAFETY: the number is live and of the size that is given.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    check(got.into()).map(|_| cookie)
}

/// Brings a device up.
pub(crate) fn set_up(name: &str) -> io::Result<()> {
    // SAFETY: plain numbers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut request = Request::new(name, 0)?;
    request.ask(socket.as_raw_fd(), libc::SIOCGIFFLAGS as libc::c_ulong)?;
    let flags = request.flags() | libc::IFF_UP as i16;
    Request::new(name, flags)?.ask(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::c_ulong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_where_they_are_told() {
        let told = |level: i32, status: u32| {
            let (tci, proto) = (5u16.to_ne_bytes(), 0x88a8u16.to_ne_bytes());
            let head = [level.to_ne_bytes(), libc::PACKET_AUXDATA.to_ne_bytes()].concat();
            let data = [&status.to_ne_bytes()[..], &[0; 12], &tci, &proto].concat();
            tag_of(&[&36u64.to_ne_bytes()[..], &head, &data].concat())
        };
        let (valid, proto) = (libc::TP_STATUS_VLAN_VALID, libc::TP_STATUS_VLAN_TPID_VALID);
        assert_eq!(told(libc::SOL_PACKET, valid | proto), Some(Tag { proto: 0x88a8, tci: 5 }));
        assert_eq!(told(libc::SOL_PACKET, valid), Some(Tag { proto: 0x8100, tci: 5 }));
        assert_eq!(told(libc::SOL_PACKET, proto), None);
        assert_eq!(told(libc::SOL_SOCKET, valid), None);
        assert_eq!(tag_of(&[]), None);
    }
}
