//! The consumer side of a kernel ring buffer (`kernel/bpf/ringbuf.c`).
//!
//! The map shows three areas: a page with the consumer's position, which we write; a page with the producer's; and the
//! data, mapped twice in a row so that no record is cut. A record is a header of eight bytes (length with *busy* and
//! *discard* bits, then a page number) and its data, rounded up to eight. A busy record ends what can be read.

use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use skep_runtime::{Error, Event, EventSource, Result};

use crate::sys::errno;
use crate::sys::mapping::Mapping;

/// The record is being written.
const BUSY: u32 = 1 << 31;
/// The record was given up.
const DISCARD: u32 = 1 << 30;
/// Bytes of a record's header.
const HEADER: usize = 8;

/// Reads a ring buffer.
pub(crate) struct RingBuffer {
    map: OwnedFd,
    consumer: Mapping,
    /// The producer's page, then the data twice.
    producer: Mapping,
    page_bytes: usize,
    /// Bytes of data, a power of two.
    size: usize,
}

impl RingBuffer {
    /// Maps the areas of a ring buffer of `size` bytes.
    pub(crate) fn open(map: OwnedFd, size: usize, page_bytes: usize) -> Result<Self> {
        let failed = |e: std::io::Error| Error::os(errno(&e), format!("cannot map the ring buffer: {e}"));
        let consumer = Mapping::new(map.as_fd(), 0, page_bytes, true).map_err(failed)?;
        let offset = i64::try_from(page_bytes).unwrap_or(i64::MAX);
        let producer = Mapping::new(map.as_fd(), offset, page_bytes + 2 * size, false).map_err(failed)?;
        Ok(Self { map, consumer, producer, page_bytes, size })
    }
}

impl EventSource for RingBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let mut count = 0;
        let mut position = self.consumer.position(0).load(Ordering::Acquire);
        loop {
            let produced = self.producer.position(0).load(Ordering::Acquire);
            while position < produced {
                let at = self.page_bytes + (position as usize & (self.size - 1));
                let header = self.producer.header(at).load(Ordering::Acquire);
                if header & BUSY != 0 {
                    return Ok(count);
                }
                let bytes = (header & !(BUSY | DISCARD)) as usize;
                let mut flow = ControlFlow::Continue(());
                if header & DISCARD == 0 {
                    flow = sink(Event::Record { cpu: 0, data: self.producer.record(at + HEADER, bytes) });
                    count += 1;
                }
                position += (HEADER + bytes).next_multiple_of(8) as u64;
                self.consumer.position(0).store(position, Ordering::Release);
                if flow.is_break() {
                    return Ok(count);
                }
            }
            // A producer that saw our old position did not wake us: once ours is out, look again before saying that there is
            // nothing.
            fence(Ordering::SeqCst);
            if self.producer.position(0).load(Ordering::Acquire) == produced {
                return Ok(count);
            }
        }
    }
}
