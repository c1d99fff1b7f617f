//! ptrace(2) requests and waiting for tracees.

use std::io;
use std::ptr;

use super::{Tid, check};

/// Where a system call stands, as `PTRACE_GET_SYSCALL_INFO` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallInfo {
    /// The tracee is not in a system call stop.
    None,
    /// About to execute: at a syscall-enter stop or a seccomp stop.
    Enter(Entry),
    /// Executed; the raw value, negative errno included.
    Exit {
        /// What the kernel returns.
        ret: i64,
    },
}

/// A system call about to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number in `arch`'s table.
    pub(crate) nr: u64,
    /// Its arguments.
    pub(crate) args: [u64; 6],
    /// `AUDIT_ARCH_*`.
    pub(crate) arch: u32,
}

/// `struct ptrace_syscall_info` (`include/uapi/linux/ptrace.h`), its union as words.
#[repr(C)]
#[derive(Default)]
struct RawCallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    ip: u64,
    sp: u64,
    data: [u64; 8],
}

/// `PTRACE_SYSCALL_INFO_*`.
const INFO_ENTRY: u8 = 1;
const INFO_EXIT: u8 = 2;
const INFO_SECCOMP: u8 = 3;

/// How a stopped tracee goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// To the next signal, event or seccomp stop.
    Cont,
    /// To the next system call stop as well.
    Syscall,
    /// One instruction.
    Step,
}

fn request(request: libc::c_uint, tid: Tid, addr: usize, data: usize) -> io::Result<i64> {
    // SAFETY: callers pass either plain numbers or pointers to live memory of the size the request wants.
    check(unsafe { libc::ptrace(request, tid, addr, data) })
}

/// Attaches without stopping the tracee.
pub(crate) fn seize(tid: Tid, options: i32) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, options as usize).map(drop)
}

/// Makes a seized tracee stop soon.
pub(crate) fn interrupt(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(drop)
}

/// Lets a stopped tracee run, with a signal to deliver (0 for none).
pub(crate) fn resume(tid: Tid, how: Resume, signal: i32) -> io::Result<()> {
    let req = match how {
        Resume::Cont => libc::PTRACE_CONT,
        Resume::Syscall => libc::PTRACE_SYSCALL,
        Resume::Step => libc::PTRACE_SINGLESTEP,
    };
    request(req, tid, 0, signal as usize).map(drop)
}

/// Leaves a tracee in its group stop, but hears when that ends.
pub(crate) fn listen(tid: Tid) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, tid, 0, 0).map(drop)
}

/// Lets a stopped tracee go for good, with a signal to deliver (0 for none).
pub(crate) fn detach(tid: Tid, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, signal as usize).map(drop)
}

/// The number that came with a ptrace event: a new process, an exit code, a former thread id.
pub(crate) fn event_message(tid: Tid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, tid, 0, &raw mut message as usize)?;
    Ok(message)
}

/// The system call at which a tracee stands.
pub(crate) fn call_info(tid: Tid) -> io::Result<CallInfo> {
    let mut raw = RawCallInfo::default();
    request(libc::PTRACE_GET_SYSCALL_INFO, tid, size_of_val(&raw), &raw mut raw as usize)?;
    Ok(match raw.op {
        INFO_ENTRY | INFO_SECCOMP => {
            let [nr, args @ .., _] = raw.data;
            CallInfo::Enter(Entry { nr, args, arch: raw.arch })
        }
        INFO_EXIT => CallInfo::Exit { ret: raw.data[0].cast_signed() },
        _ => CallInfo::None,
    })
}

/// General registers in the order of `struct user_regs_struct`, of which the first 21 are `struct pt_regs`.
pub(crate) type Registers = [u64; 27];

/// Places of registers in [`Registers`].
pub(crate) mod reg {
    pub(crate) const R15: usize = 0;
    pub(crate) const R14: usize = 1;
    pub(crate) const R13: usize = 2;
    pub(crate) const R12: usize = 3;
    pub(crate) const RBP: usize = 4;
    pub(crate) const RBX: usize = 5;
    pub(crate) const R11: usize = 6;
    pub(crate) const R10: usize = 7;
    pub(crate) const R9: usize = 8;
    pub(crate) const R8: usize = 9;
    pub(crate) const RAX: usize = 10;
    pub(crate) const RCX: usize = 11;
    pub(crate) const RDX: usize = 12;
    pub(crate) const RSI: usize = 13;
    pub(crate) const RDI: usize = 14;
    pub(crate) const ORIG_RAX: usize = 15;
    pub(crate) const RIP: usize = 16;
    pub(crate) const CS: usize = 17;
    pub(crate) const EFLAGS: usize = 18;
    pub(crate) const RSP: usize = 19;
    /// Registers that `struct pt_regs` has, from the first on.
    pub(crate) const PT_REGS: usize = 21;
}

