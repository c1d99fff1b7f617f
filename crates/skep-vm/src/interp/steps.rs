//! The quick way through a verified program: each instruction is a function, which does it and goes on to that of the next.
//!
//! Where a call at the end of a function is a jump, as it is in optimised code, every instruction dispatches from a place of
//! its own, which processors foresee better than one place for all. Where it is none, the stack grows by a frame for each:
//! [`AT_ONCE`] says for how many. Instructions that need more than registers, memory that is [proved](Proved), frames
//! and a way through the program are left to the interpreter's loop.
//!
//! The value that was written last is handed on beside the registers: an instruction that uses it waits for no memory.

use std::slice::Iter;

use skep_isa::Endian;

use super::{endian, sign_extend};
use crate::alu::Int;
use crate::code::{Code, R, for_each_binary};
use crate::direct::Proved;
use crate::helper::HostFn;
use crate::memory::{FRAME_BYTES, MAX_FRAMES, Word};
use crate::program::function_at;

/// Registers, padded to sixteen so that no index is out of range.
pub(super) type Regs = [u64; 16];

/// Times that one function may pass its `may_goto` instructions (`BPF_MAX_LOOPS`).
const MAX_LOOPS: u32 = 8 << 20;

/// Instructions done before the stack is given back.
const AT_ONCE: u32 = 128;

/// What an instruction's function takes: its step, those behind it, the value written last, how many instructions may
/// follow at once, and the run. It answers whether the run goes on here.
type Run = for<'a> fn(&'a Step, Iter<'a, Step>, u64, u32, &mut Lane<'a>) -> bool;

/// An instruction: its function, and what that needs.
#[derive(Clone, Copy)]
struct Step {
    run: Run,
    dst: R,
    /// The source, or the base of an access.
    src: R,
    /// Of an access in bytes; of a jump in slots, from the next.
    off: i16,
    imm: i32,
}

/// What is known behind an instruction of the value that was written last.
enum After {
    /// It is this register's.
    Written(R),
    /// It is what it was.
    Same,
    Unknown,
}

/// A program as functions, a step for each slot.
pub(crate) struct Steps {
    steps: Box<[Step]>,
    /// Functions of the embedder that it calls.
    hosts: Vec<HostFn>,
    proved: Proved,
}

impl Steps {
    /// Of a program whose accesses are proved where `is_direct` says so, and whose functions use as much of their frames as
    /// `frame_bytes` says. `function` is one that no instruction names.
    pub(crate) fn new(
        code: &[Code],
        is_direct: impl Fn(usize) -> bool,
        frame_bytes: impl Fn(usize) -> u32,
        function: Option<usize>,
        proved: Proved,
    ) -> Self {
        let entered = entered(code, function);
        // The register whose value was written last, if that is the same on all ways.
        let mut kept = None;
        let mut hosts = Vec::new();
        let step = |slot: usize| {
            kept = kept.filter(|_| !entered[slot]);
            let (mut step, after) = Step::new(code, slot, is_direct(slot), kept, &mut hosts);
            if let Code::CallLocal { target } = code[slot] {
                step.off = i16::try_from(frame_bytes(target as usize)).unwrap_or(FRAME_BYTES as i16);
            }
            kept = match after {
                After::Written(register) => Some(register),
                After::Same => kept,
                After::Unknown => None,
            };
            step
        };
        let steps = (0..code.len()).map(step).collect();
        Self { steps, hosts, proved }
    }
}

/// Slots that control comes to otherwise than from the one before.
fn entered(code: &[Code], function: Option<usize>) -> Vec<bool> {
    let mut entered = vec![false; code.len()];
    let named = code.iter().filter_map(|code| match *code {
        Code::LoadImm64 { imm, .. } => function_at(imm),
        other => other.target(),
    });
    for slot in named.chain(function) {
        if let Some(entered) = entered.get_mut(slot) {
            *entered = true;
        }
    }
    entered
}

/// What is restored when a function returns.
#[derive(Clone, Copy, Default)]
struct Caller {
    return_to: usize,
    /// `r6` to `r10`.
    saved: [u64; 5],
    loops_left: u32,
}

