//! The consumer side of ring buffers and perf event arrays, the same on both runtimes.

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use crate::Result;

/// What a buffer delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// One record, as the program wrote it. Perf records may carry up to seven bytes of padding at the end.
    Record {
        /// The processor that wrote it; 0 for ring buffers, which do not say.
        cpu: u32,
        /// Its bytes, aligned to eight.
        data: &'a [u8],
    },
    /// Records that the producer could not write because the buffer was full.
    Lost {
        /// The processor that lost them.
        cpu: u32,
        /// How many since the last such event.
        count: u64,
    },
}

impl Event<'_> {
    /// The processor that it comes from.
    pub fn cpu(&self) -> u32 {
        match self {
            Self::Record { cpu, .. } | Self::Lost { cpu, .. } => *cpu,
        }
    }
}

/// Reads the records of one map, oldest first.
pub trait EventSource: Send {
    /// Readable when there may be something to drain.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Hands over what is there, without waiting, until the sink breaks; answers the number of records.
    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize>;
}
