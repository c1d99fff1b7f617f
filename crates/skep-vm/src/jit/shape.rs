//! The shape of a program to compile: its functions, their blocks, and what of the registers lives from block to block.
//!
//! Only what the verifier has seen reached is here: a conditional jump of which one way was never taken is none. Two
//! analyses run over the blocks. Backwards, which registers are read before they are written; only these become block
//! parameters. Forwards, which registers hold numbers that came from 32-bit operations; these stay 32 bits wide across
//! blocks, so that a loop counter is not extended once a round.

use std::collections::{BTreeMap, BTreeSet};

use skep_isa::{AluOp, CallTarget, Imm64, Op, Operand, Reg, Size};
use skep_verifier::facts::Branch;

use super::Declined;
use super::source::Source;

/// Registers by number: bits 0 to 9 are `r0` to `r9`, bit 11 the rounds left of `may_goto`. `r10` is the frame's address,
/// the same everywhere in a function.
pub(super) type Set = u16;

/// The number of the rounds left, which programs cannot name.
pub(super) const LOOPS: usize = 11;
/// Numbers of registers there may be.
pub(super) const REGS: usize = 12;

const ARGUMENTS: Set = 0b11_1110;
/// What a call leaves undefined, and its result.
const CALL_WRITES: Set = 0b11_1111;

/// Instructions that run one after another.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// First slot.
    pub(super) start: usize,
    /// The slot behind its last.
    pub(super) end: usize,
    /// Blocks that may follow: on to the next instruction, and to the jump's target.
    pub(super) next: Option<usize>,
    pub(super) target: Option<usize>,
    /// How many edges lead here.
    pub(super) edges_in: usize,
    /// Registers that are read here or later before they are written.
    pub(super) live: Set,
    /// Registers that hold 32 bits, zero-extended, whichever way a run comes here.
    pub(super) narrow: Set,
    /// May a run come here several times?
    pub(super) in_loop: bool,
}

/// A function.
#[derive(Clone, Debug)]
pub(super) struct Function {
    /// First slot.
    pub(super) start: usize,
    /// Bytes below its frame pointer that it uses.
    pub(super) frame_bytes: u32,
    /// Blocks in the order of the program; the first is where it begins.
    pub(super) blocks: Vec<Block>,
    /// Does it, or what it calls, need the run?
    pub(super) needs_run: bool,
    /// Is its address taken, or is it the program itself? Then the caller is not compiled code.
    pub(super) is_entry: bool,
    /// Does it count rounds?
    pub(super) counts: bool,
}

impl Function {
    /// Registers that it expects its arguments in.
    pub(super) fn arguments(&self) -> Set {
        if self.is_entry { ARGUMENTS } else { self.blocks[0].live & ARGUMENTS }
    }
}

/// Finds functions, callees before callers.
pub(super) fn functions(source: &Source<'_>) -> Result<Vec<Function>, Declined> {
    let mut found: Vec<Function> = Vec::new();
    let entries = entries(source);
    let mut waiting = entries.clone();
    let mut open: Vec<usize> = Vec::new();
    while let Some(&start) = waiting.last() {
        if found.iter().any(|function| function.start == start) {
            waiting.pop();
            continue;
        }
        let mut blocks = blocks(source, start)?;
        let missing: Vec<usize> = callees(source, &blocks)
            .into_iter()
            .filter(|callee| !found.iter().any(|function| function.start == *callee))
            .collect();
        if !missing.is_empty() {
            if open.contains(&start) {
                return Err(Declined::at(start, "functions call each other in a circle"));
            }
            open.push(start);
            waiting.extend(missing);
            continue;
        }
        liveness(source, &mut blocks, &found);
        let is_entry = entries.contains(&start);
        narrowness(source, &mut blocks);
        let callee_does =
            |callee| found.iter().any(|function| function.start == callee && function.needs_run);
        let needs_run = blocks
            .iter()
            .any(|block| each_op(source, block).any(|(slot, op)| source.needs_run(slot, &op, &callee_does)));
        let counts =
            blocks.iter().any(|block| each_op(source, block).any(|(_, op)| matches!(op, Op::MayGoto { .. })));
        let frame_bytes = source.frame_bytes(start);
        found.push(Function { start, frame_bytes, blocks, needs_run, is_entry, counts });
        waiting.pop();
    }
    Ok(found)
}

