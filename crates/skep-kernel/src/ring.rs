//! The consumer side of a kernel ring buffer (`kernel/bpf/ringbuf.c`).
//!
//! The map shows three areas: a page with the consumer's position, which we write; a page with the producer's; and the
//! data, mapped twice in a row so that no record is cut. A record is a header of eight bytes (length with *busy* and
//! *discard* bits, then a page number) and its data, rounded up to eight. A busy record ends what can be read.

use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use skep_runtime::{Error, Event, EventSource, Result};

use crate::sys::errno;
use crate::sys::mapping::{Mapping, Ring};

/// The record is being written.
const BUSY: u32 = 1 << 31;
/// The record was given up.
const DISCARD: u32 = 1 << 30;
/// Bytes of a record's header.
const HEADER: u64 = 8;

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
        let data = self.producer.ring(self.page_bytes, self.size);
        // Producers are told our position now and then: each time costs them and us the cache line that it is in.
        let stride = self.size as u64 / 8;
        let mut count = 0;
        loop {
            let produced = self.producer.position(0).load(Ordering::Acquire);
            let mut consumed = Consumed::new(self.consumer.position(0));
            while consumed.position < produced {
                let until = produced.min(consumed.position + stride);
                let flow = deliver(&data, &mut consumed, until, sink, &mut count);
                consumed.tell();
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

/// Hands over the records before `until`; breaks where the sink does, and at a record that is being written.
fn deliver(
    data: &Ring<'_>,
    consumed: &mut Consumed<'_>,
    until: u64,
    sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    count: &mut usize,
) -> ControlFlow<()> {
    while consumed.position < until {
        let position = consumed.position;
        let header = data.header(position);
        // One comparison tells most records: neither of the bits is set in a length that fits.
        let flow = match data.record(position, header) {
            Some(record) => {
                *count += 1;
                sink(Event::Record { cpu: 0, data: record })
            }
            None if header & BUSY != 0 => return ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        };
        let bytes = header & !(BUSY | DISCARD);
        consumed.position = position + ((u64::from(bytes) + HEADER + 7) & !7);
        flow?;
    }
    ControlFlow::Continue(())
}

/// Our position, which producers learn at the latest when this is dropped, even by a sink that panics.
struct Consumed<'a> {
    shared: &'a AtomicU64,
    position: u64,
}

impl<'a> Consumed<'a> {
    fn new(shared: &'a AtomicU64) -> Self {
        Self { shared, position: shared.load(Ordering::Relaxed) }
    }

    fn tell(&self) {
        self.shared.store(self.position, Ordering::Release);
    }
}

impl Drop for Consumed<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}
