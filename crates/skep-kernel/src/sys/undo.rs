//! Undoing what the kernel does not undo by itself when a descriptor is closed.
//!
//! Filters of traffic control, routes, and programs of cgroups that are attached without a link belong to nobody: they stay
//! when their maker is killed. So a [`Guard`] makes them: a child process with nothing but two pipes and two system calls,
//! one to make, one to undo. States of the child: it makes, it reports, it waits for the end of its pipe, which comes
//! however we end, it undoes, it is gone. There is no moment at which killing us leaves something behind.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

/// Bytes of an answer, at most: netlink's errors with a sentence are shorter.
const ANSWER: usize = 1024;

/// One system call, ready to be made: nothing takes memory any more.
#[derive(Debug)]
pub(crate) enum Step {
    /// Sends a message to netlink, which answers.
    Send {
        /// A socket of the network namespace that is meant.
        socket: RawFd,
        /// The message.
        message: Vec<u8>,
    },
    /// Makes a call of bpf(2); the answer is its errno, or 0.
    Bpf {
        /// Its number.
        cmd: u32,
        /// `union bpf_attr`, without addresses in it.
        attr: Vec<u8>,
    },
    /// Takes an option of `SOL_SOCKET` off a socket; there is no answer.
    SocketOption {
        /// The socket.
        socket: RawFd,
        /// The option.
        option: i32,
    },
}

impl Step {
    /// Makes the call; answers the bytes of the answer.
    fn make(&self, answer: &mut [u8; ANSWER]) -> usize {
        match self {
            Self::Send { socket, message } => {
                // SAFETY: the message is as long as we say, and alive.
                unsafe { libc::send(*socket, message.as_ptr().cast(), message.len(), 0) };
                // SAFETY: the buffer is as long as we say. A message that could not be sent has no answer to wait for.
                let bytes = unsafe {
                    libc::recv(*socket, answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT)
                };
                usize::try_from(bytes).unwrap_or(0)
            }
            Self::Bpf { cmd, attr } => {
                // SAFETY: the attribute is as long as we say, alive, and has no addresses in it.
                let result = unsafe { libc::syscall(libc::SYS_bpf, *cmd, attr.as_ptr(), attr.len()) };
                let errno = if result < 0 { super::errno(&io::Error::last_os_error()) } else { 0 };
                answer[..4].copy_from_slice(&errno.to_ne_bytes());
                4
            }
            Self::SocketOption { socket, option } => {
                let nothing = 0_i32;
                // SAFETY: the options take a number, of the length that is said.
                unsafe {
                    libc::setsockopt(*socket, libc::SOL_SOCKET, *option, (&raw const nothing).cast(), 4)
                };
                0
            }
        }
    }
}

/// Makes a call when it is dropped, for what ends with this process in any case.
#[derive(Debug)]
pub(crate) struct OnDrop {
    /// The call.
    pub(crate) undo: Step,
    /// What it is made on.
    #[expect(dead_code, reason = "they are only kept open")]
    pub(crate) fds: Vec<OwnedFd>,
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        // There is nobody left to tell when it fails.
        self.undo.make(&mut [0; ANSWER]);
    }
}

/// Undoes when it is dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Pid,
    /// Its end is what the child waits for.
    pipe: Option<OwnedFd>,
}

impl Guard {
    /// Has a child make a call and guard it; the answer is the call's. The calls use the descriptors of `fds`.
    pub(crate) fn start(make: &Step, undo: &Step, fds: &[RawFd]) -> io::Result<(Self, Vec<u8>)> {
        let (reader, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        let (report, report_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut keep = [fds, &[reader.as_raw_fd(), report_writer.as_raw_fd()]].concat();
        keep.sort_unstable();
        // SAFETY: the child calls only async-signal-safe functions until it exits.
        let child = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => stand_guard((reader.as_raw_fd(), report_writer.as_raw_fd()), &keep, make, undo),
            child => Pid::from_raw(child).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))?,
        };
        let guard = Self { child, pipe: Some(pipe) };
        drop(report_writer);
        let mut answer = vec![0; ANSWER];
        let bytes = rustix::io::retry_on_intr(|| rustix::io::read(&report, &mut answer[..]))?;
        answer.truncate(bytes);
        Ok((guard, answer))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It is over when the child is; that somebody else has waited for it is as good.
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(self.child), WaitOptions::empty()));
    }
}

/// The child's side of [`Guard::start`].
fn stand_guard((pipe, report): (RawFd, RawFd), keep: &[RawFd], make: &Step, undo: &Step) -> ! {
    leave_parent();
    close_others(keep);
    let mut answer = [0; ANSWER];
    let bytes = make.make(&mut answer);
    // SAFETY: the buffer is longer than that. A parent that is gone reads nothing, and the next pipe tells us.
    unsafe { libc::write(report, answer.as_ptr().cast(), bytes) };
    // SAFETY: ours, and not used any more.
    unsafe { libc::close(report) };
    let mut byte = 0_u8;
    // SAFETY: reads into a byte of ours. All copies of the writing end but the parent's are closed, here and by exec.
    while unsafe { libc::read(pipe, (&raw mut byte).cast(), 1) } == -1
        && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
    {}
    if succeeded(make, &answer[..bytes]) {
        undo.make(&mut answer);
    }
    // SAFETY: ends this process, without running anything of the parent's.
    unsafe { libc::_exit(0) }
}

/// What was not made, because something like it was there, is not ours to undo.
fn succeeded(make: &Step, answer: &[u8]) -> bool {
    // An answer of netlink's has its errno behind a header of sixteen bytes.
    let at = if matches!(make, Step::Send { .. }) { 16 } else { 0 };
    answer.get(at..at + 4) == Some(&[0; 4])
}

/// What is sent to the parent's terminal or process group must not end the child before it has done its work.
fn leave_parent() {
    // A process that leads its group already, which a new one does not, would stay where it is.
    let _ = rustix::process::setsid();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: to ignore a signal takes no function of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // It says to a person who looks what this process is; nothing depends on it.
    let _ = rustix::thread::set_name(c"skep-guard");
}

/// Closes every descriptor but those in the sorted list: copies of links would keep them attached.
fn close_others(keep: &[RawFd]) {
    let mut first = 0;
    for &fd in keep {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    /// As far as descriptors are closed one by one, where the kernel cannot close many (before Linux 5.9).
    const MANY: RawFd = 1 << 16;
    if first > last {
        return;
    }
    // SAFETY: nothing in this process uses the descriptors any more.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    for fd in first..=last.min(MANY) {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}