/// The program's first function, and those whose address it takes.
fn entries(source: &Source<'_>) -> Vec<usize> {
    let taken = source.ops().filter_map(|(slot, op)| match op {
        Op::LoadImm64 { imm: Imm64::Func(_), .. } => source.callee(slot),
        _ => None,
    });
    std::iter::once(0).chain(taken).filter(|start| source.is_reached(*start)).collect()
}

fn callees(source: &Source<'_>, blocks: &[Block]) -> Vec<usize> {
    let ops = blocks.iter().flat_map(|block| each_op(source, block));
    ops.filter(|(_, op)| matches!(op, Op::Call(CallTarget::Local(_))))
        .filter_map(|(slot, _)| source.callee(slot))
        .collect()
}

/// Instructions of a block with their slots.
pub(super) fn each_op<'a>(
    source: &'a Source<'_>,
    block: &Block,
) -> impl DoubleEndedIterator<Item = (usize, Op)> + 'a {
    let (start, end) = (block.start, block.end);
    (start..end).filter_map(|slot| Some((slot, source.op(slot)?)))
}

/// Where control goes on after an instruction: to the next one, and to a target.
fn ways(source: &Source<'_>, slot: usize, op: &Op) -> (Option<usize>, Option<usize>) {
    let next = Some(slot + op.slots());
    match *op {
        Op::Exit => (None, None),
        Op::Ja { .. } => (None, source.target(slot)),
        Op::MayGoto { .. } => (next, source.target(slot)),
        Op::Jump { .. } => match source.branch(slot) {
            Branch::Both => (next, source.target(slot)),
            Branch::Taken => (None, source.target(slot)),
            Branch::NotTaken => (next, None),
        },
        _ => (next, None),
    }
}

/// The reached blocks of a function.
fn blocks(source: &Source<'_>, start: usize) -> Result<Vec<Block>, Declined> {
    let mut leaders = BTreeSet::from([start]);
    let mut seen = BTreeMap::new();
    let mut waiting = vec![start];
    while let Some(slot) = waiting.pop() {
        if seen.contains_key(&slot) {
            continue;
        }
        let op = source.op(slot).ok_or_else(|| Declined::at(slot, "there is no instruction"))?;
        let (next, target) = ways(source, slot, &op);
        seen.insert(slot, (op.slots(), next, target));
        let ends = !matches!((next, target), (Some(_), None)) || is_jump(&op);
        for way in [next, target].into_iter().flatten() {
            waiting.push(way);
            if ends {
                leaders.insert(way);
            }
        }
    }
    let mut blocks = cut(&leaders, &seen);
    mark_loops(&mut blocks);
    test_at_the_end(source, &mut blocks);
    count_edges(&mut blocks);
    Ok(blocks)
}

fn is_jump(op: &Op) -> bool {
    matches!(op, Op::Jump { .. } | Op::MayGoto { .. } | Op::Ja { .. })
}

/// Slots of an instruction, and where it goes.
type Way = (usize, Option<usize>, Option<usize>);

/// Cuts the instructions seen into blocks at leaders.
fn cut(leaders: &BTreeSet<usize>, seen: &BTreeMap<usize, Way>) -> Vec<Block> {
    let number: BTreeMap<usize, usize> = leaders.iter().enumerate().map(|(n, start)| (*start, n)).collect();
    let mut blocks = Vec::with_capacity(leaders.len());
    for start in leaders {
        let mut slot = *start;
        let (end, next, target) = loop {
            let (slots, next, target) = seen[&slot];
            let end = slot + slots;
            match (next, target) {
                (Some(next), None) if !leaders.contains(&next) => slot = next,
                _ => break (end, next, target),
            }
        };
        let of = |slot: Option<usize>| slot.map(|slot| number[&slot]);
        let (next, target) = (of(next), of(target));
        blocks.push(Block {
            start: *start,
            end,
            next,
            target,
            edges_in: 0,
            live: 0,
            narrow: 0,
            in_loop: false,
        });
    }
    blocks
}

fn count_edges(blocks: &mut [Block]) {
    let mut edges = vec![0; blocks.len()];
    for block in blocks.iter() {
        for way in [block.next, block.target].into_iter().flatten() {
            edges[way] += 1;
        }
    }
    // A run comes to the first block from outside.
    edges[0] += 1;
    for (block, edges) in blocks.iter_mut().zip(edges) {
        block.edges_in = edges;
    }
}

