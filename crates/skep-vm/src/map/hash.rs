//! Hash tables: plain, per-CPU and least-recently-used (`kernel/bpf/hashtab.c`).
//!
//! Look-ups take no lock. Elements have numbers; each bucket is a chain of them, and the end of a chain names its bucket.
//! A reader that was carried into another chain, because an element was removed and used again while it stood on it,
//! notices the wrong name at the end and starts again (the kernel's "nulls" lists). Changes hold the lock of the bucket.
//!
//! An update puts a new element in front of the old one instead of overwriting it, so a reader finds one or the other and
//! a program's pointer to the old value stays what it was until the element is used again. Only the value of one
//! processor is changed in place, in per-CPU tables.
//!
//! An LRU table that is full gives up an element that has not been looked up lately: a hand goes round over the elements,
//! takes their mark away, and stops at one that has none (the "clock" algorithm; the kernel's lists are as approximate).

mod table;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_isa::uapi::MapType;

use super::lock::Copier;
use super::{BatchCursor, Elements, Entry, MapSpec, flags, update};
use crate::Errno;
use crate::memory::{Arena, Window};
use crate::timer::Timers;

use table::{Id, Table};

/// Locks; buckets share them. Each lock may have one element more in use, the one that replaces another.
const LOCKS: usize = 64;

pub(super) struct Hash {
    table: Table,
    values: Arc<Arena>,
    locks: Box<[Mutex<()>]>,
    count: AtomicU32,
    hand: AtomicU32,
    max_entries: u32,
    value_size: usize,
    stride: usize,
    cpus: usize,
    percpu: bool,
    lru: bool,
    copier: Copier,
}

