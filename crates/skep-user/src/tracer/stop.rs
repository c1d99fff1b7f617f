//! What a wait status of a tracee means (ptrace(2), "Stopped states").

/// Why a tracee reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It exited with a status.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
    /// At the entry or exit of a system call.
    Call,
    /// At a system call that the seccomp filter asks for.
    Seccomp,
    /// It made a process or thread; the event message has its id.
    Forked,
    /// It executes a new program; the event message has its former thread id.
    Executed,
    /// It is about to exit; the event message has the exit code.
    Exiting,
    /// It goes on after its child of vfork(2) let go of its memory.
    VforkDone,
    /// Newly attached, or interrupted by us.
    Trapped,
    /// Stopped by job control.
    Group,
    /// A signal is about to be delivered.
    Signal(i32),
}

impl Stop {
    /// Reads a status as waitpid(2) gives it for seized tracees with `PTRACE_O_TRACESYSGOOD`.
    pub(super) fn decode(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            return Self::Exited(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            return Self::Killed(libc::WTERMSIG(status));
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            0 if signal == libc::SIGTRAP | 0x80 => Self::Call,
            0 => Self::Signal(signal),
            libc::PTRACE_EVENT_SECCOMP => Self::Seccomp,
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Self::Forked,
            libc::PTRACE_EVENT_EXEC => Self::Executed,
            libc::PTRACE_EVENT_EXIT => Self::Exiting,
            libc::PTRACE_EVENT_VFORK_DONE => Self::VforkDone,
            _ if signal == libc::SIGTRAP => Self::Trapped,
            _ => Self::Group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stop;

    #[test]
    fn statuses_decode() {
        let stopped = |event: i32, signal: i32| event << 16 | signal << 8 | 0x7f;
        for (status, expected) in [
            (3 << 8, Stop::Exited(3)),
            (9, Stop::Killed(9)),
            (11 | 0x80, Stop::Killed(11)),
            (stopped(0, libc::SIGTRAP | 0x80), Stop::Call),
            (stopped(0, libc::SIGTRAP), Stop::Signal(libc::SIGTRAP)),
            (stopped(0, libc::SIGSTOP), Stop::Signal(libc::SIGSTOP)),
            (stopped(libc::PTRACE_EVENT_SECCOMP, libc::SIGTRAP), Stop::Seccomp),
            (stopped(libc::PTRACE_EVENT_VFORK, libc::SIGTRAP), Stop::Forked),
            (stopped(libc::PTRACE_EVENT_STOP, libc::SIGTRAP), Stop::Trapped),
            (stopped(libc::PTRACE_EVENT_STOP, libc::SIGTSTP), Stop::Group),
        ] {
            assert_eq!(Stop::decode(status), expected, "status {status:#x}");
        }
    }
}
