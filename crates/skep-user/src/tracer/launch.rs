//! Starting the command of a session: found in `PATH`, checked before anything runs, forked, seized, executed.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use skep_runtime::{Error, Result};

use super::{Call, Interest, Mode, Observer, Tracee, Tracer, filter, options, seize};
use crate::session::Progress;
use crate::sys::process::{self, ExecPlan, StringVector};
use crate::sys::{Tid, ptrace};
use crate::task::Task;

/// Where a tracer says that what it observes has begun, or why it could not.
pub(crate) type Ready = Sender<Result<()>>;

/// A command that is being started, and then the session's main process.
pub(super) struct Launch {
    pid: Tid,
    command: PathBuf,
    /// Has the program been executed? Before that the process is a copy of this one.
    executed: bool,
    /// Brings the errno of a failed exec.
    failure: PipeReader,
    ready: Ready,
}

/// A command as execve(2) wants it.
pub(crate) struct CommandLine {
    path: PathBuf,
    argv: Vec<OsString>,
}

impl CommandLine {
    /// Finds the program; nothing runs if it is not there or cannot be executed.
    pub(crate) fn resolve(argv: Vec<OsString>) -> Result<Self> {
        let name = argv.first().ok_or_else(|| Error::os(libc::EINVAL, "no command given"))?;
        let path = find_program(name)?;
        Ok(Self { path, argv })
    }
}

/// Looks a program up as execvp(3) does, and says what is wrong with the one it finds.
fn find_program(name: &OsStr) -> Result<PathBuf> {
    let shown = Path::new(name).display();
    if name.as_bytes().contains(&b'/') {
        return check_program(Path::new(name)).map(|()| PathBuf::from(name));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut denied = None;
    for directory in env::split_paths(&path).filter(|_| !name.is_empty()) {
        let candidate =
            if directory.as_os_str().is_empty() { Path::new(".").join(name) } else { directory.join(name) };
        match check_program(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) if e.errno() == libc::EACCES && candidate.is_file() => denied = Some(e),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| {
        Error::os(libc::ENOENT, format!("command `{shown}` not found"))
            .hint("give its path, or add its directory to `PATH`")
    }))
}

/// Can this file be executed?
fn check_program(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = fs::metadata(path)
        .map_err(|e| Error::os(errno(&e), format!("cannot run `{shown}`: {}", describe(&e))))?;
    if metadata.is_dir() {
        return Err(Error::os(libc::EACCES, format!("cannot run `{shown}`: it is a directory")));
    }
    if !metadata.is_file() || !process::may_execute(&c_string(path.as_os_str())?) {
        return Err(Error::os(libc::EACCES, format!("cannot run `{shown}`: it is not executable"))
            .hint(format!("`chmod +x {shown}` makes a program of yours executable")));
    }
    Ok(())
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// An operating system error in lower case, without its number.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| Error::os(libc::EINVAL, format!("`{}` contains a zero byte", text.display())))
}

fn c_strings(strings: impl IntoIterator<Item = OsString>) -> Result<StringVector> {
    let owned: Result<Vec<CString>> = strings.into_iter().map(|s| c_string(&s)).collect();
    Ok(StringVector::new(owned?))
}

/// `NAME=value` for every variable of this process.
fn environment() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, value)| {
        let mut bytes = name.into_vec();
        bytes.push(b'=');
        bytes.extend(value.into_vec());
        OsString::from_vec(bytes)
    })
}

/// How the calls of a started command are made to stop. Programs that want every exit gain nothing from a filter, and
/// without one the command can be let go for good.
fn mode_for(interest: &Interest) -> Mode {
    if interest.exit.is_all() {
        Mode::Every
    } else if interest.calls().is_empty() && interest.sites.is_empty() {
        Mode::Never
    } else {
        Mode::Filter
    }
}

impl Tracer {
    /// Starts a command under a new tracer; `ready` hears when it has been executed, or why not.
    pub(crate) fn launch(
        command: CommandLine,
        interest: Interest,
        observer: Box<dyn Observer>,
        progress: Arc<Progress>,
        ready: Ready,
    ) -> Result<Self> {
        let mode = mode_for(&interest);
        let mut tracer = Self::new(mode, interest, observer, progress).map_err(cannot_start)?;
        match tracer.fork_command(command, ready) {
            Ok(()) => Ok(tracer),
            Err(e) => {
                tracer.dismiss_sentinel();
                Err(e)
            }
        }
    }

