//! The consumer side of a perf event array (`kernel/events/ring_buffer.c`): one buffer for each processor.
//!
//! A buffer is a page of positions (`data_head`, written by the kernel, and `data_tail`, written by us) and data, a power
//! of two. Records begin with `struct perf_event_header`; one that reaches beyond the end goes on at the start.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::event::epoll;
use skep_runtime::{Error, Event, EventSource, Result};

use crate::sys::mapping::Mapping;
use crate::sys::{errno, perf};

/// Offset of `data_head` in `struct perf_event_mmap_page`; `data_tail` follows it.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = DATA_HEAD + 8;
/// `PERF_RECORD_LOST`: header, id, count.
const RECORD_LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`, here of raw data alone: header, length, data.
const RECORD_SAMPLE: u32 = 9;
/// Bytes of `struct perf_event_header`.
const HEADER: usize = 8;
/// Pages of data of each buffer; what libbpf's tools use.
const DATA_PAGES: usize = 64;

/// Reads a perf event array.
pub(crate) struct PerfBuffers {
    ready: OwnedFd,
    cpus: Vec<CpuBuffer>,
    /// A record that went around the end, put together.
    joined: Vec<u8>,
}

struct CpuBuffer {
    cpu: u32,
    _event: OwnedFd,
    memory: Mapping,
    page_bytes: usize,
    size: usize,
}

impl PerfBuffers {
    /// Opens a buffer on each online processor and has `set` put its event into the array.
    pub(crate) fn open(
        page_bytes: usize,
        online: impl Iterator<Item = u32>,
        mut set: impl FnMut(u32, i32) -> Result<()>,
    ) -> Result<Self> {
        let failed = |e: std::io::Error| Error::os(errno(&e), format!("cannot open a perf buffer: {e}"));
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let mut cpus = Vec::new();
        for cpu in online {
            let buffer = CpuBuffer::open(cpu, page_bytes).map_err(failed)?;
            set(cpu, buffer._event.as_raw_fd())?;
            perf::enable(buffer._event.as_fd()).map_err(failed)?;
            let data = epoll::EventData::new_u64(u64::from(cpu));
            epoll::add(&ready, &buffer._event, data, epoll::EventFlags::IN).map_err(|e| failed(e.into()))?;
            cpus.push(buffer);
        }
        Ok(Self { ready, cpus, joined: Vec::new() })
    }
}

impl CpuBuffer {
    fn open(cpu: u32, page_bytes: usize) -> std::io::Result<Self> {
        let attr = perf::PerfAttr {
            kind: perf::TYPE_SOFTWARE,
            config: perf::SW_BPF_OUTPUT,
            sample_period: 1,
            sample_type: perf::SAMPLE_RAW,
            wakeup_events: 1,
            ..perf::PerfAttr::default()
        };
        let event = perf::open(&attr, -1, i32::try_from(cpu).unwrap_or(-1))?;
        let size = DATA_PAGES * page_bytes;
        let memory = Mapping::new(event.as_fd(), 0, page_bytes + size, true)?;
        Ok(Self { cpu, _event: event, memory, page_bytes, size })
    }

    /// `bytes` of the data from `position` on; `joined` keeps them where they go around the end.
    fn data<'a>(&'a self, position: u64, bytes: usize, joined: &'a mut Vec<u8>) -> &'a [u8] {
        let at = position as usize & (self.size - 1);
        let until_end = (self.size - at).min(bytes);
        let first = self.memory.record(self.page_bytes + at, until_end);
        if until_end == bytes {
            return first;
        }
        joined.clear();
        joined.extend_from_slice(first);
        joined.extend_from_slice(self.memory.record(self.page_bytes, bytes - until_end));
        joined
    }

    /// Hands over what is there; answers how many records, and whether to go on.
    fn drain(
        &self,
        joined: &mut Vec<u8>,
        sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> (usize, ControlFlow<()>) {
        let mut count = 0;
        let head = self.memory.position(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.memory.position(DATA_TAIL).load(Ordering::Relaxed);
        while tail < head {
            let header = self.data(tail, HEADER, joined);
            let (kind, bytes) = (word(header, 0), usize::from(half(header, 6)));
            // A header without a length can only be damage; going on would never end.
            if bytes < HEADER || (head - tail) < bytes as u64 {
                tail = head;
                self.memory.position(DATA_TAIL).store(tail, Ordering::Release);
                break;
            }
            let flow = self.deliver(kind, self.data(tail, bytes, joined), sink, &mut count);
            tail += bytes as u64;
            self.memory.position(DATA_TAIL).store(tail, Ordering::Release);
            if flow.is_break() {
                return (count, flow);
            }
        }
        (count, ControlFlow::Continue(()))
    }

    fn deliver(
        &self,
        kind: u32,
        record: &[u8],
        sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
        count: &mut usize,
    ) -> ControlFlow<()> {
        let cpu = self.cpu;
        match kind {
            RECORD_SAMPLE if record.len() >= HEADER + 4 => {
                let bytes = (word(record, HEADER) as usize).min(record.len() - HEADER - 4);
                *count += 1;
                sink(Event::Record { cpu, data: &record[HEADER + 4..HEADER + 4 + bytes] })
            }
            RECORD_LOST if record.len() >= HEADER + 16 => {
                let lost = u64::from(word(record, HEADER + 8)) | u64::from(word(record, HEADER + 12)) << 32;
                sink(Event::Lost { cpu, count: lost })
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl EventSource for PerfBuffers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let mut all = 0;
        for cpu in &self.cpus {
            let (count, flow) = cpu.drain(&mut self.joined, sink);
            all += count;
            if flow.is_break() {
                break;
            }
        }
        Ok(all)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
