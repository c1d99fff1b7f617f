//! The system calls that have no safe wrapper in the standard library: ptrace, wait, fork and exec, other processes'
//! memory, signal dispositions.
//!
//! All `unsafe` of this crate is here. The functions take and give plain values and `io::Result`; what an errno means is
//! for callers to say.
#![expect(unsafe_code, reason = "these are the crate's raw system calls")]

pub(crate) mod guard;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod ptrace;
pub(crate) mod signal;
pub(crate) mod time;

use std::io;

/// A process or thread id.
pub(crate) type Tid = i32;

/// Turns the usual -1 of a C call into the errno.
fn check(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
