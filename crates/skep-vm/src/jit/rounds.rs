//! Loop counters, compared after they are counted.
//!
//! Programs, and Cranelift's own rules, often compare what a counter was before it was counted: `next = i + k`, then
//! `if i < C` goes round with `next`. Then both are alive at once, and every round ends with a move of one into the other
//! and a second jump. This pass turns the comparison into `next < C + k`, after which they share a register.
//!
//! For equality that is always the same. For an order it is as long as nothing wraps, which is shown like this: let `i` be a
//! parameter of the loop's first block. Every way into the loop gives it a number that is known; every way round gives it
//! `i + k`, and only while `i < C` holds (or `i <= C`), with `k` not negative. So `i` never exceeds the larger of the
//! numbers it began with and `C - 1 + k`, and `i + k` wraps only if that plus `k` does. Counting down mirrors this.

use std::ops::RangeInclusive;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstBuilder, InstructionData, Opcode, Type, Value,
};

/// A block's end: a condition, and the two ways on.
struct Branch {
    inst: Inst,
    block: Block,
    condition: IntCC,
    old: Value,
    limit: i64,
}

/// A way on that counts: `next` is the argument in place `place` of `to`, taken when `condition` holds.
struct Round {
    to: Block,
    place: usize,
    next: Value,
    step: i64,
    condition: IntCC,
}

/// Changes the comparisons of all loops of a function.
pub(super) fn compare_what_goes_round(func: &mut Function) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let Some(branch) = branch(func, block) else { continue };
        let Some(round) = round(func, &branch) else { continue };
        let ty = func.dfg.value_type(branch.old);
        if let Some(limit) = moved_limit(func, &branch, &round, ty) {
            compare(func, &branch, round.next, limit, ty);
        }
    }
}

/// A conditional jump on a comparison with a constant, which nothing else uses the result of.
fn branch(func: &Function, block: Block) -> Option<Branch> {
    let inst = func.layout.last_inst(block)?;
    let InstructionData::Brif { arg, .. } = func.dfg.insts[inst] else { return None };
    let compare = func.dfg.value_def(arg).inst()?;
    let InstructionData::IntCompare { cond, args: [old, limit], .. } = func.dfg.insts[compare] else {
        return None;
    };
    let limit = constant(func, limit)?;
    Some(Branch { inst, block, condition: cond, old, limit })
}

/// The way on that takes the compared value plus a constant along.
fn round(func: &Function, branch: &Branch) -> Option<Round> {
    let InstructionData::Brif { blocks, .. } = &func.dfg.insts[branch.inst] else { return None };
    let conditions = [branch.condition, branch.condition.complement()];
    blocks.iter().zip(conditions).find_map(|(call, condition)| {
        let pool = &func.dfg.value_lists;
        let found = call.args(pool).enumerate().find_map(|(place, arg)| {
            let BlockArg::Value(next) = arg else { return None };
            let (of, step) = sum(func, next)?;
            (of == branch.old).then_some((place, next, step))
        });
        let (place, next, step) = found?;
        Some(Round { to: call.block(pool), place, next, step, condition })
    })
}

/// What `next` is to be compared with, if that is the same as to compare `old` with the limit.
fn moved_limit(func: &Function, branch: &Branch, round: &Round, ty: Type) -> Option<i64> {
    let bits = ty.bits();
    if matches!(branch.condition, IntCC::Equal | IntCC::NotEqual) {
        return Some(sign_extended(branch.limit.wrapping_add(round.step), bits));
    }
    let all = numbers(branch.condition, bits);
    let is_signed = *all.start() < 0;
    let limit = if is_signed { i128::from(branch.limit) } else { zero_extended(branch.limit, bits) };
    let step = i128::from(round.step);
    let (mut least, mut most) = began_with(func, branch, round, is_signed)?;
    match round.condition.unsigned() {
        IntCC::UnsignedLessThan if step >= 0 => most = most.max(limit - 1 + step),
        IntCC::UnsignedLessThanOrEqual if step >= 0 => most = most.max(limit + step),
        IntCC::UnsignedGreaterThan if step < 0 => least = least.min(limit + 1 + step),
        IntCC::UnsignedGreaterThanOrEqual if step < 0 => least = least.min(limit + step),
        _ => return None,
    }
    let fits = |number: i128| all.contains(&number);
    let never_wraps = fits(least + step.min(0)) && fits(most + step.max(0)) && fits(limit + step);
    never_wraps.then(|| sign_extended((limit + step) as i64, bits))
}

