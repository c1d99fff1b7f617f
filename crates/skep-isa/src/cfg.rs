//! The control-flow graph of a program: its subprograms, their basic blocks, and the edges between them.
//!
//! Takes all slots of a program as they are loaded, with every subprogram appended and every call resolved. Checks what
//! the kernel checks of the shape of a program before it looks at values (`kernel/bpf/verifier.c`, `check_subprogs`):
//! every slot decodes, jumps stay in their subprogram and go to instructions, no subprogram falls off its end. Does not
//! say whether loops end or indirect calls (`callx`) go anywhere.

mod dot;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::insn::Insn;
use crate::op::{CallTarget, DecodeErrorKind, Imm64, Op, decode_xlated};
use crate::text::Style;

/// A control-flow graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cfg {
    /// The subprograms in the order of their slots; the first is the program's entry.
    pub subprogs: Vec<Subprog>,
    /// The basic blocks in the order of their slots.
    pub blocks: Vec<Block>,
}

/// Index into [`Cfg::subprogs`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubprogId(pub usize);

/// Index into [`Cfg::blocks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockId(pub usize);

/// A function: the program's entry, what a BPF-to-BPF call goes to, or a callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subprog {
    /// Its slots; it starts at the first.
    pub slots: Range<usize>,
    /// Its blocks.
    pub blocks: Range<usize>,
    /// The functions that it calls or whose address it takes, in the order of its instructions.
    pub calls: Vec<CallSite>,
}

/// Where a function is called or its address taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallSite {
    /// Slot of the instruction.
    pub pc: usize,
    /// The function.
    pub callee: SubprogId,
    /// Whether the instruction takes the address only ([`Imm64::Func`]).
    pub is_address: bool,
}

/// Instructions that run one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its slots.
    pub slots: Range<usize>,
    /// Slot of its last instruction.
    pub last: usize,
    /// The function it belongs to.
    pub subprog: SubprogId,
    /// Where it goes on; nowhere after `exit`.
    pub edges: Vec<Edge>,
    /// Whether any way leads here from the program's entry, through calls and callbacks too.
    pub reachable: bool,
}

/// A way from one block to another of the same function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// Where to.
    pub to: BlockId,
    /// When.
    pub kind: EdgeKind,
}

/// When an [`Edge`] is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EdgeKind {
    /// The next instruction, where no jump is taken.
    Next,
    /// The target of a jump.
    Jump,
}

impl Cfg {
    /// Builds the graph of a program.
    pub fn build(insns: &[Insn]) -> Result<Self, CfgError> {
        let ops = decode_all(insns)?;
        let starts = subprog_starts(&ops)?;
        check_jumps(&ops, &starts)?;
        check_ends(&ops, &starts)?;
        let leaders = leaders(&ops, &starts);
        let mut cfg =
            Self { subprogs: subprogs(&ops, &starts, &leaders), blocks: blocks(&ops, &starts, &leaders) };
        cfg.mark_reachable();
        Ok(cfg)
    }

    /// The block that the instruction at a slot belongs to.
    pub fn block_at(&self, pc: usize) -> Option<BlockId> {
        let index = self.blocks.partition_point(|block| block.slots.end <= pc);
        self.blocks.get(index).map(|_| BlockId(index))
    }

    /// The function that a slot belongs to.
    pub fn subprog_at(&self, pc: usize) -> Option<SubprogId> {
        let index = self.subprogs.partition_point(|subprog| subprog.slots.end <= pc);
        self.subprogs.get(index).map(|_| SubprogId(index))
    }

    /// The slots that no way leads to, as ranges in order.
    pub fn unreachable(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.blocks.iter().filter(|block| !block.reachable).map(|block| block.slots.clone())
    }

    fn mark_reachable(&mut self) {
        let mut todo = vec![BlockId(0)];
        while let Some(BlockId(index)) = todo.pop() {
            let Some(block) = self.blocks.get_mut(index).filter(|block| !block.reachable) else { continue };
            block.reachable = true;
            todo.extend(block.edges.iter().map(|edge| edge.to));
            let calls = self.subprogs.get(block.subprog.0).map_or(&[][..], |subprog| &subprog.calls);
            let callees = calls.iter().filter(|call| block.slots.contains(&call.pc)).map(|call| call.callee);
            todo.extend(
                callees.filter_map(|callee| Some(BlockId(self.subprogs.get(callee.0)?.blocks.start))),
            );
        }
    }
}

