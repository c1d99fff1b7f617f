//! Where the value of a register came from: the path walked backwards from where it failed, through copies, the stack
//! and calls, to where it was made.

use super::insn::{self, Act};
use crate::log::read::{Path, Place};
use crate::log::value::Value;

/// A register or slot of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) frame: u32,
    pub(super) place: Place,
}

/// What happened to the value at one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It was copied, spilled or filled.
    Copied,
    /// It was computed with: `+=` and the operand.
    Computed,
    /// It was compared.
    Checked,
    /// It was made a constant.
    Constant,
    /// It was loaded from memory through this register, which held this.
    Loaded(Option<Value>),
    /// It was passed to a function of the program, as this argument.
    Passed(u8),
    /// A call returned it.
    Returned(String),
    /// A call left nothing in it, or a function began without it.
    Lost(String),
}

/// One step of a value's life.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) step: usize,
    pub(super) event: Event,
    /// What the log shows of it before and after.
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// How a value came about.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// In the order of the path.
    pub(super) moments: Vec<Moment>,
    /// The value was there when the program or function began: which argument it is.
    pub(super) argument: Option<u8>,
}

/// Moments that are looked for at most.
const MAX_MOMENTS: usize = 64;

/// Follows the value of a place back from before `step`.
pub(super) fn follow(path: &Path, step: usize, at: At) -> History {
    let mut walk = Walk { path, at, moments: Vec::new() };
    let ended =
        (0..step.min(path.steps.len())).rev().any(|i| !walk.back(i) || walk.moments.len() >= MAX_MOMENTS);
    let argument = match walk.at.place {
        Place::Reg(n @ 1..=5) if !ended && walk.at.frame == 0 => Some(n),
        _ => None,
    };
    walk.moments.reverse();
    History { moments: walk.moments, argument }
}

struct Walk<'p> {
    path: &'p Path,
    at: At,
    moments: Vec<Moment>,
}

impl Walk<'_> {
    /// Goes back over a step; false where the value was made.
    fn back(&mut self, i: usize) -> bool {
        let step = &self.path.steps[i];
        if let Act::Branch { .. } = insn::parse(&step.text) {
            self.back_over_branch(i);
            return true;
        }
        if step.frame != self.at.frame {
            return self.back_into_callee(i);
        }
        match insn::parse(&step.text) {
            Act::Call { name } => self.back_over_call(i, name),
            Act::Store { base, off, src } => self.back_over_store(i, base, off, src),
            act => match (written(act), self.at.place) {
                (Some(dst), Place::Reg(reg)) if dst == reg => self.back_over_write(i, act),
                _ => true,
            },
        }
    }

    fn back_over_write(&mut self, i: usize, act: Act<'_>) -> bool {
        match act {
            Act::Move { src, .. } => {
                self.note(i, Event::Copied);
                self.at.place = Place::Reg(src);
                true
            }
            Act::Compute { .. } => {
                self.note(i, Event::Computed);
                true
            }
            Act::Load { base, off, .. } => match self.slot(i, base, off) {
                Some(slot) => {
                    self.note(i, Event::Copied);
                    self.at = slot;
                    true
                }
                None => {
                    let from = self.path.before(i, self.at.frame, Place::Reg(base)).cloned();
                    self.note(i, Event::Loaded(from))
                }
            },
            Act::Constant { .. } => self.note(i, Event::Constant),
            _ => self.note(i, Event::Loaded(None)),
        }
    }

    fn back_over_store(&mut self, i: usize, base: u8, off: i64, src: Option<u8>) -> bool {
        if self.slot(i, base, off) != Some(self.at) {
            return true;
        }
        match src {
            Some(src) => {
                self.note(i, Event::Copied);
                self.at = At { frame: self.path.steps[i].frame, place: Place::Reg(src) };
                true
            }
            None => self.note(i, Event::Constant),
        }
    }

    /// A call in the frame of the value: it made r0 and spoiled the other arguments.
    fn back_over_call(&mut self, i: usize, name: &str) -> bool {
        let Place::Reg(reg) = self.at.place else { return true };
        let returns = self.path.steps.get(i + 1).is_some_and(|next| next.frame > self.at.frame);
        match reg {
            // What the callee returned was followed into it already.
            0 if returns => true,
            0 => self.note(i, Event::Returned(name.to_owned())),
            1..=5 => self.note(i, Event::Lost(name.to_owned())),
            _ => true,
        }
    }

    /// A step of another function: what it returned came from there, what it was given came from here.
    fn back_into_callee(&mut self, i: usize) -> bool {
        let step = &self.path.steps[i];
        let act = insn::parse(&step.text);
        let inner = At { frame: self.at.frame + 1, place: Place::Reg(0) };
        match (act, self.at.place) {
            (Act::Exit, Place::Reg(0)) if step.frame == inner.frame => {
                self.at = inner;
                true
            }
            (Act::Call { name }, Place::Reg(reg)) if step.frame + 1 == self.at.frame => match reg {
                1..=5 => {
                    self.note(i, Event::Passed(reg));
                    self.at.frame = step.frame;
                    true
                }
                _ => self.note(i, Event::Lost(name.to_owned())),
            },
            // Stores through a pointer to this frame's stack.
            (Act::Store { base, off, src }, Place::Slot(_)) => self.back_over_store(i, base, off, src),
            _ => true,
        }
    }

    /// A comparison of the value, or of another register that has the same.
    fn back_over_branch(&mut self, i: usize) {
        let step = &self.path.steps[i];
        let Act::Branch { left, right, .. } = insn::parse(&step.text) else { return };
        let id = self.value(i).map_or(0, |value| value.id);
        let same = |reg: u8| {
            let at = At { frame: step.frame, place: Place::Reg(reg) };
            at == self.at
                || (id != 0 && self.path.before(i, at.frame, at.place).is_some_and(|value| value.id == id))
        };
        if same(left) || insn::register(right).is_some_and(same) {
            self.note(i, Event::Checked);
        }
    }

    fn value(&self, i: usize) -> Option<&Value> {
        self.path.before(i, self.at.frame, self.at.place)
    }

    /// Notes what happened at a step; false, as for events that end the walk.
    fn note(&mut self, i: usize, event: Event) -> bool {
        let (before, after) = (self.value(i).cloned(), self.value(i + 1).cloned());
        self.moments.push(Moment { step: i, event, before, after });
        false
    }

    /// The slot that an address names, if it is on the stack.
    fn slot(&self, i: usize, base: u8, off: i64) -> Option<At> {
        let frame = self.path.steps[i].frame;
        let (frame, start) = match base {
            10 => (frame, 0),
            _ => {
                let value =
                    self.path.before(i, frame, Place::Reg(base)).filter(|value| value.kind == "fp")?;
                (value.frame.unwrap_or(frame), value.off)
            }
        };
        let off = i32::try_from(start.wrapping_add(off)).ok()?;
        // Parts of a slot are shown at its start.
        Some(At { frame, place: Place::Slot(off.div_euclid(8) * 8) })
    }
}

/// The register that an instruction sets.
fn written(act: Act<'_>) -> Option<u8> {
    match act {
        Act::Move { dst, .. } | Act::Constant { dst } | Act::Compute { dst, .. } | Act::Load { dst, .. } => {
            Some(dst)
        }
        Act::Other { dst } => dst,
        Act::Store { .. } | Act::Call { .. } | Act::Branch { .. } | Act::Exit => None,
    }
}
