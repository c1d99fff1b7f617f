//! Waits for records, lines, signals and the end of what is observed, and hands each on in the order it comes.
//!
//! States: *running* → *ended* (the command is over) or *interrupted* (a signal, or nobody reads stdout any more). In both
//! cases no program runs any more when the buffers are drained for the last time, so nothing recorded is lost.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use skep::runtime::{Event, EventSource, Session, SessionState};
use skep::{Error, Result};
use skep_user::front::Front;

/// How an observation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The observed command exited with this status.
    Exited(i32),
    /// The observed command was killed by this signal.
    Killed(i32),
    /// What was observed (a process that is not our child) is gone.
    Gone,
    /// Skep itself was told to stop by this signal.
    Interrupted(i32),
    /// Nobody reads stdout any more.
    OutputClosed,
}

impl Ending {
    /// The exit status a shell expects: the command's own, or 128 and the signal's number.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Exited(code) => code as u8,
            Self::Killed(signal) | Self::Interrupted(signal) => 128u8.wrapping_add(signal as u8),
            Self::Gone => 0,
            Self::OutputClosed => 128 + 13,
        }
    }
}

/// Where what comes goes.
pub(crate) trait Sink {
    /// One event of buffer number `stream`.
    fn event(&mut self, stream: usize, event: Event<'_>) -> io::Result<()>;
    /// One line of `bpf_trace_printk`.
    fn printk(&mut self, line: &[u8]);
    /// Everything that had come is printed: a good moment to flush.
    fn idle(&mut self) -> io::Result<()>;
}

/// What is waited for.
pub(crate) struct Watch<'a> {
    /// What is observed.
    pub(crate) session: Box<dyn Session>,
    /// The buffers, in the order the sink numbers them.
    pub(crate) streams: Vec<Box<dyn EventSource>>,
    /// The lines of `bpf_trace_printk`, where some program may write any.
    pub(crate) printk: Option<Box<dyn EventSource>>,
    /// Brings the signals that ask for an early end.
    pub(crate) front: &'a Front,
}

impl Watch<'_> {
    /// Delivers everything until the end.
    pub(crate) fn run(&mut self, sink: &mut dyn Sink) -> Result<Ending> {
        let ending = loop {
            self.wait()?;
            if self.deliver(sink).is_err() {
                break Ending::OutputClosed;
            }
            if let Some(signal) = self.front.stop_requested() {
                break Ending::Interrupted(signal);
            }
            if let SessionState::Ended { code, signal } = self.session.wait(Some(Duration::ZERO))? {
                break match (code, signal) {
                    (Some(code), _) => Ending::Exited(code),
                    (None, Some(signal)) => Ending::Killed(signal),
                    (None, None) => Ending::Gone,
                };
            }
        };
        self.session.release()?;
        match self.deliver(sink) {
            Ok(()) => Ok(ending),
            Err(_) => Ok(Ending::OutputClosed),
        }
    }

    /// Sleeps until something may be there.
    fn wait(&self) -> Result<()> {
        let mut fds: Vec<PollFd<'_>> = self
            .streams
            .iter()
            .map(|source| source.as_fd())
            .chain(self.printk.iter().map(|printk| printk.as_fd()))
            .chain([self.session.as_fd(), self.front.as_fd()])
            .map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::file("poll".as_ref(), errno.into())),
        }
    }

    fn deliver(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        deliver(&mut self.streams, self.printk.as_deref_mut(), sink)
    }
}

/// Hands over what is there, buffer by buffer.
pub(super) fn deliver(
    streams: &mut [Box<dyn EventSource>],
    printk: Option<&mut (dyn EventSource + 'static)>,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    for (number, source) in streams.iter_mut().enumerate() {
        drain(source.as_mut(), &mut |event| sink.event(number, event))?;
    }
    if let Some(printk) = printk {
        drain(printk, &mut |event| {
            if let Event::Record { data, .. } = event {
                sink.printk(data);
            }
            Ok(())
        })?;
    }
    sink.idle()
}

/// Drains one source; stops at the first record that cannot be printed.
fn drain(source: &mut dyn EventSource, print: &mut dyn FnMut(Event<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut failed = Ok(());
    source
        .drain(&mut |event| match print(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        })
        .map_err(io::Error::other)?;
    failed
}
