//! Signals that ask a command to come to its end, which otherwise goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::failure::{Failure, Outcome};

/// SIGHUP is not among them: who started the command with `nohup` wants it to go on.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// As long as it lives, a signal is something to wait for; after it, signals end the process as ever.
pub(crate) struct Stop {
    /// Readable as soon as there was a signal, however long before somebody waits.
    asked: OwnedFd,
    over: Arc<AtomicBool>,
}

impl Stop {
    pub(crate) fn new() -> Outcome<Self> {
        let (asked, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Failure::file("a pipe", &e.into()))?;
        let over = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            let write = write.try_clone().map_err(|e| Failure::file("a pipe", &e))?;
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&over))
                .and_then(|_| low_level::pipe::register(signal, write))
                .map_err(|e| Failure::file("signals", &e))?;
        }
        Ok(Self { asked, over })
    }

    pub(crate) fn is_asked(&self) -> Outcome<bool> {
        self.poll(self.asked.as_fd(), Some(&Timespec::default()))
    }

    /// Sleeps until there is something to read, or a signal came.
    pub(crate) fn wait(&self, source: BorrowedFd<'_>) -> Outcome {
        self.poll(source, None).map(drop)
    }

    /// Has a signal come?
    fn poll(&self, source: BorrowedFd<'_>, timeout: Option<&Timespec>) -> Outcome<bool> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.asked.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(source, PollFlags::IN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            // What came is in the pipe by now.
            Err(rustix::io::Errno::INTR) => self.is_asked(),
            Err(e) => Err(Failure::file("poll", &e.into())),
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}
