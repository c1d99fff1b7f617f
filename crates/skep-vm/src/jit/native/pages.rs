//! Pages of code: written once, then executable and never writable again.

use std::io;
use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// Code in memory; unmapped when it is dropped.
#[derive(Debug)]
pub(super) struct Pages {
    base: *const u8,
    len: usize,
    mapped: usize,
}

// SAFETY: nobody writes the pages any more, so they may be read and run from any thread.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Copies code into pages of its own.
    pub(super) fn new(code: &[u8]) -> io::Result<Self> {
        let mapped = code.len().max(1).next_multiple_of(rustix::param::page_size());
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping, placed by the kernel, aliases nothing.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), mapped, prot, MapFlags::PRIVATE) }?;
        let pages = Self { base: base.cast(), len: code.len(), mapped };
        // SAFETY: the mapping is writable, ours alone, and at least as long as the code.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), base.cast(), code.len()) };
        // SAFETY: the mapping is ours, and nothing refers to it yet.
        unsafe { mprotect(base, mapped, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        pages.synchronise();
        Ok(pages)
    }

    /// Address of a byte of the code.
    #[inline]
    pub(super) fn at(&self, offset: usize) -> *const u8 {
        assert!(offset < self.len, "invariant: inside the code");
        // SAFETY: inside the mapping.
        unsafe { self.base.add(offset) }
    }

    /// The code.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes are mapped, readable and never written while the pages live.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }
    }

    /// Makes instruction fetches see what was written: x86 does that by itself.
    #[cfg(target_arch = "x86_64")]
    fn synchronise(&self) {}

    /// The same on aarch64: cleans the data cache and invalidates the instruction cache, line by line.
    #[cfg(target_arch = "aarch64")]
    fn synchronise(&self) {
        use std::arch::asm;
        // The smallest line of any implementation.
        const LINE: usize = 16;
        for at in (0..self.len).step_by(LINE) {
            let line = self.base.wrapping_add(at);
            // SAFETY: maintenance of a line of our own mapping changes no memory.
            unsafe { asm!("dc cvau, {}", in(reg) line) };
        }
        // SAFETY: barriers change no memory.
        unsafe { asm!("dsb ish") };
        for at in (0..self.len).step_by(LINE) {
            let line = self.base.wrapping_add(at);
            // SAFETY: as above.
            unsafe { asm!("ic ivau, {}", in(reg) line) };
        }
        // SAFETY: barriers change no memory.
        unsafe { asm!("dsb ish", "isb") };
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn synchronise(&self) {}
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it is our mapping, and whoever could run it holds a reference to it.
        // An error would mean that the range was not mapped; there is nothing to do about that.
        let _ = unsafe { munmap(self.base.cast_mut().cast(), self.mapped) };
    }
}
