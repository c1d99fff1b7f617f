//! The producer side of a user ring buffer (`kernel/bpf/ringbuf.c`, `bpf_user_ringbuf_drain`).
//!
//! The map shows a page with the consumer's position, which we read; a page with the producer's, which we write; and the
//! data, mapped twice in a row. A record is a header of eight bytes (its length, then zero) and its data, rounded up to
//! eight. It can be taken as soon as the producer's position is behind it, so it is complete before that moves.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use skep_runtime::{Error, Producer, Result};

use crate::explain::describe;
use crate::sys::errno;
use crate::sys::mapping::Mapping;

/// Bytes of a record's header.
const HEADER: usize = 8;

/// Writes into a user ring buffer.
#[derive(Debug)]
pub(crate) struct UserRing {
    map: OwnedFd,
    consumer: Mapping,
    /// Our page, then the data twice.
    producer: Mapping,
    page_bytes: usize,
    /// Bytes of data, a power of two.
    size: usize,
}

impl UserRing {
    /// Maps the areas of a user ring buffer of `size` bytes.
    pub(crate) fn open(map: OwnedFd, size: usize, page_bytes: usize) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::os(errno(&e), format!("cannot map the user ring buffer: {}", describe(&e)))
        };
        if !size.is_power_of_two() || !size.is_multiple_of(page_bytes) {
            return Err(Error::os(libc::EINVAL, format!("a user ring buffer has no {size} bytes")));
        }
        let consumer = Mapping::new(map.as_fd(), 0, page_bytes, false).map_err(failed)?;
        let offset = i64::try_from(page_bytes).unwrap_or(i64::MAX);
        let producer = Mapping::new(map.as_fd(), offset, page_bytes + 2 * size, true).map_err(failed)?;
        Ok(Self { map, consumer, producer, page_bytes, size })
    }
}

impl Producer for UserRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    fn send(&mut self, record: &[u8]) -> Result<()> {
        let bytes = (HEADER + record.len()).next_multiple_of(8);
        if bytes > self.size {
            let message =
                format!("a record of {} bytes does not fit into a buffer of {}", record.len(), self.size);
            return Err(Error::os(libc::E2BIG, message));
        }
        let consumed = self.consumer.position(0).load(Ordering::Acquire);
        let produced = self.producer.position(0).load(Ordering::Relaxed);
        if produced.wrapping_sub(consumed) + bytes as u64 > self.size as u64 {
            return Err(Error::os(libc::ENOSPC, "the user ring buffer is full"));
        }
        let at = self.page_bytes + (produced as usize & (self.size - 1));
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.producer.write(at, &[length.to_ne_bytes(), [0; 4]].concat());
        self.producer.write(at + HEADER, record);
        self.producer.position(0).store(produced + bytes as u64, Ordering::Release);
        Ok(())
    }
}
