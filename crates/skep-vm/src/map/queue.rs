//! Queues and stacks (`kernel/bpf/queue_stack_maps.c`): values without keys, first or last in first out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skep_isa::uapi::MapType;

use super::{Elements, MapSpec, update};
use crate::Errno;

pub(super) struct Queue {
    values: Mutex<VecDeque<Box<[u8]>>>,
    max_entries: usize,
    last_first: bool,
}

impl Queue {
    pub(super) fn new(spec: &MapSpec) -> Self {
        let last_first = spec.map_type == MapType::STACK;
        Self { values: Mutex::default(), max_entries: spec.max_entries as usize, last_first }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<[u8]>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies a value out, or zeros when there is none.
fn give(found: Option<&[u8]>, value: &mut [u8]) -> Result<(), Errno> {
    match found {
        Some(found) => value.copy_from_slice(found),
        None => value.fill(0),
    }
    found.map(|_| ()).ok_or(Errno::ENOENT)
}

impl Elements for Queue {
    fn push(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & update::NOEXIST != 0 || flags > update::EXIST {
            return Err(Errno::EINVAL);
        }
        let mut values = self.lock();
        if values.len() == self.max_entries {
            if flags != update::EXIST {
                return Err(Errno::E2BIG);
            }
            values.pop_front();
        }
        values.push_back(value.into());
        Ok(())
    }

    fn pop(&self, value: &mut [u8]) -> Result<(), Errno> {
        let mut values = self.lock();
        let found = if self.last_first { values.pop_back() } else { values.pop_front() };
        give(found.as_deref(), value)
    }

    fn peek(&self, value: &mut [u8]) -> Result<(), Errno> {
        let values = self.lock();
        let found = if self.last_first { values.back() } else { values.front() };
        give(found.map(|found| &**found), value)
    }

    fn put(&self, _key: &[u8], _value: &[u8], _flags: u64, _cpu: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn read(&self, _key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        self.peek(value)
    }

    fn write(&self, _key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.push(value, flags)
    }

    fn take(&self, _key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        self.pop(value)
    }

    fn next_key(&self, _key: Option<&[u8]>, _next: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}
