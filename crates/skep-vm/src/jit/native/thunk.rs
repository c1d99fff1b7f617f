//! What compiled code calls: helpers, and accesses that have to be checked.
//!
//! Each gets the run as compiled code got it, and in the run the slot of the instruction that calls. None panics on what
//! a program does; a panic of a helper, which would be a mistake of this crate, ends the process at this boundary.

use std::sync::Arc;

use super::{Answer, DONE, LEAVE, STOPPED, TAIL_CALL};
use crate::code::Code;
use crate::helper::{self, Call, Stop};
use crate::machine::Machine;
use crate::memory::{ASKED, Denied, Rmw, Word};
use crate::program::Program;
use crate::{Fault, Reason};
use skep_isa::AtomicOp;

/// The run that compiled code hands back.
pub(super) type Run = *mut Machine<'static>;

/// The run and its program, for the time of a thunk.
///
/// # Safety
/// `run` is what [`Native::call`](super::Native::call) entered compiled code with, and a thunk's only use of it.
unsafe fn resume<'r>(run: Run) -> (&'r mut Machine<'r>, &'r Program) {
    // SAFETY: the run outlives the compiled code that calls; its true lifetime is longer than this one.
    let machine: &'r mut Machine<'r> = unsafe { &mut *run.cast() };
    let program = machine.native_program;
    let here = 0u8;
    machine.space.set_native_stack((&raw const here).expose_provenance() as u64);
    // SAFETY: the program that runs is borrowed or held by who entered it.
    (machine, unsafe { &*program })
}

impl Answer {
    fn done(value: u64) -> Self {
        Self { value, status: DONE }
    }
}

/// Keeps what went wrong; compiled code leaves all its functions.
#[cold]
fn stopped(machine: &mut Machine<'_>, fault: Box<Fault>) -> Answer {
    machine.stopped = Some(fault);
    Answer { value: 0, status: STOPPED }
}

#[cold]
fn denied(machine: &mut Machine<'_>, program: &Program, reason: Reason) -> Answer {
    let fault = machine.fault(program, machine.native_slot as usize, reason);
    stopped(machine, fault)
}

/// Calls the helper of the instruction.
pub(super) unsafe extern "C" fn helper(run: Run, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    let slot = machine.native_slot;
    let Some(Code::CallHelper { run, id }) = program.code().get(slot as usize) else {
        return denied(machine, program, Reason::NoInstruction);
    };
    match run(&mut Call { machine, program, args: [r1, r2, r3, r4, r5] }) {
        Ok(value) => Answer::done(value),
        Err(stop) => {
            machine.native_slot = slot;
            ended(machine, program, *stop, *id)
        }
    }
}

/// Why a helper does not go on.
#[cold]
fn ended(machine: &mut Machine<'_>, program: &Program, stop: Stop, id: u16) -> Answer {
    match stop {
        Stop::TailCall(_) => denied(machine, program, Reason::NoInstruction),
        Stop::Failed(reason) => denied(machine, program, reason),
        Stop::Argument(message) => {
            let helper = helper::name(id);
            denied(machine, program, Reason::Argument { helper, message })
        }
        Stop::Inside(fault) => stopped(machine, fault),
    }
}

/// What a tail call finds: the other program, or a number for `r0`.
fn find_target(machine: &mut Machine<'_>, program: &Program, args: [u64; 3]) -> Result<Arc<Program>, Answer> {
    let slot = machine.native_slot;
    let Some(Code::CallHelper { run, id }) = program.code().get(slot as usize) else {
        return Err(denied(machine, program, Reason::NoInstruction));
    };
    let [r1, r2, r3] = args;
    match run(&mut Call { machine, program, args: [r1, r2, r3, 0, 0] }) {
        Ok(value) => Err(Answer::done(value)),
        Err(stop) => match *stop {
            Stop::TailCall(target) => Ok(target),
            other => Err(ended(machine, program, other, *id)),
        },
    }
}

