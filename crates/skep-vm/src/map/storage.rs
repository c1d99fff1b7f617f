//! Storage of tasks, sockets, inodes and control groups (`kernel/bpf/bpf_local_storage.c`): one value for each, made on demand.
//!
//! Programs name owners by their address in the kernel. bpf(2) names them by descriptors, which this side does not know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Elements, MapSpec};
use crate::Errno;
use crate::memory::{Arena, Window};

/// Owners that may have a value at a time. Memory costs where it is touched.
const MAX_OWNERS: usize = 1 << 16;

pub(crate) struct Storage {
    values: Arc<Arena>,
    slots: Mutex<Slots>,
    stride: usize,
    value_size: usize,
}

#[derive(Default)]
struct Slots {
    by_owner: HashMap<u64, usize>,
    free: Vec<usize>,
    fresh: usize,
}

impl Storage {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        let values = Arc::new(Arena::new(stride * MAX_OWNERS)?);
        Ok(Self { values, slots: Mutex::default(), stride, value_size })
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addr_of(&self, slot: usize) -> u64 {
        self.values.base() + (slot * self.stride) as u64
    }

    /// Address of an owner's value.
    pub(crate) fn find(&self, owner: u64) -> Option<u64> {
        self.lock().by_owner.get(&owner).map(|slot| self.addr_of(*slot))
    }

    /// Makes an owner's value, unless it has one meanwhile.
    pub(crate) fn create(&self, owner: u64, value: &[u8]) -> Option<u64> {
        let mut slots = self.lock();
        if let Some(slot) = slots.by_owner.get(&owner) {
            return Some(self.addr_of(*slot));
        }
        let slot = slots.take()?;
        self.values.write(slot * self.stride, value);
        slots.by_owner.insert(owner, slot);
        Some(self.addr_of(slot))
    }

    /// Removes an owner's value.
    pub(crate) fn remove(&self, owner: u64) -> Result<(), Errno> {
        let mut slots = self.lock();
        let slot = slots.by_owner.remove(&owner).ok_or(Errno::ENOENT)?;
        slots.free.push(slot);
        Ok(())
    }
}

impl Slots {
    fn take(&mut self) -> Option<usize> {
        self.free.pop().or_else(|| {
            self.fresh += 1;
            (self.fresh <= MAX_OWNERS).then(|| self.fresh - 1)
        })
    }
}

impl Elements for Storage {
    fn windows(&self) -> Vec<Window> {
        vec![Window::cells(&self.values, 0, MAX_OWNERS, self.stride, self.value_size)]
    }
}
