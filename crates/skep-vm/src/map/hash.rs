//! Hash tables: plain, per-CPU and least-recently-used (`kernel/bpf/hashtab.c`).
//!
//! Look-ups take no lock. Elements have numbers; each bucket is a chain of them, and the end of a chain names its bucket.
//! A reader that was carried into another chain, because an element was removed and used again while it stood on it,
//! notices the wrong name at the end and starts again (the kernel's "nulls" lists). Changes hold the lock of the bucket.
//!
//! An update puts a new element in the place of the old one instead of overwriting it, so a reader finds one or the other and
//! a program's pointer to the old value stays what it was until the element is used again. Only the value of one
//! processor is changed in place, in per-CPU tables. The element that was replaced stays with the lock, for the next
//! update under it: threads do not meet at one list of free elements.
//!
//! An LRU table that is full gives up an element that has not been looked up lately: a hand goes round over the elements,
//! takes their mark away, and stops at one that has none (the "clock" algorithm; the kernel's lists are as approximate).
//! Large tables have several hands, each for a part of the elements, so that threads do not meet there either.

mod table;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use skep_isa::uapi::MapType;

use super::lock::Copier;
use super::{BatchCursor, Elements, Entry, MapSpec, flags, update};
use crate::Errno;
use crate::memory::Window;
use crate::timer::Timers;

use table::{Id, Table};

/// Locks; buckets share them.
const LOCKS: usize = 64;

/// Elements that one hand of an LRU table goes over, at least.
const PER_HAND: u32 = 256;

pub(super) struct Hash {
    table: Table,
    locks: Box<[Lock]>,
    count: AtomicU32,
    max_entries: u32,
    value_size: usize,
    stride: usize,
    cpus: usize,
    percpu: bool,
    lru: bool,
    hands: Box<[Hand]>,
    copier: Copier,
}

/// A lock, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Lock(Mutex<Own>);

/// What belongs to a lock.
#[derive(Default)]
struct Own {
    /// An element to use next. There are so many more elements than a table may have entries, one for each lock.
    spare: Option<Id>,
}

/// Where a hand of an LRU table is, in its part of the elements. Threads that move it at a time may make the same step.
#[derive(Default)]
#[repr(align(64))]
struct Hand(AtomicU32);

