//! Records and memory of the other process.

use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use skep_runtime::{Error, Event, EventSource, Memory, Result};

use super::{Line, done, out_of_turn};
use crate::wire::{Answer, Record, Request, unexpected};

const EINVAL: i32 = 22;
/// Bytes that cross at a time.
const PIECE: usize = 32 << 20;

/// Records of a map, or lines that programs print.
#[derive(Debug)]
pub(super) struct RemoteSource {
    pub(super) line: Arc<Line>,
    pub(super) number: u32,
    /// Readable when there may be something: the other process's own.
    pub(super) ready: OwnedFd,
}

impl EventSource for RemoteSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let request = Request::Drain { source: self.number };
        let records = self.line.ask(&request, |answer, _| match answer {
            Answer::Records(records) => Ok(records),
            other => Err(out_of_turn(&other)),
        })?;
        let mut count = 0;
        for record in &records {
            let event = match record {
                Record::Data { cpu, data } => Event::Record { cpu: *cpu, data },
                Record::Lost { cpu, count } => Event::Lost { cpu: *cpu, count: *count },
            };
            count += usize::from(matches!(record, Record::Data { .. }));
            if sink(event).is_break() {
                break;
            }
        }
        Ok(count)
    }
}

impl Drop for RemoteSource {
    fn drop(&mut self) {
        // When the other end is gone, so is the source.
        let _ = self.line.ask(&Request::CloseSource { source: self.number }, done);
    }
}

/// Values of a map.
#[derive(Debug)]
pub(super) struct RemoteMemory {
    pub(super) line: Arc<Line>,
    pub(super) number: u32,
    pub(super) bytes: usize,
    pub(super) address: u64,
}

impl RemoteMemory {
    fn check(&self, offset: usize, len: usize) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.bytes);
        end.map(drop).ok_or_else(|| Error::os(EINVAL, format!("the memory has {} bytes", self.bytes)))
    }
}

impl Memory for RemoteMemory {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn address(&self) -> u64 {
        self.address
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.check(offset, to.len())?;
        for (number, piece) in to.chunks_mut(PIECE).enumerate() {
            let offset = (offset + number * PIECE) as u64;
            let request = Request::MemoryRead { memory: self.number, offset, bytes: piece.len() as u32 };
            self.line.ask(&request, |answer, _| match answer {
                Answer::Bytes(bytes) if bytes.len() == piece.len() => {
                    piece.copy_from_slice(bytes);
                    Ok(())
                }
                Answer::Bytes(_) => Err(unexpected("other bytes than were asked for")),
                other => Err(out_of_turn(&other)),
            })?;
        }
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.check(offset, from.len())?;
        for (number, data) in from.chunks(PIECE).enumerate() {
            let offset = (offset + number * PIECE) as u64;
            self.line.ask(&Request::MemoryWrite { memory: self.number, offset, data }, done)?;
        }
        Ok(())
    }
}

impl Drop for RemoteMemory {
    fn drop(&mut self) {
        let _ = self.line.ask(&Request::CloseMemory { memory: self.number }, done);
    }
}
