//! `skep --runtime user daemon`: a user-space BPF subsystem that outlives commands.

use std::ffi::OsString;

use skep::host;
use skep::runtime::{Runtime as _, Scope, SessionState};
use skep_remote::client::{self, Remote};
use skep_remote::{Socket, default_path};
use skep_user::{Config, Subsystem, front};

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;
use crate::args::RuntimeChoice;
use crate::term;

/// Shells add this to the signal that killed a command.
const KILLED: i32 = 128;

/// `daemon`: serves until it is told to stop, by a signal or by `daemon stop`.
pub(crate) fn start(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.end()?;
    only_user(shell)?;
    // The front knows the terminal and the signals. What is behind it ends when it does, however it does, and clears up.
    let front = front::split().map_err(|e| Failure::file("the daemon's process", &e))?;
    let served = serve(shell, &front);
    let status = match &served {
        Ok(()) => 0,
        Err(failure) => {
            shell.tell(&served);
            shell.json.flush();
            failure.status()
        }
    };
    front.finish(status)
}

fn serve(shell: &mut Shell, front: &front::Front) -> Outcome {
    let socket = Socket::bind(&default_path())?;
    let diagnostics = std::sync::Arc::new(|diagnostic| term::warning(format_args!("{diagnostic}")));
    let config = Config { diagnostics: Some(diagnostics), btf: host::kernel_btf(), ..Config::default() };
    let subsystem = Subsystem::new(config)?;
    term::note(format_args!("serving at `{}`", socket.path().display()));
    shell.json.flush();
    skep_remote::serve(&socket, front.as_fd(), &|| subsystem.user())?;
    Ok(())
}

/// `daemon status`: who serves, and what there is.
pub(crate) fn status(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.end()?;
    only_user(shell)?;
    let path = default_path();
    let status = client::connect(&path)?.status()?;
    let (path, seconds) = (path.to_string_lossy(), status.age.as_secs());
    if shell.is_json() {
        let json = &mut shell.json;
        json.begin_object();
        json.string_field("socket", &path);
        json.unsigned_field("pid", status.pid);
        json.unsigned_field("clients", status.clients);
        json.unsigned_field("seconds", seconds);
        json.end_object();
    } else {
        let (pid, clients) = (status.pid, status.clients);
        shell.json.text(format_args!("process {pid} at {path}, for {seconds} s, {clients} connected\n"));
    }
    Ok(())
}

/// `daemon stop`: ends it, with all its objects.
pub(crate) fn stop(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.end()?;
    only_user(shell)?;
    Ok(client::connect(&default_path())?.stop()?)
}

/// `daemon observe { pid PID | CMD … }`: has attached programs run on what a process does, until it ends. The exit status
/// is the command's.
pub(crate) fn observe(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    only_user(shell)?;
    let scope = if words.keyword("pid") {
        let pid = words.number("the process")?;
        words.end()?;
        Scope::Process(pid)
    } else {
        let mut argv: Vec<OsString> = vec![words.need("the command")?.into()];
        argv.extend(std::iter::from_fn(|| words.next()).map(OsString::from));
        Scope::Command(argv)
    };
    let daemon: Remote = client::connect(&default_path())?;
    let mut session = daemon.start(scope).map_err(|e| Failure::refused(&e))?;
    match session.wait(None)? {
        SessionState::Ended { code: None, signal: Some(signal) } => status_of(KILLED + signal),
        SessionState::Ended { code: Some(code), .. } => status_of(code),
        _ => Ok(()),
    }
}

/// A command's own status is no failure of ours, and has no message.
fn status_of(code: i32) -> Outcome {
    match u8::try_from(code) {
        Ok(0) => Ok(()),
        Ok(status) => Err(Failure::silent(status)),
        Err(_) => Err(Failure::silent(u8::MAX)),
    }
}

/// Linux keeps its own objects.
fn only_user(shell: &Shell) -> Outcome {
    if shell.choice() == Some(RuntimeChoice::User) {
        return Ok(());
    }
    Err(Failure::new("the kernel runtime needs no daemon: Linux keeps its objects")
        .hint("`skep --runtime user daemon` keeps those of the user runtime"))
}