/// The instructions by slot; `None` at second slots.
type Ops = [Option<Op>];

fn decode_all(insns: &[Insn]) -> Result<Vec<Option<Op>>, CfgError> {
    if insns.is_empty() {
        return Err(CfgError { pc: 0, op: None, kind: CfgErrorKind::Empty });
    }
    let mut ops = Vec::with_capacity(insns.len());
    while ops.len() < insns.len() {
        let op = decode_xlated(insns, ops.len()).map_err(|error| CfgError {
            pc: error.pc,
            op: None,
            kind: CfgErrorKind::Decode(error.kind),
        })?;
        ops.push(Some(op));
        ops.resize(ops.len() + op.slots() - 1, None);
    }
    Ok(ops)
}

/// The instructions and their slots.
fn each(ops: &Ops) -> impl Iterator<Item = (usize, Op)> + '_ {
    ops.iter().enumerate().filter_map(|(pc, op)| Some((pc, (*op)?)))
}

/// Where subprograms start, the entry first.
fn subprog_starts(ops: &Ops) -> Result<Vec<usize>, CfgError> {
    let mut starts = BTreeSet::from([0]);
    for (pc, op) in each(ops) {
        if let Some((distance, _)) = callee(&op) {
            starts.insert(target(ops, pc, &op, distance)?);
        }
    }
    Ok(starts.into_iter().collect())
}

/// The distance of the function that an instruction calls or takes the address of, and whether it is the latter.
fn callee(op: &Op) -> Option<(i32, bool)> {
    match *op {
        Op::Call(CallTarget::Local(distance)) => Some((distance, false)),
        Op::LoadImm64 { imm: Imm64::Func(distance), .. } => Some((distance, true)),
        _ => None,
    }
}

/// The slot at a distance, if an instruction starts there.
fn target(ops: &Ops, pc: usize, op: &Op, distance: i32) -> Result<usize, CfgError> {
    let target = pc as i64 + 1 + i64::from(distance);
    let slot = usize::try_from(target).ok();
    match slot.and_then(|slot| Some((slot, ops.get(slot)?))) {
        Some((slot, Some(_))) => Ok(slot),
        Some((slot, None)) => Err(CfgError::at(pc, op, CfgErrorKind::IntoLdImm64 { target: slot })),
        None => Err(CfgError::at(pc, op, CfgErrorKind::OutOfRange { target, slots: ops.len() })),
    }
}

/// The target of a jump that [`check_jumps`] has passed.
fn jump_target(pc: usize, op: &Op) -> Option<usize> {
    usize::try_from(pc as i64 + 1 + i64::from(op.jump_offset()?)).ok()
}

/// The index of the subprogram that a slot belongs to.
fn owner(starts: &[usize], pc: usize) -> usize {
    starts.partition_point(|start| *start <= pc).saturating_sub(1)
}

fn check_jumps(ops: &Ops, starts: &[usize]) -> Result<(), CfgError> {
    for (pc, op) in each(ops) {
        let Some(distance) = op.jump_offset() else { continue };
        let target = target(ops, pc, &op, distance)?;
        if owner(starts, target) != owner(starts, pc) {
            return Err(CfgError::at(pc, &op, CfgErrorKind::OtherSubprog { target }));
        }
    }
    Ok(())
}

/// Checks that the last instruction of every subprogram goes elsewhere.
fn check_ends(ops: &Ops, starts: &[usize]) -> Result<(), CfgError> {
    for slots in ranges(starts, ops.len()) {
        let last = each(ops.get(slots.clone()).unwrap_or_default()).last();
        let Some((offset, op)) = last else { continue };
        if !matches!(op, Op::Exit | Op::Ja { .. }) {
            let kind = CfgErrorKind::FallsOff { subprog: slots.start };
            return Err(CfgError::at(slots.start + offset, &op, kind));
        }
    }
    Ok(())
}

/// The ranges between starts.
fn ranges(starts: &[usize], end: usize) -> impl Iterator<Item = Range<usize>> + '_ {
    let ends = starts.iter().skip(1).copied().chain([end]);
    starts.iter().zip(ends).map(|(start, end)| *start..end)
}

/// The first slots of blocks: of subprograms, targets of jumps, and what follows a jump or an exit.
fn leaders(ops: &Ops, starts: &[usize]) -> Vec<usize> {
    let mut leaders: BTreeSet<usize> = starts.iter().copied().collect();
    for (pc, op) in each(ops) {
        leaders.extend(jump_target(pc, &op));
        if op.jump_offset().is_some() || op == Op::Exit {
            leaders.insert(pc + 1);
        }
    }
    leaders.remove(&ops.len());
    leaders.into_iter().collect()
}

