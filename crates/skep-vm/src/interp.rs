//! The interpreter: one dispatch for each instruction, every memory access checked by [`Space`](crate::memory::Space).
//! Of a verified program, what needs no check and nothing but registers goes a [quicker way](steps).
//!
//! Registers and active functions are local to one call of [`Machine::execute`]; callbacks and tail calls are calls of it
//! again, on the same machine, so all of them share stack frames and budget. The budget is charged where control goes
//! backwards and where something is called, which every endless program does.

pub(crate) mod steps;

use std::sync::atomic::{Ordering, fence};

use skep_isa::{AtomicOp, Endian, Size};

use self::steps::Lane;

use crate::alu::Int;
use crate::code::{Code, R, for_each_binary};
use crate::helper::{self, Call, HelperResult, Stop};
use crate::machine::Machine;
use crate::memory::{Denied, MAX_FRAMES, Rmw, Word};
use crate::program::Program;
use crate::{Fault, Reason};

impl Machine<'_> {
    /// Runs a function of a program to its exit; answers `r0`.
    pub(crate) fn execute(
        &mut self,
        program: &Program,
        entry: usize,
        args: [u64; 5],
    ) -> Result<u64, Box<Fault>> {
        program.note_interpreted();
        let mut pc = entry;
        let frames = self.space.frames();
        let result = match self.env.watches() {
            false => self.step_until_exit::<false>(program, &mut pc, args),
            true => self.step_until_exit::<true>(program, &mut pc, args),
        };
        // `pc` is behind the instruction that went wrong.
        result.map_err(|failed| self.failed(program, pc.wrapping_sub(1), *failed, frames))
    }

    /// Leaves the functions that were active when something went wrong.
    #[cold]
    fn failed(&mut self, program: &Program, insn: usize, failed: Failed, frames: usize) -> Box<Fault> {
        let fault = match failed {
            Failed::Here(reason) => self.fault(program, insn, reason),
            Failed::Inside(fault) => fault,
        };
        while self.space.frames() > frames {
            self.space.pop_frame();
        }
        fault
    }

    /// Runs to the exit, and with `WATCHED` tells the world of every instruction.
    fn step_until_exit<const WATCHED: bool>(
        &mut self,
        program: &Program,
        at: &mut usize,
        args: [u64; 5],
    ) -> Result<u64, Box<Failed>> {
        let code = program.code();
        let steps = program.steps_for(self.space.context_len(), self.packet.is_some()).filter(|_| !WATCHED);
        let mut pc = *at;
        let frame = self.space.push_frame().ok_or(Reason::CallDepth)?;
        let frames = self.space.frames();
        let mut lane = Lane::new(steps, MAX_FRAMES - frames);
        lane.regs[1..=5].copy_from_slice(&args);
        lane.regs[10] = frame;

        macro_rules! fail {
            ($reason:expr) => {{
                *at = pc;
                return Err($reason.into());
            }};
        }
        macro_rules! check {
            ($result:expr) => {
                match $result {
                    Ok(value) => value,
                    Err(reason) => fail!(reason),
                }
            };
        }
        macro_rules! goto {
            ($target:expr) => {{
                let target = $target as usize;
                if target < pc {
                    let cost = (pc - target) as u64;
                    if self.budget < cost {
                        fail!(Reason::Budget);
                    }
                    self.budget -= cost;
                }
                pc = target;
            }};
        }
        macro_rules! addr {
            ($base:expr, $off:expr) => {
                lane.regs[$base.at()].wrapping_add($off as i64 as u64)
            };
        }
        macro_rules! load {
            ($ty:ty, $base:expr, $off:expr) => {{
                let addr = addr!($base, $off);
                match self.space.load::<$ty>($base as u8, addr) {
                    Ok(value) => value,
                    Err(Denied) => check!(self.load_elsewhere::<$ty>(addr)),
                }
            }};
        }
        macro_rules! store {
            ($ty:ty, $base:expr, $off:expr, $value:expr) => {{
                let addr = addr!($base, $off);
                if self.space.store::<$ty>($base as u8, addr, <$ty>::cut($value)).is_err() {
                    fail!(Reason::Store { addr, size: <$ty>::BYTES });
                }
            }};
        }
        macro_rules! atomic {
            ($ty:ty, $op:expr, $base:expr, $src:expr, $off:expr) => {{
                let addr = addr!($base, $off);
                let operand = <$ty>::cut(lane.regs[$src.at()]);
                match self.space.rmw::<$ty>($base as u8, addr, operand, rmw($op, lane.regs[0])) {
                    Ok(old) if matches!($op, AtomicOp::Cmpxchg) => lane.regs[0] = old.widen(),
                    Ok(old) if $op.fetches() => lane.regs[$src.at()] = old.widen(),
                    Ok(_) => {}
                    Err(Denied) => fail!(Reason::Store { addr, size: <$ty>::BYTES }),
                }
            }};
        }
        macro_rules! call {
            ($target:expr) => {{
                let callee = self.space.push_frame().filter(|_| self.budget > 0);
                let Some(frame) = callee else {
                    fail!(if self.budget == 0 { Reason::Budget } else { Reason::CallDepth });
                };
                self.budget -= 1;
                lane.enter(pc, frame);
                pc = $target as usize;
            }};
        }
        macro_rules! exit {
            () => {{
                self.space.pop_frame();
                match lane.leave() {
                    Some(return_to) => pc = return_to,
                    None => return Ok(lane.regs[0]),
                }
            }};
        }
        macro_rules! call_helper {
            ($run:expr, $id:expr) => {{
                let args = [lane.regs[1], lane.regs[2], lane.regs[3], lane.regs[4], lane.regs[5]];
                let mut call = Call { machine: self, program, args };
                match $run(&mut call) {
                    Ok(value) => lane.regs[0] = value,
                    Err(stop) => match self.stopped(*stop, $id) {
                        Ok(value) => {
                            // A tail call: its result is this function's.
                            lane.regs[0] = value;
                            exit!();
                        }
                        Err(failed) => {
                            *at = pc;
                            return Err(failed);
                        }
                    },
                }
            }};
        }
        macro_rules! dispatch {
            (
                alu { $($alu:ident $alu_fn:ident $a64r:ident $a64i:ident $a32r:ident $a32i:ident;)* }
                jump { $($jmp:ident $jmp_fn:ident $j64r:ident $j64i:ident $j32r:ident $j32i:ident;)* }
                load { $($load:ident $load_ty:ident $widen:ident;)* }
                store { $($store:ident $store_imm:ident $store_ty:ident;)* }
            ) => {
                match code[pc - 1] {
                    $(
                        Code::$a64r { dst, src } => {
                            lane.regs[dst.at()] = Int::$alu_fn(lane.regs[dst.at()], lane.regs[src.at()]);
                        }
                        Code::$a64i { dst, imm } => {
                            lane.regs[dst.at()] = Int::$alu_fn(lane.regs[dst.at()], imm as i64 as u64);
                        }
                        Code::$a32r { dst, src } => {
                            let (a, b) = (lane.regs[dst.at()] as u32, lane.regs[src.at()] as u32);
                            lane.regs[dst.at()] = Int::$alu_fn(a, b).into();
                        }
                        Code::$a32i { dst, imm } => {
                            lane.regs[dst.at()] = Int::$alu_fn(lane.regs[dst.at()] as u32, imm as u32).into();
                        }
                    )*
                    $(
                        Code::$j64r { dst, src, target } => {
                            if Int::$jmp_fn(lane.regs[dst.at()], lane.regs[src.at()]) {
                                goto!(target);
                            }
                        }
                        Code::$j64i { dst, imm, target } => {
                            if Int::$jmp_fn(lane.regs[dst.at()], imm as i64 as u64) {
                                goto!(target);
                            }
                        }
                        Code::$j32r { dst, src, target } => {
                            if Int::$jmp_fn(lane.regs[dst.at()] as u32, lane.regs[src.at()] as u32) {
                                goto!(target);
                            }
                        }
                        Code::$j32i { dst, imm, target } => {
                            if Int::$jmp_fn(lane.regs[dst.at()] as u32, imm as u32) {
                                goto!(target);
                            }
                        }
                    )*
                    $(
                        Code::$load { dst, base, off } => lane.regs[dst.at()] = load!($load_ty, base, off).$widen(),
                    )*
                    $(
                        Code::$store { base, src, off } => store!($store_ty, base, off, lane.regs[src.at()]),
                        Code::$store_imm { base, off, imm } => store!($store_ty, base, off, imm as i64 as u64),
                    )*
                    Code::MovSx { wide, bits, dst, src } => {
                        lane.regs[dst.at()] = sign_extend(lane.regs[src.at()], bits, wide);
                    }
                    Code::Neg { wide: true, dst } => lane.regs[dst.at()] = lane.regs[dst.at()].wrapping_neg(),
                    Code::Neg { wide: false, dst } => {
                        lane.regs[dst.at()] = (lane.regs[dst.at()] as u32).wrapping_neg().into();
                    }
                    Code::Endian { kind, bits, dst } => lane.regs[dst.at()] = endian(lane.regs[dst.at()], kind, bits),
                    Code::AddrSpaceCast { dst, src } => lane.regs[dst.at()] = u64::from(lane.regs[src.at()] as u32),
                    Code::LoadImm64 { dst, imm } => {
                        lane.regs[dst.at()] = imm;
                        pc += 1;
                    }
                    Code::LoadPacket { size, index, imm } => {
                        let index = index.map_or(0, |reg: R| lane.regs[reg.at()] as i32);
                        let off = i64::from(index) + i64::from(imm);
                        match check!(self.load_packet(off, size.bytes() as usize)) {
                            Some(value) => lane.regs[0] = value,
                            None => {
                                lane.regs[0] = 0;
                                exit!();
                            }
                        }
                    }
                    Code::Atomic { wide: true, op, base, src, off } => atomic!(u64, op, base, src, off),
                    Code::Atomic { wide: false, op, base, src, off } => atomic!(u32, op, base, src, off),
                    Code::LoadAcquire { size, dst, base, off } => {
                        lane.regs[dst.at()] = match size {
                            Size::B => load!(u8, base, off).widen(),
                            Size::H => load!(u16, base, off).widen(),
                            Size::W => load!(u32, base, off).widen(),
                            Size::DW => load!(u64, base, off),
                        };
                        fence(Ordering::Acquire);
                    }
                    Code::StoreRelease { size, base, src, off } => {
                        fence(Ordering::Release);
                        match size {
                            Size::B => store!(u8, base, off, lane.regs[src.at()]),
                            Size::H => store!(u16, base, off, lane.regs[src.at()]),
                            Size::W => store!(u32, base, off, lane.regs[src.at()]),
                            Size::DW => store!(u64, base, off, lane.regs[src.at()]),
                        }
                    }
                    Code::Jump { target } => goto!(target),
                    Code::MayGoto { target } => {
                        if lane.loops_left == 0 {
                            goto!(target);
                        } else {
                            lane.loops_left -= 1;
                        }
                    }
                    Code::CallHelper { id, run } => call_helper!(run, id),
                    Code::CallHost { run } => {
                        lane.regs[0] = run(lane.regs[1], lane.regs[2], lane.regs[3], lane.regs[4], lane.regs[5]);
                    }
                    Code::CallLocal { target } => call!(target),
                    Code::CallIndirect { reg } => match program.function(lane.regs[reg.at()]) {
                        Some(target) => call!(target),
                        None => fail!(Reason::CallTarget(lane.regs[reg.at()])),
                    },
                    Code::Exit => exit!(),
                    Code::Nothing => fail!(Reason::NoInstruction),
                }
            };
        }

        loop {
            if WATCHED {
                if let Some(regs) = lane.regs.first_chunk() {
                    self.env.step(pc, regs);
                }
            } else {
                pc = lane.go(pc, &mut self.budget);
                self.space.set_frames(frames + lane.depth());
            }
            pc += 1;
            for_each_binary!(dispatch);
        }
    }

    /// What a helper that does not return means: a tail call's result, or a failure.
    #[cold]
    #[inline(never)]
    fn stopped(&mut self, stop: Stop, id: u16) -> Result<u64, Box<Failed>> {
        match stop {
            Stop::TailCall(target) => self.tail_call(&target).map_err(|fault| Failed::Inside(fault).into()),
            Stop::Failed(reason) => Err(reason.into()),
            Stop::Argument(message) => {
                let helper = helper::name(id);
                Err(Reason::Argument { helper, message }.into())
            }
            Stop::Inside(fault) => Err(Failed::Inside(fault).into()),
        }
    }

    /// Runs another program in place of the current function: in its stack frame, with the run's context.
    fn tail_call(&mut self, target: &Program) -> Result<u64, Box<Fault>> {
        self.space.pop_frame();
        let before = self.space.swap_windows(Some(target.windows().clone()));
        let result = self.execute(target, 0, [self.space.context(), 0, 0, 0, 0]);
        self.space.swap_windows(before);
        // The caller leaves the frame that was given up above.
        self.space.push_frame();
        result
    }

    /// Calls a function of the program from a helper.
    pub(crate) fn callback(&mut self, program: &Program, function: usize, args: [u64; 5]) -> HelperResult {
        self.charge(1)?;
        let native = self.native_callback(program, function, args);
        let result = native.unwrap_or_else(|| self.execute(program, function, args));
        result.map_err(|fault| Stop::Inside(fault).into())
    }
}

