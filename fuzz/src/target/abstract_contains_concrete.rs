//! Every register's value lies in what the verifier thought of it, at every step of a run.
//!
//! The verifier walks every path of a program to its end, and each state before each instruction is kept. Then the program
//! runs, and before each instruction one of the states kept there must have room for the registers: numbers in their bits
//! and ranges, pointers at their places, null only where that was foreseen, equal numbers equal, packets as long as was
//! checked. States are not compared with each other meanwhile, because a path may end early where it does not matter what
//! a number is; that this is sound, `verified_never_faults` tries. The facts that a proof has for code generators come from
//! an analysis in which paths do end early, and are held against the run as well.

use std::ops::Range;

use skep_isa::{Insn, Op, Reg as Register, decode};
use skep_verifier::facts::{Branch, Facts, Region};
use skep_verifier::reg::{ADD_CONST, ADD_CONST_32, Base, Reg};
use skep_verifier::state::State;
use skep_verifier::{Outcome, prove, verify_watched};
use skep_vm::Engine;

use super::made::{self, Verdict};
use crate::campaign::{Run, Target};
use crate::execute::Ground;
use crate::generate::Made;
use crate::rng::Rng;

/// Runs of each accepted program.
const RUNS: usize = 3;
/// States kept of one program; those that have more are left alone.
const MAX_STATES: usize = 6000;
/// Bytes between frames.
const FRAME_BYTES: u64 = 512;

/// The target.
pub struct AbstractContainsConcrete;

impl Target for AbstractContainsConcrete {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        made::batch(cases, run, &mut escape);
    }
}

fn escape(ground: &mut Ground, made: &Made, rng: &mut Rng) -> Verdict {
    let mut kept = Kept::new(made.insns.len());
    let mut see = |pc: u32, state: &State| kept.keep(pc, state);
    let report = verify_watched(&ground.input(made), true, &mut see);
    let verified = match report.outcome {
        Outcome::Accept(verified) => verified,
        Outcome::Reject(_) => return Verdict::Other("rejected"),
        Outcome::Unsupported(_) => return Verdict::Other("unsupported"),
    };
    if kept.count > MAX_STATES {
        return Verdict::Other("too many states");
    }
    let Ok(program) = ground.prepare(&verified, Engine::Interpreter) else {
        return Verdict::Other("not served");
    };
    let proof = match prove(&ground.input(made)).outcome {
        Outcome::Accept(proof) => proof,
        Outcome::Reject(_) => {
            return Verdict::Wrong("it is accepted only where every path is walked to its end".to_owned());
        }
        // Paths that end early are walked back, which knows cases that Linux has no answer to either.
        Outcome::Unsupported(_) => return Verdict::Other("unsupported"),
    };
    let none = Facts::default();
    let facts = proof.facts().unwrap_or(&none);
    for _ in 0..RUNS {
        let mut tracker =
            Tracker { kept: &kept, facts, insns: &made.insns, start: None, before: None, escape: None };
        let mut step = |slot: usize, regs: &[u64; 11]| tracker.step(slot, regs);
        // Whether a run faults is another target's business.
        let _ = ground.run(&program, rng, Some(&mut step));
        if let Some(what) = tracker.escape {
            return Verdict::Wrong(what);
        }
    }
    Verdict::Other("accepted")
}

/// A state's running function: how deep it is called, and its registers.
struct View {
    depth: usize,
    regs: [Reg; 11],
}

/// The states of a program, by instruction.
struct Kept {
    views: Vec<Vec<View>>,
    count: usize,
}

impl Kept {
    fn new(len: usize) -> Self {
        Self { views: (0..len).map(|_| Vec::new()).collect(), count: 0 }
    }

    fn keep(&mut self, pc: u32, state: &State) {
        if self.count > MAX_STATES {
            return;
        }
        let frame = state.frame();
        let view = View { depth: state.curframe(), regs: frame.regs };
        self.count += 1;
        self.views[pc as usize].push(view);
    }
}

/// Follows a run.
struct Tracker<'a> {
    kept: &'a Kept,
    facts: &'a Facts,
    insns: &'a [Insn],
    /// Context and frame pointer of the first instruction.
    start: Option<(u64, u64)>,
    /// The instruction before this one.
    before: Option<usize>,
    escape: Option<String>,
}

impl Tracker<'_> {
    fn step(&mut self, slot: usize, regs: &[u64; 11]) {
        if self.escape.is_some() {
            return;
        }
        let (context, frame) = *self.start.get_or_insert((regs[1], regs[10]));
        let depth = (frame.wrapping_sub(regs[10]) / FRAME_BYTES) as usize;
        let place = Place { context, frame, regs };
        self.escape = self.against_facts(slot, &place);
        if self.escape.is_some() {
            return;
        }
        let Some(views) = self.kept.views.get(slot) else { return };
        let at_depth = || views.iter().filter(|view| view.depth == depth);
        if at_depth().any(|view| place.misfit(&view.regs).is_none()) {
            return;
        }
        let reasons = at_depth().filter_map(|view| place.misfit(&view.regs)).take(4);
        let reasons: Vec<String> = reasons.collect();
        let count = at_depth().count();
        self.escape = Some(format!(
            "a register is not in any of the {count} states of its instruction\ninstruction {slot}: {}\nregisters {:x?}",
            reasons.join("; "),
            regs
        ));
    }
}

