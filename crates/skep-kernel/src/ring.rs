//! The consumer side of a kernel ring buffer (`kernel/bpf/ringbuf.c`).
//!
//! The map shows three areas: a page with the consumer's position, which we write; a page with the producer's; and the
//! data, mapped twice in a row so that no record is cut. A record is a header of eight bytes (length with *busy* and
//! *discard* bits, then a page number) and its data, rounded up to eight. A busy record ends what can be read.

use std::hint::cold_path;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use skep_runtime::{Error, Event, EventSource, Result};

use crate::losses::Counter;
use crate::sys::errno;
use crate::sys::mapping::{Mapping, Records, Ring};

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
    /// What did not fit, if somebody counts it, and how many were told of.
    lost: Option<Arc<Counter>>,
    told: u64,
}

impl RingBuffer {
    /// Maps the areas of a ring buffer of `size` bytes.
    pub(crate) fn open(
        map: OwnedFd,
        size: usize,
        page_bytes: usize,
        lost: Option<Arc<Counter>>,
    ) -> Result<Self> {
        let failed = |e: std::io::Error| Error::os(errno(&e), format!("cannot map the ring buffer: {e}"));
        let consumer = Mapping::new(map.as_fd(), 0, page_bytes, true).map_err(failed)?;
        let offset = i64::try_from(page_bytes).unwrap_or(i64::MAX);
        let producer = Mapping::new(map.as_fd(), offset, page_bytes + 2 * size, false).map_err(failed)?;
        Ok(Self { map, consumer, producer, page_bytes, size, lost, told: 0 })
    }

    /// Tells of the losses since the last time.
    fn tell_lost(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let lost = self.lost.as_ref().map_or(0, |lost| lost.get());
        let count = lost.saturating_sub(std::mem::replace(&mut self.told, lost));
        if count > 0 { sink(Event::Lost { cpu: 0, count }) } else { ControlFlow::Continue(()) }
    }
}

impl EventSource for RingBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        if self.tell_lost(sink).is_break() {
            return Ok(0);
        }
        let data = self.producer.ring(self.page_bytes, self.size);
        let mut count = 0;
        loop {
            let produced = self.producer.position(0).load(Ordering::Acquire);
            let mut consumed = Consumed::new(self.consumer.position(0), &data, produced);
            while consumed.records.has_more() {
                // Producers are told our position now and then: each time costs them and us the cache line that it is in.
                let flow = deliver(&mut consumed.records, self.size / 8, sink, &mut count);
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

/// Hands over the records of so many bytes; breaks where the sink does, and at a record that is being written.
fn deliver(
    records: &mut Records<'_>,
    bytes: usize,
    sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    count: &mut usize,
) -> ControlFlow<()> {
    let mut length = Length::of(0);
    let until = records.after(bytes);
    while records.is_before(until) {
        records.fetch_ahead();
        let header = records.header();
        // One comparison tells most records: with one of the bits set, a length does not fit.
        let flow = match records.data(header) {
            Some(data) => {
                *count += 1;
                sink(Event::Record { cpu: 0, data })
            }
            None if header & BUSY != 0 => return ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        };
        // Where the next record begins is known when this one's header has come from memory. Most are as long as the one
        // before: with a branch that says so, which the processor predicts, it reads on without waiting.
        if header != length.header {
            cold_path();
            length = Length::of(header);
        }
        records.skip(length.bytes);
        flow?;
    }
    ControlFlow::Continue(())
}

/// What a record takes of the buffer, with its header, which says so.
#[derive(Clone, Copy)]
struct Length {
    header: u32,
    bytes: usize,
}

impl Length {
    fn of(header: u32) -> Self {
        let data = header & !(BUSY | DISCARD);
        Self { header, bytes: (data as usize + HEADER + 7) & !7 }
    }
}

/// Our position, which producers learn at the latest when this is dropped, even by a sink that panics.
struct Consumed<'a> {
    shared: &'a AtomicU64,
    /// Where `records` began.
    start: u64,
    records: Records<'a>,
}

impl<'a> Consumed<'a> {
    fn new(shared: &'a AtomicU64, data: &Ring<'a>, produced: u64) -> Self {
        let start = shared.load(Ordering::Relaxed);
        Self { shared, start, records: data.records(start, produced) }
    }

    fn tell(&self) {
        self.shared.store(self.start + self.records.passed() as u64, Ordering::Release);
    }
}

impl Drop for Consumed<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}
