//! What programs hand to user space: records of ring buffers and perf event arrays, and printed lines; and what they are
//! handed, records of user ring buffers.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use skep_runtime::{Error, Event, EventSource, Producer, Result};
use skep_vm::map::{PerfEvent, UserRingBuf};
use skep_vm::{Errno, Map};

use crate::sys::Tid;

/// Bytes of records that one processor's perf buffer holds: far more than the 64 pages of libbpf's tools, because here it
/// costs nothing until it is filled.
const PERF_BYTES_PER_CPU: usize = 8 << 20;

/// Reads a ring buffer.
pub(crate) struct RingSource(pub(crate) Arc<Map>);

impl EventSource for RingSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ring().expect("invariant: made for ring buffers").as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let ring = self.0.ring().expect("invariant: made for ring buffers");
        let records = ring.drain(&mut |data| sink(Event::Record { cpu: 0, data }));
        let lost = ring.take_lost();
        if lost > 0 {
            let _ = sink(Event::Lost { cpu: 0, count: lost });
        }
        Ok(records)
    }
}

/// Writes into a user ring buffer.
pub(crate) struct UserRing(Arc<Map>);

impl UserRing {
    /// The producer's side of a buffer whose holder says how many bytes it has.
    pub(crate) fn open(map: Arc<Map>, bytes: usize) -> Result<Self> {
        if map.user_ring().is_none() {
            return Err(Error::os(libc::EINVAL, "programs take records of user ring buffers only"));
        }
        if bytes != map.spec().max_entries as usize {
            let message = format!("the user ring buffer has {} bytes, not {bytes}", map.spec().max_entries);
            return Err(Error::os(libc::EINVAL, message));
        }
        Ok(Self(map))
    }

    fn ring(&self) -> &UserRingBuf {
        self.0.user_ring().expect("invariant: made for user ring buffers")
    }
}

impl Producer for UserRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring().as_fd()
    }

    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.ring().write(record).map_err(|errno| {
            let message = match errno {
                Errno::E2BIG => {
                    format!("a record of {} bytes never fits into the user ring buffer", record.len())
                }
                _ => "the user ring buffer is full".to_owned(),
            };
            Error::os(errno.0, message)
        })
    }
}

/// Reads a perf event array.
pub(crate) struct PerfSource(Arc<Map>);

impl PerfSource {
    /// Opens its consumer side: from now on what programs write is kept.
    pub(crate) fn open(map: Arc<Map>) -> Self {
        map.perf().expect("invariant: made for perf event arrays").open(PERF_BYTES_PER_CPU);
        Self(map)
    }
}

impl EventSource for PerfSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.perf().expect("invariant: made for perf event arrays").as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let perf = self.0.perf().expect("invariant: made for perf event arrays");
        Ok(perf.drain(&mut |event| {
            sink(match event {
                PerfEvent::Record { cpu, data } => Event::Record { cpu, data },
                PerfEvent::Lost { cpu, count } => Event::Lost { cpu, count },
            })
        }))
    }
}

/// Lines kept when nobody reads them; the kernel's trace buffer overwrites its oldest ones, too.
const LINES: usize = 1 << 16;

/// The lines that programs print.
#[derive(Debug)]
pub(crate) struct Printk {
    lines: Mutex<VecDeque<Vec<u8>>>,
    ready: OwnedFd,
}

impl Printk {
    pub(crate) fn new() -> Result<Self> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Error::os(e.raw_os_error(), "cannot make an eventfd"))?;
        Ok(Self { lines: Mutex::default(), ready })
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a thread's program printed: one line or several.
    pub(crate) fn push(&self, comm: &[u8], tid: Tid, text: &[u8]) {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let mut lines = self.lines();
        for line in text.split(|&byte| byte == b'\n') {
            let mut whole = comm.to_vec();
            whole.extend_from_slice(format!("-{tid}: ").as_bytes());
            whole.extend_from_slice(line);
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(whole);
        }
        drop(lines);
        let _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
    }
}

/// Reads printed lines.
pub(crate) struct PrintkSource(pub(crate) Arc<Printk>);

impl EventSource for PrintkSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let _ = rustix::io::read(&self.0.ready, &mut [0; 8]);
        let lines = std::mem::take(&mut *self.0.lines());
        let mut count = 0;
        for data in &lines {
            count += 1;
            if sink(Event::Record { cpu: 0, data }).is_break() {
                break;
            }
        }
        Ok(count)
    }
}