/// A function of a program and those that it has called, on the quick way or off it.
pub(super) struct Lane<'a> {
    pub(super) regs: Regs,
    /// Times that the function may still pass its `may_goto` instructions.
    pub(super) loops_left: u32,
    callers: [Caller; MAX_FRAMES],
    depth: usize,
    /// How deep it may get.
    most: usize,
    /// The run's budget, while it is here.
    budget: u64,
    steps: &'a [Step],
    hosts: &'a [HostFn],
    /// Loads and stores have it from here.
    proved: Option<Proved>,
    /// Where it goes on, and with which value written last.
    slot: usize,
    kept: u64,
}

impl<'a> Lane<'a> {
    /// A function that may call others so many deep.
    pub(super) fn new(steps: Option<&'a Steps>, most: usize) -> Self {
        let proved = steps.map(|steps| steps.proved);
        let hosts = steps.map_or(&[][..], |steps| &steps.hosts);
        let steps = steps.map_or(&[][..], |steps| &steps.steps);
        Self {
            regs: [0; 16],
            loops_left: MAX_LOOPS,
            callers: [Caller::default(); MAX_FRAMES],
            depth: 0,
            most,
            budget: 0,
            steps,
            hosts,
            proved,
            slot: 0,
            kept: 0,
        }
    }

    /// Functions that wait for others to return.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Enters a function, which has a frame and returns to a slot; it is known that one more may be called.
    #[inline(always)]
    pub(super) fn enter(&mut self, return_to: usize, frame: u64) {
        let [.., r6, r7, r8, r9, r10, _, _, _, _, _] = self.regs;
        let caller = Caller { return_to, saved: [r6, r7, r8, r9, r10], loops_left: self.loops_left };
        self.callers[self.depth] = caller;
        self.depth += 1;
        self.regs[10] = frame;
        self.loops_left = MAX_LOOPS;
    }

    /// Leaves a function; answers the slot that it returns to, unless it was the first.
    #[inline(always)]
    pub(super) fn leave(&mut self) -> Option<usize> {
        let depth = self.depth.checked_sub(1)?;
        let caller = self.callers.get(depth)?;
        self.regs[6..=10].copy_from_slice(&caller.saved);
        (self.depth, self.loops_left) = (depth, caller.loops_left);
        Some(caller.return_to)
    }

    /// Goes on from a slot as far as it can; answers the slot of what is left to others.
    #[inline(always)]
    pub(super) fn go(&mut self, slot: usize, budget: &mut u64) -> usize {
        if self.steps.is_empty() {
            return slot;
        }
        (self.slot, self.budget) = (slot, *budget);
        let steps = self.steps;
        while let Some([step, rest @ ..]) = steps.get(self.slot..)
            && (step.run)(step, rest.iter(), self.kept, AT_ONCE, self)
        {}
        *budget = self.budget;
        self.slot
    }

    /// The slot behind a step.
    #[inline(always)]
    fn behind(&self, rest: &Iter<'_, Step>) -> usize {
        self.steps.len() - rest.len()
    }

    /// Gives the stack back, and goes on.
    #[cold]
    #[inline(never)]
    fn pause(&mut self, rest: Iter<'_, Step>, kept: u64) -> bool {
        (self.slot, self.kept) = (self.behind(&rest), kept);
        !rest.as_slice().is_empty()
    }
}

/// Goes on to the next instruction.
#[inline(always)]
fn go_on<'a>(rest: Iter<'a, Step>, kept: u64, more: u32, lane: &mut Lane<'a>) -> bool {
    let mut behind = rest.clone();
    match behind.next() {
        Some(next) if more > 0 => (next.run)(next, behind, kept, more - 1, lane),
        _ => lane.pause(rest, kept),
    }
}

/// Goes on to the instruction that is so many slots from the next; going back is charged.
#[inline(always)]
fn jump<'a, const BACK: bool>(
    off: i32,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    if !BACK {
        return match rest.as_slice().get(off as usize..) {
            Some(steps) => go_on(steps.iter(), kept, more, lane),
            None => left(&rest, lane),
        };
    }
    let steps = lane.steps;
    match lane.budget.checked_sub(off.unsigned_abs().into()) {
        Some(budget) => lane.budget = budget,
        None => return left(&rest, lane),
    }
    match steps.get(lane.behind(&rest).wrapping_add_signed(off as isize)..) {
        Some(steps) => go_on(steps.iter(), kept, more, lane),
        None => left(&rest, lane),
    }
}

