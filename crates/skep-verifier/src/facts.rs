//! What a code generator may rely on: for each instruction, what holds whenever a run comes to it.
//!
//! Facts are joined over all states that the analysis had before an instruction. A path that ends because a remembered
//! state covers it goes on unseen; so only that is taken which covering compares: what pointers point to, how far they may
//! be into it, and which edges exist. Ranges of plain numbers are not among it: where nothing relies on them, a covered
//! path may have others. They come from an analysis of their own, see [`Facts::range`].

mod ranges;

use skep_isa::{CallTarget, Insn, Op, Reg as Register, decode};

use crate::reg::{Base, Flags, Reg};
use crate::scalar::Scalar;
use crate::state::State;
use ranges::Ranges;

/// What kind of memory an instruction accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Region {
    /// The stack frame of the running function; offsets from its frame pointer.
    Frame,
    /// The frame of one of its callers.
    CallerFrame,
    /// The context; offsets are the fields' as programs know them.
    Context,
    /// A value of the map of this number, inner maps counted behind the program's own; offsets in the value.
    MapValue(u32),
    /// A key of the map of this number, lent to a callback.
    MapKey(u32),
    /// Packet data or metadata, before its end.
    Packet,
    /// Memory of known size: a ring buffer record, a dynptr's slice, a global function's argument; offsets in it.
    Memory,
    /// An object that the program allocated.
    Object,
    /// Kernel memory by its types: a load must be safe where it faults.
    Kernel,
    /// The program's arena.
    Arena,
    /// Anything else, or different things on different paths: to be checked when it happens.
    Other,
}

/// An access of memory: where, and the offsets of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What is accessed.
    pub region: Region,
    /// Lowest offset of the access in the region; 0 for packets, kernel memory and [`Region::Other`].
    pub min: i64,
    /// Highest one.
    pub max: i64,
}

/// What an argument of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// Always the map of this number.
    Map(u32),
    /// Memory, as an access without offset of the instruction's own.
    Memory(Access),
    /// A number.
    Number,
    /// Anything else, or different things on different paths.
    Other,
}

/// Where a conditional jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Both ways, or no run comes to it.
    Both,
    /// Always to its target.
    Taken,
    /// Never to its target.
    NotTaken,
}

/// What holds at one instruction.
#[derive(Clone, Copy, Debug, Default)]
struct Fact {
    access: Option<Access>,
    arguments: Option<[Argument; 5]>,
    /// Edges seen: to the next instruction, and to the target.
    next: bool,
    target: bool,
}

/// Facts of a program, by slot.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    facts: Vec<Fact>,
    ranges: Ranges,
}

impl Facts {
    /// The memory that a load, store or atomic operation accesses.
    pub fn access(&self, slot: usize) -> Option<Access> {
        self.facts.get(slot)?.access
    }

    /// The arguments of a helper or kernel function, `r1` to `r5`; those beyond its last mean nothing.
    pub fn arguments(&self, slot: usize) -> Option<[Argument; 5]> {
        self.facts.get(slot)?.arguments
    }

    /// The numbers that a register, which the instruction reads, may hold before it; any where nothing is known of them.
    ///
    /// This is of values as registers hold them. What a register holds is a pointer where the instruction takes one.
    pub fn range(&self, slot: usize, reg: Register) -> Scalar {
        self.ranges.get(slot, reg)
    }

    /// Where a conditional jump goes.
    pub fn branch(&self, slot: usize) -> Branch {
        match self.facts.get(slot).map(|fact| (fact.next, fact.target)) {
            Some((true, false)) => Branch::NotTaken,
            Some((false, true)) => Branch::Taken,
            _ => Branch::Both,
        }
    }
}

/// Joins states to facts.
pub(crate) struct Collector {
    ops: Vec<Option<Op>>,
    /// Maps that the program refers to; those of higher numbers stand for any that another map may hold.
    own_maps: u32,
    facts: Vec<Fact>,
}

impl Collector {
    pub(crate) fn new(insns: &[Insn], own_maps: usize) -> Self {
        let mut ops = vec![None; insns.len()];
        let mut pc = 0;
        while pc < insns.len() {
            let op = decode(insns, pc).ok();
            ops[pc] = op;
            pc += op.map_or(1, |op| op.slots());
        }
        Self { facts: vec![Fact::default(); insns.len()], ops, own_maps: own_maps as u32 }
    }

