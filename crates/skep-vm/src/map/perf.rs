//! Perf event arrays: a buffer for each processor, written by `bpf_perf_event_output`.
//!
//! The kernel puts perf events into the array; here opening the map's consumer side puts a buffer at each index. A record
//! that does not fit is counted as lost, and reported when the records before it have been read.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::array::next_index;
use super::nested::{index_below, slot};
use super::ring::{clear_wakeup, notify, wakeup_fd};
use super::{Elements, MapSpec};
use crate::Errno;

/// What a perf event array delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfEvent<'a> {
    /// One record, exactly as the program wrote it.
    Record {
        /// The index of the buffer, which is the processor.
        cpu: u32,
        /// Its bytes.
        data: &'a [u8],
    },
    /// Records for which there was no room.
    Lost {
        /// The index of the buffer.
        cpu: u32,
        /// How many since the last such event.
        count: u64,
    },
}

/// A perf event array, and its consumer's side.
pub struct PerfEventArray {
    max_entries: u32,
    /// One for each processor that there can be; the array may be longer or shorter.
    buffers: Box<[Mutex<Buffer>]>,
    draining: Mutex<Draining>,
    wakeup: OwnedFd,
}

/// Records that were written and not yet read, each with its length in front.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Bytes it may hold; 0 until the consumer side is opened.
    capacity: usize,
    lost: u64,
}

/// Records taken out of one buffer.
#[derive(Debug, Default)]
struct Draining {
    cpu: usize,
    bytes: Vec<u8>,
    read: usize,
    /// Records that found no room behind these.
    lost: u64,
}

/// Bytes in front of a record: its length.
const HEADER: usize = 8;

impl PerfEventArray {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        Ok(Self {
            max_entries: spec.max_entries,
            buffers: (0..spec.max_entries.min(spec.cpus)).map(|_| Mutex::default()).collect(),
            draining: Mutex::default(),
            wakeup: wakeup_fd()?,
        })
    }

    /// Opens the consumer side: from now on every processor has a buffer of so many bytes. Until then programs get
    /// `ENOENT`, as they do from the kernel.
    pub fn open(&self, bytes_per_cpu: usize) {
        for buffer in &self.buffers {
            lock(buffer).capacity = bytes_per_cpu;
        }
    }

    /// Readable when there may be something to drain.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// Hands over what is there, processor by processor, oldest first, until the sink breaks. Answers the number of
    /// records.
    pub fn drain(&self, sink: &mut dyn FnMut(PerfEvent<'_>) -> ControlFlow<()>) -> usize {
        let mut draining = lock(&self.draining);
        clear_wakeup(&self.wakeup);
        let mut records = 0;
        let mut flow = draining.deliver(sink, &mut records);
        for _ in 0..self.buffers.len() {
            if flow.is_break() {
                break;
            }
            self.refill(&mut draining);
            flow = draining.deliver(sink, &mut records);
        }
        if flow.is_break() {
            notify(&self.wakeup);
        }
        records
    }

    /// Takes the records of the next processor.
    fn refill(&self, draining: &mut Draining) {
        draining.cpu = (draining.cpu + 1) % self.buffers.len();
        draining.bytes.clear();
        draining.read = 0;
        let mut buffer = lock(&self.buffers[draining.cpu]);
        std::mem::swap(&mut buffer.bytes, &mut draining.bytes);
        draining.lost = std::mem::take(&mut buffer.lost);
    }

    /// `bpf_perf_event_output`: the lower half of `flags` is an index or all ones for the current processor.
    pub(crate) fn output(&self, flags: u64, cpu: u32, data: &[u8]) -> Result<(), Errno> {
        const CURRENT_CPU: u64 = 0xffff_ffff;
        if flags & !CURRENT_CPU != 0 {
            return Err(Errno::EINVAL);
        }
        let index = if flags == CURRENT_CPU { cpu.into() } else { flags };
        if index >= self.max_entries.into() {
            return Err(Errno::E2BIG);
        }
        let mut buffer = lock(self.buffers.get(index as usize).ok_or(Errno::ENOENT)?);
        if buffer.capacity == 0 {
            return Err(Errno::ENOENT);
        }
        if index != u64::from(cpu) {
            return Err(Errno::EOPNOTSUPP);
        }
        let was_empty = buffer.bytes.is_empty();
        buffer.push(data)?;
        drop(buffer);
        if was_empty {
            notify(&self.wakeup);
        }
        Ok(())
    }
}

impl Buffer {
    fn push(&mut self, data: &[u8]) -> Result<(), Errno> {
        let len = data.len();
        let end = self.bytes.len() + HEADER + len.next_multiple_of(8);
        if end > self.capacity {
            self.lost += 1;
            return Err(Errno::ENOSPC);
        }
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(end, 0);
        Ok(())
    }
}

impl Draining {
    /// Hands over the records and then the number of those lost, until the sink breaks.
    fn deliver(
        &mut self,
        sink: &mut dyn FnMut(PerfEvent<'_>) -> ControlFlow<()>,
        records: &mut usize,
    ) -> ControlFlow<()> {
        let cpu = self.cpu as u32;
        while let Some(data) = self.next() {
            *records += 1;
            sink(PerfEvent::Record { cpu, data: &self.bytes[data] })?;
        }
        match std::mem::take(&mut self.lost) {
            0 => ControlFlow::Continue(()),
            count => sink(PerfEvent::Lost { cpu, count }),
        }
    }

    /// Where the next record is.
    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        let header = self.bytes.get(self.read..)?.first_chunk()?;
        let start = self.read + HEADER;
        let end = start + usize::from_ne_bytes(*header);
        self.read = start + (end - start).next_multiple_of(8);
        Some(start..end)
    }
}

impl Elements for PerfEventArray {
    /// Descriptors of perf events of the kernel's, of which there are none: events come by [`PerfEventArray::open`].
    fn write(&self, key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        slot(key, flags, self.max_entries)?;
        Err(Errno::EBADF)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        Err(if index_below(key, self.max_entries).is_some() { Errno::ENOENT } else { Errno::E2BIG })
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max_entries, next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