impl Hash {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let percpu = spec.is_percpu();
        let cpus = if percpu { spec.cpus as usize } else { 1 };
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        let elements = spec.max_entries as usize + LOCKS;
        let bytes = elements.checked_mul(cpus).and_then(|n| n.checked_mul(stride)).ok_or(Errno::ENOMEM)?;
        let seed = if spec.map_flags & flags::ZERO_SEED != 0 { 0 } else { crate::random::next().into() };
        Ok(Self {
            table: Table::new(spec.max_entries, elements, spec.key_size as usize, seed)?,
            values: Arc::new(Arena::new(bytes)?),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            count: AtomicU32::new(0),
            hand: AtomicU32::new(0),
            max_entries: spec.max_entries,
            value_size,
            stride,
            cpus,
            percpu,
            lru: matches!(spec.map_type, MapType::LRU_HASH | MapType::LRU_PERCPU_HASH),
            copier: Copier::new(spec),
        })
    }

    fn lock(&self, bucket: u32) -> MutexGuard<'_, ()> {
        self.locks[bucket as usize % LOCKS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, id: Id, cpu: usize) -> usize {
        (id.index() * self.cpus + cpu) * self.stride
    }

    /// What flags say about an element that is there or not (`check_flags`).
    fn permits(old: Option<Id>, flags: u64) -> Result<(), Errno> {
        match (old, flags & !update::LOCK) {
            (Some(_), update::NOEXIST) => Err(Errno::EEXIST),
            (None, update::EXIST) => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    fn check_flags(&self, flags: u64) -> Result<(), Errno> {
        let lockable = !self.percpu && !self.lru;
        let known = if lockable { flags & !update::LOCK } else { flags };
        if known > update::EXIST { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Makes or replaces an element; `fill` writes its value. With `in_place`, an existing one is filled instead, `fill`
    /// being told that it is not new.
    fn insert(&self, key: &[u8], flags: u64, in_place: bool, fill: impl Fn(Id, bool)) -> Result<(), Errno> {
        self.check_flags(flags)?;
        let hash = self.table.hash(key);
        if self.lru {
            self.make_room(key, hash);
        }
        let _locked = self.lock(self.table.bucket(hash));
        let old = self.table.find(key, hash);
        Self::permits(old, flags)?;
        if let Some(old) = old.filter(|_| in_place) {
            fill(old, false);
            return Ok(());
        }
        if old.is_none() && self.count.fetch_add(1, Ordering::Relaxed) >= self.max_entries && !self.lru {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::E2BIG);
        }
        let Some(new) = self.table.allocate() else {
            self.count.fetch_sub(u32::from(old.is_none()), Ordering::Relaxed);
            return Err(if self.lru { Errno::ENOMEM } else { Errno::E2BIG });
        };
        fill(new, true);
        self.table.link(new, key, hash);
        if let Some(old) = old {
            self.table.mark_used(new);
            self.table.unlink(old, hash);
            self.discard(old);
        }
        Ok(())
    }

    /// Evicts elements of a full LRU table until one more fits, unless the key is there already.
    fn make_room(&self, key: &[u8], hash: u32) {
        let full = || self.count.load(Ordering::Relaxed) >= self.max_entries;
        while full() && self.table.find(key, hash).is_none() && self.evict() {}
    }

    /// Removes an element that was not looked up since the hand came by. Two rounds always find one, if there is any.
    fn evict(&self) -> bool {
        let elements = self.table.touched();
        for _ in 0..2 * u64::from(elements) {
            let id = Id::new(self.hand.fetch_add(1, Ordering::Relaxed) % elements);
            let Some(hash) = self.table.unused_hash(id) else { continue };
            let _locked = self.lock(self.table.bucket(hash));
            if self.table.unlink(id, hash) {
                self.count.fetch_sub(1, Ordering::Relaxed);
                self.discard(id);
                return true;
            }
        }
        false
    }

    /// Removes an element after `with` has seen it.
    fn remove(&self, key: &[u8], with: impl FnOnce(Id)) -> Result<(), Errno> {
        let hash = self.table.hash(key);
        let _locked = self.lock(self.table.bucket(hash));
        let id = self.table.find(key, hash).ok_or(Errno::ENOENT)?;
        with(id);
        self.table.unlink(id, hash);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.discard(id);
        Ok(())
    }

    /// Makes an element free for another one; what its value holds ends.
    fn discard(&self, id: Id) {
        if !self.percpu {
            self.copier.give_up(&self.values, self.slot(id, 0));
        }
        self.table.free(id);
    }

    /// Copies an element's value out, of all processors.
    fn copy_out(&self, id: Id, value: &mut [u8], flags: u64) {
        if self.percpu {
            self.values.read(self.slot(id, 0), value);
        } else {
            self.copier.read(&self.values, self.slot(id, 0), value, flags & update::LOCK != 0);
        }
    }
}

impl Elements for Hash {
    fn windows(&self) -> Vec<Window> {
        let slots = self.table.elements() * self.cpus;
        let values = Window::cells(&self.values, 0, slots, self.stride, self.value_size);
        vec![values, self.table.key_window()]
    }

    #[inline]
    fn addr(&self, key: &[u8], cpu: u32) -> Option<u64> {
        let id = self.table.find(key, self.table.hash(key))?;
        if self.lru {
            self.table.mark_used(id);
        }
        let cpu = if self.percpu { cpu as usize } else { 0 };
        (cpu < self.cpus).then(|| self.values.base() + self.slot(id, cpu) as u64)
    }

    fn put(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        if !self.percpu {
            return self.write(key, value, flags);
        }
        let cpu = cpu as usize % self.cpus;
        self.insert(key, flags, true, |id, new| {
            if new {
                self.values.zero(self.slot(id, 0), self.cpus * self.stride);
            }
            self.values.write(self.slot(id, cpu), value);
        })
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.remove(key, |_| ())
    }

    fn read(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let id = self.table.find(key, self.table.hash(key)).ok_or(Errno::ENOENT)?;
        self.copy_out(id, value, flags);
        Ok(())
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if self.percpu {
            return self.insert(key, flags, true, |id, _| self.values.write(self.slot(id, 0), value));
        }
        let locked = flags & update::LOCK != 0;
        self.insert(key, flags, locked, |id, new| {
            self.copier.write(&self.values, self.slot(id, 0), value, locked && !new);
        })
    }

    fn take(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.remove(key, |id| self.copy_out(id, value, flags))
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let here = key.and_then(|key| {
            let hash = self.table.hash(key);
            Some((self.table.find(key, hash)?, self.table.bucket(hash)))
        });
        let following = match here {
            Some((id, bucket)) => self.table.after(id).or_else(|| self.table.first_from(bucket + 1)),
            None => self.table.first_from(0),
        };
        self.table.read_key(following.ok_or(Errno::ENOENT)?, next);
        Ok(())
    }

    fn walk(&self, part: u32, cpu: u32, out: &mut Vec<Entry>) -> Option<bool> {
        if part >= self.table.buckets() {
            return Some(false);
        }
        if self.table.is_empty(part) {
            return Some(true);
        }
        let cpu = if self.percpu { cpu as usize % self.cpus } else { 0 };
        let _locked = self.lock(part);
        out.extend(self.table.chain(part).map(|id| Entry::Keyed {
            key: self.table.key_addr(id),
            value: self.values.base() + self.slot(id, cpu) as u64,
        }));
        Some(true)
    }

    fn entry_at(&self, addr: u64) -> Option<Entry> {
        let each = (self.stride * self.cpus).max(1);
        let off = usize::try_from(addr.checked_sub(self.values.base())?).ok()?;
        let id = u32::try_from(off / each).ok().filter(|id| (*id as usize) < self.table.elements())?;
        let value = self.values.base() + (id as usize * each) as u64;
        Some(Entry::Keyed { key: self.table.key_addr(Id::new(id)), value })
    }

    fn timers(&self) -> Option<&Timers> {
        self.copier.timers()
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
        if bucket >= self.table.buckets() {
            return None;
        }
        if self.table.is_empty(bucket) {
            return Some(Ok(0));
        }
        let _locked = self.lock(bucket);
        let ids: Vec<Id> = self.table.chain(bucket).collect();
        if ids.len() > room {
            return Some(Err(Errno::ENOSPC));
        }
        let mut key = vec![0; self.table.key_size()];
        let mut value = vec![0; if self.percpu { self.stride * self.cpus } else { self.value_size }];
        for id in &ids {
            self.table.read_key(*id, &mut key);
            self.copy_out(*id, &mut value, 0);
            out.0.extend_from_slice(&key);
            out.1.extend_from_slice(&value);
            if delete {
                self.table.unlink(*id, self.table.hash(&key));
                self.count.fetch_sub(1, Ordering::Relaxed);
                self.discard(*id);
            }
        }
        Some(Ok(ids.len()))
    }
}
