//! bpf(2).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use skep_isa::uapi::Cmd;
use skep_runtime::codec::Attr;

/// How often a program load that was interrupted is tried again; libbpf does as often.
const LOAD_ATTEMPTS: u32 = 5;

/// Passes a command on. `EAGAIN` from a program load means that a signal interrupted the verifier: it is tried again.
pub(crate) fn bpf(attr: &mut Attr<'_>) -> io::Result<i32> {
    let retries = if attr.cmd() == Cmd::PROG_LOAD { LOAD_ATTEMPTS - 1 } else { 0 };
    for _ in 0..retries {
        match call(attr) {
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other,
        }
    }
    call(attr)
}

fn call(attr: &mut Attr<'_>) -> io::Result<i32> {
    let cmd = attr.cmd().0;
    let bytes = attr.bytes_mut();
    // SAFETY: the attribute is as long as we say, and the addresses in it lead to memory that it borrows, of the lengths
    // that it states, writable where the command writes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, cmd, bytes.as_mut_ptr(), bytes.len()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).unwrap_or(i32::MAX)) }
}

/// Closes a descriptor that this process owns and nobody else in it uses.
pub(crate) fn close(fd: RawFd) {
    if fd >= 0 {
        // SAFETY: the waist hands each descriptor to exactly one handle, which gives it back exactly once.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// Owns a descriptor that the kernel has just made.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: callers pass what a command answered, which nobody else knows yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Another descriptor of the same object.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers, and answers a descriptor that is ours alone.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Reads from a descriptor.
pub(crate) fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is as long as we say.
    let bytes = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}
