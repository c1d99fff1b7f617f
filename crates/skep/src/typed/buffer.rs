//! Buffers of records.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_runtime::{Event, EventSource, Producer};

use super::Place;
use crate::plain::Plain;
use crate::{Error, Loaded, LoadedMap, Result};

/// A ring buffer or perf event array that programs write records to.
#[derive(Clone, Debug)]
pub struct Buffer {
    place: Place,
}

/// A ring buffer that user space writes records to.
#[derive(Clone, Debug)]
pub struct UserBuffer {
    place: Place,
}

impl Buffer {
    /// The map of this number in the object.
    pub fn new(loaded: &Arc<Loaded>, number: usize) -> Self {
        Self { place: Place::new(loaded, number) }
    }

    /// The map, for what is not here.
    pub fn get_map(&self) -> Result<&LoadedMap> {
        self.place.map()
    }

    /// Opens the consumer side, for records of type `T`.
    pub fn records<T: Plain>(&self) -> Result<Records<T>> {
        let source = self.place.map()?.map.events()?;
        Ok(Records { source, lost: 0, record: PhantomData })
    }
}

impl UserBuffer {
    /// The map of this number in the object.
    pub fn new(loaded: &Arc<Loaded>, number: usize) -> Self {
        Self { place: Place::new(loaded, number) }
    }

    /// The map, for what is not here.
    pub fn get_map(&self) -> Result<&LoadedMap> {
        self.place.map()
    }

    /// Opens the producer side.
    pub fn producer(&self) -> Result<Box<dyn Producer>> {
        let map = self.place.map()?;
        Ok(map.map.producer(map.def.max_entries as usize)?)
    }
}

/// The records of a buffer, oldest first. It is a descriptor for event loops: readable when there may be records.
pub struct Records<T> {
    source: Box<dyn EventSource>,
    lost: u64,
    record: PhantomData<fn() -> T>,
}

impl<T: Plain> Records<T> {
    /// Hands over the records that are there, without waiting, and answers how many.
    pub fn drain(&mut self, mut sink: impl FnMut(T)) -> Result<usize> {
        let lost = &mut self.lost;
        let read = self.source.drain(&mut |event| {
            match event {
                Event::Record { data, .. } => sink(T::read(data)),
                Event::Lost { count, .. } => *lost += count,
            }
            ControlFlow::Continue(())
        })?;
        Ok(read)
    }

    /// Waits until there may be records, at most `timeout` (`None`: for ever); did they come?
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let timeout = timeout.map(Timespec::try_from).transpose();
        let timeout = timeout
            .map_err(|_| Error::usage("the time to wait is too long", "leave it out to wait for ever"))?;
        match poll(&mut [PollFd::new(&self.source.as_fd(), PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(Error::file("buffer of records".as_ref(), e.into())),
        }
    }

    /// Records that were lost so far, because the buffer was full.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl<T> AsFd for Records<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<T> std::fmt::Debug for Records<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("lost", &self.lost).finish_non_exhaustive()
    }
}