/// Leaves an instruction to others: that before these.
#[inline(always)]
fn left(rest: &Iter<'_, Step>, lane: &mut Lane<'_>) -> bool {
    lane.slot = lane.behind(rest) - 1;
    false
}

/// The function of instructions that are left to others.
fn leave<'a>(_: &'a Step, rest: Iter<'a, Step>, _: u64, _: u32, lane: &mut Lane<'a>) -> bool {
    left(&rest, lane)
}

/// Where an operand comes from.
trait Operand {
    fn take(step: &Step, kept: u64, lane: &Lane<'_>) -> u64;
}

macro_rules! operands {
    ($($(#[$doc:meta])* $name:ident = |$step:pat_param, $kept:pat_param, $lane:pat_param| $value:expr;)*) => {
        $(
            $(#[$doc])*
            struct $name;
            impl Operand for $name {
                #[inline(always)]
                fn take($step: &Step, $kept: u64, $lane: &Lane<'_>) -> u64 {
                    $value
                }
            }
        )*
    };
}

operands! {
    Dst = |step, _, lane| lane.regs[step.dst.at()];
    Src = |step, _, lane| lane.regs[step.src.at()];
    Imm = |step, _, _| i64::from(step.imm).cast_unsigned();
    /// The value written last.
    Kept = |_, kept, _| kept;
}

/// Arithmetic, and what compares.
trait Alu {
    fn wide(a: u64, b: u64) -> u64;
    fn half(a: u32, b: u32) -> u32;
}
trait Compare {
    fn wide(a: u64, b: u64) -> bool;
    fn half(a: u32, b: u32) -> bool;
}
/// What loads and stores do, by width.
trait Load {
    fn load(proved: Proved, addr: u64) -> u64;
}
trait Store {
    fn store(proved: Proved, addr: u64, value: u64);
}

fn alu<'a, O: Alu, const WIDE: bool, A: Operand, B: Operand>(
    step: &'a Step,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    let (a, b) = (A::take(step, kept, lane), B::take(step, kept, lane));
    let value = if WIDE { O::wide(a, b) } else { O::half(a as u32, b as u32).into() };
    lane.regs[step.dst.at()] = value;
    go_on(rest, value, more, lane)
}

fn jump_if<'a, C: Compare, const WIDE: bool, const BACK: bool, A: Operand, B: Operand>(
    step: &'a Step,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    let (a, b) = (A::take(step, kept, lane), B::take(step, kept, lane));
    if if WIDE { C::wide(a, b) } else { C::half(a as u32, b as u32) } {
        jump::<BACK>(step.off.into(), rest, kept, more, lane)
    } else {
        go_on(rest, kept, more, lane)
    }
}

fn load<'a, L: Load, A: Operand>(
    step: &'a Step,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    let Some(proved) = lane.proved else { return leave(step, rest, kept, more, lane) };
    let addr = A::take(step, kept, lane).wrapping_add_signed(step.off.into());
    let value = L::load(proved, addr);
    lane.regs[step.dst.at()] = value;
    go_on(rest, value, more, lane)
}

/// The value of `src` or a constant goes to where `dst` points.
fn store<'a, S: Store, A: Operand, B: Operand>(
    step: &'a Step,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    let Some(proved) = lane.proved else { return leave(step, rest, kept, more, lane) };
    let addr = A::take(step, kept, lane).wrapping_add_signed(step.off.into());
    S::store(proved, addr, B::take(step, kept, lane));
    go_on(rest, kept, more, lane)
}

/// Computes one value from another; `imm` says what else.
macro_rules! unary {
    ($($name:ident = |$step:pat_param, $value:pat_param| $result:expr;)*) => {
        $(
            fn $name<'a>(
                step: &'a Step,
                rest: Iter<'a, Step>,
                _: u64,
                more: u32,
                lane: &mut Lane<'a>,
            ) -> bool {
                let ($step, $value) = (step, lane.regs[step.src.at()]);
                let value: u64 = $result;
                lane.regs[step.dst.at()] = value;
                go_on(rest, value, more, lane)
            }
        )*
    };
}