    /// The facts of a program whose functions begin at `entries`.
    pub(crate) fn finish(self, entries: impl Iterator<Item = u32>) -> Facts {
        let mut facts = Facts { facts: self.facts, ranges: Ranges::default() };
        facts.ranges = Ranges::of(&self.ops, &facts, entries);
        facts
    }

    /// A path comes to an instruction in this state.
    pub(crate) fn see(&mut self, pc: u32, state: &State) {
        self.see_edge(state.last_insn, pc);
        let (Some(Some(op)), Some(fact)) = (self.ops.get(pc as usize), self.facts.get_mut(pc as usize))
        else {
            return;
        };
        if let Some((base, off)) = address(op) {
            let now = access(state.reg(base.0 as usize), off, state);
            fact.access = Some(fact.access.map_or(now, |before| join(before, now)));
        }
        if let Op::Call(CallTarget::Helper(_) | CallTarget::Kfunc { .. }) = op {
            let now = [1, 2, 3, 4, 5].map(|n| argument(state.reg(n), state, self.own_maps));
            fact.arguments = Some(
                fact.arguments
                    .map_or(now, |before| std::array::from_fn(|n| join_arguments(before[n], now[n]))),
            );
        }
    }

    /// Jumps are known by where they were seen to lead.
    fn see_edge(&mut self, from: u32, to: u32) {
        let Some(Some(op)) = self.ops.get(from as usize) else { return };
        let off = match *op {
            Op::Jump { off, .. } | Op::MayGoto { off } => i64::from(off),
            _ => return,
        };
        let fact = &mut self.facts[from as usize];
        let next = i64::from(from) + 1;
        fact.next |= i64::from(to) == next;
        fact.target |= i64::from(to) == next + off;
    }
}

/// Base register and offset of an instruction that accesses memory.
fn address(op: &Op) -> Option<(Register, i64)> {
    match *op {
        Op::Load { base, off, .. }
        | Op::Store { base, off, .. }
        | Op::Atomic { base, off, .. }
        | Op::LoadAcquire { base, off, .. }
        | Op::StoreRelease { base, off, .. } => Some((base, off.into())),
        _ => None,
    }
}

/// What is at a register plus an offset.
fn access(reg: &Reg, off: i64, state: &State) -> Access {
    let other = Access { region: Region::Other, min: 0, max: 0 };
    let region = match reg.ty.base {
        _ if reg.ty.may_be_null() => return other,
        Base::Stack if reg.frame() == state.curframe() => Region::Frame,
        Base::Stack => Region::CallerFrame,
        Base::Ctx => Region::Context,
        Base::MapValue => reg.map().map_or(Region::Other, Region::MapValue),
        Base::MapKey => reg.map().map_or(Region::Other, Region::MapKey),
        Base::Packet | Base::PacketMeta => Region::Packet,
        Base::Mem if reg.ty.has(Flags::UNTRUSTED) => Region::Kernel,
        Base::Mem => Region::Memory,
        Base::BtfId if reg.ty.is_alloc_obj() && !reg.ty.has(Flags::UNTRUSTED) => Region::Object,
        Base::BtfId => Region::Kernel,
        Base::Arena => Region::Arena,
        _ => Region::Other,
    };
    if matches!(region, Region::Packet | Region::Kernel | Region::Arena | Region::Other) {
        return Access { region, ..other };
    }
    let fixed = off + i64::from(reg.off);
    let (min, max) = (fixed.checked_add(reg.val.smin), fixed.checked_add(reg.val.smax));
    match (min, max) {
        (Some(min), Some(max)) => Access { region, min, max },
        _ => other,
    }
}

fn join(a: Access, b: Access) -> Access {
    if a.region == b.region {
        Access { region: a.region, min: a.min.min(b.min), max: a.max.max(b.max) }
    } else {
        Access { region: Region::Other, min: 0, max: 0 }
    }
}

fn argument(reg: &Reg, state: &State, own_maps: u32) -> Argument {
    match reg.ty.base {
        Base::Scalar => Argument::Number,
        Base::MapPtr if !reg.ty.may_be_null() => {
            reg.map().filter(|map| *map < own_maps).map_or(Argument::Other, Argument::Map)
        }
        Base::NotInit => Argument::Other,
        _ => match access(reg, 0, state) {
            Access { region: Region::Other, .. } => Argument::Other,
            access => Argument::Memory(access),
        },
    }
}

fn join_arguments(a: Argument, b: Argument) -> Argument {
    match (a, b) {
        (Argument::Memory(a), Argument::Memory(b)) if a.region == b.region => Argument::Memory(join(a, b)),
        (a, b) if a == b => a,
        _ => Argument::Other,
    }
}
