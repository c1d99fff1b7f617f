//! Stack traces by number (`kernel/bpf/stackmap.c`). The number is a hash, so two stacks may want the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Elements, MapSpec, flags};
use crate::Errno;

/// Bytes of a `struct bpf_stack_build_id`.
const BUILD_ID_ENTRY: usize = 32;
/// Only the address is known (`BPF_STACK_BUILD_ID_IP`).
const BUILD_ID_IP: u32 = 2;

pub(crate) struct StackTraces {
    traces: Mutex<BTreeMap<u32, Trace>>,
    mask: u32,
    build_id: bool,
}

struct Trace {
    hash: u32,
    frames: Box<[u64]>,
}

impl StackTraces {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let buckets = spec.max_entries.checked_next_power_of_two().ok_or(Errno::E2BIG)?;
        let build_id = spec.map_flags & flags::STACK_BUILD_ID != 0;
        Ok(Self { traces: Mutex::default(), mask: buckets - 1, build_id })
    }

    /// Frames that a value has room for.
    pub(crate) fn depth(spec: &MapSpec) -> usize {
        let entry = if spec.map_flags & flags::STACK_BUILD_ID != 0 { BUILD_ID_ENTRY } else { 8 };
        spec.value_size as usize / entry
    }

    /// Stores a stack and answers its number. `EEXIST` when another stack has it, unless that one may be replaced; by
    /// `hash_only`, equal hashes are taken for equal stacks.
    pub(crate) fn insert(&self, frames: &[u64], hash_only: bool, replace: bool) -> Result<u32, Errno> {
        let mut hasher = DefaultHasher::new();
        frames.hash(&mut hasher);
        let hash = hasher.finish() as u32;
        let id = hash & self.mask;
        let mut traces = self.lock();
        if let Some(known) = traces.get(&id) {
            if known.hash == hash && (hash_only || *known.frames == *frames) {
                return Ok(id);
            }
            if !replace {
                return Err(Errno::EEXIST);
            }
        }
        traces.insert(id, Trace { hash, frames: frames.into() });
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Trace>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id_of(key: &[u8]) -> u32 {
    key.first_chunk().map_or(u32::MAX, |bytes| u32::from_ne_bytes(*bytes))
}

impl Elements for StackTraces {
    fn put(&self, _key: &[u8], _value: &[u8], _flags: u64, _cpu: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _key: &[u8], _value: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let id = id_of(key);
        if id > self.mask {
            return Err(Errno::E2BIG);
        }
        self.lock().remove(&id).map(drop).ok_or(Errno::ENOENT)
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        let traces = self.lock();
        let trace = traces.get(&id_of(key)).ok_or(Errno::ENOENT)?;
        value.fill(0);
        if !self.build_id {
            for (slot, frame) in value.chunks_exact_mut(8).zip(&trace.frames) {
                slot.copy_from_slice(&frame.to_ne_bytes());
            }
            return Ok(());
        }
        for (slot, frame) in value.chunks_exact_mut(BUILD_ID_ENTRY).zip(&trace.frames) {
            slot[..4].copy_from_slice(&BUILD_ID_IP.to_ne_bytes());
            slot[BUILD_ID_ENTRY - 8..].copy_from_slice(&frame.to_ne_bytes());
        }
        Ok(())
    }

    fn take(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.read(key, value, flags)?;
        self.delete(key)
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let traces = self.lock();
        let from = key.map(id_of).filter(|id| traces.contains_key(id)).map_or(0, |id| id + 1);
        let (id, _) = traces.range(from..).next().ok_or(Errno::ENOENT)?;
        next.copy_from_slice(&id.to_ne_bytes());
        Ok(())
    }
}
