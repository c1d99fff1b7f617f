//! The front of a command line that traces: the process that the terminal and the shell know, kept apart from the one that
//! traces.
//!
//! A seccomp filter cannot be taken off a process again, and calls that it hands to a tracer fail when there is none. So a
//! command that is to go on unharmed after the tracing stops needs its tracer to the end, while the shell wants its prompt
//! back. [`split`] therefore makes two processes before anything else happens:
//!
//! - the *front* keeps the process id, passes SIGINT, SIGTERM, SIGHUP and SIGQUIT on as a wish to stop, and exits with the
//!   status it is told;
//! - the *back* does the work. When it is done it calls [`Front::finish`]: the front exits, and the back stays behind
//!   without terminal or output until the last filtered process is gone, asleep but for the calls it passes on.
//!
//! Both are in the same process group, and the back ignores the terminal's signals, so that job control stops and
//! continues the front and the command, as without tracing. A front that is killed counts as a wish to stop.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::session;
use crate::sys::{process, signal};

/// Signals to the front that ask for an early end.
const STOPPING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
/// Signals of the terminal that are not for the back.
const TERMINAL: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// The back's connection to its front.
#[derive(Debug)]
pub struct Front {
    connection: UnixStream,
}

/// Splits the process; returns in the back only. Call it while there is one thread and no output is buffered.
pub fn split() -> io::Result<Front> {
    let (front, back) = UnixStream::pair()?;
    match process::fork()? {
        0 => {
            drop(front);
            for signal in STOPPING.into_iter().chain(TERMINAL) {
                signal::ignore(signal);
            }
            back.set_nonblocking(true)?;
            Ok(Front { connection: back })
        }
        pid => {
            drop(back);
            run_front(front, pid)
        }
    }
}

impl Front {
    /// Readable when [`stop_requested`](Self::stop_requested) has something to say.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// The signal that asked for an early end, if there was one; SIGHUP when the front is gone.
    pub fn stop_requested(&self) -> Option<i32> {
        let mut byte = [0];
        match (&self.connection).read(&mut byte) {
            Ok(0) => Some(libc::SIGHUP),
            Ok(_) => Some(i32::from(byte[0])),
            Err(_) => None,
        }
    }

    /// Makes the front exit with `status`, and ends this process as soon as no traced process needs it.
    ///
    /// Write and flush all output before: standard input, output and error are closed here.
    pub fn finish(self, status: u8) -> ! {
        leave_stdio();
        // When the front has been killed there is nobody to tell.
        let _ = (&self.connection).write_all(&[status]);
        drop(self);
        session::wait_for_tracers();
        process::exit_now(0)
    }
}

/// Lets go of the terminal and of pipes that readers wait to see closed.
fn leave_stdio() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        process::replace_stdio(null.as_fd());
    }
}

/// The front's life: it passes signals on until it is told how to exit.
fn run_front(mut connection: UnixStream, back: i32) -> ! {
    relay_signals(&connection);
    let mut status = [0];
    loop {
        match connection.read(&mut status) {
            Ok(1) => process::exit_now(i32::from(status[0])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // The back ended without a word: it exited by itself, or something killed it.
            _ => process::exit_now(process::exit_status(back)),
        }
    }
}

/// Signals that were ignored when we started stay so: `nohup` and background jobs mean it.
fn relay_signals(connection: &UnixStream) {
    signal::relay_to(connection.as_fd());
    for number in STOPPING.into_iter().filter(|&number| !signal::is_ignored(number)) {
        signal::handle(number, signal::relay);
    }
}
