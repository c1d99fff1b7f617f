//! Ranges of the numbers that instructions read: a forward data flow over registers, apart from the walk over paths.
//!
//! The walk ends paths where nothing relies on a number any more, so what it saw of numbers is not all there is. Here states
//! are joined where ways meet, and registers that go on growing round a loop become unknown; what is in memory, what calls
//! return and what functions are called with is unknown from the start. Pointers are numbers of which nothing is known. What
//! is true of all rounds then is made narrower again, by what comes round under the loop's condition.

use std::collections::BTreeSet;

use skep_isa::{AluOp, Endian, Imm64, Op, Operand, Reg};

use super::{Access, Branch, Facts, Region};
use crate::arith;
use crate::compare::{self, Cond};
use crate::liveness;
use crate::scalar::Scalar;

/// How often ways are joined at an instruction before what changes there becomes unknown.
const PATIENCE: u8 = 4;
/// How often the result is put through once more.
const NARROWINGS: u8 = 2;

/// Numbers in `r0` to `r10`.
type Numbers = [Scalar; 11];

const NOTHING: Numbers = [Scalar::UNKNOWN; 11];

/// What is known of the registers that instructions read, by slot and register.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(Vec<(u32, Reg, Scalar)>);

impl Ranges {
    pub(super) fn get(&self, slot: usize, reg: Reg) -> Scalar {
        let key = |(at, reg, _): &(u32, Reg, Scalar)| (*at as usize, *reg);
        match self.0.binary_search_by_key(&(slot, reg), key) {
            Ok(i) => self.0[i].2,
            Err(_) => Scalar::UNKNOWN,
        }
    }

    /// Those of a program whose functions begin at `entries`.
    pub(super) fn of(ops: &[Option<Op>], facts: &Facts, entries: impl Iterator<Item = u32>) -> Self {
        let mut flow = Flow::new(ops, facts, entries.map(|entry| entry as usize).collect());
        flow.settle();
        for _ in 0..NARROWINGS {
            flow.narrow();
        }
        let mut ranges = Self::default();
        for leader in 0..ops.len() {
            if let Some(numbers) = flow.at(leader) {
                flow.walk(leader, numbers, Some(&mut ranges));
            }
        }
        ranges
    }

    fn note(&mut self, slot: usize, op: &Op, numbers: &Numbers) {
        // Every call reads all arguments here: those that it lacks are unknown or harmless.
        let (used, _) = liveness::effect(op, &|| None);
        let read = (0..11u8).filter(|n| used & (1 << n) != 0);
        let known = read.map(|n| (n, numbers[n as usize])).filter(|(_, number)| *number != Scalar::UNKNOWN);
        self.0.extend(known.map(|(n, number)| (slot as u32, Reg(n), number)));
    }
}

/// The flow of numbers through a program.
struct Flow<'a> {
    ops: &'a [Option<Op>],
    facts: &'a Facts,
    entries: Vec<usize>,
    /// Where a straight run of instructions begins.
    begins: Vec<bool>,
    /// What comes there.
    leaders: Vec<Option<Box<Leader>>>,
    /// Leaders whose numbers have changed.
    work: BTreeSet<usize>,
    /// Is what changes too often given up?
    widens: bool,
}

struct Leader {
    numbers: Numbers,
    joined: u8,
}

fn none(len: usize) -> Vec<Option<Box<Leader>>> {
    std::iter::repeat_with(|| None).take(len).collect()
}

impl<'a> Flow<'a> {
    fn new(ops: &'a [Option<Op>], facts: &'a Facts, entries: Vec<usize>) -> Self {
        let mut begins = vec![false; ops.len()];
        for (slot, op) in ops.iter().enumerate() {
            let Some(off) = op.and_then(|op| op.jump_offset()) else { continue };
            for to in [slot + 1, (slot + 1).wrapping_add_signed(off as isize)] {
                begins.get_mut(to).into_iter().for_each(|begins| *begins = true);
            }
        }
        Self { ops, facts, entries, begins, leaders: none(ops.len()), work: BTreeSet::new(), widens: true }
    }

