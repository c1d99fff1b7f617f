//! Memory that the kernel shares with us: mapped, and read in the ways that its producers allow.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A shared mapping; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread; all access goes through atomics and copies.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `bytes` of a descriptor from `offset` on.
    pub(crate) fn new(fd: BorrowedFd<'_>, offset: i64, bytes: usize, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, bytes })
    }

    /// A 64-bit position that both sides update; `offset` is a multiple of eight.
    pub(crate) fn position(&self, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(8) && offset + 8 <= self.bytes,
            "invariant: positions lie in the mapping"
        );
        // SAFETY: in the mapping, aligned, and nobody accesses it but by atomics.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().wrapping_add(offset).cast()) }
    }

    /// A 32-bit header that the producer updates; `offset` is a multiple of four.
    pub(crate) fn header(&self, offset: usize) -> &AtomicU32 {
        assert!(
            offset.is_multiple_of(4) && offset + 4 <= self.bytes,
            "invariant: headers lie in the mapping"
        );
        // SAFETY: in the mapping, aligned, and nobody accesses it but by atomics.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().wrapping_add(offset).cast()) }
    }

    /// A record that its producer has finished and does not touch before we move on.
    ///
    /// The slice must not be kept beyond the position's advance: the borrow of `self` by the caller's `&mut` sees to that.
    pub(crate) fn record(&self, offset: usize, bytes: usize) -> &[u8] {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "invariant: records lie in the mapping"
        );
        // SAFETY: in the mapping; the protocol of both buffers keeps the producer away from finished records.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().wrapping_add(offset), bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody can hold a borrow of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
