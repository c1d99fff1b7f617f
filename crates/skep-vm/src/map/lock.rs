//! `struct bpf_spin_lock` inside of values: four bytes that are 0 when free.

use std::sync::atomic::{AtomicU32, Ordering};

use super::MapSpec;
use crate::memory::Arena;

/// Bytes of `struct bpf_spin_lock`.
pub(crate) const LOCK_BYTES: usize = 4;

/// Takes the lock; yields the processor while another thread has it.
pub(crate) fn acquire(lock: &AtomicU32) {
    while lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
}

/// Gives it back.
pub(crate) fn release(lock: &AtomicU32) {
    lock.store(0, Ordering::Release);
}

/// Copies values in and out of an arena: whole, but never the lock that may be inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copier {
    value_size: usize,
    lock_off: Option<usize>,
}

impl Copier {
    pub(super) fn new(spec: &MapSpec) -> Self {
        Self { value_size: spec.value_size as usize, lock_off: spec.spin_lock_off.map(|off| off as usize) }
    }

    /// Copies a value out; its lock reads as zero. `locked` holds the lock meanwhile.
    pub(super) fn read(&self, arena: &Arena, at: usize, value: &mut [u8], locked: bool) {
        let Some(off) = self.lock_off else { return arena.read(at, &mut value[..self.value_size]) };
        let lock = arena.u32(at + off);
        if locked {
            acquire(lock);
        }
        arena.read(at, &mut value[..self.value_size]);
        if locked {
            release(lock);
        }
        value[off..off + LOCK_BYTES].fill(0);
    }

    /// Copies a value in around its lock. `locked` holds the lock meanwhile.
    pub(super) fn write(&self, arena: &Arena, at: usize, value: &[u8], locked: bool) {
        let Some(off) = self.lock_off else { return arena.write(at, &value[..self.value_size]) };
        let lock = arena.u32(at + off);
        if locked {
            acquire(lock);
        }
        arena.write(at, &value[..off]);
        arena.write(at + off + LOCK_BYTES, &value[off + LOCK_BYTES..self.value_size]);
        if locked {
            release(lock);
        }
    }
}