impl Tracker<'_> {
    /// What the run does that the facts of the proof exclude.
    fn against_facts(&mut self, slot: usize, place: &Place<'_>) -> Option<String> {
        let before = self.before.replace(slot);
        let impossible =
            before.is_some_and(|from| match (decode(self.insns, from), self.facts.branch(from)) {
                (Ok(Op::Jump { off: 1.., .. }), Branch::Taken) => slot == from + 1,
                (Ok(Op::Jump { off: 1.., .. }), Branch::NotTaken) => slot != from + 1,
                _ => false,
            });
        if impossible {
            return Some(format!("a branch goes where its facts say it does not\ninstruction {before:?}"));
        }
        let out = (0..11).find(|&n| !self.facts.range(slot, Register(n)).has(place.regs[n as usize]));
        if let Some(n) = out {
            let (value, range) = (place.regs[n as usize], self.facts.range(slot, Register(n)));
            return Some(format!(
                "a register is not in the range of its facts\ninstruction {slot}: r{n} is {value:#x}, expected {range:?}"
            ));
        }
        let op = decode(self.insns, slot).ok()?;
        let (Op::Load { base, off, .. } | Op::Store { base, off, .. } | Op::Atomic { base, off, .. }) = op
        else {
            return None;
        };
        let access = self.facts.access(slot)?;
        let start = match access.region {
            Region::Frame => place.regs[10],
            Region::Context => place.context,
            _ => return None,
        };
        let at = place.regs[base.0 as usize].wrapping_add(i64::from(off) as u64).wrapping_sub(start) as i64;
        let fits = (access.min..=access.max).contains(&at);
        (!fits).then(|| {
            format!(
                "an access is not where its facts say\ninstruction {slot}: offset {at}, expected {access:?}"
            )
        })
    }
}

/// Concrete registers, and where things are.
struct Place<'a> {
    context: u64,
    frame: u64,
    regs: &'a [u64; 11],
}

impl Place<'_> {
    /// The first register that does not fit, and why; `None` when all do.
    fn misfit(&self, view: &[Reg]) -> Option<String> {
        (0..10).find_map(|n| self.misfit_of(n, view))
    }

    fn misfit_of(&self, n: usize, view: &[Reg]) -> Option<String> {
        let (reg, value) = (&view[n], self.regs[n]);
        let fits = match reg.ty.base {
            Base::NotInit => true,
            Base::Scalar => reg.val.has(value) && self.linked_fit(n, view),
            _ if reg.ty.may_be_null() && value == 0 => true,
            Base::Stack => {
                let pointer = self.frame - FRAME_BYTES * reg.frame() as u64;
                self.offset_fits(reg, value.wrapping_sub(pointer))
            }
            Base::Ctx => self.offset_fits(reg, value.wrapping_sub(self.context)),
            Base::Packet => value != 0 && self.packet_fits(reg, value, view),
            _ => value != 0,
        };
        (!fits).then(|| format!("r{n} is {value:#x}, expected {} off {} {:?}", reg.ty, reg.off, reg.val))
    }

    /// What is left of a pointer's distance is a variable offset that was foreseen.
    fn offset_fits(&self, reg: &Reg, distance: u64) -> bool {
        reg.val.has(distance.wrapping_sub(i64::from(reg.off) as u64))
    }

    /// Numbers that share an id are equal, or apart by what is known.
    fn linked_fit(&self, n: usize, view: &[Reg]) -> bool {
        let (reg, value) = (&view[n], self.regs[n]);
        if reg.id == 0 {
            return true;
        }
        let base = |reg: &Reg, value: u64| value.wrapping_sub(i64::from(reg.off) as u64);
        let others = view[..10].iter().zip(self.regs).filter(|(other, _)| {
            other.ty.base == Base::Scalar && other.id & !ADD_CONST == reg.id & !ADD_CONST
        });
        others.into_iter().all(|(other, &at)| {
            let narrow = (reg.id | other.id) & ADD_CONST_32 != 0;
            let (a, b) = match (reg.id & ADD_CONST != 0, other.id & ADD_CONST != 0) {
                (false, false) => (value, at),
                (true, false) => (base(reg, value), at),
                (false, true) => (value, base(other, at)),
                (true, true) => (base(reg, value), base(other, at)),
            };
            if narrow { a as u32 == b as u32 } else { a == b }
        })
    }

    /// The bytes that were compared with the packet's end are before it.
    fn packet_fits(&self, reg: &Reg, value: u64, view: &[Reg]) -> bool {
        let start = value.wrapping_sub(i64::from(reg.off) as u64);
        let ends = view[..10].iter().zip(self.regs).filter(|(other, _)| other.ty.base == Base::PacketEnd);
        reg.range() <= 0 || ends.into_iter().all(|(_, &end)| start.wrapping_add(reg.range() as u64) <= end)
    }
}
