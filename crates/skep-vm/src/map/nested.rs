//! Maps whose elements are programs, control groups or maps (`kernel/bpf/arraymap.c`, `kernel/bpf/map_in_map.c`).
//!
//! bpf(2) passes descriptors, which only the runtime knows; it hands in the objects themselves. Reading gives an id.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use skep_isa::uapi::MapType;

use super::array::next_index;
use super::{BatchCursor, Elements, Map, MapSpec, flags, update};
use crate::Errno;
use crate::program::Program;

/// Programs for tail calls, by index.
pub struct ProgArray {
    programs: RwLock<BTreeMap<u32, Arc<Program>>>,
    max_entries: u32,
}

impl ProgArray {
    pub(super) fn new(spec: &MapSpec) -> Self {
        Self { programs: RwLock::default(), max_entries: spec.max_entries }
    }

    pub(super) fn set(&self, index: u32, program: Arc<Program>, flags: u64) -> Result<(), Errno> {
        let index = slot(&index.to_ne_bytes(), flags, self.max_entries)?;
        write(&self.programs).insert(index, program);
        Ok(())
    }

    pub(crate) fn get(&self, index: u32) -> Option<Arc<Program>> {
        read(&self.programs).get(&index).cloned()
    }
}

impl Elements for ProgArray {
    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_below(key, self.max_entries).ok_or(Errno::E2BIG)?;
        write(&self.programs).remove(&index).map(drop).ok_or(Errno::ENOENT)
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        let index = index_below(key, self.max_entries).ok_or(Errno::ENOENT)?;
        let id = read(&self.programs).get(&index).map(|program| program.info().id);
        value.copy_from_slice(&id.ok_or(Errno::ENOENT)?.to_ne_bytes());
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max_entries, next)
    }
}

/// Control groups by index, as ids.
pub struct CgroupArray {
    ids: RwLock<BTreeMap<u32, u64>>,
    max_entries: u32,
}

impl CgroupArray {
    pub(super) fn new(spec: &MapSpec) -> Self {
        Self { ids: RwLock::default(), max_entries: spec.max_entries }
    }

    pub(super) fn set(&self, index: u32, id: u64, flags: u64) -> Result<(), Errno> {
        let index = slot(&index.to_ne_bytes(), flags, self.max_entries)?;
        write(&self.ids).insert(index, id);
        Ok(())
    }

    /// The group at an index: `E2BIG` behind the end, `EAGAIN` where there is none.
    pub(crate) fn get(&self, index: u32) -> Result<u64, Errno> {
        if index >= self.max_entries {
            return Err(Errno::E2BIG);
        }
        read(&self.ids).get(&index).copied().ok_or(Errno::EAGAIN)
    }
}

impl Elements for CgroupArray {
    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_below(key, self.max_entries).ok_or(Errno::E2BIG)?;
        write(&self.ids).remove(&index).map(drop).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max_entries, next)
    }
}

/// Maps by index.
pub(super) struct ArrayOfMaps {
    maps: RwLock<BTreeMap<u32, Arc<Map>>>,
    max_entries: u32,
}

impl ArrayOfMaps {
    pub(super) fn new(spec: &MapSpec) -> Self {
        Self { maps: RwLock::default(), max_entries: spec.max_entries }
    }

    pub(super) fn set(&self, key: &[u8], inner: Arc<Map>, flags: u64) -> Result<(), Errno> {
        let index = slot(key, flags, self.max_entries)?;
        write(&self.maps).insert(index, inner);
        Ok(())
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Map>> {
        read(&self.maps).get(&index_below(key, self.max_entries)?).cloned()
    }
}

impl Elements for ArrayOfMaps {
    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_below(key, self.max_entries).ok_or(Errno::E2BIG)?;
        write(&self.maps).remove(&index).map(drop).ok_or(Errno::ENOENT)
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        value.copy_from_slice(&self.get(key).ok_or(Errno::ENOENT)?.spec().id.to_ne_bytes());
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max_entries, next)
    }

    fn batch_cursor(&self) -> BatchCursor {
        BatchCursor::Key { delete: false }
    }
}

