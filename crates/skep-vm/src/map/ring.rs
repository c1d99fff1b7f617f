//! Ring buffers (`kernel/bpf/ringbuf.c`): many producers, one consumer.
//!
//! A record is an eight-byte header (length with a busy and a discard bit, and a second word that the kernel uses for
//! itself) and its bytes, rounded up to eight. Positions only grow; a record's place is its position modulo the size. A
//! producer reserves in order under a lock, fills, and commits by clearing the busy bit; the consumer stops at the first
//! busy record. Whoever commits the record that the consumer waits for wakes it up through an eventfd.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::{Elements, MapSpec, lock};
use crate::Errno;
use crate::memory::{Arena, Window};

/// The record is being written (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;
/// The record is to be skipped (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARD: u32 = 1 << 30;
/// Bytes of a header (`BPF_RINGBUF_HDR_SZ`).
pub(super) const HEADER: u64 = 8;
/// Longest record (`RINGBUF_MAX_RECORD_SZ`).
const MAX_RECORD: u64 = (u32::MAX / 4) as u64;

/// Do not wake the consumer up (`BPF_RB_NO_WAKEUP`).
pub(crate) const NO_WAKEUP: u64 = 1;
/// Wake the consumer up in any case (`BPF_RB_FORCE_WAKEUP`).
pub(crate) const FORCE_WAKEUP: u64 = 2;

/// A ring buffer, and its consumer's side.
pub struct RingBuf {
    data: Arc<Arena>,
    size: u64,
    consumer: AtomicU64,
    producer: AtomicU64,
    /// 1 while somebody reserves. Held for a few instructions, so whoever waits turns round instead of sleeping.
    reserving: AtomicU32,
    /// Position of the oldest record that may still be busy; belongs to who reserves.
    pending: AtomicU64,
    draining: Mutex<Vec<u8>>,
    lost: AtomicU64,
    wakeup: OwnedFd,
}

/// A record that a program has reserved and not yet submitted.
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// Position of its header.
    position: u64,
    /// Bytes that the program asked for.
    len: u32,
}

impl Reservation {
    /// What was reserved at this position; the caller has been told it.
    #[inline]
    pub(crate) fn at(position: u64, len: u64) -> Self {
        Self { position, len: len as u32 }
    }

    #[inline]
    pub(crate) fn position(self) -> u64 {
        self.position
    }

    /// Bytes that the program asked for.
    #[inline]
    pub(crate) fn len(self) -> u64 {
        self.len.into()
    }
}

