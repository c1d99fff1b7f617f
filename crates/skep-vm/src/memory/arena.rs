//! Memory of maps: anonymous mappings that read as zero and cost only where they are touched.

use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::raw::{self, Word};
use crate::Errno;

/// A mapping of zeroed memory, shared between programs, maps and their readers.
///
/// Its safe methods check their offsets and panic outside of it: offsets are computed by this crate, never taken from
/// programs.
#[derive(Debug)]
pub(crate) struct Arena {
    base: u64,
    len: usize,
}

/// Where the next mapping should go. Arenas keep away from where the kernel puts programs and their libraries, so an
/// address of a traced process is not mistaken for one of ours (`bpf_probe_read` takes either). It is a hint only.
static NEXT_HINT: AtomicUsize = AtomicUsize::new(0x1000_0000_0000);

/// Bytes of a large page.
const HUGE_PAGE: usize = 2 << 20;

fn hint(len: usize) -> *mut c_void {
    let step = len.next_multiple_of(1 << 16) + (1 << 16);
    ptr::without_provenance_mut(NEXT_HINT.fetch_add(step, Ordering::Relaxed))
}

/// Where low mappings begin: above what `vm.mmap_min_addr` and executables at fixed addresses take.
const LOW_START: usize = 0x2000_0000;
/// One byte behind the last that 32 bits address, with room for offsets beyond an end.
const LOW_END: usize = 0xffff_0000;

static NEXT_LOW: AtomicUsize = AtomicUsize::new(LOW_START);

/// The next low place to try; after the last, the first again, because mappings go away.
fn low_hint(len: usize) -> Result<*mut c_void, Errno> {
    let step = len.checked_next_multiple_of(1 << 16).and_then(|len| len.checked_add(1 << 16));
    let step = step.filter(|step| *step < LOW_END - LOW_START).ok_or(Errno::ENOMEM)?;
    let mut at = NEXT_LOW.fetch_add(step, Ordering::Relaxed);
    if at + step > LOW_END {
        NEXT_LOW.store(LOW_START + step, Ordering::Relaxed);
        at = LOW_START;
    }
    Ok(ptr::without_provenance_mut(at))
}

impl Arena {
    /// Bytes of a page here.
    pub(crate) fn page_bytes() -> usize {
        rustix::param::page_size()
    }