/// Why a function did not come to its exit.
enum Failed {
    /// The instruction before the program counter.
    Here(Reason),
    /// A fault in a callback or a tail-called program, complete already.
    Inside(Box<Fault>),
}

impl From<Reason> for Box<Failed> {
    #[cold]
    fn from(reason: Reason) -> Self {
        Box::new(Failed::Here(reason))
    }
}

fn rmw(op: AtomicOp, expected: u64) -> Rmw {
    match op {
        AtomicOp::Add { .. } => Rmw::Add,
        AtomicOp::Or { .. } => Rmw::Or,
        AtomicOp::And { .. } => Rmw::And,
        AtomicOp::Xor { .. } => Rmw::Xor,
        AtomicOp::Xchg => Rmw::Xchg,
        AtomicOp::Cmpxchg => Rmw::Cmpxchg(expected),
    }
}

/// `(s<bits>)value`, cut to 32 bits unless `wide`.
fn sign_extend(value: u64, bits: u8, wide: bool) -> u64 {
    let extended = match bits {
        8 => value as i8 as i64 as u64,
        16 => value as i16 as i64 as u64,
        _ => value as i32 as i64 as u64,
    };
    if wide { extended } else { u64::from(extended as u32) }
}

/// Byte order of the low bits; those above become zero.
fn endian(value: u64, kind: Endian, bits: u8) -> u64 {
    let swap = match kind {
        Endian::Swap => true,
        Endian::Be => cfg!(target_endian = "little"),
        Endian::Le => cfg!(target_endian = "big"),
    };
    match (bits, swap) {
        (16, true) => (value as u16).swap_bytes().into(),
        (32, true) => (value as u32).swap_bytes().into(),
        (_, true) => value.swap_bytes(),
        (16, false) => (value as u16).into(),
        (32, false) => (value as u32).into(),
        (_, false) => value,
    }
}