unary! {
    negate = |_, value| value.wrapping_neg();
    negate_half = |_, value| (value as u32).wrapping_neg().into();
    extend = |step, value| sign_extend(value, step.imm as u8, true);
    extend_half = |step, value| sign_extend(value, step.imm as u8, false);
    swap = |step, value| endian(value, Endian::Swap, step.imm as u8);
    to_little = |step, value| endian(value, Endian::Le, step.imm as u8);
    to_big = |step, value| endian(value, Endian::Be, step.imm as u8);
    lower_half = |_, value| u64::from(value as u32);
}

/// A constant, whose upper half is in the step behind.
fn constant<'a>(step: &'a Step, mut rest: Iter<'a, Step>, _: u64, more: u32, lane: &mut Lane<'a>) -> bool {
    let upper = rest.next().map_or(0, |step| step.imm);
    let value = u64::from(upper.cast_unsigned()) << 32 | u64::from(step.imm.cast_unsigned());
    lane.regs[step.dst.at()] = value;
    go_on(rest, value, more, lane)
}

fn jump_always<'a, const BACK: bool>(
    step: &'a Step,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    jump::<BACK>(step.imm, rest, kept, more, lane)
}

fn may_goto<'a, const BACK: bool>(
    step: &'a Step,
    rest: Iter<'a, Step>,
    kept: u64,
    more: u32,
    lane: &mut Lane<'a>,
) -> bool {
    if lane.loops_left == 0 {
        return jump::<BACK>(step.imm, rest, kept, more, lane);
    }
    lane.loops_left -= 1;
    go_on(rest, kept, more, lane)
}

/// Calls a function of the embedder; `imm` says which.
fn call_host<'a>(step: &'a Step, rest: Iter<'a, Step>, kept: u64, more: u32, lane: &mut Lane<'a>) -> bool {
    let Some(run) = lane.hosts.get(step.imm as usize) else { return leave(step, rest, kept, more, lane) };
    let [_, r1, r2, r3, r4, r5, ..] = lane.regs;
    let value = run(r1, r2, r3, r4, r5);
    lane.regs[0] = value;
    go_on(rest, value, more, lane)
}

/// Calls a function of the program: `imm` is its first slot, and `off` how much of its frame it uses.
fn call_local<'a>(step: &'a Step, rest: Iter<'a, Step>, kept: u64, more: u32, lane: &mut Lane<'a>) -> bool {
    let (Some(proved), Some(budget), Some(steps)) =
        (lane.proved, lane.budget.checked_sub(1), lane.steps.get(step.imm as usize..))
    else {
        return leave(step, rest, kept, more, lane);
    };
    if lane.depth >= lane.most {
        return leave(step, rest, kept, more, lane);
    }
    lane.budget = budget;
    // Frames lie below one another.
    let frame = lane.regs[10] - FRAME_BYTES;
    proved.clear_below(frame, step.off as u64);
    lane.enter(lane.behind(&rest), frame);
    go_on(steps.iter(), kept, more, lane)
}

/// Returns to the function that has called this one.
fn exit<'a>(step: &'a Step, rest: Iter<'a, Step>, kept: u64, more: u32, lane: &mut Lane<'a>) -> bool {
    let steps = lane.steps;
    match lane.leave().and_then(|slot| steps.get(slot..)) {
        Some(steps) => go_on(steps.iter(), kept, more, lane),
        None => leave(step, rest, kept, more, lane),
    }
}

/// The function of arithmetic, or of a comparison, by which operand was written last.
macro_rules! by_kept {
    ($function:ident, [$($of:tt)*], $second:ident, $first_is_kept:expr, $second_is_kept:expr) => {
        match ($first_is_kept, $second_is_kept) {
            (true, _) => $function::<$($of)*, Kept, $second>,
            (false, true) => $function::<$($of)*, Dst, Kept>,
            (false, false) => $function::<$($of)*, Dst, $second>,
        }
    };
}