    /// Maps `len` bytes of zeros.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        let len = len.max(1).checked_next_multiple_of(Self::page_bytes()).ok_or(Errno::ENOMEM)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new private mapping, placed by the kernel, aliases nothing.
        let base = unsafe { mmap_anonymous(hint(len), len, prot, flags) }?;
        Ok(Self { base: base.expose_provenance() as u64, len })
    }

    /// The same for memory that is going to be used all over: where it is large it gets large pages, if the system has some.
    pub(crate) fn dense(len: usize) -> Result<Self, Errno> {
        let arena = Self::new(len)?;
        if len >= 2 * HUGE_PAGE {
            let at = ptr::with_exposed_provenance_mut(arena.base as usize);
            // SAFETY: it is our own mapping, whose contents the advice does not change.
            // Systems that cannot do it refuse; small pages do as well.
            let _ = unsafe { madvise(at, arena.len, Advice::LinuxHugepage) };
        }
        Ok(arena)
    }

    /// Maps `len` bytes of zeros below four gigabytes, where 32 bits address them.
    pub(crate) fn low(len: usize) -> Result<Self, Errno> {
        const TRIES: usize = 64;
        let len = len.max(1).checked_next_multiple_of(Self::page_bytes()).ok_or(Errno::ENOMEM)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        for _ in 0..TRIES {
            let hint = low_hint(len)?;
            // SAFETY: a new private mapping, placed by the kernel, aliases nothing.
            let base = unsafe { mmap_anonymous(hint, len, prot, flags) }?;
            let mapped = Self { base: base.expose_provenance() as u64, len };
            if mapped.base + len as u64 <= LOW_END as u64 {
                return Ok(mapped);
            }
        }
        Err(Errno::ENOMEM)
    }

    /// Maps `len` bytes (a multiple of the page size) twice in a row, so that a record that wraps around the end of a ring
    /// buffer is contiguous.
    pub(crate) fn mirrored(len: usize) -> Result<Self, Errno> {
        let whole = Self::new(len.checked_mul(2).ok_or(Errno::ENOMEM)?)?;
        let memory = memfd_create("skep-ring", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, len as u64)?;
        whole.map_over(0, len, &memory)?;
        whole.map_over(len, len, &memory)?;
        Ok(whole)
    }

    /// Replaces pages of this mapping, which nobody uses yet, by those of a file.
    fn map_over(&self, off: usize, len: usize, memory: &OwnedFd) -> Result<(), Errno> {
        let at = ptr::with_exposed_provenance_mut(self.base as usize + off);
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the range lies in our own mapping, which stays one mapping for `munmap`.
        unsafe { mmap(at, len, prot, flags, memory, 0) }?;
        Ok(())
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Bytes mapped: what was asked for, rounded up to pages.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of `off`, after checking that `len` bytes are there.
    #[inline]
    fn at(&self, off: usize, len: usize) -> u64 {
        assert!(off <= self.len && len <= self.len - off, "invariant: offset inside the arena");
        self.base + off as u64
    }

    /// Copies out.
    #[inline]
    pub(crate) fn read(&self, off: usize, out: &mut [u8]) {
        // SAFETY: the range was checked; arenas are accessed atomically only.
        unsafe { raw::copy_out(self.at(off, out.len()), out) }
    }

    /// Copies out, behind what there is.
    #[inline]
    pub(crate) fn append(&self, off: usize, len: usize, out: &mut Vec<u8>) {
        // SAFETY: the range was checked; arenas are accessed atomically only.
        unsafe { raw::append_out(self.at(off, len), len, out) }
    }

    /// Copies in.
    #[inline]
    pub(crate) fn write(&self, off: usize, data: &[u8]) {
        // SAFETY: the range was checked; arenas are accessed atomically only.
        unsafe { raw::copy_in(self.at(off, data.len()), data) }
    }

    /// Copies in at once, for an owner that nobody shares it with.
    #[inline]
    pub(crate) fn put(&mut self, off: usize, data: &[u8]) {
        let at = ptr::with_exposed_provenance_mut::<u8>(self.at(off, data.len()) as usize);
        // SAFETY: the range was checked, it is mapped and writable, and nobody else accesses it: it is borrowed exclusively.
        unsafe { at.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
    }

    /// The bytes themselves, for an owner that nobody shares it with.
    #[inline]
    pub(crate) fn bytes(&mut self, off: usize, len: usize) -> &[u8] {
        let at = ptr::with_exposed_provenance::<u8>(self.at(off, len) as usize);
        // SAFETY: the range was checked, it is mapped, and nobody writes it while it is borrowed exclusively.
        unsafe { std::slice::from_raw_parts(at, len) }
    }

    /// Writes zeros.
    pub(crate) fn zero(&self, off: usize, len: usize) {
        for part in (off..off + len).step_by(ZEROS.len()) {
            self.write(part, &ZEROS[..ZEROS.len().min(off + len - part)]);
        }
    }

    /// Are these the bytes at `off`?
    #[inline]
    pub(crate) fn equals(&self, off: usize, bytes: &[u8]) -> bool {
        let start = self.at(off, bytes.len());
        let (words, tail) = bytes.as_chunks::<8>();
        let same_words = words.iter().zip((start..).step_by(8)).all(|(word, at)| {
            // SAFETY: the range was checked; arenas are accessed atomically only.
            unsafe { u64::load(at) == u64::from_ne_bytes(*word) }
        });
        let tail_start = start + (words.len() * 8) as u64;
        // SAFETY: the range was checked; arenas are accessed atomically only.
        same_words && tail.iter().zip(tail_start..).all(|(byte, at)| unsafe { u8::load(at) } == *byte)
    }

    /// Four words in a row as shared cells; `off` is a multiple of four.
    #[inline]
    pub(crate) fn words(&self, off: usize) -> &[AtomicU32; 4] {
        let at = ptr::with_exposed_provenance::<[AtomicU32; 4]>(self.at(off, 16) as usize);
        assert!(at.is_aligned(), "invariant: cells are aligned");
        // SAFETY: in bounds and aligned; lives as long as the arena; arenas are accessed atomically only.
        unsafe { &*at }
    }

    /// Eight bytes as a shared cell; `off` is a multiple of eight.
    #[inline]
    pub(crate) fn u64(&self, off: usize) -> &AtomicU64 {
        let at = ptr::with_exposed_provenance_mut::<u64>(self.at(off, 8) as usize);
        assert!(at.is_aligned(), "invariant: cells are aligned");
        // SAFETY: in bounds and aligned; lives as long as the arena; arenas are accessed atomically only.
        unsafe { AtomicU64::from_ptr(at) }
    }

    /// Four bytes as a shared cell; `off` is a multiple of four.
    #[inline]
    pub(crate) fn u32(&self, off: usize) -> &AtomicU32 {
        let at = ptr::with_exposed_provenance_mut::<u32>(self.at(off, 4) as usize);
        assert!(at.is_aligned(), "invariant: cells are aligned");
        // SAFETY: in bounds and aligned; lives as long as the arena; arenas are accessed atomically only.
        unsafe { AtomicU32::from_ptr(at) }
    }
}

static ZEROS: [u8; 4096] = [0; 4096];

impl Drop for Arena {
    fn drop(&mut self) {
        let at = ptr::with_exposed_provenance_mut(self.base as usize);
        // SAFETY: it is our mapping, and whoever could use it holds a reference to this arena.
        // An error would mean that the range was not mapped; there is nothing to do about that.
        let _ = unsafe { munmap(at, self.len) };
    }
}
