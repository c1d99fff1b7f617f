//! Maps of places that packets are redirected to: devices, processors' queues, sockets (`kernel/bpf/devmap.c`, `kernel/bpf/cpumap.c`,
//! `net/xdp/xskmap.c`, `net/core/sock_map.c`).
//!
//! An element is two numbers: a device or the length of a queue, and a program that runs on what arrives. Whether a device
//! exists is for the runtime to say, and programs come as ids; sockets have no place in user space, so maps of them stay
//! empty and answer as empty ones do.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use skep_isa::uapi::MapType;

use super::array::{index_of, next_index};
use super::{Elements, MapSpec, update};
use crate::Errno;
use crate::memory::{Arena, Window};

/// Longest queue of a processor.
const MAX_QUEUE: u32 = 16384;

/// Bytes of an element: two numbers.
const STRIDE: usize = 8;

/// Such a map.
pub(crate) struct Targets {
    map_type: MapType,
    max_entries: u32,
    value_size: usize,
    cpus: u32,
    /// What programs see of the elements.
    values: Arc<Arena>,
    /// The slot of each element there is.
    slots: RwLock<Slots>,
}

#[derive(Default)]
struct Slots {
    by_key: BTreeMap<u32, u32>,
    free: Vec<u32>,
}

impl Targets {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let bytes = (spec.max_entries as usize).checked_mul(STRIDE).ok_or(Errno::ENOMEM)?;
        Ok(Self {
            map_type: spec.map_type,
            max_entries: spec.max_entries,
            value_size: spec.value_size as usize,
            cpus: spec.cpus,
            values: Arc::new(Arena::new(bytes)?),
            slots: RwLock::default(),
        })
    }

    fn read_slots(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_slots(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_hash(&self) -> bool {
        self.map_type == MapType::DEVMAP_HASH
    }

    /// What is stored at a key: a device's number, a queue's length.
    pub(crate) fn get(&self, key: u32) -> Option<u32> {
        let slot = *self.read_slots().by_key.get(&key)?;
        let mut bytes = [0; 4];
        self.values.read(slot as usize * STRIDE, &mut bytes);
        Some(u32::from_ne_bytes(bytes))
    }

    /// Flags that `bpf_redirect_map` may be given beside the verdict of a missing element.
    pub(crate) fn redirect_flags(&self) -> u64 {
        const BROADCAST: u64 = 1 << 3;
        const EXCLUDE_INGRESS: u64 = 1 << 4;
        match self.map_type {
            MapType::DEVMAP | MapType::DEVMAP_HASH => BROADCAST | EXCLUDE_INGRESS,
            _ => 0,
        }
    }

    /// May this element be written? Nothing to store means removal in the maps that are arrays.
    fn check(&self, key: u32, first: u32, flags: u64) -> Result<(), Errno> {
        match self.map_type {
            // Descriptors of sockets are looked at first.
            MapType::SOCKMAP => Err(Errno::EOPNOTSUPP),
            _ if flags > update::EXIST => Err(Errno::EINVAL),
            MapType::DEVMAP_HASH if first == 0 => Err(Errno::EINVAL),
            MapType::DEVMAP_HASH => self.check_hash(key, flags),
            _ if key >= self.max_entries => Err(Errno::E2BIG),
            MapType::XSKMAP => Err(Errno::EOPNOTSUPP),
            _ if flags == update::NOEXIST => Err(Errno::EEXIST),
            MapType::CPUMAP if first > MAX_QUEUE => Err(Errno::EOVERFLOW),
            MapType::CPUMAP if key >= self.cpus => Err(Errno::ENODEV),
            _ => Ok(()),
        }
    }

    fn check_hash(&self, key: u32, flags: u64) -> Result<(), Errno> {
        let slots = self.read_slots();
        let exists = slots.by_key.contains_key(&key);
        match (exists, flags) {
            (true, update::NOEXIST) => Err(Errno::EEXIST),
            (false, _) if slots.by_key.len() >= self.max_entries as usize => Err(Errno::E2BIG),
            _ => Ok(()),
        }
    }

    fn store(&self, key: u32, words: [u32; 2]) {
        let mut slots = self.write_slots();
        let known = slots.by_key.get(&key).copied();
        let slot = match (known, self.is_hash()) {
            (Some(slot), _) => slot,
            (None, false) => key,
            (None, true) => slots.free.pop().unwrap_or(slots.by_key.len() as u32),
        };
        self.values.write(slot as usize * STRIDE, words.map(u32::to_ne_bytes).as_flattened());
        slots.by_key.insert(key, slot);
    }

    fn remove(&self, key: u32) -> Option<()> {
        let mut slots = self.write_slots();
        let slot = slots.by_key.remove(&key)?;
        if self.is_hash() {
            slots.free.push(slot);
        }
        Some(())
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

impl Elements for Targets {
    fn windows(&self) -> Vec<Window> {
        let count = self.max_entries as usize;
        vec![Window::cells(&self.values, 0, count, STRIDE, self.value_size.min(STRIDE)).read_only()]
    }

    fn addr(&self, key: &[u8], _cpu: u32) -> Option<u64> {
        let slot = *self.read_slots().by_key.get(&index_of(key)?)?;
        Some(self.values.base() + u64::from(slot) * STRIDE as u64)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let key = index_of(key).ok_or(Errno::EINVAL)?;
        match (self.is_hash(), self.remove(key)) {
            (_, None) if self.map_type == MapType::SOCKMAP => Err(Errno::EINVAL),
            (true, None) => Err(Errno::ENOENT),
            (false, _) if key >= self.max_entries => Err(Errno::EINVAL),
            _ => Ok(()),
        }
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        match self.map_type {
            MapType::XSKMAP => return Err(Errno::EOPNOTSUPP),
            // Reading gives cookies, which need eight bytes.
            MapType::SOCKMAP if value.len() != STRIDE => return Err(Errno::ENOSPC),
            _ => {}
        }
        let slots = self.read_slots();
        let slot = index_of(key).and_then(|key| slots.by_key.get(&key)).ok_or(Errno::ENOENT)?;
        self.values.read(*slot as usize * STRIDE, value);
        Ok(())
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let key = index_of(key).ok_or(Errno::EINVAL)?;
        let words = [word(value, 0), word(value, 4)];
        self.check(key, words[0], flags)?;
        if words[0] == 0 {
            self.remove(key);
        } else {
            self.store(key, words);
        }
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if !self.is_hash() {
            return next_index(key, self.max_entries, next);
        }
        let slots = self.read_slots();
        let known = key.and_then(index_of).filter(|key| slots.by_key.contains_key(key));
        let mut after = match known {
            Some(key) => slots.by_key.range(key.saturating_add(1)..),
            None => slots.by_key.range(..),
        };
        let (key, _) = after.next().filter(|(next, _)| Some(**next) != known).ok_or(Errno::ENOENT)?;
        next.copy_from_slice(&key.to_ne_bytes());
        Ok(())
    }
}
