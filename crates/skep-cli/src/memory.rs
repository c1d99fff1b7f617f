//! Where the binary's memory comes from.
//!
//! Verifying allocates and frees small states by the hundred thousand, which mimalloc does in half the time of glibc. It
//! takes a while to begin, though, and short commands need little: the first memory is a buffer that is there.
#![expect(unsafe_code, reason = "handing out memory is what the trait is for, and unsafe")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use mimalloc::MiMalloc;

/// Bytes of the buffer; those that are never used take no memory.
const BYTES: usize = 256 << 10;
/// No part of the buffer is aligned to more.
const ALIGN: usize = 64;

/// Parts of a buffer as long as it lasts, then mimalloc's memory.
#[repr(C, align(64))]
pub(crate) struct Allocator {
    buffer: UnsafeCell<[u8; BYTES]>,
    /// Where the part begins that nobody has. Who takes a part sees what was done with it until it was given back.
    used: AtomicUsize,
}

// SAFETY: the buffer is reached by its address only, and `used` gives each part of it to one owner at a time.
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self { buffer: UnsafeCell::new([0; BYTES]), used: AtomicUsize::new(0) }
    }

    /// A part of the buffer, if there is one left that is large enough.
    fn part(&self, layout: Layout) -> Option<*mut u8> {
        let mut used = self.used.load(Relaxed);
        loop {
            let start = used.next_multiple_of(layout.align());
            let end = start.checked_add(layout.size()).filter(|end| *end <= BYTES)?;
            if layout.align() > ALIGN {
                return None;
            }
            match self.used.compare_exchange_weak(used, end, Acquire, Relaxed) {
                Ok(_) => return Some(self.buffer.get().cast::<u8>().wrapping_add(start)),
                Err(other) => used = other,
            }
        }
    }

    /// Where in the buffer this is, if it is in it.
    fn place(&self, at: *mut u8) -> Option<usize> {
        Some(at.addr().wrapping_sub(self.buffer.get().addr())).filter(|place| *place < BYTES)
    }

    /// Moves the end of the last part; false if it is not the last one, or there is no room.
    fn move_end(&self, start: usize, from: usize, to: usize) -> bool {
        let end = start.checked_add(to).filter(|end| *end <= BYTES);
        end.is_some_and(|end| self.used.compare_exchange(start + from, end, AcqRel, Relaxed).is_ok())
    }
}

// SAFETY: each part is given to one owner, lies in the buffer, and is aligned as asked: the buffer comes first, and is aligned to `ALIGN`.
// What does not lie in the buffer is mimalloc's, which gets back only what it gave.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.part(layout) {
            Some(part) => part,
            // SAFETY: the caller's promises are mimalloc's conditions.
            None => unsafe { MiMalloc.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match self.place(at) {
            // What is not the last part stays where it is, unused.
            Some(start) => _ = self.move_end(start, layout.size(), 0),
            // SAFETY: it does not lie in the buffer, so mimalloc gave it.
            None => unsafe { MiMalloc.dealloc(at, layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.part(layout) {
            Some(part) => {
                // Parts that were given back have been written to.
                // SAFETY: the part has so many bytes, and nobody else has it.
                unsafe { part.write_bytes(0, layout.size()) };
                part
            }
            // SAFETY: the caller's promises are mimalloc's conditions.
            None => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let Some(start) = self.place(at) else {
            // SAFETY: it does not lie in the buffer, so mimalloc gave it.
            return unsafe { MiMalloc.realloc(at, layout, bytes) };
        };
        if self.move_end(start, layout.size(), bytes) {
            return at;
        }
        let Ok(larger) = Layout::from_size_align(bytes, layout.align()) else { return std::ptr::null_mut() };
        // SAFETY: the caller promises that there are bytes to allocate.
        let new = unsafe { self.alloc(larger) };
        if !new.is_null() {
            // SAFETY: both have so many bytes, and the new memory is nobody else's.
            unsafe { new.copy_from_nonoverlapping(at, bytes.min(layout.size())) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "all of it uses memory, for the same reason")]
    fn parts_of_the_buffer_come_first_and_mimalloc_after_them() {
        let allocator = Box::new(Allocator::new());
        let layout = |bytes| Layout::from_size_align(bytes, 16).expect("a layout");
        let is_part = |at: *mut u8| allocator.place(at).is_some();
        // SAFETY: every memory is used as large as it was asked for, and given back once with its layout.
        unsafe {
            let first = allocator.alloc(layout(100));
            first.write_bytes(7, 100);
            let second = allocator.alloc(layout(1000));
            assert!(is_part(first) && is_part(second) && second.addr() >= first.addr() + 100);
            // The last part grows where it is; another one moves, with what is in it.
            assert_eq!(allocator.realloc(second, layout(1000), 2000), second);
            let moved = allocator.realloc(first, layout(100), 200);
            assert!(is_part(moved) && moved != first && *moved == 7 && *moved.add(99) == 7);
            moved.write_bytes(9, 200);
            // The last part is given out again when it is given back, and is zero where that is asked.
            allocator.dealloc(moved, layout(200));
            let zeroed = allocator.alloc_zeroed(layout(200));
            assert!(zeroed == moved && (0..200).all(|nth| *zeroed.add(nth) == 0));
            // What does not fit any more, or is aligned to more, is mimalloc's.
            let large = allocator.alloc(layout(BYTES));
            assert!(!large.is_null() && !is_part(large));
            allocator.dealloc(large, layout(BYTES));
            let page = Layout::from_size_align(64, 4096).expect("a layout");
            let aligned = allocator.alloc(page);
            assert!(!is_part(aligned) && aligned.addr().is_multiple_of(4096));
            allocator.dealloc(aligned, page);
            let spilled = allocator.realloc(second, layout(2000), BYTES);
            assert!(!is_part(spilled));
            allocator.dealloc(spilled, layout(BYTES));
        }
    }
}
