//! Task storage (`kernel/bpf/bpf_task_storage.c`): one value for each task, made on demand.
//!
//! Programs name tasks by the address of their `task_struct`. bpf(2) names them by pidfd, which this side does not know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Elements, MapSpec};
use crate::Errno;
use crate::memory::{Arena, Window};

/// Tasks that may have a value at a time. Memory costs where it is touched.
const MAX_TASKS: usize = 1 << 16;

pub(crate) struct TaskStorage {
    values: Arc<Arena>,
    slots: Mutex<Slots>,
    stride: usize,
    value_size: usize,
}

#[derive(Default)]
struct Slots {
    by_task: HashMap<u64, usize>,
    free: Vec<usize>,
    fresh: usize,
}

impl TaskStorage {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        let values = Arc::new(Arena::new(stride * MAX_TASKS)?);
        Ok(Self { values, slots: Mutex::default(), stride, value_size })
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addr_of(&self, slot: usize) -> u64 {
        self.values.base() + (slot * self.stride) as u64
    }

    /// Address of a task's value.
    pub(crate) fn find(&self, task: u64) -> Option<u64> {
        self.lock().by_task.get(&task).map(|slot| self.addr_of(*slot))
    }

    /// Makes a task's value, unless it has one meanwhile.
    pub(crate) fn create(&self, task: u64, value: &[u8]) -> Option<u64> {
        let mut slots = self.lock();
        if let Some(slot) = slots.by_task.get(&task) {
            return Some(self.addr_of(*slot));
        }
        let slot = slots.take()?;
        self.values.write(slot * self.stride, value);
        slots.by_task.insert(task, slot);
        Some(self.addr_of(slot))
    }

    /// Removes a task's value.
    pub(crate) fn remove(&self, task: u64) -> Result<(), Errno> {
        let mut slots = self.lock();
        let slot = slots.by_task.remove(&task).ok_or(Errno::ENOENT)?;
        slots.free.push(slot);
        Ok(())
    }
}

impl Slots {
    fn take(&mut self) -> Option<usize> {
        self.free.pop().or_else(|| {
            self.fresh += 1;
            (self.fresh <= MAX_TASKS).then(|| self.fresh - 1)
        })
    }
}

impl Elements for TaskStorage {
    fn windows(&self) -> Vec<Window> {
        vec![Window::cells(&self.values, 0, MAX_TASKS, self.stride, self.value_size)]
    }
}