impl Hash {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let percpu = spec.is_percpu();
        let cpus = if percpu { spec.cpus as usize } else { 1 };
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        let elements = spec.max_entries as usize + LOCKS;
        let bytes = cpus.checked_mul(stride).ok_or(Errno::ENOMEM)?;
        let seed = if spec.map_flags & flags::ZERO_SEED != 0 { 0 } else { crate::random::next().into() };
        Ok(Self {
            table: Table::new(spec.max_entries, elements, spec.key_size as usize, bytes, seed)?,
            locks: (0..LOCKS).map(|_| Lock::default()).collect(),
            count: AtomicU32::new(0),
            max_entries: spec.max_entries,
            value_size,
            stride,
            cpus,
            percpu,
            lru: matches!(spec.map_type, MapType::LRU_HASH | MapType::LRU_PERCPU_HASH),
            hands: (0..(spec.max_entries / PER_HAND).clamp(1, LOCKS as u32))
                .map(|_| Hand::default())
                .collect(),
            copier: Copier::new(spec),
        })
    }

    #[inline]
    fn lock(&self, bucket: u32) -> MutexGuard<'_, Own> {
        self.locks[bucket as usize % LOCKS].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline(always)]
    fn find(&self, key: &[u8]) -> Option<Id> {
        self.table.find(key, self.table.hash(key))
    }

    fn slot(&self, id: Id, cpu: usize) -> usize {
        self.table.value_off(id) + cpu * self.stride
    }

    /// What flags say about an element that is there or not (`check_flags`).
    fn permits(exists: bool, flags: u64) -> Result<(), Errno> {
        match (exists, flags & !update::LOCK) {
            (true, update::NOEXIST) => Err(Errno::EEXIST),
            (false, update::EXIST) => Err(Errno::ENOENT),
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
    #[inline(always)]
    fn insert(&self, key: &[u8], flags: u64, in_place: bool, fill: impl Fn(Id, bool)) -> Result<(), Errno> {
        self.check_flags(flags)?;
        let hash = self.table.hash(key);
        let bucket = self.table.bucket(hash);
        let mut own = self.lock(bucket);
        let old = self.table.place(key, hash);
        Self::permits(old.is_some(), flags)?;
        let Some(old) = old else {
            let new = self.enter(bucket, &mut own)?;
            fill(new, true);
            self.table.link(new, key, hash);
            return Ok(());
        };
        if in_place {
            fill(old.id, false);
            return Ok(());
        }
        let new = own.spare.take().or_else(|| self.table.allocate()).ok_or(Errno::ENOMEM)?;
        fill(new, true);
        self.table.replace(&old, new, key, hash);
        self.free(old.id, &mut own);
        Ok(())
    }

    /// An element for a new entry of a bucket, whose lock the caller holds.
    fn enter(&self, bucket: u32, own: &mut Own) -> Result<Id, Errno> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max_entries {
            self.count.fetch_sub(1, Ordering::Relaxed);
            // Evicting an entry makes its element a spare one, and leaves the count to this one.
            let evicted = self.lru.then(|| self.evict(bucket)).flatten();
            return evicted.inspect(|id| self.give_up(*id)).ok_or(if self.lru {
                Errno::ENOMEM
            } else {
                Errno::E2BIG
            });
        }
        let new = own.spare.take().or_else(|| self.table.allocate());
        new.ok_or_else(|| {
            self.count.fetch_sub(1, Ordering::Relaxed);
            Errno::ENOMEM
        })
    }

    /// Keeps an unlinked element for the next use under this lock, or gives it to all. What its value holds ends.
    #[inline]
    fn free(&self, id: Id, own: &mut Own) {
        if !self.copier.copies_all() {
            self.give_up(id);
        }
        if own.spare.is_none() {
            own.spare = Some(id);
        } else {
            self.table.free(id);
        }
    }

    fn give_up(&self, id: Id) {
        if !self.percpu || self.copier.owns() {
            for cpu in 0..self.cpus {
                self.copier.give_up(self.table.memory(), self.slot(id, cpu));
            }
        }
    }

    /// Unlinks an element that was not looked up since a hand came by; the caller holds the lock of `bucket`. Two rounds over
    /// all elements always find one, if other threads do not hold the locks of all of them.
    fn evict(&self, bucket: u32) -> Option<Id> {
        let elements = self.table.touched();
        let part = elements.div_ceil(self.hands.len() as u32);
        let which = bucket % self.hands.len() as u32;
        let hand = &self.hands[which as usize].0;
        let in_part = (0..2 * part).map(|_| {
            let step = hand.load(Ordering::Relaxed).wrapping_add(1);
            hand.store(step, Ordering::Relaxed);
            which * part + step % part
        });
        let everywhere = (0..2 * u64::from(elements)).map(|step| (step % u64::from(elements)) as u32);
        in_part
            .chain(everywhere)
            .filter(|index| *index < elements)
            .find_map(|index| self.evict_one(Id::new(index), bucket))
    }

    /// Unlinks this element, unless it was looked up, or its lock is taken: two threads that wait for each other's would wait
    /// for ever.
    fn evict_one(&self, id: Id, locked: u32) -> Option<Id> {
        let hash = self.table.unused_hash(id)?;
        let bucket = self.table.bucket(hash);
        if bucket as usize % LOCKS == locked as usize % LOCKS {
            return self.table.unlink(id, hash).then_some(id);
        }
        let _own = match self.locks[bucket as usize % LOCKS].0.try_lock() {
            Ok(own) => own,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.table.unlink(id, hash).then_some(id)
    }

    /// Makes or replaces the element of a table with one value for all processors.
    #[inline(always)]
    fn write_one(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let locked = flags & update::LOCK != 0;
        self.insert(key, flags, locked, |id, new| {
            self.copier.write(self.table.memory(), self.slot(id, 0), value, locked && !new);
        })
    }

    /// Makes or changes an element as a program does: a value of its processor, where there are several.
    #[inline(always)]
    fn put_sized(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        if !self.percpu {
            return self.write_one(key, value, flags);
        }
        let cpu = cpu as usize % self.cpus;
        self.insert(key, flags, true, |id, new| {
            if new {
                self.table.memory().zero(self.slot(id, 0), self.cpus * self.stride);
            }
            self.table.memory().write(self.slot(id, cpu), value);
        })
    }

    /// Removes an element after `with` has seen it.
    fn remove(&self, key: &[u8], with: impl FnOnce(Id)) -> Result<(), Errno> {
        let hash = self.table.hash(key);
        let mut own = self.lock(self.table.bucket(hash));
        let place = self.table.place(key, hash).ok_or(Errno::ENOENT)?;
        with(place.id);
        self.table.leave_out(&place);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.free(place.id, &mut own);
        Ok(())
    }

    /// Copies an element's value out, of all processors.
    fn copy_out(&self, id: Id, value: &mut [u8], flags: u64) {
        if self.percpu {
            self.table.memory().read(self.slot(id, 0), value);
        } else {
            self.copier.read(self.table.memory(), self.slot(id, 0), value, flags & update::LOCK != 0);
        }
    }
}

/// What values own lives no longer than they do.
impl Drop for Hash {
    fn drop(&mut self) {
        if self.copier.owns() {
            for bucket in 0..self.table.buckets() {
                self.table.chain(bucket).for_each(|id| self.give_up(id));
            }
        }
    }
}

impl Elements for Hash {
    fn counted(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    fn windows(&self) -> Vec<Window> {
        vec![self.table.window(self.cpus, self.stride, self.value_size)]
    }

    #[inline]
    fn addr(&self, key: &[u8], cpu: u32) -> Option<u64> {
        // For keys of these sizes, which most have, hashing and comparing become a few instructions.
        let id = match key.len() {
            4 => self.find(&key[..4]),
            8 => self.find(&key[..8]),
            _ => self.find(key),
        }?;
        if self.lru {
            self.table.mark_used(id);
        }
        let cpu = if self.percpu { cpu as usize } else { 0 };
        (cpu < self.cpus).then(|| self.table.memory().base() + self.slot(id, cpu) as u64)
    }

    fn put(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        // As in `addr`.
        match (key.len(), value.len()) {
            (4, 8) => self.put_sized(&key[..4], &value[..8], flags, cpu),
            (8, 8) => self.put_sized(&key[..8], &value[..8], flags, cpu),
            _ => self.put_sized(key, value, flags, cpu),
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.remove(key, |_| ())
    }

    fn read(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let id = self.find(key).ok_or(Errno::ENOENT)?;
        self.copy_out(id, value, flags);
        Ok(())
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if self.percpu {
            let write = |id, _| self.table.memory().write(self.slot(id, 0), value);
            return self.insert(key, flags, true, write);
        }
        self.write_one(key, value, flags)
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
            value: self.table.memory().base() + self.slot(id, cpu) as u64,
        }));
        Some(true)
    }

    fn entry_at(&self, addr: u64) -> Option<Entry> {
        let id = self.table.at(addr)?;
        let value = self.table.memory().base() + self.slot(id, 0) as u64;
        Some(Entry::Keyed { key: self.table.key_addr(id), value })
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
        let mut own = self.lock(bucket);
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
                self.free(*id, &mut own);
            }
        }
        Some(Ok(ids.len()))
    }
}
