//! Memory that the kernel shares with us: mapped, and read in the ways that its producers allow.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A shared mapping; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread; all access goes through atomics and copies.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing behind a shared reference is accessed but by atomics, or belongs to a protocol of its user.
unsafe impl Sync for Mapping {}

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

    /// Maps `bytes` of a descriptor for writing where it wants to be, unless something is there.
    pub(crate) fn at(address: usize, fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        let place = std::ptr::without_provenance_mut(address);
        // SAFETY: the kernel makes the mapping only where there is none yet, so it touches nothing that exists.
        let start = unsafe { libc::mmap(place, bytes, protection, flags, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, bytes })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// Copies from `offset` on; words that are aligned are read whole.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) {
        self.check(offset, to.len());
        let mut at = 0;
        while at < to.len() {
            let place = self.start.as_ptr().wrapping_add(offset + at);
            at += match to[at..].first_chunk_mut::<8>() {
                Some(word) if place.addr().is_multiple_of(8) => {
                    // SAFETY: eight aligned bytes in the mapping; nobody of us accesses them but by atomics.
                    *word =
                        unsafe { AtomicU64::from_ptr(place.cast()) }.load(Ordering::Relaxed).to_ne_bytes();
                    8
                }
                _ => match to[at..].first_chunk_mut::<4>() {
                    Some(word) if place.addr().is_multiple_of(4) => {
                        // SAFETY: four aligned bytes in the mapping; nobody of us accesses them but by atomics.
                        *word = unsafe { AtomicU32::from_ptr(place.cast()) }
                            .load(Ordering::Relaxed)
                            .to_ne_bytes();
                        4
                    }
                    _ => {
                        // SAFETY: a byte in the mapping; nobody of us accesses it but by atomics.
                        to[at] = unsafe { AtomicU8::from_ptr(place) }.load(Ordering::Relaxed);
                        1
                    }
                },
            };
        }
    }

    /// Copies to `offset` and on, in a mapping that was made for writing; words that are aligned are written whole.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        let mut at = 0;
        while at < from.len() {
            let place = self.start.as_ptr().wrapping_add(offset + at);
            at += match from[at..].first_chunk::<8>() {
                Some(word) if place.addr().is_multiple_of(8) => {
                    // SAFETY: eight aligned bytes in the mapping; nobody of us accesses them but by atomics.
                    unsafe { AtomicU64::from_ptr(place.cast()) }
                        .store(u64::from_ne_bytes(*word), Ordering::Relaxed);
                    8
                }
                _ => match from[at..].first_chunk::<4>() {
                    Some(word) if place.addr().is_multiple_of(4) => {
                        let word = u32::from_ne_bytes(*word);
                        // SAFETY: four aligned bytes in the mapping; nobody of us accesses them but by atomics.
                        unsafe { AtomicU32::from_ptr(place.cast()) }.store(word, Ordering::Relaxed);
                        4
                    }
                    _ => {
                        // SAFETY: a byte in the mapping; nobody of us accesses it but by atomics.
                        unsafe { AtomicU8::from_ptr(place) }.store(from[at], Ordering::Relaxed);
                        1
                    }
                },
            };
        }
    }

    fn check(&self, offset: usize, bytes: usize) {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "invariant: what is accessed lies in the mapping"
        );
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

    /// The data of a ring buffer of `size` bytes, mapped twice in a row from `offset` on.
    pub(crate) fn ring(&self, offset: usize, size: usize) -> Ring<'_> {
        assert!(
            offset.is_multiple_of(8)
                && size.is_power_of_two()
                && size >= 8
                && size
                    .checked_mul(2)
                    .and_then(|both| both.checked_add(offset))
                    .is_some_and(|end| end <= self.bytes),
            "invariant: both copies lie in the mapping"
        );
        Ring {
            start: self.start.as_ptr().wrapping_add(offset),
            mask: (size - 1) & !7,
            longest: u32::try_from(size - 8).unwrap_or(u32::MAX).min((1 << 30) - 1),
            mapping: PhantomData,
        }
    }

    /// A record that its producer has finished and does not touch before we move on.
    ///
    /// The slice must not be kept beyond the position's advance: the borrow of `self` by the caller's `&mut` sees to that.
    pub(crate) fn record(&self, offset: usize, bytes: usize) -> &[u8] {
        self.check(offset, bytes);
        // SAFETY: in the mapping; the protocol of both buffers keeps the producer away from finished records.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().wrapping_add(offset), bytes) }
    }
}

/// The data of a kernel ring buffer. What it costs to find a record is what reading costs, so places are made valid (by a
/// mask) rather than checked.
#[derive(Debug)]
pub(crate) struct Ring<'a> {
    start: *const u8,
    /// The bits of a position that say where it is in the buffer; records begin at multiples of eight.
    mask: usize,
    /// Bytes of the longest record: the two highest bits of a length mean something else.
    longest: u32,
    mapping: PhantomData<&'a Mapping>,
}

impl<'a> Ring<'a> {
    /// The 32-bit header, which the producer updates, of the record at a position.
    #[inline]
    pub(crate) fn header(&self, position: u64) -> u32 {
        let at = self.start.wrapping_add(position as usize & self.mask).cast::<u32>().cast_mut();
        // SAFETY: in the first copy of the data, aligned to eight, and nobody accesses headers but by atomics.
        unsafe { AtomicU32::from_ptr(at) }.load(Ordering::Acquire)
    }

    /// What follows the eight bytes of header of a record that its producer has finished and does not touch before we move
    /// on: so many bytes, or `None` where the buffer has no records of that length. The slice must not be kept beyond that.
    #[inline]
    pub(crate) fn record(&self, position: u64, bytes: u32) -> Option<&'a [u8]> {
        if bytes > self.longest {
            return None;
        }
        let at = self.start.wrapping_add((position as usize & self.mask) + 8);
        // SAFETY: it begins at most at the end of the first copy of the data and is no longer than the second; the protocol
        // keeps the producer away from finished records.
        Some(unsafe { std::slice::from_raw_parts(at, bytes as usize) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody can hold a borrow of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
