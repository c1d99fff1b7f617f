//! Signals that ask a command to come to its end, which otherwise goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use super::failure::{Failure, Outcome};

/// SIGHUP is not among them: who started the command with `nohup` wants it to go on.
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// As long as it lives, a signal is something to wait for; after it, signals end the process as ever.
pub(crate) struct Stop {
    /// Readable as soon as there was a signal, however long before somebody waits.
    asked: OwnedFd,
    registered: Vec<SigId>,
    ends: &'static AtomicBool,
}

impl Stop {
    pub(crate) fn new() -> Outcome<Self> {
        let (asked, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Failure::file("a pipe", &e.into()))?;
        let mut stop = Self { asked, registered: Vec::new(), ends: signals_end()? };
        for signal in SIGNALS {
            let write = write.try_clone().map_err(|e| Failure::file("a pipe", &e))?;
            let id = low_level::pipe::register(signal, write).map_err(|e| Failure::file("signals", &e))?;
            stop.registered.push(id);
        }
        stop.ends.store(false, Relaxed);
        Ok(stop)
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
        self.ends.store(true, Relaxed);
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}

/// Do signals end the process? Who has once been told of a signal has to see to that.
fn signals_end() -> Outcome<&'static AtomicBool> {
    static ENDS: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if ENDS.get().is_none() {
        let ends = Arc::new(AtomicBool::new(true));
        for signal in SIGNALS {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&ends))
                .map_err(|e| Failure::file("signals", &e))?;
        }
        let _ = ENDS.set(ends);
    }
    Ok(ENDS.get().expect("invariant: it has been set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_command_is_asked_as_the_first_one() {
        for _ in 0..2 {
            let Ok(stop) = Stop::new() else { panic!("signals can be waited for") };
            assert!(matches!(stop.is_asked(), Ok(false)));
            low_level::raise(SIGINT).expect("it is our own process");
            assert!(matches!(stop.is_asked(), Ok(true)));
        }
    }
}