impl RingBuf {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        Ok(Self {
            data: Arc::new(Arena::mirrored(spec.max_entries as usize)?),
            size: spec.max_entries.into(),
            consumer: AtomicU64::new(0),
            producer: AtomicU64::new(0),
            reserving: AtomicU32::new(0),
            pending: AtomicU64::new(0),
            draining: Mutex::default(),
            lost: AtomicU64::new(0),
            wakeup: wakeup_fd()?,
        })
    }

    /// Readable when there may be something to drain.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// Hands over committed records, oldest first, until the sink breaks or one is still being written. Answers how many.
    /// Their bytes are aligned to eight.
    pub fn drain(&self, sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> usize {
        let mut buffer = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        clear_wakeup(&self.wakeup);
        let mut records = 0;
        while let Some((len, position)) = self.next_record() {
            if len & DISCARD == 0 {
                buffer.resize(len as usize, 0);
                self.data.read(self.offset(position + HEADER), &mut buffer);
                records += 1;
            }
            self.consumer.store(position + record_bytes((len & !DISCARD).into()), Ordering::SeqCst);
            if len & DISCARD == 0 && sink(&buffer).is_break() {
                notify(&self.wakeup);
                break;
            }
        }
        records
    }

    /// Length word and position of the record to consume next, if it is committed.
    fn next_record(&self) -> Option<(u32, u64)> {
        let position = self.consumer.load(Ordering::Relaxed);
        if position == self.producer.load(Ordering::SeqCst) {
            return None;
        }
        let len = self.data.u32(self.offset(position)).load(Ordering::SeqCst);
        (len & BUSY == 0).then_some((len, position))
    }

    /// Reservations that failed for want of room since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn offset(&self, position: u64) -> usize {
        (position & (self.size - 1)) as usize
    }

    /// Reserves a record (`bpf_ringbuf_reserve`), or counts it as lost.
    #[inline]
    pub fn reserve(&self, len: u64) -> Option<Reservation> {
        let reserved = self.try_reserve(len);
        if reserved.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        reserved
    }

    #[inline]
    fn try_reserve(&self, len: u64) -> Option<Reservation> {
        if len > MAX_RECORD || record_bytes(len) > self.size {
            return None;
        }
        lock::acquire(&self.reserving);
        let position = self.claim(len);
        lock::release(&self.reserving);
        Some(Reservation { position: position?, len: len as u32 })
    }

    /// Takes the room behind the last record; the caller holds the lock.
    #[inline]
    fn claim(&self, len: u64) -> Option<u64> {
        let consumer = self.consumer.load(Ordering::SeqCst);
        let position = self.producer.load(Ordering::Relaxed);
        let pending = self.skip_committed(self.pending.load(Ordering::Relaxed), position);
        self.pending.store(pending, Ordering::Relaxed);
        let end = position + record_bytes(len);
        if end - consumer >= self.size || end - pending >= self.size {
            return None;
        }
        let [a, b, c, d] = (len as u32 | BUSY).to_ne_bytes();
        let header = u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]);
        self.data.u64(self.offset(position)).store(header, Ordering::Relaxed);
        // Committing the record orders this before it looks whether the consumer waits.
        self.producer.store(end, Ordering::Release);
        Some(position)
    }

    /// The first record from `pending` on that is busy.
    #[inline]
    fn skip_committed(&self, mut pending: u64, producer: u64) -> u64 {
        while pending < producer {
            let len = self.data.u32(self.offset(pending)).load(Ordering::Acquire);
            if len & BUSY != 0 {
                break;
            }
            pending += record_bytes((len & !DISCARD).into());
        }
        pending
    }

    /// Address of a record's first byte, which may be written until it is committed.
    #[inline]
    pub fn address(&self, record: Reservation) -> u64 {
        self.data.base() + self.offset(record.position) as u64 + HEADER
    }

    /// What the program may write between reservation and commit.
    pub(crate) fn window(&self, record: Reservation) -> Window {
        let len = record.len as usize;
        Window::cells(&self.data, self.offset(record.position) + HEADER as usize, 1, len, len)
    }

    /// Ends a reservation (`bpf_ringbuf_submit`, or with `discard` `bpf_ringbuf_discard`): the consumer gets the record, or
    /// skips it.
    #[inline]
    pub fn commit(&self, record: Reservation, flags: u64, discard: bool) {
        let len = record.len | if discard { DISCARD } else { 0 };
        self.data.u32(self.offset(record.position)).swap(len, Ordering::SeqCst);
        let awaited = self.consumer.load(Ordering::SeqCst) == record.position;
        if flags & FORCE_WAKEUP != 0 || (awaited && flags & NO_WAKEUP == 0) {
            notify(&self.wakeup);
        }
    }

    /// Writes a whole record.
    pub(crate) fn output(&self, data: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
            return Err(Errno::EINVAL);
        }
        let record = self.reserve(data.len() as u64).ok_or(Errno::EAGAIN)?;
        self.data.write(self.offset(record.position) + HEADER as usize, data);
        self.commit(record, flags, false);
        Ok(())
    }

    /// `bpf_ringbuf_query`.
    pub(crate) fn query(&self, what: u64) -> u64 {
        let consumer = self.consumer.load(Ordering::Acquire);
        let producer = self.producer.load(Ordering::Acquire);
        match what {
            0 => producer - consumer,
            1 => self.size,
            2 => consumer,
            3 => producer,
            _ => 0,
        }
    }
}

impl Elements for RingBuf {}

/// Bytes that a record takes with its header.
pub(super) fn record_bytes(len: u64) -> u64 {
    (len + HEADER).next_multiple_of(8)
}

/// An eventfd that never blocks anybody who writes or clears it.
pub(super) fn wakeup_fd() -> Result<OwnedFd, Errno> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Makes an eventfd readable. The only failure is a counter at its limit, and then it is readable already.
pub(super) fn notify(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// Makes an eventfd unreadable. The only failure is that it was so already.
pub(super) fn clear_wakeup(fd: &OwnedFd) {
    let _ = rustix::io::read(fd, &mut [0; 8]);
}
