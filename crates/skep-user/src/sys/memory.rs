//! Memory of traced processes.

use std::io;

use super::{Tid, check};

/// Reads memory of another process; answers how many bytes were readable from `addr` on.
pub(crate) fn read(tid: Tid, addr: u64, buf: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let remote = libc::iovec { iov_base: addr as usize as *mut libc::c_void, iov_len: buf.len() };
    // SAFETY: the kernel writes at most `iov_len` bytes to `buf`; the remote side is another address space.
    let n = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    check(n as i64).map(|n| n as usize)
}

/// Writes memory of another process; answers how many bytes were written.
pub(crate) fn write(tid: Tid, addr: u64, buf: &[u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    let remote = libc::iovec { iov_base: addr as usize as *mut libc::c_void, iov_len: buf.len() };
    // SAFETY: the kernel only reads `buf`; the remote side is another address space.
    let n = unsafe { libc::process_vm_writev(tid, &raw const local, 1, &raw const remote, 1, 0) };
    check(n as i64).map(|n| n as usize)
}
