//! Starting a command in two steps: it exists, and can be named to the programs that are to see it, before it executes.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};

/// A child that waits to become a command. Dropping it lets the child end without having been anything.
#[derive(Debug)]
pub(crate) struct Held {
    pid: u32,
    /// A byte written here lets it go.
    gate: OwnedFd,
    /// Where it says why it could not; closed by a successful exec.
    report: OwnedFd,
}

/// Forks a child that will execute `path` with `argv` in our environment.
pub(crate) fn hold(path: &CStr, argv: &[CString]) -> io::Result<Held> {
    let pointers: Vec<*const libc::c_char> = argv.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
    let (gate_reader, gate) = pipe_with(PipeFlags::CLOEXEC)?;
    let (report, report_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: the child calls only async-signal-safe functions until it executes or exits.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Its own copy of the writing end would keep the gate from ever ending.
            drop(gate);
            become_command(path, &pointers, gate_reader.as_raw_fd(), report_writer.as_raw_fd())
        }
        pid => Ok(Held { pid: pid.unsigned_abs(), gate, report }),
    }
}

impl Held {
    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child execute; the error is execve(2)'s.
    pub(crate) fn release(self) -> io::Result<()> {
        rustix::io::write(&self.gate, &[1])?;
        let mut errno = [0; 4];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.report, &mut errno))? {
            4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            _ => Ok(()),
        }
    }
}

/// The child's side of [`hold`].
fn become_command(path: &CStr, argv: &[*const libc::c_char], gate: RawFd, report: RawFd) -> ! {
    let Err(error) = try_become_command(path, argv, gate);
    // SAFETY: the descriptor was opened before the fork and stays open until we exit.
    let report = unsafe { BorrowedFd::borrow_raw(report) };
    // Nobody may be listening any more; there is nothing else to tell.
    let _ = rustix::io::write(report, &super::errno(&error).to_ne_bytes());
    // SAFETY: ends this process, without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn try_become_command(path: &CStr, argv: &[*const libc::c_char], gate: RawFd) -> io::Result<Infallible> {
    // SAFETY: the descriptor was opened before the fork and stays open until we exit.
    let gate = unsafe { BorrowedFd::borrow_raw(gate) };
    if rustix::io::retry_on_intr(|| rustix::io::read(gate, &mut [0])) != Ok(1) {
        return Err(io::Error::from_raw_os_error(libc::ECANCELED));
    }
    // Rust ignores SIGPIPE, and exec hands that on; commands expect to be killed by it.
    // SAFETY: the default action is no function of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: the vector ends with a null pointer, and its strings are alive in this copy of the parent's memory.
    unsafe { libc::execv(path.as_ptr(), argv.as_ptr()) };
    Err(io::Error::last_os_error())
}