    fn at(&self, leader: usize) -> Option<Numbers> {
        self.leaders[leader].as_ref().map(|leader| leader.numbers)
    }

    fn enter(&mut self) {
        for i in 0..self.entries.len() {
            self.arrive(self.entries[i], &NOTHING);
        }
    }

    /// Passes numbers on until they change no more.
    fn settle(&mut self) {
        self.enter();
        while let Some(leader) = self.work.pop_first() {
            if let Some(numbers) = self.at(leader) {
                self.walk(leader, numbers, None);
            }
        }
    }

    /// What comes everywhere of what is known: no more than is known, as that changes no more.
    fn narrow(&mut self) {
        let known = std::mem::replace(&mut self.leaders, none(self.ops.len()));
        self.widens = false;
        self.enter();
        for (leader, known) in known.iter().enumerate() {
            if let Some(known) = known {
                self.walk(leader, known.numbers, None);
            }
        }
        self.work.clear();
    }

    /// A way leads to an instruction with these numbers.
    fn arrive(&mut self, slot: usize, numbers: &Numbers) {
        let Some(place) = self.leaders.get_mut(slot) else { return };
        let Some(leader) = place else {
            *place = Some(Box::new(Leader { numbers: *numbers, joined: 0 }));
            self.work.insert(slot);
            return;
        };
        let patient = !self.widens || leader.joined < PATIENCE;
        let mut changed = false;
        for (old, new) in leader.numbers.iter_mut().zip(numbers) {
            let joined = old.union(new);
            if joined != *old {
                *old = if patient { joined } else { widened(&joined) };
                changed = true;
            }
        }
        if changed {
            leader.joined = leader.joined.saturating_add(1);
            self.work.insert(slot);
        }
    }

    /// Follows the straight run from a leader, to where it branches or meets another. Notes what is read, or passes on what
    /// comes out.
    fn walk(&mut self, leader: usize, mut numbers: Numbers, mut notes: Option<&mut Ranges>) {
        let mut slot = leader;
        while let Some(op) = self.ops.get(slot).copied().flatten() {
            if let Some(ranges) = &mut notes {
                ranges.note(slot, &op, &numbers);
            }
            let next = slot + op.slots();
            if let Some(off) = op.jump_offset() {
                if notes.is_none() {
                    self.branch(slot, op, next, next.wrapping_add_signed(off as isize), &numbers);
                }
                return;
            }
            if op == Op::Exit {
                return;
            }
            step(&op, self.facts.access(slot), &mut numbers);
            slot = next;
            if self.begins.get(slot).is_some_and(|begins| *begins) {
                if notes.is_none() {
                    self.arrive(slot, &numbers);
                }
                return;
            }
        }
    }

    /// Passes on to both sides of a jump what its condition says there.
    fn branch(&mut self, slot: usize, op: Op, next: usize, target: usize, numbers: &Numbers) {
        let Op::Jump { wide, op, dst, src, .. } = op else {
            self.arrive(target, numbers);
            if !matches!(op, Op::Ja { .. }) {
                self.arrive(next, numbers);
            }
            return;
        };
        let decided = self.facts.branch(slot);
        let sides = [(Cond::Is(op), target, Branch::NotTaken), (compare::negate(op), next, Branch::Taken)];
        for (cond, to, never) in sides {
            let mut numbers = *numbers;
            if decided != never && assume(cond, wide, dst, src, &mut numbers) {
                self.arrive(to, &numbers);
            }
        }
    }
}

/// Takes a condition for granted; false where no number satisfies it.
fn assume(cond: Cond, wide: bool, dst: Reg, src: Operand, numbers: &mut Numbers) -> bool {
    let (mut a, mut b) = (numbers[dst.0 as usize], operand(src, numbers));
    if src == Operand::Reg(dst) {
        return true;
    }
    compare::refine(cond, wide, &mut a, &mut b);
    a.sync();
    b.sync();
    if !a.is_consistent() || !b.is_consistent() {
        return false;
    }
    numbers[dst.0 as usize] = a;
    if let Operand::Reg(src) = src {
        numbers[src.0 as usize] = b;
    }
    true
}

