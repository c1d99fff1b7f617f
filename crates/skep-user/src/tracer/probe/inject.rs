//! Making a stopped thread do something: one instruction, or one system call of ours.
//!
//! Signals are held back meanwhile, but for those that cannot be; what else the thread reports is kept for later.

use std::ops::Range;

use super::super::Tracer;
use super::super::stop::Stop;
use super::space::Copies;
use crate::procfs::maps::{Mapping, nearest_gap};
use crate::sys::Tid;
use crate::sys::ptrace::{self, Registers, Resume, reg};

/// Room for copies that is made at a time.
const ROOM_BYTES: u64 = 64 << 10;
const PAGE: u64 = 4096;
/// Jumps reach so far, with something to spare.
const REACH: u64 = 1 << 30;
/// Below this no process may map anything.
const LOWEST: u64 = 64 << 10;

impl Tracer {
    /// Executes one instruction of a stopped thread with these registers; answers the registers after it, and the signal
    /// that came in between, if any. `None` when the thread did not get there; it will report why.
    pub(super) fn single_step(&mut self, tid: Tid, regs: &Registers) -> Option<(Registers, i32)> {
        const TRAP: u64 = 1 << (libc::SIGTRAP - 1);
        let blocked = ptrace::blocked_signals(tid).ok()?;
        ptrace::block_signals(tid, !TRAP).ok()?;
        let after = self.step_once(tid, regs);
        let _ = ptrace::block_signals(tid, blocked);
        after
    }

    fn step_once(&mut self, tid: Tid, regs: &Registers) -> Option<(Registers, i32)> {
        let mut caught = 0;
        ptrace::set_registers(tid, regs).ok()?;
        loop {
            ptrace::resume(tid, Resume::Step, 0).ok()?;
            let status = ptrace::wait_for(tid).ok()?;
            match Stop::decode(status) {
                Stop::Signal(libc::SIGTRAP) => return Some((ptrace::registers(tid).ok()?, caught)),
                // It cannot be blocked; it goes with the next resume.
                Stop::Signal(signal) if caught == 0 && signal == libc::SIGSTOP => caught = signal,
                Stop::Seccomp | Stop::Call | Stop::Trapped | Stop::Group => {}
                _ => {
                    self.backlog.push_back((tid, status));
                    return None;
                }
            }
        }
    }

    /// Makes a stopped thread map room for copies near an address. Its registers are as before afterwards.
    pub(super) fn make_room(&mut self, tid: Tid, near: u64, regs: &Registers) -> Option<Copies> {
        if self.is_sandboxed(tid) {
            return None;
        }
        let mappings = Mapping::all(tid);
        let vdso = mappings.iter().find(|mapping| mapping.path.as_os_str() == "[vdso]")?;
        let call = system_call_in(tid, &vdso.range)?;
        let start = nearest_gap(&mappings, near, ROOM_BYTES, LOWEST)? & !(PAGE - 1);
        if start.abs_diff(near) > REACH {
            return None;
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let mut calling = *regs;
        calling[reg::RIP] = call;
        calling[reg::RAX] = libc::SYS_mmap.cast_unsigned();
        calling[reg::ORIG_RAX] = u64::MAX;
        calling[reg::RDI] = start;
        calling[reg::RSI] = ROOM_BYTES;
        calling[reg::RDX] = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        calling[reg::R10] = flags as u64;
        calling[reg::R8] = u64::MAX;
        calling[reg::R9] = 0;
        let (after, caught) = self.single_step(tid, &calling)?;
        if caught != 0 {
            self.tracees.entry(tid).and_modify(|tracee| tracee.caught = caught);
        }
        (after[reg::RAX] == start).then(|| Copies { range: start..start + ROOM_BYTES, of: Vec::new() })
    }

    /// Has the process a seccomp filter of its own, which might not like our system call?
    fn is_sandboxed(&self, tid: Tid) -> bool {
        let ours = u64::from(self.mode == super::super::Mode::Filter);
        crate::procfs::seccomp_filters(tid) > ours
    }
}

/// The address of a `syscall` instruction: those bytes are one wherever they stand.
fn system_call_in(tid: Tid, code: &Range<u64>) -> Option<u64> {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let mut bytes = vec![0; (code.end - code.start) as usize];
    let read = crate::sys::memory::read(tid, code.start, &mut bytes).ok()?;
    let at = bytes[..read].windows(2).position(|pair| pair == SYSCALL)?;
    Some(code.start + at as u64)
}
