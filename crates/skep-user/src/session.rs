//! One observation: what its tracer thread and its owner tell each other.
//!
//! The owner asks for a release by closing a pipe, which ends the tracer's sentinel process; the tracer says how far it is
//! under a lock, and closes another pipe when all is over, which makes the session's descriptor readable.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use skep_runtime::{Result, Session, SessionState};

use crate::sys::{Tid, process};

/// How far the tracer is.
#[derive(Debug, Default)]
struct State {
    released: bool,
    ended: bool,
    code: Option<i32>,
    signal: Option<i32>,
}

/// Shared by a tracer and its session.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
    /// Open while the tracer is to observe.
    wish: Mutex<Option<PipeWriter>>,
    wish_reader: PipeReader,
    /// Open while something observed is alive.
    alive: Mutex<Option<PipeWriter>>,
    alive_reader: PipeReader,
}

impl Progress {
    pub(crate) fn new() -> io::Result<Self> {
        let (wish_reader, wish) = io::pipe()?;
        let (alive_reader, alive) = io::pipe()?;
        Ok(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            wish: Mutex::new(Some(wish)),
            wish_reader,
            alive: Mutex::new(Some(alive)),
            alive_reader,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Starts the process that ends when a release is wished for.
    pub(crate) fn spawn_sentinel(&self) -> io::Result<Tid> {
        process::spawn_sentinel(self.wish_reader.as_fd())
    }

    /// The tracer runs programs no more.
    pub(crate) fn released(&self) {
        self.tell(|state| state.released = true);
    }

    /// The command's process is gone.
    pub(crate) fn command_ended(&self, code: Option<i32>, signal: Option<i32>) {
        self.tell(|state| (state.code, state.signal) = (code, signal));
    }

    /// Nothing observed is left.
    pub(crate) fn end(&self) {
        self.tell(|state| state.ended = true);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Asks the tracer to run programs no more, and waits until it does not.
    fn release(&self) {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = self.changed.wait_while(self.state(), |state| !state.released && !state.ended);
        drop(done);
    }

    /// Waits until all is over or `timeout` has passed.
    fn wait(&self, timeout: Option<Duration>) -> SessionState {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.state();
        while !state.ended && !state.released {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        if state.ended && !state.released {
            SessionState::Ended { code: state.code, signal: state.signal }
        } else {
            SessionState::Running
        }
    }
}

/// The session of the user runtime. Releasing or dropping it leaves the tracer's thread behind as a shepherd where
/// processes carry a seccomp filter; [`crate::front::Front::finish`] waits for it.
#[derive(Debug)]
pub(crate) struct UserSession {
    progress: Arc<Progress>,
}

impl UserSession {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        Self { progress }
    }
}

impl Session for UserSession {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.progress.alive_reader.as_fd()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<SessionState> {
        Ok(self.progress.wait(timeout))
    }

    fn release(&mut self) -> Result<()> {
        self.progress.release();
        Ok(())
    }
}

impl Drop for UserSession {
    fn drop(&mut self) {
        self.progress.release();
    }
}

/// Tracer threads that still have tracees.
static TRACERS: Mutex<usize> = Mutex::new(0);
static TRACER_ENDED: Condvar = Condvar::new();

fn tracers() -> MutexGuard<'static, usize> {
    TRACERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on a thread of its own, counted as a tracer until it returns.
pub(crate) fn spawn_tracer(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    /// Counts down even when the work panics.
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            *tracers() -= 1;
            TRACER_ENDED.notify_all();
        }
    }
    *tracers() += 1;
    let counted = Counted;
    thread::Builder::new().name("skep-tracer".to_owned()).spawn(move || {
        let _counted = counted;
        work();
    })?;
    Ok(())
}

/// Waits until no tracer has tracees any more.
pub(crate) fn wait_for_tracers() {
    let done = TRACER_ENDED.wait_while(tracers(), |count| *count > 0);
    drop(done);
}
