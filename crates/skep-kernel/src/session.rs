//! What is observed, seen from the kernel runtime: programs run by themselves; only the end has to be noticed.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use skep_runtime::{Error, Result, Scope, Session, SessionState};

use crate::explain::describe;
use crate::sys::errno;

/// Starts what a scope names.
pub(crate) fn start(scope: Scope) -> Result<Box<dyn Session>> {
    match scope {
        Scope::Command(argv) => start_command(&argv),
        Scope::Process(pid) => observe_process(pid),
        Scope::Machine => Ok(Box::new(Observed { ended: never()?, child: None })),
        _ => Err(Error::unsupported("the kernel runtime does not know this scope")),
    }
}

/// An observation; `ended` becomes readable with the process's end.
struct Observed {
    ended: OwnedFd,
    child: Option<Child>,
}

fn start_command(argv: &[OsString]) -> Result<Box<dyn Session>> {
    let [program, args @ ..] = argv else {
        return Err(Error::os(libc::EINVAL, "no command given"));
    };
    let child = Command::new(program)
        .args(args)
        .spawn()
        .map_err(|e| Error::os(errno(&e), format!("cannot run `{}`: {}", program.display(), describe(&e))))?;
    let ended = pidfd(child.id())?;
    Ok(Box::new(Observed { ended, child: Some(child) }))
}

fn observe_process(pid: u32) -> Result<Box<dyn Session>> {
    Ok(Box::new(Observed { ended: pidfd(pid)?, child: None }))
}

fn pidfd(pid: u32) -> Result<OwnedFd> {
    let missing = || Error::os(libc::ESRCH, format!("there is no process `{pid}`"));
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(missing)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|_| missing())
}

/// A descriptor that never becomes readable.
fn never() -> Result<OwnedFd> {
    let failed = |e: io::Error| Error::os(errno(&e), describe(&e));
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
    epoll.map_err(|e| failed(e.into()))
}

impl Session for Observed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<SessionState> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::new(&self.ended, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(SessionState::Running),
            Ok(_) => {}
            Err(e) => return Err(Error::os(e.raw_os_error(), "cannot wait for the process")),
        }
        let Some(child) = &mut self.child else {
            return Ok(SessionState::Ended { code: None, signal: None });
        };
        let status = child.wait().map_err(|e| Error::os(errno(&e), describe(&e)))?;
        Ok(SessionState::Ended { code: status.code(), signal: status.signal() })
    }

    fn release(&mut self) -> Result<()> {
        Ok(())
    }
}