fn subprogs(ops: &Ops, starts: &[usize], leaders: &[usize]) -> Vec<Subprog> {
    let block_at = |pc: usize| leaders.partition_point(|leader| *leader < pc);
    let mut subprogs: Vec<Subprog> = ranges(starts, ops.len())
        .map(|slots| Subprog { blocks: block_at(slots.start)..block_at(slots.end), slots, calls: Vec::new() })
        .collect();
    for (pc, op) in each(ops) {
        let Some((distance, is_address)) = callee(&op) else { continue };
        let Ok(target) = target(ops, pc, &op, distance) else { continue };
        if let Some(caller) = subprogs.get_mut(owner(starts, pc)) {
            caller.calls.push(CallSite { pc, callee: SubprogId(owner(starts, target)), is_address });
        }
    }
    subprogs
}

fn blocks(ops: &Ops, starts: &[usize], leaders: &[usize]) -> Vec<Block> {
    let block = |slots: Range<usize>| {
        let (offset, op) = each(ops.get(slots.clone())?).last()?;
        let last = slots.start + offset;
        let subprog = SubprogId(owner(starts, last));
        Some(Block { edges: edges(leaders, last, &op, slots.end), slots, last, subprog, reachable: false })
    };
    ranges(leaders, ops.len()).filter_map(block).collect()
}

/// Where a block goes on whose last instruction is `op`.
fn edges(leaders: &[usize], last: usize, op: &Op, next: usize) -> Vec<Edge> {
    let edge =
        |pc: usize, kind| leaders.binary_search(&pc).ok().map(|index| Edge { to: BlockId(index), kind });
    let falls_through = !matches!(op, Op::Exit | Op::Ja { .. });
    let next = if falls_through { edge(next, EdgeKind::Next) } else { None };
    let jump = jump_target(last, op).and_then(|target| edge(target, EdgeKind::Jump));
    next.into_iter().chain(jump).collect()
}

/// A program without a control-flow graph, and which instruction is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CfgError {
    /// Slot of the instruction.
    pub pc: usize,
    /// The instruction, where it decodes.
    pub op: Option<Op>,
    /// What is wrong with it.
    pub kind: CfgErrorKind,
}

impl CfgError {
    fn at(pc: usize, op: &Op, kind: CfgErrorKind) -> Self {
        Self { pc, op: Some(*op), kind }
    }
}

/// Why a program has no control-flow graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CfgErrorKind {
    /// It has no instructions.
    Empty,
    /// A slot is no instruction.
    Decode(DecodeErrorKind),
    /// A jump or call leaves the program.
    OutOfRange {
        /// The slot it goes to.
        target: i64,
        /// How many slots the program has.
        slots: usize,
    },
    /// A jump or call goes to the second slot of a 64-bit immediate.
    IntoLdImm64 {
        /// That slot.
        target: usize,
    },
    /// A jump goes to another subprogram.
    OtherSubprog {
        /// The slot it goes to.
        target: usize,
    },
    /// The last instruction of a subprogram is neither an exit nor a jump.
    FallsOff {
        /// The first slot of the subprogram.
        subprog: usize,
    },
}

impl fmt::Display for CfgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}", self.pc)?;
        if let Some(text) = self.op.and_then(|op| op.text(Style::Llvm)) {
            write!(f, " (`{text}`)")?;
        }
        match self.kind {
            CfgErrorKind::Empty => f.write_str(": the program is empty"),
            CfgErrorKind::Decode(kind) => write!(f, ": {kind}"),
            CfgErrorKind::OutOfRange { target, slots } => {
                write!(
                    f,
                    " goes to slot {target}, but the program has only slots 0 to {}",
                    slots.saturating_sub(1)
                )
            }
            CfgErrorKind::IntoLdImm64 { target } => {
                write!(f, " goes to slot {target}, into the middle of a 64-bit immediate load")
            }
            CfgErrorKind::OtherSubprog { target } => {
                write!(f, " jumps to slot {target}, into another subprogram")
            }
            CfgErrorKind::FallsOff { subprog } => {
                write!(
                    f,
                    " is the last one of the subprogram at slot {subprog}, but neither `exit` nor a jump"
                )
            }
        }
    }
}

impl std::error::Error for CfgError {}
