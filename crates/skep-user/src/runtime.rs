//! [`UserRuntime`]: bpf(2) objects over the virtual machine, attached to hooks in user space.

use std::fmt;
use std::sync::{Arc, mpsc};

use skep_obj::AttachPoint;
use skep_runtime::{
    AttachOptions, Command, Error, EventSource, Fd, Reply, Result, Runtime, RuntimeKind, Scope, Session,
    SharedRuntime,
};

use crate::session::{Progress, UserSession, spawn_tracer};
use crate::tracer::{CommandLine, Interest, Observer, Ready, Tracer};

/// Something a person should know that is not the failure of any command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diagnostic {
    /// A set-user-id or set-group-id program ran without gaining its rights, because it is traced.
    SetIdIgnored {
        /// Its process.
        pid: u32,
        /// The program.
        path: String,
    },
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetIdIgnored { pid, path } => {
                write!(
                    f,
                    "process `{pid}`: `{path}` runs without the rights of its owner, because it is traced"
                )
            }
        }
    }
}

/// Where diagnostics go; called on the thread that found them.
pub type Diagnostics = Arc<dyn Fn(Diagnostic) + Send + Sync>;

/// What a user runtime is told from outside.
#[derive(Clone, Default)]
pub struct Config {
    /// Hears what a person should know; `None` drops it.
    pub diagnostics: Option<Diagnostics>,
}

/// The user runtime.
pub struct UserRuntime {
    config: Config,
}

impl UserRuntime {
    /// A runtime without any objects.
    #[expect(clippy::new_ret_no_self, reason = "everything above holds runtimes as trait objects")]
    pub fn new(config: Config) -> SharedRuntime {
        Arc::new(Self { config })
    }
}

impl Runtime for UserRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::User
    }

    fn bpf(&self, command: Command<'_>) -> Result<Reply> {
        Err(Error::unsupported_command(command.cmd(), RuntimeKind::User))
    }

    fn close(&self, _: Fd) {}

    fn attach(&self, _: Fd, point: &AttachPoint, _: &AttachOptions) -> Result<Fd> {
        Err(Error::unsupported(format!("the user runtime has no hook for `{point:?}`")))
    }

    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>> {
        Err(Error::os(libc::EBADF, format!("no descriptor `{}`", map.0)))
    }

    fn printk(&self) -> Result<Box<dyn EventSource>> {
        Err(Error::unsupported("the user runtime has no programs that print yet"))
    }

    fn start(&self, scope: Scope) -> Result<Box<dyn Session>> {
        observe(scope, Interest::default(), Box::new(Nobody))
    }
}

/// Starts the tracer of a scope on a thread of its own, and waits until what it observes has begun.
fn observe(scope: Scope, interest: Interest, observer: Box<dyn Observer>) -> Result<Box<dyn Session>> {
    let failed =
        |e: std::io::Error| Error::os(e.raw_os_error().unwrap_or(libc::EIO), format!("cannot trace: {e}"));
    let progress = Arc::new(Progress::new().map_err(failed)?);
    let shared = Arc::clone(&progress);
    let (ready, begun) = mpsc::channel();
    match scope {
        Scope::Command(argv) => {
            let command = CommandLine::resolve(argv)?;
            let told = ready.clone();
            let launch = move || Tracer::launch(command, interest, observer, shared, told);
            spawn_tracer(move || trace(launch(), &ready)).map_err(failed)?;
        }
        Scope::Process(pid) => {
            let seize = move || Tracer::seize(pid, interest, observer, shared);
            spawn_tracer(move || {
                let tracer = seize();
                if tracer.is_ok() {
                    let _ = ready.send(Ok(()));
                }
                trace(tracer, &ready);
            })
            .map_err(failed)?;
        }
        _ => {
            return Err(Error::unsupported("the user runtime does not observe the whole machine").hint(
                "give a command (`-- CMD`) or a process (`-p PID`); the kernel runtime observes the machine",
            ));
        }
    }
    begun.recv().unwrap_or_else(|_| Err(Error::os(libc::EIO, "the tracer ended before it began")))?;
    Ok(Box::new(UserSession::new(progress)))
}

/// Runs a tracer that could be made, or says why it could not.
fn trace(tracer: Result<Tracer>, ready: &Ready) {
    match tracer {
        Ok(tracer) => tracer.run(),
        Err(e) => drop(ready.send(Err(e))),
    }
}

/// Looks at nothing.
struct Nobody;

impl Observer for Nobody {
    fn entered(&mut self, _: &mut crate::task::Task, _: &crate::tracer::Call) {}
    fn returned(&mut self, _: &mut crate::task::Task, _: &crate::tracer::Call, _: i64) {}
    fn forked(&mut self, _: &mut crate::task::Task, _: &mut crate::task::Task) {}
    fn executed(&mut self, _: &mut crate::task::Task, _: i32) {}
    fn exiting(&mut self, _: &mut crate::task::Task, _: i32, _: bool) {}
    fn signalled(&mut self, _: &mut crate::task::Task, _: &crate::sys::ptrace::SignalInfo) {}
    fn gone(&mut self, _: i32) {}
}
