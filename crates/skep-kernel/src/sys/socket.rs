//! Options of sockets that are numbers.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Sets an option (setsockopt(2)).
pub(crate) fn set_number(socket: impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let bytes = u32::try_from(size_of::<i32>()).unwrap_or(0);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the option takes a number, of the length that is said.
    let result = unsafe { libc::setsockopt(socket, level, option, (&raw const value).cast(), bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
