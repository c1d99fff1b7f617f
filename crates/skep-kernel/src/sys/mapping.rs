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
        Ring { start: self.start.as_ptr().wrapping_add(offset), size, mapping: PhantomData }
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

/// How many bytes ahead of a record memory is fetched: a page, so that also where the next page lies is known in time.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// The data of a kernel ring buffer: two copies of `size` bytes in a row.
#[derive(Debug)]
pub(crate) struct Ring<'a> {
    start: *const u8,
    size: usize,
    mapping: PhantomData<&'a Mapping>,
}

impl<'a> Ring<'a> {
    /// The records between two positions, the last buffer full of them at most. As the data is there twice, they lie in a
    /// row.
    pub(crate) fn records(&self, from: u64, to: u64) -> Records<'a> {
        // Positions are multiples of eight; damaged ones are made so.
        let bytes = (to.saturating_sub(from) & !7).min(self.size as u64) as usize;
        let at = self.start.wrapping_add((from as usize & (self.size - 1)) & !7);
        Records { first: at, at, end: at.wrapping_add(bytes), mapping: PhantomData }
    }
}

/// Goes through the records of a ring buffer. What it costs to find a record is what reading costs, so there is one
/// comparison for each.
///
/// All three places are aligned to eight, `first..end` lies in the mapping, and `at` is not before `first`.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    first: *const u8,
    at: *const u8,
    end: *const u8,
    mapping: PhantomData<&'a Mapping>,
}

impl<'a> Records<'a> {
    /// Is there a record?
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.at < self.end
    }

    /// The place so many bytes on, or the end.
    #[inline]
    pub(crate) fn after(&self, bytes: usize) -> *const u8 {
        self.at.wrapping_add(bytes).min(self.end)
    }

    /// Is there a record that begins before a place?
    #[inline]
    pub(crate) fn is_before(&self, place: *const u8) -> bool {
        self.at < place
    }

    /// Bytes between the start and the next record.
    pub(crate) fn passed(&self) -> usize {
        self.at.addr() - self.first.addr()
    }

    /// The 32-bit header, which the producer updates, of the next record; 0 at the end.
    #[inline]
    pub(crate) fn header(&self) -> u32 {
        if !self.has_more() {
            return 0;
        }
        // SAFETY: before the end, so that eight bytes are in the mapping, aligned to eight; nobody accesses headers but by
        // atomics.
        unsafe { AtomicU32::from_ptr(self.at.cast::<u32>().cast_mut()) }.load(Ordering::Acquire)
    }

    /// What follows the eight bytes of header of a record that its producer has finished and does not touch before we tell
    /// it that we moved on: so many bytes, or `None` where fewer are left. The slice must not be kept beyond that.
    #[inline]
    pub(crate) fn data(&self, bytes: u32) -> Option<&'a [u8]> {
        let left = self.end.addr().checked_sub(self.at.addr() + 8)?;
        if bytes as usize > left {
            return None;
        }
        // SAFETY: in the mapping, as it ends before `end`; the protocol keeps the producer away from finished records.
        Some(unsafe { std::slice::from_raw_parts(self.at.wrapping_add(8), bytes as usize) })
    }

    /// Has the processor bring in what will be read soon. By itself it reads ahead within a page only, and pages that lie in
    /// a row here lie anywhere in memory.
    #[inline]
    pub(crate) fn fetch_ahead(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let ahead = self.at.wrapping_add(AHEAD).cast();
            // SAFETY: a hint, which reads nothing as far as the program can see, whatever the address is.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead) };
        }
    }

    /// Moves on, by a multiple of eight.
    #[inline]
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes & !7);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody can hold a borrow of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