/// What lies between a jump back and its target is taken for a loop.
fn mark_loops(blocks: &mut [Block]) {
    for from in 0..blocks.len() {
        let ways = [blocks[from].next, blocks[from].target];
        if let Some(to) = ways.into_iter().flatten().filter(|to| *to <= from).min() {
            blocks[to..=from].iter_mut().for_each(|block| block.in_loop = true);
        }
    }
}

/// Instructions of a loop's first block up to which it is repeated.
const SHORT: usize = 4;

/// Repeats the test that a loop begins with at the loop's end, in place of the jump back to it: a round has one jump less,
/// and a processor foretells both tests by themselves.
fn test_at_the_end(source: &Source<'_>, blocks: &mut Vec<Block>) {
    for (end, first) in rounds(blocks) {
        let is_test = blocks[first].next.is_some() && blocks[first].target.is_some();
        let only_jumps = blocks[end].next.is_none() || blocks[end].target.is_none();
        if !is_test || !only_jumps || !is_short(source, &blocks[first]) {
            continue;
        }
        let copy = blocks.len();
        blocks.push(blocks[first].clone());
        let Block { next, target, .. } = &mut blocks[end];
        [next, target].into_iter().flatten().for_each(|way| *way = copy);
    }
}

fn is_short(source: &Source<'_>, block: &Block) -> bool {
    let is_cheap = |op: &Op| match op {
        Op::Alu { op, .. } => !matches!(op, AluOp::Div | AluOp::Mod | AluOp::Sdiv | AluOp::Smod),
        Op::Jump { .. } | Op::MovSx { .. } | Op::Load { .. } => true,
        _ => false,
    };
    each_op(source, block).count() <= SHORT && each_op(source, block).all(|(_, op)| is_cheap(&op))
}

/// Ways back to a block that the run is still in: from which block to which.
fn rounds(blocks: &[Block]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut seen, mut open) = (vec![false; blocks.len()], vec![false; blocks.len()]);
    let mut waiting = vec![(0, false)];
    while let Some((number, left)) = waiting.pop() {
        if left {
            open[number] = false;
        } else if !std::mem::replace(&mut seen[number], true) {
            open[number] = true;
            waiting.push((number, true));
            for way in [blocks[number].next, blocks[number].target].into_iter().flatten() {
                if open[way] {
                    found.push((number, way));
                }
                waiting.push((way, false));
            }
        }
    }
    found
}

/// Backwards: what is read before it is written.
fn liveness(source: &Source<'_>, blocks: &mut [Block], known: &[Function]) {
    let of_callee = |callee| {
        known.iter().find(|function| function.start == callee).map_or(ARGUMENTS, Function::arguments)
    };
    loop {
        let mut changed = false;
        for n in (0..blocks.len()).rev() {
            let after = [blocks[n].next, blocks[n].target].into_iter().flatten();
            let mut live = after.fold(0, |live, way| live | blocks[way].live);
            for (slot, op) in each_op(source, &blocks[n]).rev() {
                live = (live & !writes(&op)) | reads(source, slot, &op, &of_callee);
            }
            changed |= live != blocks[n].live;
            blocks[n].live = live;
        }
        if !changed {
            return;
        }
    }
}

/// Forwards: what holds 32 bits, zero-extended.
fn narrowness(source: &Source<'_>, blocks: &mut [Block]) {
    const ALL: Set = (1 << REGS) - 1;
    let mut at_start = vec![ALL; blocks.len()];
    at_start[0] = 1 << LOOPS;
    loop {
        let mut changed = false;
        for n in 0..blocks.len() {
            let mut narrow = at_start[n];
            for (_, op) in each_op(source, &blocks[n]) {
                narrow = narrowed(&op, narrow);
            }
            for way in [blocks[n].next, blocks[n].target].into_iter().flatten() {
                let met = at_start[way] & narrow;
                changed |= met != at_start[way];
                at_start[way] = met;
            }
        }
        if !changed {
            break;
        }
    }
    for (block, narrow) in blocks.iter_mut().zip(at_start) {
        block.narrow = narrow;
    }
}

