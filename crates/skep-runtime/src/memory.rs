//! Memory that programs and user space share: values of maps, and the producer side of user ring buffers.

use std::fmt;
use std::os::fd::BorrowedFd;

use crate::Result;

/// Values of a map, as memory. Programs may change them at any time; words that are aligned are read and written whole.
pub trait Memory: fmt::Debug + Send + Sync {
    /// How many bytes there are.
    fn bytes(&self) -> usize;

    /// The address at which programs know the memory of an arena.
    fn address(&self) -> u64;

    /// Reads from `offset` on as many bytes as `to` has; beyond the end is an error (`EINVAL`).
    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()>;

    /// Writes from `offset` on; beyond the end is an error (`EINVAL`), as is memory that is only read (`EPERM`).
    fn write(&self, offset: usize, from: &[u8]) -> Result<()>;
}

/// Writes records that programs take with `bpf_user_ringbuf_drain`; one thread at a time.
pub trait Producer: Send {
    /// Writable when there may be room again: what to wait for after [`Full`](crate::ErrorKind::Full).
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Appends a record; `ENOSPC` when there is no room now, `E2BIG` when there never is.
    fn send(&mut self, record: &[u8]) -> Result<()>;
}
