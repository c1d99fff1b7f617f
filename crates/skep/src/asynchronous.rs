//! Records as they come, for tasks of tokio (feature `tokio`).
//!
//! The descriptor of a buffer is readable when there may be something in it, so any event loop can wait for it; here is the
//! waiting for tokio's. Both runtimes' buffers do, ring buffers and perf buffers alike.
//!
//! ```no_run
//! # async fn show(kernel: skep::runtime::SharedRuntime, fd: skep::runtime::Fd) -> skep::Result<()> {
//! use std::ops::ControlFlow;
//!
//! use skep::asynchronous::AsyncEvents;
//! use skep::runtime::Event;
//!
//! let mut events = AsyncEvents::new(kernel.events(fd)?)?;
//! loop {
//!     events
//!         .next(|event| {
//!             match event {
//!                 Event::Record { data, .. } => println!("{} bytes", data.len()),
//!                 Event::Lost { count, .. } => eprintln!("{count} records are lost"),
//!             }
//!             ControlFlow::Continue(())
//!         })
//!         .await?;
//! }
//! # }
//! ```

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use skep_runtime::{Event, EventSource};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::plain::Plain;
use crate::typed::Records;
use crate::{Error, Result};

/// What a buffer delivers, waited for.
pub struct AsyncEvents {
    ready: Ready,
    source: Box<dyn EventSource>,
}

/// Records of one type, waited for.
///
/// ```no_run
/// # async fn show<T: skep::plain::Plain + std::fmt::Debug>(buffer: &skep::typed::Buffer) -> skep::Result<()> {
/// let mut records = skep::asynchronous::AsyncRecords::new(buffer.records::<T>()?)?;
/// while records.lost() == 0 {
///     records.next(|record| println!("{record:?}")).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AsyncRecords<T> {
    ready: Ready,
    records: Records<T>,
}

impl AsyncEvents {
    /// Waits with the tokio runtime that this is called in, which has to have I/O enabled.
    pub fn new(source: Box<dyn EventSource>) -> Result<Self> {
        Ok(Self { ready: Ready::new(source.as_fd())?, source })
    }

    /// Waits until there is something, hands it over until the sink breaks, and answers the number of records: 0 when there
    /// were only losses to be told of. Dropped while it waits, it has taken nothing.
    pub async fn next(&mut self, mut sink: impl FnMut(Event<'_>) -> ControlFlow<()>) -> Result<usize> {
        let source = &mut self.source;
        self.ready
            .until(|| {
                let mut any = false;
                let count = source.drain(&mut |event| {
                    any = true;
                    sink(event)
                })?;
                Ok(any.then_some(count))
            })
            .await
    }
}

impl std::fmt::Debug for AsyncEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncEvents").finish_non_exhaustive()
    }
}

impl<T: Plain> AsyncRecords<T> {
    /// Waits with the tokio runtime that this is called in, which has to have I/O enabled.
    pub fn new(records: Records<T>) -> Result<Self> {
        Ok(Self { ready: Ready::new(records.as_fd())?, records })
    }

    /// Waits until there are records, hands over those that are there, and answers how many. Dropped while it waits, it has
    /// taken none.
    pub async fn next(&mut self, mut sink: impl FnMut(T)) -> Result<usize> {
        let records = &mut self.records;
        self.ready.until(|| Ok(Some(records.drain(&mut sink)?).filter(|&count| count > 0))).await
    }

    /// Records that were lost so far, because the buffer was full.
    pub fn lost(&self) -> u64 {
        self.records.lost()
    }
}

/// The descriptor of a buffer with tokio.
#[derive(Debug)]
struct Ready(AsyncFd<OwnedFd>);

impl Ready {
    #[allow(
        deprecated,
        reason = "what is unsafe instead is for descriptors that may change; this one is owned"
    )]
    fn new(buffer: BorrowedFd<'_>) -> Result<Self> {
        let own = buffer.try_clone_to_owned().and_then(|own| AsyncFd::with_interest(own, Interest::READABLE));
        own.map(Self).map_err(failed)
    }

    /// Tries whenever there may be something, until there is. Only then is the buffer known to be empty, and waited for: tokio
    /// learns of changes, not of states.
    async fn until(&self, mut attempt: impl FnMut() -> Result<Option<usize>>) -> Result<usize> {
        loop {
            let mut guard = self.0.readable().await.map_err(failed)?;
            if let Some(count) = attempt()? {
                return Ok(count);
            }
            guard.clear_ready();
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::file("buffer of records".as_ref(), error)
}