/// Reads the registers of a stopped tracee.
pub(crate) fn registers(tid: Tid) -> io::Result<Registers> {
    let mut regs = [0u64; 27];
    request(libc::PTRACE_GETREGS, tid, 0, regs.as_mut_ptr() as usize)?;
    Ok(regs)
}

/// Sets the registers of a stopped tracee.
pub(crate) fn set_registers(tid: Tid, regs: &Registers) -> io::Result<()> {
    request(libc::PTRACE_SETREGS, tid, 0, regs.as_ptr() as usize).map(drop)
}

/// Signals that a tracee blocks: bit `n - 1` is signal `n`.
pub(crate) fn blocked_signals(tid: Tid) -> io::Result<u64> {
    let mut mask = 0u64;
    request(libc::PTRACE_GETSIGMASK, tid, size_of_val(&mask), &raw mut mask as usize)?;
    Ok(mask)
}

/// Sets which signals a tracee blocks.
pub(crate) fn block_signals(tid: Tid, mask: u64) -> io::Result<()> {
    request(libc::PTRACE_SETSIGMASK, tid, size_of_val(&mask), &raw const mask as usize).map(drop)
}

/// What is known of the signal at which a tracee stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignalInfo {
    /// `si_signo`.
    pub(crate) signal: i32,
    /// `si_errno`.
    pub(crate) errno: i32,
    /// `si_code`.
    pub(crate) code: i32,
    /// `si_pid`, meaningful for signals that a process sent.
    pub(crate) pid: i32,
}

/// All that is known of a signal (`siginfo_t`): number, errno, code, padding, and a union in which `pid` is first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeSignalInfo([i32; 32]);

impl WholeSignalInfo {
    /// Its number.
    pub(crate) fn signal(&self) -> i32 {
        self.0[0]
    }

    /// Did an instruction of the thread raise it?
    pub(crate) fn is_fault(&self) -> bool {
        const FAULTS: [i32; 6] =
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];
        FAULTS.contains(&self.signal()) && self.0[2] > 0
    }
}

/// Reads all of the signal of a signal-delivery stop.
pub(crate) fn whole_signal_info(tid: Tid) -> io::Result<WholeSignalInfo> {
    let mut info = WholeSignalInfo([0; 32]);
    request(libc::PTRACE_GETSIGINFO, tid, 0, info.0.as_mut_ptr() as usize)?;
    Ok(info)
}

/// Puts another signal in the place of that of a signal-delivery stop; its number goes with the resume.
pub(crate) fn set_signal_info(tid: Tid, info: &WholeSignalInfo) -> io::Result<()> {
    request(libc::PTRACE_SETSIGINFO, tid, 0, info.0.as_ptr() as usize).map(drop)
}

/// Reads the signal of a signal-delivery stop.
pub(crate) fn signal_info(tid: Tid) -> io::Result<SignalInfo> {
    let WholeSignalInfo(info) = whole_signal_info(tid)?;
    Ok(SignalInfo { signal: info[0], errno: info[1], code: info[2], pid: info[4] })
}

/// Waits for the next report of a child or tracee of the calling thread: who, and the wait status. `None` when a signal
/// came first, such as that of a [`Ticker`](super::time::Ticker).
pub(crate) fn wait() -> io::Result<Option<(Tid, i32)>> {
    let mut status = 0;
    // SAFETY: `status` is a live integer that the kernel fills in.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    match check(i64::from(tid)) {
        Ok(tid) => Ok(Some((tid as Tid, status))),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(e) => Err(e),
    }
}

/// Waits for the next report of one tracee.
pub(crate) fn wait_for(tid: Tid) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live integer that the kernel fills in.
        let result = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
        match check(i64::from(result)) {
            Ok(_) => return Ok(status),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Waits for the end of one child of the calling thread.
pub(crate) fn reap(pid: Tid) {
    // SAFETY: a null status pointer asks for no status.
    unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) };
}