    /// Forks the command's process and seizes it while it waits to execute.
    fn fork_command(&mut self, command: CommandLine, ready: Ready) -> Result<()> {
        let path = c_string(command.path.as_os_str())?;
        let script = command.argv.iter().skip(1).cloned();
        let shell_argv =
            c_strings(["/bin/sh".into(), command.path.clone().into()].into_iter().chain(script))?;
        let (argv, envp) = (c_strings(command.argv)?, c_strings(environment())?);
        let filter = if self.mode == Mode::Filter { filter::build(&self.interest) } else { Vec::new() };
        let (go_reader, mut go) = io::pipe().map_err(cannot_start)?;
        let (failure, report) = io::pipe().map_err(cannot_start)?;
        let plan = ExecPlan {
            path: &path,
            argv: &argv,
            shell_argv: &shell_argv,
            envp: &envp,
            go: go_reader.as_fd(),
            report: report.as_fd(),
            filter: &filter,
        };
        let pid = process::spawn(&plan).map_err(cannot_start)?;
        if let Err(e) = ptrace::seize(pid, options(&self.interest, self.mode)) {
            drop(go);
            ptrace::reap(pid);
            return Err(seize::refusal(pid, &e, "the command"));
        }
        if self.mode == Mode::Every {
            let _ = ptrace::interrupt(pid);
        }
        let _ = go.write_all(&[1]);
        let mut tracee = Tracee::new(Task::new(pid));
        tracee.quiet = true;
        self.tracees.insert(pid, tracee);
        self.launch = Some(Launch { pid, command: command.path, executed: false, failure, ready });
        Ok(())
    }

    /// Until the command is executed, its exec is all that programs are to see of its process.
    pub(super) fn launching(&mut self, tid: Tid, call: &Call) {
        if self.launch.as_ref().is_some_and(|launch| launch.pid == tid && !launch.executed)
            && let Some(tracee) = self.tracees.get_mut(&tid)
        {
            tracee.quiet = call.nr != libc::SYS_execve;
        }
    }

    /// A process has executed a program: if it is the command, the session has begun.
    pub(super) fn launched(&mut self, tid: Tid) {
        if let Some(launch) = &mut self.launch
            && launch.pid == tid
            && !launch.executed
        {
            launch.executed = true;
            let _ = launch.ready.send(Ok(()));
            self.tracees.entry(tid).and_modify(|tracee| tracee.quiet = false);
        }
    }

    /// A process is gone: if it is the command, the session learns how it ended, or why it never began.
    pub(super) fn command_ended(&mut self, tid: Tid, status: i32, signal: Option<i32>) {
        let Some(launch) = self.launch.as_mut().filter(|launch| launch.pid == tid) else { return };
        if launch.executed {
            self.progress.command_ended(signal.is_none().then_some(status), signal);
        } else {
            let error = launch.why_not();
            let _ = launch.ready.send(Err(error));
        }
    }
}

impl Launch {
    /// Why the command was not executed.
    fn why_not(&mut self) -> Error {
        let shown = self.command.display();
        let mut bytes = [0; 4];
        if self.failure.read_exact(&mut bytes).is_err() {
            return Error::os(libc::ECHILD, format!("`{shown}` was killed before it began"));
        }
        let error = io::Error::from_raw_os_error(i32::from_ne_bytes(bytes));
        let message = format!("cannot run `{shown}`: {}", describe(&error));
        match errno(&error) {
            libc::ENOENT => {
                Error::os(libc::ENOENT, format!("cannot run `{shown}`: its interpreter does not exist"))
                    .hint("see the `#!` line of a script, or `readelf -l` of a program")
            }
            libc::ENOEXEC => Error::os(libc::ENOEXEC, message)
                .hint("it is neither a program for this machine nor a script"),
            errno => Error::os(errno, message),
        }
    }
}

/// A resource that is needed before anything can be traced is missing.
fn cannot_start(error: io::Error) -> Error {
    Error::os(errno(&error), format!("cannot start a traced process: {}", describe(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_or_refused_with_a_reason() {
        assert!(find_program(OsStr::new("sh")).is_ok());
        assert!(find_program(OsStr::new("/bin/sh")).is_ok());
        for (name, reason) in [
            ("no-such-command-anywhere", "not found"),
            ("", "not found"),
            ("/no/such/file", "no such file"),
            ("/etc", "is a directory"),
            ("/etc/passwd", "not executable"),
        ] {
            let error = find_program(OsStr::new(name)).expect_err(name);
            assert!(error.to_string().contains(reason), "`{name}`: {error}");
        }
    }
}