fn operand(src: Operand, numbers: &Numbers) -> Scalar {
    match src {
        Operand::Reg(reg) => numbers[reg.0 as usize],
        Operand::Imm(imm) => Scalar::known(i64::from(imm) as u64),
    }
}

/// What an instruction that does not jump makes of the numbers.
fn step(op: &Op, access: Option<Access>, numbers: &mut Numbers) {
    let at = |reg: Reg| reg.0 as usize;
    let (_, written) = liveness::effect(op, &|| None);
    let result = match *op {
        Op::Alu { wide, op, dst, src } => {
            Some((dst, computed(op, wide, numbers[at(dst)], operand(src, numbers))))
        }
        Op::Neg { wide, dst } => {
            let mut value = numbers[at(dst)];
            arith::neg(wide, &mut value);
            Some((dst, value))
        }
        Op::MovSx { wide, bits, dst, src } => Some((dst, extended(numbers[at(src)], wide, bits))),
        Op::Endian { kind: Endian::Le, bits, dst } => Some((dst, low(numbers[at(dst)], u32::from(bits) / 8))),
        Op::Endian { bits, dst, .. } => Some((dst, low(Scalar::UNKNOWN, u32::from(bits) / 8))),
        Op::LoadImm64 { dst, imm: Imm64::Value(value) } => Some((dst, Scalar::known(value))),
        Op::Load { size, signed, dst, .. } => Some((dst, loaded(access, size.bits() as u8, signed))),
        _ => None,
    };
    for n in (0..11).filter(|n| written & (1 << n) != 0) {
        numbers[n] = Scalar::UNKNOWN;
    }
    if let Some((dst, mut value)) = result {
        value.repair();
        numbers[at(dst)] = value;
    }
}

/// `a op b`.
fn computed(op: AluOp, wide: bool, mut a: Scalar, b: Scalar) -> Scalar {
    let view = |number: &Scalar| {
        if wide { (number.umin, number.umax) } else { (number.umin32.into(), number.umax32.into()) }
    };
    match op {
        AluOp::Mov => {
            a = b;
            if !wide {
                a.zext_32();
                a.sync();
            }
            a
        }
        AluOp::Div | AluOp::Mod if view(&b).0 > 0 => {
            let ((low, high), (least, most)) = (view(&a), view(&b));
            let (umin, umax) =
                if op == AluOp::Div { (low / most, high / least) } else { (0, high.min(most - 1)) };
            Scalar { umin, umax, ..Scalar::UNKNOWN }.synced()
        }
        _ => {
            arith::alu(op, wide, &mut a, &b);
            a
        }
    }
}

fn extended(mut value: Scalar, wide: bool, bits: u8) -> Scalar {
    if wide {
        value.sign_extend(u32::from(bits) / 8);
    } else {
        value.sign_extend_32(u32::from(bits) / 8);
        value.zext_32();
    }
    value.synced()
}

fn low(mut value: Scalar, bytes: u32) -> Scalar {
    value.truncate(bytes);
    value
}

/// What a load from plain memory gives. Fields of contexts and of the kernel's own objects are not what they seem: the
/// runtime makes them.
fn loaded(access: Option<Access>, bits: u8, signed: bool) -> Scalar {
    let made = |region| matches!(region, Region::Context | Region::Other);
    if access.is_none_or(|access| made(access.region)) {
        return Scalar::UNKNOWN;
    }
    if signed { extended(Scalar::UNKNOWN, true, bits) } else { low(Scalar::UNKNOWN, u32::from(bits) / 8) }
}

/// What a number that goes on growing becomes.
fn widened(number: &Scalar) -> Scalar {
    if Scalar::WORD.contains(number) { Scalar::WORD } else { Scalar::UNKNOWN }
}
