//! What is observed, seen from the kernel runtime: programs run by themselves; who they see is the filter's affair, and only
//! the end has to be noticed.
//!
//! The end of a command is the end of the last process of its tree where there is a filter that knows the tree, and of the
//! command's own process where there is none.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};
use skep_runtime::{Error, Result, Scope, Session, SessionState};

use crate::explain::describe;
use crate::scope::{Filter, Tracking};
use crate::sys::{errno, spawn};

/// Starts what a scope names; `filter` is what the loaded programs were given.
pub(crate) fn start(scope: Scope, filter: Option<Arc<Filter>>) -> Result<Box<dyn Session>> {
    let mut observed = Observed::new(filter)?;
    match scope {
        Scope::Command(argv) => observed.start_command(&argv)?,
        Scope::Process(pid) => observed.observe_process(pid)?,
        Scope::Machine if observed.filter.is_none() => {}
        Scope::Machine => {
            return Err(Error::os(libc::EINVAL, "the programs were loaded to see one process tree only"));
        }
        _ => return Err(Error::unsupported("the kernel runtime does not know this scope")),
    }
    Ok(Box::new(observed))
}

/// An observation.
struct Observed {
    /// Readable when one of the processes waited for has ended.
    ready: OwnedFd,
    /// The processes waited for: first the scope's own, then what it leaves behind.
    processes: Vec<Process>,
    /// How the command ended, once it has.
    ended: SessionState,
    filter: Option<Arc<Filter>>,
    tracking: Option<Tracking>,
}

struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    is_child: bool,
}

impl Observed {
    fn new(filter: Option<Arc<Filter>>) -> Result<Self> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| cannot_wait(e.into()))?;
        let tracking = filter.as_ref().map(|filter| filter.track()).transpose()?;
        let ended = SessionState::Ended { code: None, signal: None };
        Ok(Self { ready, processes: Vec::new(), ended, filter, tracking })
    }

    fn start_command(&mut self, argv: &[OsString]) -> Result<()> {
        let Some(program) = argv.first() else {
            return Err(Error::os(libc::EINVAL, "no command given"));
        };
        let failed = |e: io::Error| {
            Error::os(errno(&e), format!("cannot run `{}`: {}", program.display(), describe(&e)))
        };
        let path = c_string(find_program(program).map_err(failed)?.into_os_string())?;
        let argv: Vec<CString> = argv.iter().cloned().map(c_string).collect::<Result<_>>()?;
        let held = spawn::hold(&path, &argv).map_err(failed)?;
        self.watch(held.pid(), true)?;
        if let Some(filter) = &self.filter {
            filter.insert(held.pid())?;
        }
        held.release().map_err(failed)
    }

    fn observe_process(&mut self, pid: u32) -> Result<()> {
        self.watch(pid, false)?;
        match &self.filter {
            Some(filter) => filter.insert(pid),
            None => Ok(()),
        }
    }

    /// Waits for the end of a process, too.
    fn watch(&mut self, pid: u32, is_child: bool) -> Result<()> {
        let missing = || Error::os(libc::ESRCH, format!("there is no process `{pid}`"));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(missing)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| missing())?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&self.ready, &pidfd, data, epoll::EventFlags::IN).map_err(|e| cannot_wait(e.into()))?;
        self.processes.push(Process { pid, pidfd, is_child });
        Ok(())
    }

    /// Lets go of processes that have ended, and waits for those that they have left behind.
    fn look(&mut self) -> Result<SessionState> {
        for process in std::mem::take(&mut self.processes) {
            if !is_readable(&process.pidfd)? {
                self.processes.push(process);
            } else if process.is_child {
                self.ended = reap(process.pid)?;
            }
        }
        if self.processes.is_empty() {
            self.watch_what_is_left();
        }
        Ok(if self.processes.is_empty() { self.ended } else { SessionState::Running })
    }

    fn watch_what_is_left(&mut self) {
        let left = self.filter.as_ref().map(|filter| filter.tasks()).unwrap_or_default();
        for task in left {
            // Threads have no such descriptor, and what has ended meanwhile has none any more.
            let _ = self.watch(task, false);
        }
        let ended = |process: &Process| is_readable(&process.pidfd).unwrap_or(true);
        self.processes.retain(|process| !ended(process));
    }
}

impl Session for Observed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<SessionState> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(()) = poll_for(&self.ready, left)? else { return Ok(SessionState::Running) };
            let state = self.look()?;
            if state != SessionState::Running {
                return Ok(state);
            }
        }
    }

    fn release(&mut self) -> Result<()> {
        self.tracking = None;
        if let Some(filter) = &self.filter {
            filter.clear();
        }
        Ok(())
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // Releasing the kernel's programs cannot fail.
        let _ = self.release();
    }
}

/// The file that a command's name stands for, as execvp(3) looks for it.
fn find_program(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let executable =
        |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(executable)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

fn c_string(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|e| {
        let text = String::from_utf8_lossy(&e.into_vec()).into_owned();
        Error::os(libc::EINVAL, format!("`{text}` contains a zero byte"))
    })
}

/// Collects a child that has ended.
fn reap(pid: Pid) -> Result<SessionState> {
    let status = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
    let status = status.map_err(|e| cannot_wait(e.into()))?.map(|(_, status)| status);
    Ok(SessionState::Ended {
        code: status.and_then(WaitStatus::exit_status),
        signal: status.and_then(WaitStatus::terminating_signal),
    })
}

fn is_readable(fd: &OwnedFd) -> Result<bool> {
    poll_for(fd, Some(Duration::ZERO)).map(|ready| ready.is_some())
}

/// Waits until a descriptor is readable; `None` when it was not in time, or a signal came.
fn poll_for(fd: &OwnedFd, timeout: Option<Duration>) -> Result<Option<()>> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(None),
        Ok(_) => Ok(Some(())),
        Err(e) => Err(cannot_wait(e.into())),
    }
}

fn cannot_wait(e: io::Error) -> Error {
    Error::os(errno(&e), format!("cannot wait for the process: {}", describe(&e)))
}