/// Maps by key.
pub(super) struct HashOfMaps {
    maps: RwLock<BTreeMap<Box<[u8]>, Arc<Map>>>,
    max_entries: usize,
}

impl HashOfMaps {
    pub(super) fn new(spec: &MapSpec) -> Self {
        Self { maps: RwLock::default(), max_entries: spec.max_entries as usize }
    }

    pub(super) fn set(&self, key: &[u8], inner: Arc<Map>, flags: u64) -> Result<(), Errno> {
        let mut maps = write(&self.maps);
        match (flags, maps.contains_key(key)) {
            (update::NOEXIST, true) => Err(Errno::EEXIST),
            (update::EXIST, false) => Err(Errno::ENOENT),
            (update::ANY | update::NOEXIST, false) if maps.len() == self.max_entries => Err(Errno::E2BIG),
            (update::ANY | update::NOEXIST | update::EXIST, _) => {
                maps.insert(key.into(), inner);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Map>> {
        read(&self.maps).get(key).cloned()
    }
}

impl Elements for HashOfMaps {
    fn counted(&self) -> u32 {
        read(&self.maps).len() as u32
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        write(&self.maps).remove(key).map(drop).ok_or(Errno::ENOENT)
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        value.copy_from_slice(&self.get(key).ok_or(Errno::ENOENT)?.spec().id.to_ne_bytes());
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let maps = read(&self.maps);
        let following = match key.filter(|key| maps.contains_key(*key)) {
            Some(key) => maps.keys().find(|other| &***other > key),
            None => maps.keys().next(),
        };
        next.copy_from_slice(following.ok_or(Errno::ENOENT)?);
        Ok(())
    }

    fn batch_cursor(&self) -> BatchCursor {
        BatchCursor::Bucket
    }

    fn take_bucket(
        &self,
        bucket: u32,
        room: usize,
        delete: bool,
        out: &mut (Vec<u8>, Vec<u8>),
    ) -> Option<Result<usize, Errno>> {
        if bucket >= BUCKETS {
            return None;
        }
        let mut maps = write(&self.maps);
        let keys: Vec<_> = maps.keys().filter(|key| bucket_of(key) == bucket).cloned().collect();
        if keys.len() > room {
            return Some(Err(Errno::ENOSPC));
        }
        for key in &keys {
            let id = maps.get(key).map_or(0, |map| map.spec().id);
            out.0.extend_from_slice(key);
            out.1.extend_from_slice(&id.to_ne_bytes());
            if delete {
                maps.remove(key);
            }
        }
        Some(Ok(keys.len()))
    }
}

/// Parts that batches go by: a batch has all elements of a part, or none.
const BUCKETS: u32 = 256;

fn bucket_of(key: &[u8]) -> u32 {
    key.iter().fold(0u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)) >> 16
        & (BUCKETS - 1)
}

/// May a map take the template's place (`bpf_map_meta_equal`)? Arrays must have its length too, unless they say otherwise.
pub(super) fn fits(template: &Map, map: &Map) -> bool {
    let (t, m) = (template.spec(), map.spec());
    let same_length = match t.map_type {
        MapType::ARRAY | MapType::PERCPU_ARRAY => {
            t.map_flags & flags::INNER_MAP != 0 || t.max_entries == m.max_entries
        }
        _ => true,
    };
    let shape = |spec: &MapSpec| (spec.map_type, spec.key_size, spec.value_size, spec.map_flags);
    same_length && shape(t) == shape(m)
}

/// What Linux looks at before it looks at the new element of an array; answers the index.
pub(super) fn slot(key: &[u8], flags: u64, max_entries: u32) -> Result<u32, Errno> {
    if flags != update::ANY {
        return Err(Errno::EINVAL);
    }
    index_below(key, max_entries).ok_or(Errno::E2BIG)
}

pub(super) fn index_below(key: &[u8], max_entries: u32) -> Option<u32> {
    Some(u32::from_ne_bytes(*key.first_chunk()?)).filter(|index| *index < max_entries)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