/// The same of a comparison, also by where it goes.
macro_rules! jump_by_kept {
    ($of:ty, $wide:literal, $off:expr, $second:ident, $first_is_kept:expr, $second_is_kept:expr) => {
        if $off < 0 {
            by_kept!(jump_if, [$of, $wide, true], $second, $first_is_kept, $second_is_kept)
        } else {
            by_kept!(jump_if, [$of, $wide, false], $second, $first_is_kept, $second_is_kept)
        }
    };
}

macro_rules! define {
    (
        alu { $($alu:ident $alu_fn:ident $a64r:ident $a64i:ident $a32r:ident $a32i:ident;)* }
        jump { $($jmp:ident $jmp_fn:ident $j64r:ident $j64i:ident $j32r:ident $j32i:ident;)* }
        load { $($load:ident $load_ty:ident $widen:ident;)* }
        store { $($store:ident $store_imm:ident $store_ty:ident;)* }
    ) => {
        /// A type for each operation.
        mod op {
            use super::{Int, Load, Proved, Store, Word};
            $(
                pub(super) struct $alu;
                impl super::Alu for $alu {
                    #[inline(always)]
                    fn wide(a: u64, b: u64) -> u64 {
                        Int::$alu_fn(a, b)
                    }
                    #[inline(always)]
                    fn half(a: u32, b: u32) -> u32 {
                        Int::$alu_fn(a, b)
                    }
                }
            )*
            $(
                pub(super) struct $jmp;
                impl super::Compare for $jmp {
                    #[inline(always)]
                    fn wide(a: u64, b: u64) -> bool {
                        Int::$jmp_fn(a, b)
                    }
                    #[inline(always)]
                    fn half(a: u32, b: u32) -> bool {
                        Int::$jmp_fn(a, b)
                    }
                }
            )*
            $(
                pub(super) struct $load;
                impl Load for $load {
                    #[inline(always)]
                    fn load(proved: Proved, addr: u64) -> u64 {
                        proved.load::<$load_ty>(addr).$widen()
                    }
                }
            )*
            $(
                pub(super) struct $store;
                impl Store for $store {
                    #[inline(always)]
                    fn store(proved: Proved, addr: u64, value: u64) {
                        proved.store(addr, <$store_ty>::cut(value));
                    }
                }
            )*
        }

        impl Step {
            /// That of an instruction, where the value written last is of the register `kept`.
            fn new(
                code: &[Code],
                slot: usize,
                is_direct: bool,
                kept: Option<R>,
                hosts: &mut Vec<HostFn>,
            ) -> (Self, After) {
                let is = |register: R| kept == Some(register);
                let jump = |target: u32| i32::try_from(i64::from(target) - slot as i64 - 1).unwrap_or(i32::MAX);
                let short = |target: u32| i16::try_from(jump(target));
                let mut step = Self { run: leave, dst: R::R0, src: R::R0, off: 0, imm: 0 };
                let left = (step, After::Unknown);
                let after = match code[slot] {
                    $(
                        Code::$a64r { dst, src } => {
                            (step.dst, step.src) = (dst, src);
                            step.run = by_kept!(alu, [op::$alu, true], Src, is(dst), is(src));
                            After::Written(dst)
                        }
                        Code::$a64i { dst, imm } => {
                            (step.dst, step.imm) = (dst, imm);
                            step.run = by_kept!(alu, [op::$alu, true], Imm, is(dst), false);
                            After::Written(dst)
                        }
                        Code::$a32r { dst, src } => {
                            (step.dst, step.src) = (dst, src);
                            step.run = by_kept!(alu, [op::$alu, false], Src, is(dst), is(src));
                            After::Written(dst)
                        }
                        Code::$a32i { dst, imm } => {
                            (step.dst, step.imm) = (dst, imm);
                            step.run = by_kept!(alu, [op::$alu, false], Imm, is(dst), false);
                            After::Written(dst)
                        }
                    )*
                    $(
                        Code::$j64r { dst, src, target } => {
                            let Ok(off) = short(target) else { return left };
                            (step.dst, step.src, step.off) = (dst, src, off);
                            step.run = jump_by_kept!(op::$jmp, true, off, Src, is(dst), is(src));
                            After::Same
                        }
                        Code::$j64i { dst, imm, target } => {
                            let Ok(off) = short(target) else { return left };
                            (step.dst, step.imm, step.off) = (dst, imm, off);
                            step.run = jump_by_kept!(op::$jmp, true, off, Imm, is(dst), false);
                            After::Same
                        }
                        Code::$j32r { dst, src, target } => {
                            let Ok(off) = short(target) else { return left };
                            (step.dst, step.src, step.off) = (dst, src, off);
                            step.run = jump_by_kept!(op::$jmp, false, off, Src, is(dst), is(src));
                            After::Same
                        }
                        Code::$j32i { dst, imm, target } => {
                            let Ok(off) = short(target) else { return left };
                            (step.dst, step.imm, step.off) = (dst, imm, off);
                            step.run = jump_by_kept!(op::$jmp, false, off, Imm, is(dst), false);
                            After::Same
                        }
                    )*
                    $(
                        Code::$load { dst, base, off } if is_direct => {
                            (step.dst, step.src, step.off) = (dst, base, off);
                            step.run = if is(base) { load::<op::$load, Kept> } else { load::<op::$load, Src> };
                            After::Written(dst)
                        }
                    )*
                    $(
                        Code::$store { base, src, off } if is_direct => {
                            (step.dst, step.src, step.off) = (base, src, off);
                            step.run = match (is(base), is(src)) {
                                (true, _) => store::<op::$store, Kept, Src>,
                                (false, true) => store::<op::$store, Dst, Kept>,
                                (false, false) => store::<op::$store, Dst, Src>,
                            };
                            After::Same
                        }
                        Code::$store_imm { base, off, imm } if is_direct => {
                            (step.dst, step.imm, step.off) = (base, imm, off);
                            step.run = if is(base) {
                                store::<op::$store, Kept, Imm>
                            } else {
                                store::<op::$store, Dst, Imm>
                            };
                            After::Same
                        }
                    )*
                    Code::MovSx { wide, bits, dst, src } => {
                        (step.dst, step.src, step.imm) = (dst, src, bits.into());
                        step.run = if wide { extend } else { extend_half };
                        After::Written(dst)
                    }
                    Code::Neg { wide, dst } => {
                        (step.dst, step.src) = (dst, dst);
                        step.run = if wide { negate } else { negate_half };
                        After::Written(dst)
                    }
                    Code::Endian { kind, bits, dst } => {
                        (step.dst, step.src, step.imm) = (dst, dst, bits.into());
                        step.run = match kind {
                            Endian::Swap => swap,
                            Endian::Le => to_little,
                            Endian::Be => to_big,
                        };
                        After::Written(dst)
                    }
                    Code::AddrSpaceCast { dst, src } => {
                        (step.dst, step.src) = (dst, src);
                        step.run = lower_half;
                        After::Written(dst)
                    }
                    Code::LoadImm64 { dst, imm } => {
                        (step.dst, step.imm) = (dst, (imm as u32).cast_signed());
                        step.run = constant;
                        After::Written(dst)
                    }
                    // Behind a constant; elsewhere, nothing goes on.
                    Code::Nothing => {
                        if let Some(Code::LoadImm64 { imm, .. }) = slot.checked_sub(1).map(|slot| code[slot]) {
                            step.imm = ((imm >> 32) as u32).cast_signed();
                        }
                        After::Same
                    }
                    Code::Jump { target } => {
                        step.imm = jump(target);
                        step.run = if step.imm < 0 { jump_always::<true> } else { jump_always::<false> };
                        After::Unknown
                    }
                    Code::MayGoto { target } => {
                        step.imm = jump(target);
                        step.run = if step.imm < 0 { may_goto::<true> } else { may_goto::<false> };
                        After::Same
                    }
                    Code::CallHost { run } => {
                        (step.imm, step.run) = (hosts.len() as i32, call_host);
                        hosts.push(run);
                        After::Written(R::R0)
                    }
                    Code::CallLocal { target } => {
                        (step.imm, step.run) = (target.cast_signed(), call_local);
                        After::Unknown
                    }
                    Code::Exit => {
                        step.run = exit;
                        After::Unknown
                    }
                    _ => After::Unknown,
                };
                (step, after)
            }
        }
    };
}
for_each_binary!(define);
