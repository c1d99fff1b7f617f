//! Arrays and per-CPU arrays (`kernel/bpf/arraymap.c`): all elements exist from the beginning, as zeros.

use std::sync::Arc;

use super::lock::Copier;
use super::{BatchCursor, Elements, Entry, MapSpec, update};
use crate::Errno;
use crate::memory::{Arena, Window};
use crate::timer::Timers;

/// The values of one element lie side by side, one for each processor.
pub(super) struct Array {
    values: Arc<Arena>,
    max_entries: u32,
    value_size: usize,
    /// Bytes from one processor's value to the next.
    stride: usize,
    cpus: usize,
    percpu: bool,
    copier: Copier,
}

/// Where the elements of an array lie: one behind the other, each with a value for every processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) base: u64,
    /// From one value to the next.
    pub(crate) stride: usize,
    pub(crate) entries: u32,
    /// How many values an element has; nothing where it has one for all processors.
    pub(crate) cpus: Option<u32>,
}

impl Array {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let percpu = spec.is_percpu();
        let cpus = if percpu { spec.cpus as usize } else { 1 };
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        let slots = (spec.max_entries as usize).checked_mul(cpus).ok_or(Errno::ENOMEM)?;
        let values = Arc::new(Arena::new(slots.checked_mul(stride).ok_or(Errno::ENOMEM)?)?);
        let copier = Copier::new(spec);
        Ok(Self { values, max_entries: spec.max_entries, value_size, stride, cpus, percpu, copier })
    }

    /// Offset of the value of an index and a processor.
    #[inline]
    fn slot(&self, key: &[u8], cpu: u32) -> Option<usize> {
        let index = index_of(key)?;
        if index >= self.max_entries {
            return None;
        }
        let cpu = if self.percpu { cpu as usize } else { 0 };
        (cpu < self.cpus).then(|| (index as usize * self.cpus + cpu) * self.stride)
    }

    /// Where elements lie.
    pub(super) fn layout(&self) -> Layout {
        let cpus = self.percpu.then_some(self.cpus as u32);
        Layout { base: self.values.base(), stride: self.stride, entries: self.max_entries, cpus }
    }

    /// Has it one value of four or eight bytes for all processors, in which nothing is special?
    pub(super) fn is_of_words(&self) -> bool {
        !self.percpu && matches!(self.value_size, 4 | 8) && self.copier.copies_all()
    }

    pub(super) fn memory(&self) -> &Arc<Arena> {
        &self.values
    }

    /// Address of byte `off` of the first value, for maps of global data.
    pub(super) fn direct_value(&self, off: u32) -> Option<u64> {
        let whole = self.max_entries as usize * self.stride;
        let allowed = !self.percpu && self.max_entries == 1 && (off as usize) < whole.min(self.value_size);
        allowed.then(|| self.values.base() + u64::from(off))
    }

    fn check_update(&self, key: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & !update::LOCK > update::EXIST || (self.percpu && flags & update::LOCK != 0) {
            return Err(Errno::EINVAL);
        }
        if index_of(key).is_none_or(|index| index >= self.max_entries) {
            return Err(Errno::E2BIG);
        }
        if flags & update::NOEXIST != 0 { Err(Errno::EEXIST) } else { Ok(()) }
    }
}

pub(super) fn index_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*key.first_chunk()?))
}

/// What values own lives no longer than they do.
impl Drop for Array {
    fn drop(&mut self) {
        if self.copier.owns() {
            let values = self.max_entries as usize * self.cpus;
            (0..values).for_each(|n| self.copier.give_up(&self.values, n * self.stride));
        }
    }
}

impl Elements for Array {
    fn windows(&self) -> Vec<Window> {
        let count = self.max_entries as usize * self.cpus;
        vec![Window::cells(&self.values, 0, count, self.stride, self.value_size)]
    }

    #[inline]
    fn addr(&self, key: &[u8], cpu: u32) -> Option<u64> {
        Some(self.values.base() + self.slot(key, cpu)? as u64)
    }

    fn put(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        self.check_update(key, flags)?;
        let slot = self.slot(key, cpu).ok_or(Errno::E2BIG)?;
        self.copier.write(&self.values, slot, value, flags & update::LOCK != 0);
        self.copier.give_up(&self.values, slot);
        Ok(())
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn read(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let slot = self.slot(key, 0).ok_or(Errno::ENOENT)?;
        if self.percpu {
            self.values.read(slot, value);
        } else {
            self.copier.read(&self.values, slot, value, flags & update::LOCK != 0);
        }
        Ok(())
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check_update(key, flags)?;
        let slot = self.slot(key, 0).ok_or(Errno::E2BIG)?;
        if self.percpu {
            self.values.write(slot, value);
        } else {
            self.copier.write(&self.values, slot, value, flags & update::LOCK != 0);
            self.copier.give_up(&self.values, slot);
        }
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max_entries, next)
    }

    fn walk(&self, part: u32, cpu: u32, out: &mut Vec<Entry>) -> Option<bool> {
        let slot = self.slot(&part.to_ne_bytes(), cpu);
        out.extend(slot.map(|slot| Entry::Indexed { index: part, value: self.values.base() + slot as u64 }));
        Some(slot.is_some())
    }

    fn entry_at(&self, addr: u64) -> Option<Entry> {
        let each = self.stride * self.cpus;
        let off = usize::try_from(addr.checked_sub(self.values.base())?).ok()?;
        let index = u32::try_from(off / each.max(1)).ok().filter(|index| *index < self.max_entries)?;
        Some(Entry::Indexed { index, value: self.values.base() + (index as usize * each) as u64 })
    }

    fn timers(&self) -> Option<&Timers> {
        self.copier.timers()
    }

    fn batch_cursor(&self) -> BatchCursor {
        BatchCursor::Key { delete: false }
    }
}

/// The index after another; the first one when there is none or it is out of range (`array_map_get_next_key`).
pub(super) fn next_index(key: Option<&[u8]>, max_entries: u32, next: &mut [u8]) -> Result<(), Errno> {
    let index = key.and_then(index_of).unwrap_or(u32::MAX);
    let following = if index >= max_entries { 0 } else { index + 1 };
    if following == max_entries {
        return Err(Errno::ENOENT);
    }
    next.copy_from_slice(&following.to_ne_bytes());
    Ok(())
}
