//! Attaching to a running process with all its threads.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;

use skep_runtime::{Error, Result};

use super::{Interest, Mode, Observer, Tracee, Tracer, options};
use crate::session::Progress;
use crate::sys::{Tid, ptrace};
use crate::task::Task;

impl Tracer {
    /// Seizes every thread of a process; they go on running and are seen from their next event on.
    pub(crate) fn seize(
        pid: u32,
        interest: Interest,
        observer: Box<dyn Observer>,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let pid = Tid::try_from(pid).unwrap_or(0);
        if pid <= 0 || !fs::exists(format!("/proc/{pid}")).unwrap_or(false) {
            return Err(Error::os(libc::ESRCH, format!("no process `{pid}`")));
        }
        let mode = if interest.calls().is_empty() { Mode::Never } else { Mode::Every };
        let mut tracer =
            Self::new(mode, interest, observer, progress).map_err(|e| refusal(pid, &e, "the process"))?;
        if !tracer.interest.sites.is_empty() {
            tracer.spaces.start_guard().map_err(|e| refusal(pid, &e, "the process"))?;
        }
        match tracer.seize_threads(pid) {
            Ok(()) => {
                tracer.enter_space(pid, tracer.tracees.keys().copied().collect());
                Ok(tracer)
            }
            Err(e) => {
                tracer.dismiss_sentinel();
                Err(refusal(pid, &e, &format!("process `{pid}`")))
            }
        }
    }

    /// Seizes thread after thread until there is no new one: threads that a seized one makes are attached by themselves.
    fn seize_threads(&mut self, pid: Tid) -> io::Result<()> {
        let mut seen = HashSet::new();
        loop {
            let new: Vec<Tid> = threads(pid)?.into_iter().filter(|&tid| seen.insert(tid)).collect();
            if new.is_empty() {
                break;
            }
            for tid in new {
                self.seize_thread(pid, tid)?;
            }
        }
        if self.tracees.is_empty() { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    }

    fn seize_thread(&mut self, pid: Tid, tid: Tid) -> io::Result<()> {
        match ptrace::seize(tid, options(&self.interest, self.mode)) {
            Ok(()) => {
                if self.mode == Mode::Every {
                    ptrace::interrupt(tid)?;
                }
                self.tracees.insert(tid, Tracee::new(Task::new(tid)));
                Ok(())
            }
            // It has ended meanwhile, or is attached already because a seized thread made it.
            Err(_) if tid != pid && (!self.tracees.is_empty()) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// The threads of a process.
fn threads(pid: Tid) -> io::Result<Vec<Tid>> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Why a process may not be traced, and what would help.
pub(super) fn refusal(pid: Tid, error: &io::Error, what: &str) -> Error {
    let errno = error.raw_os_error().unwrap_or(libc::EPERM);
    match errno {
        libc::ESRCH => Error::os(errno, format!("cannot trace {what}: it has ended")),
        libc::EPERM | libc::EACCES => {
            let (reason, hint) = why_denied(pid);
            Error::os(libc::EPERM, format!("cannot trace {what}: {reason}")).hint(hint)
        }
        _ => Error::os(errno, format!("cannot trace {what}: {error}")),
    }
}

/// The first of the kernel's conditions that the process does not meet (`__ptrace_may_access`, `kernel/ptrace.c`).
fn why_denied(pid: Tid) -> (String, &'static str) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<i64>().ok()
    };
    let own = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let own_uid = own.lines().find_map(|l| l.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok());
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match (field("TracerPid:"), field("Uid:")) {
        (Some(tracer), _) if tracer != 0 => (
            format!("process `{tracer}` traces it already"),
            "a process has one tracer; end the other one first",
        ),
        (_, Some(uid)) if own_uid != Some(0) && own_uid != Some(uid) => {
            (format!("it belongs to another user (uid {uid})"), "run as that user or as root")
        }
        _ if Tid::try_from(std::process::id()) == Ok(pid) => {
            ("it is this process".into(), "trace another process")
        }
        _ => match yama.trim() {
            "1" => (
                "the kernel lets processes trace only their descendants (`kernel.yama.ptrace_scope` is 1)"
                    .into(),
                "start the command under `skep run -- CMD`, or run as root",
            ),
            "2" => ("only root may trace (`kernel.yama.ptrace_scope` is 2)".into(), "run as root"),
            "3" => (
                "tracing is switched off until the next boot (`kernel.yama.ptrace_scope` is 3)".into(),
                "boot with another setting",
            ),
            _ => (
                "the kernel does not allow it: a privileged program, a kernel thread, or a container's rule"
                    .into(),
                "run as root, in a container with `CAP_SYS_PTRACE`",
            ),
        },
    }
}
