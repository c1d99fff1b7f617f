//! Storage of the control group that a program is attached to (`kernel/bpf/local_storage.c`), which came before the storage of
//! any control group.
//!
//! Nothing is attached to a group here, so for bpf(2) there are no elements. A program that is run all the same, on packets
//! or by a test run, gets a value that lasts as long as that: what Linux makes for its test runs.

use std::sync::Arc;

use super::spec::{PERCPU_MAX, STORAGE_MAX};
use super::{Elements, MapSpec};
use crate::Errno;
use crate::memory::{Arena, Window};

/// Such a map, plain or per-CPU.
pub(crate) struct GroupStorage {
    values: Arc<Arena>,
    stride: usize,
    value_size: usize,
    cpus: usize,
}

/// What Linux says of such a map when it is created.
pub(super) fn check(spec: &MapSpec) -> Result<(), Errno> {
    let largest = if spec.is_percpu() { PERCPU_MAX } else { STORAGE_MAX };
    if ![8, 16].contains(&spec.key_size) || spec.value_size == 0 {
        return Err(Errno::EINVAL);
    }
    if spec.value_size > largest {
        return Err(Errno::E2BIG);
    }
    if spec.max_entries == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

impl GroupStorage {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        let cpus = if spec.is_percpu() { spec.cpus as usize } else { 1 };
        Ok(Self { values: Arc::new(Arena::new(stride * cpus)?), stride, value_size, cpus })
    }

    /// The address of the value.
    pub(crate) fn addr(&self, cpu: u32) -> u64 {
        self.values.base() + (cpu as usize % self.cpus * self.stride) as u64
    }

    /// Begins anew: every value is zero.
    pub(crate) fn clear(&self) {
        self.values.zero(0, self.stride * self.cpus);
    }
}

impl Elements for GroupStorage {
    fn windows(&self) -> Vec<Window> {
        vec![Window::cells(&self.values, 0, self.cpus, self.stride, self.value_size)]
    }

    fn read(&self, _: &[u8], _: &mut [u8], _: u64) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    fn write(&self, _: &[u8], _: &[u8], flags: u64) -> Result<(), Errno> {
        const EXIST: u64 = 2;
        if flags & !EXIST != 0 { Err(Errno::EINVAL) } else { Err(Errno::ENOENT) }
    }

    fn delete(&self, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn next_key(&self, _: Option<&[u8]>, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }
}
