//! Arenas (`kernel/bpf/arena.c`): memory of pages that programs ask for and link as they like.
//!
//! It lies in the lowest four gigabytes, because programs know addresses in it by their lower half. The whole of it can be
//! reached; a page that was not asked for, or given back, is zero.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Elements, MapSpec, flags};
use crate::Errno;
use crate::memory::{Arena, Window};

/// Bytes of a page.
const PAGE: usize = 4096;

/// Such a map.
pub(crate) struct Pages {
    memory: Arc<Arena>,
    /// Which pages are somebody's.
    used: Mutex<Vec<bool>>,
}

/// What Linux says of such a map when it is created.
pub(super) fn check(spec: &MapSpec) -> Result<(), Errno> {
    const LARGEST: u64 = 1 << 32;
    let known = spec.map_flags & !(flags::MMAPABLE | flags::SEGV_ON_FAULT | flags::NO_USER_CONV) == 0;
    let sized = spec.key_size == 0 && spec.value_size == 0 && spec.max_entries != 0;
    if !sized
        || !known
        || spec.map_flags & flags::MMAPABLE == 0
        || !spec.map_extra.is_multiple_of(PAGE as u64)
    {
        return Err(Errno::EINVAL);
    }
    let bytes = u64::from(spec.max_entries) * PAGE as u64;
    if bytes > LARGEST {
        return Err(Errno::E2BIG);
    }
    // The addresses of one arena have the same upper half.
    let crosses = spec.map_extra >> 32 != spec.map_extra.wrapping_add(bytes - 1) >> 32;
    if crosses { Err(Errno::ERANGE) } else { Ok(()) }
}

impl Pages {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let pages = spec.max_entries as usize;
        Ok(Self { memory: Arc::new(Arena::low(pages * PAGE)?), used: Mutex::new(vec![false; pages]) })
    }

    pub(super) fn memory(&self) -> &Arc<Arena> {
        &self.memory
    }

    fn used(&self) -> MutexGuard<'_, Vec<bool>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Address of byte `off`.
    pub(super) fn direct_value(&self, off: u32) -> Option<u64> {
        ((off as usize) < self.memory.len()).then(|| self.memory.base() + u64::from(off))
    }

    /// Gives out pages that follow each other: at an address, if one is given, or else the first that are free.
    pub(crate) fn allocate(&self, at: u64, count: u32) -> Option<u64> {
        let count = count as usize;
        let mut used = self.used();
        let last = used.len().checked_sub(count)?;
        let first = if at == 0 {
            (0..=last).find(|first| used[*first..first + count].iter().all(|page| !page))?
        } else {
            self.page(at).filter(|first| *first <= last && at.is_multiple_of(PAGE as u64))?
        };
        let wanted = &mut used[first..first + count];
        if wanted.contains(&true) {
            return None;
        }
        wanted.fill(true);
        Some(self.memory.base() + (first * PAGE) as u64)
    }

    /// Takes pages back, as far as they are in the arena.
    pub(crate) fn free(&self, at: u64, count: u32) {
        let Some(first) = self.page(at & !(PAGE as u64 - 1)) else { return };
        let mut used = self.used();
        let end = used.len().min(first + count as usize);
        used[first..end].fill(false);
        self.memory.zero(first * PAGE, (end - first) * PAGE);
    }

    /// The page of an address, of which the lower half counts.
    fn page(&self, at: u64) -> Option<usize> {
        let off = u64::from(at as u32).checked_sub(self.memory.base())? as usize;
        (off < self.memory.len()).then_some(off / PAGE)
    }
}

impl Elements for Pages {
    fn windows(&self) -> Vec<Window> {
        let bytes = self.memory.len();
        vec![Window::cells(&self.memory, 0, 1, bytes, bytes)]
    }

    fn read(&self, _: &[u8], _: &mut [u8], _: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _: &[u8], _: &[u8], _: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn delete(&self, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn next_key(&self, _: Option<&[u8]>, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}