/// What holds 32 bits after an instruction, when `narrow` did before it.
fn narrowed(op: &Op, narrow: Set) -> Set {
    let with = |dst: Reg, is: bool| if is { narrow | bit(dst) } else { narrow & !bit(dst) };
    match *op {
        Op::Alu { wide: true, op: AluOp::Mov, dst, src: Operand::Reg(src) } => {
            with(dst, narrow & bit(src) != 0)
        }
        Op::Alu { wide: true, op, dst, src } => with(dst, stays_narrow(op, dst, src, narrow)),
        Op::Alu { wide: false, dst, .. } => with(dst, true),
        Op::MovSx { wide, dst, .. } | Op::Neg { wide, dst } => with(dst, !wide),
        Op::Endian { bits, dst, .. } => with(dst, bits < 64),
        Op::AddrSpaceCast { dst, .. } => with(dst, true),
        Op::LoadImm64 { dst, .. } => with(dst, false),
        Op::Load { size, signed, dst, .. } => with(dst, !signed && size != Size::DW),
        Op::LoadAcquire { size, dst, .. } => with(dst, size != Size::DW),
        Op::LoadAbs { .. } | Op::LoadInd { .. } => (narrow & !CALL_WRITES) | 1,
        Op::Call(_) => narrow & !CALL_WRITES,
        Op::Atomic { op, src, .. } if op.fetches() => narrow & !(bit(src) | 1),
        _ => narrow,
    }
}

/// Does a 64-bit operation leave 32 bits, zero-extended?
pub(super) fn stays_narrow(op: AluOp, dst: Reg, src: Operand, narrow: Set) -> bool {
    let is = |reg: Reg| narrow & bit(reg) != 0;
    match (op, src) {
        (AluOp::Mov, Operand::Imm(imm)) => imm >= 0,
        (AluOp::And, Operand::Imm(imm)) => imm >= 0 || is(dst),
        (AluOp::And, Operand::Reg(src)) => is(dst) || is(src),
        (AluOp::Or | AluOp::Xor, Operand::Imm(imm)) => is(dst) && imm >= 0,
        (AluOp::Or | AluOp::Xor, Operand::Reg(src)) => is(dst) && is(src),
        (AluOp::Rsh, Operand::Imm(imm)) => imm & 63 >= 32 || is(dst),
        (AluOp::Div | AluOp::Mod, Operand::Imm(imm)) => is(dst) && imm > 0,
        _ => false,
    }
}

pub(super) fn bit(reg: Reg) -> Set {
    1 << reg.0
}

fn operand(src: Operand) -> Set {
    if let Operand::Reg(reg) = src { bit(reg) } else { 0 }
}

/// Registers that an instruction writes.
fn writes(op: &Op) -> Set {
    match *op {
        Op::Alu { dst, .. }
        | Op::MovSx { dst, .. }
        | Op::Neg { dst, .. }
        | Op::Endian { dst, .. }
        | Op::AddrSpaceCast { dst, .. }
        | Op::LoadImm64 { dst, .. }
        | Op::Load { dst, .. }
        | Op::LoadAcquire { dst, .. } => bit(dst),
        Op::LoadAbs { .. } | Op::LoadInd { .. } | Op::Call(_) => CALL_WRITES,
        _ => 0,
    }
}

/// Registers that an instruction reads.
fn reads(source: &Source<'_>, slot: usize, op: &Op, of_callee: &dyn Fn(usize) -> Set) -> Set {
    match *op {
        Op::Alu { op: AluOp::Mov, src, .. } => operand(src),
        Op::Alu { dst, src, .. } | Op::Jump { dst, src, .. } => bit(dst) | operand(src),
        Op::MovSx { src, .. } | Op::AddrSpaceCast { src, .. } | Op::LoadInd { src, .. } => bit(src),
        Op::Neg { dst, .. } | Op::Endian { dst, .. } => bit(dst),
        Op::Load { base, .. } | Op::LoadAcquire { base, .. } => bit(base),
        Op::Store { base, src, .. } => bit(base) | operand(src),
        Op::StoreRelease { base, src, .. } => bit(base) | bit(src),
        Op::Atomic { op: skep_isa::AtomicOp::Cmpxchg, base, src, .. } => bit(base) | bit(src) | 1,
        Op::Atomic { base, src, .. } => bit(base) | bit(src),
        Op::MayGoto { .. } => 1 << LOOPS,
        Op::Call(CallTarget::Local(_)) => source.callee(slot).map_or(ARGUMENTS, of_callee),
        Op::Call(_) => arguments(source.argument_count(slot)),
        Op::Exit => 1,
        _ => 0,
    }
}

/// `r1` and those behind it.
fn arguments(count: usize) -> Set {
    ((1 << (count + 1)) - 1) & ARGUMENTS
}
