//! What is observed: a command that is started, a running process, or the machine.
//!
//! States: *running* (programs run on the events of the scope) → *ended* (the scope's processes are gone) or *released*
//! (programs run no more; the processes go on unharmed).

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::Result;

/// Which processes the attached programs see.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Scope {
    /// A command to start: program and arguments, looked up in `PATH`; its children are followed.
    Command(Vec<OsString>),
    /// A running process with all its threads, and the children it makes from now on.
    Process(u32),
    /// The whole machine (kernel runtime).
    Machine,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Something observed is still alive.
    Running,
    /// All is over; for a command, how it ended.
    Ended {
        /// Exit status, when it exited by itself.
        code: Option<i32>,
        /// The signal that killed it.
        signal: Option<i32>,
    },
}

/// A running observation. Dropping it releases.
pub trait Session: Send {
    /// Readable when the state has changed to ended.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Waits for the end, at most `timeout`; `None` waits for ever.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<SessionState>;

    /// Stops running programs; the observed processes go on unharmed. When this returns, no program runs any more, so
    /// what was recorded can be drained in full.
    fn release(&mut self) -> Result<()>;
}
