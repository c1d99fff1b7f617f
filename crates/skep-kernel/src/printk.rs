//! `trace_pipe`: the lines that programs write with `bpf_trace_printk`.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::OFlags;
use skep_runtime::{Error, Event, EventSource, Result};

use crate::attach::tracefs;
use crate::explain::describe;
use crate::sys::errno;

/// Reads the trace pipe, line by line.
pub(crate) struct TracePipe {
    pipe: File,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl TracePipe {
    pub(crate) fn open() -> Result<Self> {
        let pipe =
            tracefs::open("trace_pipe", OFlags::RDONLY | OFlags::NONBLOCK).map_err(|e| match e.errno() {
                libc::EBUSY => e.hint("another process reads it, and it has one reader at a time"),
                _ => e,
            })?;
        let mut lines = Self { pipe, partial: Vec::new() };
        // What was written before is not ours.
        lines.drain(&mut |_| ControlFlow::Continue(()))?;
        Ok(lines)
    }
}

impl EventSource for TracePipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let mut buffer = [0; 4096];
        let mut count = 0;
        loop {
            let bytes = match self.pipe.read(&mut buffer) {
                Ok(0) => return Ok(count),
                Ok(bytes) => bytes,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(count),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(Error::os(errno(&e), format!("cannot read `trace_pipe`: {}", describe(&e))));
                }
            };
            self.partial.extend_from_slice(&buffer[..bytes]);
            while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                count += 1;
                if sink(Event::Record { cpu: 0, data: &line[..end] }).is_break() {
                    return Ok(count);
                }
            }
        }
    }
}
