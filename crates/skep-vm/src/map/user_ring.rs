//! User ring buffers (`kernel/bpf/ringbuf.c`): user space produces, programs consume by `bpf_user_ringbuf_drain`.
//!
//! Who found no room waits for an eventfd. It can be written to, until a producer that is refused fills its counter; a
//! program that has made room empties it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::ring::{FORCE_WAKEUP, HEADER, NO_WAKEUP, clear_wakeup, record_bytes, wakeup_fd};
use super::{Elements, MapSpec};
use crate::Errno;
use crate::memory::{Arena, Window};

/// A user ring buffer, and its producer's side.
pub struct UserRingBuf {
    data: Arc<Arena>,
    size: u64,
    consumer: AtomicU64,
    producer: Mutex<u64>,
    draining: Mutex<()>,
    room: OwnedFd,
}

/// A record that a program is looking at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    position: u64,
    pub(crate) len: u32,
}

/// The right to consume, which only one program at a time has.
pub(crate) struct Drain<'a> {
    ring: &'a UserRingBuf,
    _only_one: MutexGuard<'a, ()>,
}

impl UserRingBuf {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        Ok(Self {
            data: Arc::new(Arena::mirrored(spec.max_entries as usize)?),
            size: spec.max_entries.into(),
            consumer: AtomicU64::new(0),
            producer: Mutex::new(0),
            draining: Mutex::default(),
            room: wakeup_fd()?,
        })
    }

    /// Writable when there may be room.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        // A program may have made room without telling (`BPF_RB_NO_WAKEUP`); who looks now is to see it, as in Linux.
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if *producer - self.consumer.load(Ordering::SeqCst) < self.size {
            clear_wakeup(&self.room);
        }
        self.room.as_fd()
    }

    /// Appends a record. `E2BIG` when it can never fit, `ENOSPC` while there is no room.
    pub fn write(&self, data: &[u8]) -> Result<(), Errno> {
        let bytes = record_bytes(data.len() as u64);
        let len = u32::try_from(data.len()).ok().filter(|_| bytes <= self.size).ok_or(Errno::E2BIG)?;
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_room(*producer + bytes) {
            shut(&self.room);
            // A program that made room before this did not see that we are about to wait.
            if !self.has_room(*producer + bytes) {
                return Err(Errno::ENOSPC);
            }
            clear_wakeup(&self.room);
        }
        let at = self.offset(*producer);
        self.data.u32(at).store(len, Ordering::Relaxed);
        self.data.write(at + HEADER as usize, data);
        *producer += bytes;
        Ok(())
    }

    /// May the producer go on to this position?
    fn has_room(&self, end: u64) -> bool {
        end - self.consumer.load(Ordering::SeqCst) <= self.size
    }

    fn offset(&self, position: u64) -> usize {
        (position & (self.size - 1)) as usize
    }

    /// Begins to consume, unless somebody else does.
    pub(crate) fn begin_drain(&self) -> Option<Drain<'_>> {
        match self.draining.try_lock() {
            Ok(guard) => Some(Drain { ring: self, _only_one: guard }),
            Err(TryLockError::Poisoned(e)) => Some(Drain { ring: self, _only_one: e.into_inner() }),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drain<'_> {
    /// The oldest record.
    pub(crate) fn next(&self) -> Option<Sample> {
        let position = self.ring.consumer.load(Ordering::Relaxed);
        if position == *self.ring.producer.lock().unwrap_or_else(PoisonError::into_inner) {
            return None;
        }
        let len = self.ring.data.u32(self.ring.offset(position)).load(Ordering::Relaxed);
        Some(Sample { position, len })
    }

    /// What a program may read of it.
    pub(crate) fn window(&self, sample: Sample) -> Window {
        let (at, len) = (self.ring.offset(sample.position) + HEADER as usize, sample.len as usize);
        Window::cells(&self.ring.data, at, 1, len, len).read_only()
    }

    /// Gives its room back.
    pub(crate) fn release(&self, sample: Sample) {
        self.ring.consumer.store(sample.position + record_bytes(sample.len.into()), Ordering::SeqCst);
    }

    /// Ends it after so many records, and lets producers know of the room as the flags of `bpf_user_ringbuf_drain` say.
    pub(crate) fn end(self, records: u64, flags: u64) {
        if flags & FORCE_WAKEUP != 0 || (flags & NO_WAKEUP == 0 && records > 0) {
            clear_wakeup(&self.ring.room);
        }
    }
}

impl Elements for UserRingBuf {}

/// Makes an eventfd unwritable: its counter goes to its limit. The only failure is that it was there already.
fn shut(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &(u64::MAX - 1).to_ne_bytes());
}
