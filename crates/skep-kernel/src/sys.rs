//! System calls and shared memory: the only `unsafe` of this crate, each wrapped so that callers need none.
#![expect(unsafe_code, reason = "system calls and memory that the kernel shares")]

pub(crate) mod bpf;
pub(crate) mod mapping;
pub(crate) mod perf;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod undo;

use std::io;

/// The errno of a failed call as a number.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
