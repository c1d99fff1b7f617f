//! Special fields of values: `struct bpf_spin_lock`, four bytes that are 0 when free, and those that only helpers touch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use skep_verifier::SpecialField;

use super::MapSpec;
use crate::masks;
use crate::memory::Arena;
use crate::timer::Timers;

/// Bytes of `struct bpf_spin_lock`.
pub(crate) const LOCK_BYTES: usize = 4;

/// Takes the lock; yields the processor while another thread has it.
#[inline]
pub(crate) fn acquire(lock: &AtomicU32) {
    if lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        wait_for(lock);
    }
}

#[cold]
#[inline(never)]
fn wait_for(lock: &AtomicU32) {
    while lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
}

/// Gives it back.
#[inline]
pub(crate) fn release(lock: &AtomicU32) {
    lock.store(0, Ordering::Release);
}

/// Copies values in and out of an arena: whole, but never the special fields that may be inside.
#[derive(Clone)]
pub(super) struct Copier {
    value_size: usize,
    lock_off: Option<usize>,
    /// Offset and length of each special field, ascending.
    special: Arc<[(usize, usize)]>,
    /// Offsets of the pointers that own what they point to.
    owning: Arc<[usize]>,
    /// Those of them that call back.
    timers: Option<Arc<Timers>>,
}

impl Copier {
    pub(super) fn new(spec: &MapSpec) -> Self {
        let lock_off = spec.spin_lock_off.map(|off| off as usize);
        let others = spec.special.iter().map(|field| (field.offset as usize, field.bytes as usize));
        let mut special: Vec<_> = lock_off.map(|off| (off, LOCK_BYTES)).into_iter().chain(others).collect();
        special.sort_unstable();
        let calls_back = |field: &SpecialField| ["bpf_timer", "bpf_wq"].contains(&field.name);
        let timers = spec.special.iter().any(calls_back).then(Arc::default);
        let owning =
            spec.special.iter().filter(|field| field.name == "kptr").map(|field| field.offset as usize);
        let owning = owning.collect();
        Self { value_size: spec.value_size as usize, lock_off, special: special.into(), owning, timers }
    }

    /// The timers and work queues of the map's values.
    pub(super) fn timers(&self) -> Option<&Timers> {
        self.timers.as_deref()
    }

    /// Is there nothing that is not copied?
    pub(super) fn copies_all(&self) -> bool {
        self.special.is_empty() && self.timers.is_none()
    }

    /// Copies a value out; its special fields read as zero. `locked` holds the lock meanwhile.
    pub(super) fn read(&self, arena: &Arena, at: usize, value: &mut [u8], locked: bool) {
        if self.special.is_empty() {
            return arena.read(at, &mut value[..self.value_size]);
        }
        let lock = self.lock(arena, at, locked);
        arena.read(at, &mut value[..self.value_size]);
        lock.map(release);
        for &(off, len) in &*self.special {
            value[off..off + len].fill(0);
        }
    }

    /// Copies a whole value in around its special fields. `locked` holds the lock meanwhile.
    #[inline]
    pub(super) fn write(&self, arena: &Arena, at: usize, value: &[u8], locked: bool) {
        if self.special.is_empty() {
            return arena.write(at, value);
        }
        self.write_around(arena, at, value, locked);
    }

    fn write_around(&self, arena: &Arena, at: usize, value: &[u8], locked: bool) {
        let lock = self.lock(arena, at, locked);
        let mut from = 0;
        for &(off, len) in &*self.special {
            arena.write(at + from, &value[from..off]);
            from = off + len;
        }
        arena.write(at + from, &value[from..self.value_size]);
        lock.map(release);
    }

    fn lock<'a>(&self, arena: &'a Arena, at: usize, wanted: bool) -> Option<&'a AtomicU32> {
        let lock = self.lock_off.filter(|_| wanted).map(|off| arena.u32(at + off));
        lock.inspect(|lock| acquire(lock))
    }

    /// Do pointers in values own something?
    pub(super) fn owns(&self) -> bool {
        !self.owning.is_empty()
    }

    /// A value is given up, or replaced as a whole: its timers are cancelled, and what its pointers own is let go.
    pub(super) fn give_up(&self, arena: &Arena, at: usize) {
        if let Some(timers) = &self.timers {
            let start = arena.base() + at as u64;
            timers.remove(start..start + self.value_size as u64);
        }
        for &off in &*self.owning {
            masks::let_go(arena.u64(at + off).swap(0, Ordering::AcqRel));
        }
        for &(off, len) in self.special.iter().filter(|(off, _)| Some(*off) != self.lock_off) {
            arena.zero(at + off, len);
        }
    }
}