/// A tail call of a program's first function, which is left for it.
pub(super) unsafe extern "C" fn tail_call(run: Run, r1: u64, r2: u64, r3: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    match find_target(machine, program, [r1, r2, r3]) {
        Ok(target) => {
            machine.tail_target = Some(target);
            Answer { value: 0, status: TAIL_CALL }
        }
        Err(answer) => answer,
    }
}

/// A tail call of another function: the other program runs inside, and its result is the function's.
pub(super) unsafe extern "C" fn tail_call_inside(run: Run, r1: u64, r2: u64, r3: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    let target = match find_target(machine, program, [r1, r2, r3]) {
        Ok(target) => target,
        Err(answer) => return answer,
    };
    match machine.run_inside(&target) {
        Ok(value) => Answer { value, status: LEAVE },
        Err(fault) => stopped(machine, fault),
    }
}

/// Loads through a pointer that is checked.
pub(super) unsafe extern "C" fn load(run: Run, addr: u64, size: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    let loaded = match size {
        1 => checked_load::<u8>(machine, addr),
        2 => checked_load::<u16>(machine, addr),
        4 => checked_load::<u32>(machine, addr),
        _ => checked_load::<u64>(machine, addr),
    };
    loaded.map_or_else(|reason| denied(machine, program, reason), Answer::done)
}

fn checked_load<T: Word>(machine: &mut Machine<'_>, addr: u64) -> Result<u64, Reason> {
    match machine.space.load::<T>(ASKED, addr) {
        Ok(value) => Ok(value.widen()),
        Err(Denied) => machine.load_elsewhere::<T>(addr).map(T::widen),
    }
}

/// Stores through a pointer that is checked.
pub(super) unsafe extern "C" fn store(run: Run, addr: u64, size: u64, value: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    let stored = match size {
        1 => machine.space.store(ASKED, addr, value as u8),
        2 => machine.space.store(ASKED, addr, value as u16),
        4 => machine.space.store(ASKED, addr, value as u32),
        _ => machine.space.store(ASKED, addr, value),
    };
    match stored {
        Ok(()) => Answer::done(0),
        Err(Denied) => denied(machine, program, Reason::Store { addr, size }),
    }
}

/// An atomic operation through a pointer that is checked; the instruction says which.
pub(super) unsafe extern "C" fn atomic(run: Run, addr: u64, operand: u64, expected: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    let Some(Code::Atomic { wide, op, .. }) = program.code().get(machine.native_slot as usize) else {
        return denied(machine, program, Reason::NoInstruction);
    };
    let rmw = match op {
        AtomicOp::Add { .. } => Rmw::Add,
        AtomicOp::Or { .. } => Rmw::Or,
        AtomicOp::And { .. } => Rmw::And,
        AtomicOp::Xor { .. } => Rmw::Xor,
        AtomicOp::Xchg => Rmw::Xchg,
        AtomicOp::Cmpxchg => Rmw::Cmpxchg(expected),
    };
    let (size, old) = if *wide {
        (8, machine.space.rmw::<u64>(ASKED, addr, operand, rmw))
    } else {
        (4, machine.space.rmw::<u32>(ASKED, addr, operand as u32, rmw).map(u64::from))
    };
    match old {
        Ok(old) => Answer::done(old),
        Err(Denied) => denied(machine, program, Reason::Store { addr, size }),
    }
}

/// `LD_ABS` and `LD_IND`: a packet that is too short ends the function with zero.
pub(super) unsafe extern "C" fn load_packet(run: Run, off: u64, size: u64) -> Answer {
    // SAFETY: compiled code calls with the run it was entered with.
    let (machine, program) = unsafe { resume(run) };
    match machine.load_packet(off.cast_signed(), size as usize) {
        Ok(Some(value)) => Answer::done(value),
        Ok(None) => Answer { value: 0, status: LEAVE },
        Err(reason) => denied(machine, program, reason),
    }
}
