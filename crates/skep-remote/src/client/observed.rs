//! Processes that the other process observes.
//!
//! A command is started here, so that it has our terminal, directory and environment and we learn how it ends. It stops
//! itself before it becomes the command, and goes on when it is observed.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use skep_runtime::{Error, Result, Scope, Session, SessionState};

use super::{Line, done, opened, out_of_turn};
use crate::wire::{Answer, Request};

const ENOENT: i32 = 2;
const ECHILD: i32 = 10;
/// Milliseconds that the other end waits at a time; it serves nothing else of ours meanwhile.
const PATIENCE_MS: u64 = 200;

/// A session of the other process.
#[derive(Debug)]
pub(super) struct Observed {
    line: Arc<Line>,
    number: u32,
    ended: OwnedFd,
    child: Option<Child>,
}

impl Observed {
    pub(super) fn start(line: &Arc<Line>, scope: Scope) -> Result<Self> {
        match scope {
            Scope::Process(pid) => Self::of_process(line, pid, None),
            Scope::Command(argv) => {
                let child = stopped(&argv)?;
                let pid = child.id();
                let observed = Self::of_process(line, pid, Some(child))?;
                signal(pid, Signal::CONT)?;
                Ok(observed)
            }
            _ => Err(Error::unsupported("the user runtime does not observe the whole machine")
                .hint("name a command or a process; the kernel runtime observes the machine")),
        }
    }

    fn of_process(line: &Arc<Line>, pid: u32, mut child: Option<Child>) -> Result<Self> {
        match line.ask(&Request::Start { pid }, opened) {
            Ok((number, ended)) => Ok(Self { line: Arc::clone(line), number, ended, child }),
            Err(e) => {
                if let Some(child) = &mut child {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                Err(e)
            }
        }
    }
}

impl Session for Observed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<SessionState> {
        let begun = Instant::now();
        loop {
            let left = timeout.map_or(u64::MAX, |timeout| {
                u64::try_from(timeout.saturating_sub(begun.elapsed()).as_millis()).unwrap_or(u64::MAX)
            });
            let request = Request::Wait { session: self.number, timeout_ms: left.min(PATIENCE_MS) };
            let state = self.line.ask(&request, |answer, _| match answer {
                Answer::Running => Ok(SessionState::Running),
                Answer::Ended { code, signal } => Ok(SessionState::Ended { code, signal }),
                other => Err(out_of_turn(&other)),
            })?;
            match (state, &mut self.child) {
                // Only its parent learns how a process ended.
                (SessionState::Ended { .. }, Some(child)) => {
                    return child.wait().map(ended).map_err(|e| {
                        Error::os(e.raw_os_error().unwrap_or(ECHILD), "the command cannot be waited for")
                    });
                }
                (state @ SessionState::Ended { .. }, None) => return Ok(state),
                (SessionState::Running, _) if left <= PATIENCE_MS => return Ok(SessionState::Running),
                (SessionState::Running, _) => {}
            }
        }
    }

    fn release(&mut self) -> Result<()> {
        self.line.ask(&Request::Release { session: self.number }, done)
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // When the other end is gone, it observes no more.
        let _ = self.line.ask(&Request::CloseSession { session: self.number }, done);
    }
}

fn ended(status: ExitStatus) -> SessionState {
    SessionState::Ended { code: status.code(), signal: status.signal() }
}

/// A process that becomes the command when it is continued.
fn stopped(argv: &[OsString]) -> Result<Child> {
    const STOP_THEN_BECOME: &str = "kill -STOP $$; exec \"$@\"";
    let name = argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.is_empty() {
        return Err(Error::os(ENOENT, "there is no command to start"));
    }
    let spawned = Command::new("/bin/sh").arg("-c").arg(STOP_THEN_BECOME).arg("sh").args(argv).spawn();
    let child = spawned
        .map_err(|e| Error::os(e.raw_os_error().unwrap_or(ENOENT), format!("cannot start `{name}`: {e}")))?;
    let waited = rustix::io::retry_on_intr(|| waitpid(Some(process(child.id())?), WaitOptions::UNTRACED));
    match waited {
        Ok(Some((_, status))) if status.stopped() => Ok(child),
        _ => Err(Error::os(ECHILD, format!("`{name}` ended before it was observed"))),
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    process(pid)
        .and_then(|pid| kill_process(pid, signal))
        .map_err(|e| Error::os(e.raw_os_error(), format!("process {pid} cannot be continued")))
}

fn process(pid: u32) -> rustix::io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)
}