/// The least and the most of what ways into a loop give its counter; `None` when that is not known, or when there is
/// another way that counts.
fn began_with(func: &Function, branch: &Branch, round: &Round, is_signed: bool) -> Option<(i128, i128)> {
    if func.dfg.block_params(round.to).get(round.place) != Some(&branch.old) {
        return None;
    }
    let (mut least, mut most) = (i128::MAX, i128::MIN);
    let mut went_round = false;
    for block in func.layout.blocks() {
        let inst = func.layout.last_inst(block)?;
        for call in func.dfg.insts[inst].branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables)
        {
            if call.block(&func.dfg.value_lists) != round.to {
                continue;
            }
            let Some(BlockArg::Value(value)) = call.args(&func.dfg.value_lists).nth(round.place) else {
                return None;
            };
            if value == branch.old {
                continue;
            }
            if value == round.next && block == branch.block && !went_round {
                went_round = true;
                continue;
            }
            let (low, high) = range(func, value, is_signed)?;
            (least, most) = (least.min(low), most.max(high));
        }
    }
    (least <= most).then_some((least, most))
}

/// Which numbers a value may be, as far as that can be seen.
fn range(func: &Function, value: Value, is_signed: bool) -> Option<(i128, i128)> {
    if let Some(number) = constant(func, value) {
        let bits = func.dfg.value_type(value).bits();
        let number = if is_signed { number.into() } else { zero_extended(number, bits) };
        return Some((number, number));
    }
    let inst = func.dfg.value_def(value).inst()?;
    let bits = match (func.dfg.insts[inst].opcode(), func.dfg.inst_args(inst)) {
        (Opcode::Uextend, [narrow]) => func.dfg.value_type(*narrow).bits(),
        (Opcode::Uload8, _) => 8,
        (Opcode::Uload16, _) => 16,
        _ => return None,
    };
    Some((0, (1 << bits) - 1))
}

/// The numbers that a comparison compares.
fn numbers(condition: IntCC, bits: u32) -> RangeInclusive<i128> {
    match condition {
        IntCC::SignedLessThan
        | IntCC::SignedLessThanOrEqual
        | IntCC::SignedGreaterThan
        | IntCC::SignedGreaterThanOrEqual => -(1 << (bits - 1))..=(1 << (bits - 1)) - 1,
        _ => 0..=(1 << bits) - 1,
    }
}

/// A value that is another one plus a constant.
fn sum(func: &Function, value: Value) -> Option<(Value, i64)> {
    let inst = func.dfg.value_def(value).inst()?;
    match (func.dfg.insts[inst].opcode(), func.dfg.inst_args(inst)) {
        (Opcode::Iadd, [a, b]) => {
            let with = |a, b| Some((a, constant(func, b)?));
            with(*a, *b).or_else(|| with(*b, *a))
        }
        (Opcode::Isub, [a, b]) => Some((*a, constant(func, *b)?.checked_neg()?)),
        _ => None,
    }
}

/// A constant, sign-extended.
fn constant(func: &Function, value: Value) -> Option<i64> {
    let inst = func.dfg.value_def(value).inst()?;
    let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } = func.dfg.insts[inst] else { return None };
    Some(sign_extended(imm.bits(), func.dfg.value_type(value).bits()))
}

fn sign_extended(number: i64, bits: u32) -> i64 {
    let above = 64 - bits;
    (number << above) >> above
}

fn zero_extended(number: i64, bits: u32) -> i128 {
    i128::from(number as u64) & ((1 << bits) - 1)
}

/// Makes a branch compare another value with another limit.
fn compare(func: &mut Function, branch: &Branch, next: Value, limit: i64, ty: Type) {
    let mut at = FuncCursor::new(func).at_inst(branch.inst);
    let bits = if ty.bits() == 64 { limit } else { limit & ((1 << ty.bits()) - 1) };
    let limit = at.ins().iconst(ty, bits);
    let condition = at.ins().icmp(branch.condition, next, limit);
    let InstructionData::Brif { arg, .. } = &mut at.func.dfg.insts[branch.inst] else {
        unreachable!("invariant: it is a conditional jump")
    };
    *arg = condition;
}
