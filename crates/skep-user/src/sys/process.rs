//! fork, exec, seccomp: what happens between a fork and the exec of a traced command.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use super::{Tid, check, signal};

/// Instructions of a seccomp filter.
pub(crate) use libc::sock_filter as FilterInsn;

/// Null-terminated strings as execve(2) takes them.
pub(crate) struct StringVector {
    pointers: Vec<*const libc::c_char>,
    _owned: Vec<CString>,
}

impl StringVector {
    /// Takes the strings over.
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: strings }
    }
}

/// All a child needs to become the command; prepared before the fork, because after it nothing may allocate.
pub(crate) struct ExecPlan<'a> {
    /// What to execute.
    pub(crate) path: &'a CStr,
    /// Arguments.
    pub(crate) argv: &'a StringVector,
    /// Arguments of `/bin/sh` for a script without `#!`, as execvp(3) falls back.
    pub(crate) shell_argv: &'a StringVector,
    /// Environment.
    pub(crate) envp: &'a StringVector,
    /// A byte arrives here when the tracer is ready.
    pub(crate) go: BorrowedFd<'a>,
    /// Where the errno of a failed exec goes.
    pub(crate) report: BorrowedFd<'a>,
    /// Seccomp filter to install; empty for none.
    pub(crate) filter: &'a [FilterInsn],
}

/// Forks the process that will execute `plan`.
pub(crate) fn spawn(plan: &ExecPlan<'_>) -> io::Result<Tid> {
    // SAFETY: the child calls only async-signal-safe functions until it executes or exits.
    match check(i64::from(unsafe { libc::fork() }))? {
        0 => become_command(plan),
        pid => Ok(pid as Tid),
    }
}

/// The child's side of [`spawn`].
fn become_command(plan: &ExecPlan<'_>) -> ! {
    let errno = match try_become_command(plan) {
        Err(e) => e.raw_os_error().unwrap_or(libc::EINVAL),
    };
    let bytes = errno.to_ne_bytes();
    // SAFETY: the descriptor is open and the bytes are alive.
    unsafe { libc::write(plan.report.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    exit_now(127)
}

fn try_become_command(plan: &ExecPlan<'_>) -> io::Result<Infallible> {
    signal::restore_for_command();
    wait_for_byte(plan.go.as_raw_fd());
    if !plan.filter.is_empty() {
        install_filter(plan.filter)?;
    }
    let error = execute(plan.path, plan.argv, plan.envp);
    if error.raw_os_error() == Some(libc::ENOEXEC) {
        execute(c"/bin/sh", plan.shell_argv, plan.envp);
    }
    Err(error)
}

/// Executes; returns only with the error.
fn execute(path: &CStr, argv: &StringVector, envp: &StringVector) -> io::Error {
    // SAFETY: both vectors end with a null pointer and own what they point to.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Waits for one byte; at end of file the process is no longer wanted and ends.
fn wait_for_byte(fd: RawFd) {
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte of live memory.
        match check(unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } as i64) {
            Ok(1) => return,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => exit_now(127),
        }
    }
}

/// Waits until the other side of a pipe is closed.
pub(super) fn wait_for_end(fd: RawFd) {
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte of live memory.
        match check(unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } as i64) {
            Ok(0) => return,
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// Installs a seccomp filter on the calling thread. Whoever may install filters keeps the right to gain privileges
/// through set-uid programs; everybody else has to give it up (`PR_SET_NO_NEW_PRIVS`).
fn install_filter(filter: &[FilterInsn]) -> io::Result<()> {
    match seccomp(filter) {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: plain numbers.
            check(i64::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }))?;
            seccomp(filter)
        }
        result => result,
    }
}

fn seccomp(filter: &[FilterInsn]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // Without this flag older kernels switch speculation off for the command.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: `program` points to `len` instructions, which the kernel only reads.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(result).map(drop)
}

/// Forks a process that does nothing but end when the other side of `until` is closed.
pub(crate) fn spawn_sentinel(until: BorrowedFd<'_>) -> io::Result<Tid> {
    // SAFETY: the child calls only async-signal-safe functions until it exits.
    match check(i64::from(unsafe { libc::fork() }))? {
        0 => {
            keep_only(until.as_raw_fd());
            wait_for_byte(0);
            exit_now(0)
        }
        pid => Ok(pid as Tid),
    }
}

/// Makes `fd` descriptor 0 and closes all others, so that nobody waits for this process to close a pipe.
pub(super) fn keep_only(fd: RawFd) {
    // SAFETY: after a fork; nothing in this process uses the closed descriptors again.
    unsafe { libc::dup2(fd, 0) };
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) };
}

/// Forks the whole process, which must have one thread only; 0 in the child.
pub(crate) fn fork() -> io::Result<Tid> {
    // SAFETY: with one thread the child's memory is whole, so it may go on as any process.
    check(i64::from(unsafe { libc::fork() })).map(|pid| pid as Tid)
}

/// Waits for a child and answers its exit status as a shell would show it.
pub(crate) fn exit_status(pid: Tid) -> i32 {
    let mut status = 0;
    // SAFETY: a live integer.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
        return 1;
    }
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Puts a file in the place of standard input, output and error.
pub(crate) fn replace_stdio(file: BorrowedFd<'_>) {
    for standard in 0..=2 {
        // SAFETY: plain descriptors; what was written so far has been flushed by the caller.
        unsafe { libc::dup2(file.as_raw_fd(), standard) };
    }
}

/// Kills a child.
pub(crate) fn kill(pid: Tid, signal: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::kill(pid, signal) };
}

/// Sends a signal to a process (`thread` none) or one of its threads.
pub(crate) fn send_signal(tgid: Tid, thread: Option<Tid>, signal: i32) -> io::Result<()> {
    let result = match thread {
        // SAFETY: plain numbers.
        Some(tid) => unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) },
        // SAFETY: plain numbers.
        None => i64::from(unsafe { libc::kill(tgid, signal) }),
    };
    check(result).map(drop)
}

/// Ends the process without running destructors or exit handlers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(status) }
}

/// May the file be executed by this process?
pub(crate) fn may_execute(path: &CStr) -> bool {
    // SAFETY: a live, terminated string.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}
