//! Precision: which scalars' values safety depends on, found by walking a path backwards.
//!
//! Exploring starts with every scalar imprecise: its values are tracked but do not matter when states are compared.
//! When a check relies on a value, the registers and slots it was computed from are marked in every remembered state
//! on the way back, until each was loaded, set to a constant, or returned by a call.

use std::rc::Rc;

use skep_isa::{AluOp, AtomicOp, CallTarget, Op, Operand};

use super::Verifier;
use crate::program::TAIL_CALL;
use crate::reg::Reg;
use crate::state::{Linked, LinkedReg, MAX_FRAMES, NO_CALLSITE, State, StateId, Step};
use crate::stop::{Res, Stop};

const ARGUMENTS: u16 = 0x3e;
/// In [`concerns`]: it matters whatever is looked for.
const ALWAYS: u16 = 1 << 15;

/// Registers and slots of each frame that are still looked for.
#[derive(Default)]
pub(crate) struct Trace {
    frame: usize,
    regs: [u16; MAX_FRAMES],
    slots: [u64; MAX_FRAMES],
}

/// Why a walk ended without an answer.
enum Lost {
    /// The instruction cannot be walked over; everything becomes precise.
    Opaque,
    /// The walk contradicts itself: a bug of ours.
    Bug,
}

impl Trace {
    fn new(frame: usize) -> Self {
        Self { frame, ..Self::default() }
    }

    /// The frame the walk is in.
    pub(super) fn frame(&self) -> usize {
        self.frame
    }

    /// Registers and slots of a frame that are still looked for.
    pub(super) fn masks(&self, frame: usize) -> (u16, u64) {
        (self.regs[frame], self.slots[frame])
    }

    fn is_empty(&self) -> bool {
        // Asked at every step back: without branches it is a few wide instructions.
        self.regs.iter().fold(0, |any, r| any | r) == 0 && self.slots.iter().fold(0, |any, s| any | s) == 0
    }

    fn has(&self, reg: u8) -> bool {
        self.regs[self.frame] & (1 << reg) != 0
    }

    fn set(&mut self, reg: u8) {
        self.regs[self.frame] |= 1 << reg;
    }

    fn clear(&mut self, reg: u8) {
        self.regs[self.frame] &= !(1 << reg);
    }

    fn set_slot(&mut self, at: (u8, u8)) {
        self.slots[at.0 as usize] |= 1 << at.1;
    }

    fn enter(&mut self) -> Result<(), Lost> {
        if self.frame + 1 >= MAX_FRAMES {
            return Err(Lost::Bug);
        }
        self.frame += 1;
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Lost> {
        self.frame = self.frame.checked_sub(1).ok_or(Lost::Bug)?;
        Ok(())
    }

    /// Where one of a set of linked scalars is looked for, all are.
    fn sync_linked(&mut self, linked: &Linked) {
        let wanted = |r: LinkedReg| {
            let set =
                if r.is_reg { u64::from(self.regs[r.frame as usize]) } else { self.slots[r.frame as usize] };
            set & (1 << r.index) != 0
        };
        if !linked.iter().any(wanted) {
            return;
        }
        for r in linked.iter() {
            if r.is_reg {
                self.regs[r.frame as usize] |= 1 << r.index;
            } else {
                self.slots[r.frame as usize] |= 1 << r.index;
            }
        }
    }
}

/// Where a walk starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The state being explored.
    Current,
    /// A state that ended by joining a loop.
    Kept(usize),
}

impl Verifier<'_> {
    /// Marks register `reg` of the running frame precise, back to where it comes from.
    pub(crate) fn mark_precise(&mut self, reg: usize) -> Res {
        if !self.cur.reg(reg).is_scalar() {
            return Ok(());
        }
        let mut trace = Trace::new(self.cur.curframe());
        trace.set(reg as u8);
        self.walk_back(trace, Start::Current).map(|_| ())
    }

    /// Marks the scalar spilled to a slot precise, back to where it comes from.
    pub(crate) fn mark_slot_precise(&mut self, frame: usize, slot: usize) -> Res {
        let mut trace = Trace::new(self.cur.curframe());
        trace.set_slot((frame as u8, slot as u8));
        self.walk_back(trace, Start::Current).map(|_| ())
    }

    /// What is precise in a remembered state is precise in the current one, which it covers.
    pub(crate) fn propagate_precision(&mut self, old: StateId) -> Res {
        let trace = precise_in(&self.states[old.0 as usize].state);
        self.log_propagated(&trace);
        self.walk_back(trace, Start::Current).map(|_| ())
    }

    /// The same from a state kept because it joined a loop; says whether a mark is new.
    pub(crate) fn propagate_precision_kept(&mut self, old: StateId, kept: usize) -> Res<bool> {
        let trace = precise_in(&self.states[old.0 as usize].state);
        self.log_propagated(&trace);
        self.walk_back(trace, Start::Kept(kept))
    }

    fn start_state(&self, start: Start) -> &State {
        match start {
            Start::Current => &self.cur,
            Start::Kept(i) => &self.backedges[i].state,
        }
    }

    fn walk_back(&mut self, mut trace: Trace, start: Start) -> Res<bool> {
        let mut changed = false;
        let st = self.start_state(start);
        trace.frame = st.curframe();
        let (mut first, mut last) = (st.first_insn, if start == Start::Current { self.pc } else { st.insn });
        let mut subsequent = None;
        let mut skip_first = true;
        let mut at: Option<StateId> = None;
        if trace.is_empty() {
            return Ok(false);
        }
        if self.concerns.is_empty() {
            self.concerns = (0..self.code.len()).map(|pc| self.concerns(pc)).collect();
        }
        let told = self.recorder.is_some();
        loop {
            self.log_walk_back(&trace, last, first, subsequent);
            let st = at.map_or_else(|| self.start_state(start), |id| &self.states[id.0 as usize].state);
            if last == u32::MAX {
                return self.reach_entry(&trace, at, start).map(|()| changed);
            }
            let parent = st.parent;
            let mut left = st.history.len();
            let mut pc = last;
            loop {
                let note = left.checked_sub(1).map(|i| &st.history[i]).filter(|step| step.insn == pc);
                // Most instructions have nothing to do with what is looked for.
                let passes = std::mem::take(&mut skip_first) || (!told && self.passes(pc, note, &trace));
                if !passes {
                    self.log_step_back(pc, &trace);
                    match self.step_back(pc, subsequent, note, &mut trace) {
                        Ok(()) => {}
                        Err(Lost::Opaque) => return self.force_precise(start).map(|()| true),
                        Err(Lost::Bug) => return Err(Stop::unsupported("precision: contradictory path")),
                    }
                    if trace.is_empty() {
                        return Ok(changed);
                    }
                }
                subsequent = Some(pc);
                match previous(st, pc, first, &mut left) {
                    Some(prev) => pc = prev,
                    None => break,
                }
            }
            let Some(parent) = parent else { break };
            changed |= self.mark_in_parent(parent, &mut trace)?;
            self.log_marked(parent, &trace);
            if trace.is_empty() {
                return Ok(changed);
            }
            let st = &self.states[parent.0 as usize].state;
            subsequent = Some(first);
            (last, first) = (st.last_insn, st.first_insn);
            at = Some(parent);
        }
        self.force_precise(start)?;
        Ok(true)
    }

    /// The walk arrived at the start of a function that is verified on its own: only its arguments may be left.
    fn reach_entry(&mut self, trace: &Trace, at: Option<StateId>, start: Start) -> Res {
        let st = at.map_or_else(|| self.start_state(start), |id| &self.states[id.0 as usize].state);
        let entry = &st.frames[0];
        let on_its_own = st.frames.len() == 1 && entry.callsite == NO_CALLSITE;
        let arguments_only = trace.regs[0] & !ARGUMENTS == 0 && trace.slots[0] == 0;
        if !on_its_own || !arguments_only {
            return Err(Stop::unsupported("precision: nothing before the entry"));
        }
        let Some(id) = at else { return Ok(()) };
        let frame = Rc::make_mut(&mut self.states[id.0 as usize].state.frames[0]);
        for i in (0..10).filter(|i| trace.regs[0] & (1 << i) != 0) {
            if frame.regs[i].is_scalar() {
                frame.regs[i].precise = true;
            }
        }
        Ok(())
    }

    /// Marks what is looked for in a remembered state; what is marked already, or no scalar, is looked for no more.
    fn mark_in_parent(&mut self, id: StateId, trace: &mut Trace) -> Res<bool> {
        let mut changed = false;
        let state = &mut self.states[id.0 as usize].state;
        for fr in 0..=trace.frame {
            let Some(frame) = state.frames.get_mut(fr) else {
                return Err(Stop::unsupported("precision: frame gone"));
            };
            let (regs, slots) = (trace.regs[fr], trace.slots[fr]);
            for i in bits(u64::from(regs)) {
                if frame.regs[i].is_scalar() && !frame.regs[i].precise {
                    Rc::make_mut(frame).regs[i].precise = true;
                    changed = true;
                } else {
                    trace.regs[fr] &= !(1 << i);
                }
            }
            for i in bits(slots) {
                let fresh = frame.stack.get(i).is_some_and(|s| s.is_spilled_scalar() && !s.reg.precise);
                if fresh {
                    Rc::make_mut(frame).stack[i].reg.precise = true;
                    changed = true;
                } else {
                    trace.slots[fr] &= !(1 << i);
                }
            }
        }
        Ok(changed)
    }

    /// Gives up the walk: every scalar of every state on the way is precise.
    fn force_precise(&mut self, start: Start) -> Res {
        self.log_forced(self.start_state(start).curframe());
        let mut at = self.start_state(start).parent;
        while let Some(id) = at {
            self.log_forced_in(id);
            let state = &mut self.states[id.0 as usize].state;
            state.for_each_reg(|r| r.is_scalar() && !r.precise, |r| r.precise = true);
            at = state.parent;
        }
        Ok(())
    }

    /// Everything that joined a loop becomes precise: the marks did not settle.
    pub(crate) fn force_precise_kept(&mut self, kept: usize) -> Res {
        self.force_precise(Start::Kept(kept))
    }

    /// Registers of which an instruction changes what is known about where they come from: it matters if one of them is
    /// looked for. What it does to stack slots, a note tells.
    fn concerns(&self, pc: u32) -> u16 {
        let Some(op) = self.code.op(pc) else { return 0 };
        match *op {
            Op::Alu { op, dst, src, .. } => match src {
                Operand::Imm(_) if op != AluOp::Mov => 0,
                _ => 1 << dst.0,
            },
            Op::MovSx { dst, .. }
            | Op::AddrSpaceCast { dst, .. }
            | Op::Load { dst, .. }
            | Op::LoadAcquire { dst, .. }
            | Op::LoadImm64 { dst, .. } => 1 << dst.0,
            Op::Atomic { op: AtomicOp::Cmpxchg, .. } => 1,
            Op::Atomic { op, src, .. } if op.fetches() => 1 << src.0,
            Op::Atomic { base, .. } | Op::Store { base, .. } | Op::StoreRelease { base, .. } => 1 << base.0,
            Op::Jump { dst, src: Operand::Reg(src), .. } => 1 << dst.0 | 1 << src.0,
            Op::Jump { .. } | Op::Neg { .. } | Op::Endian { .. } | Op::Ja { .. } | Op::MayGoto { .. } => 0,
            Op::Call(CallTarget::Helper(id))
                if id != TAIL_CALL && !self.marks[pc as usize].calls_callback =>
            {
                1 | ARGUMENTS
            }
            Op::Call(_) | Op::Exit | Op::LoadAbs { .. } | Op::LoadInd { .. } => ALWAYS,
        }
    }

    /// Is what is looked for the same before an instruction as after it?
    fn passes(&self, pc: u32, note: Option<&Step>, t: &Trace) -> bool {
        let concerned = self.concerns[pc as usize] & (t.regs[t.frame] | ALWAYS) != 0;
        !concerned
            && note.is_none_or(|note| {
                let wanted = |(frame, slot): (u8, u8)| t.slots[frame as usize] & (1 << slot) != 0;
                note.linked.is_empty() && !note.stack.is_some_and(wanted)
            })
    }

    /// Undoes one instruction: what was looked for after it, in terms of what was there before it.
    fn step_back(&self, pc: u32, next: Option<u32>, note: Option<&Step>, t: &mut Trace) -> Result<(), Lost> {
        let Some(op) = self.code.op(pc) else { return Ok(()) };
        if let Some(note) = note {
            t.sync_linked(&note.linked);
        }
        let slot = note.and_then(|note| note.stack);
        match *op {
            Op::Alu { op: AluOp::Mov, dst, src, .. } => {
                if t.has(dst.0) {
                    t.clear(dst.0);
                    set_operand(t, src);
                }
            }
            Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } => {
                if t.has(dst.0) {
                    t.clear(dst.0);
                    set_operand(t, Operand::Reg(src));
                }
            }
            Op::Alu { dst, src, .. } => {
                if t.has(dst.0) {
                    set_operand(t, src);
                }
            }
            Op::Neg { .. } | Op::Endian { .. } | Op::Ja { .. } | Op::MayGoto { .. } => {}
            Op::Load { dst, .. } | Op::LoadAcquire { dst, .. } => back_over_load(t, dst.0, slot),
            Op::Atomic { op, base, src, .. } => {
                let loaded = match op {
                    AtomicOp::Cmpxchg => Some(0),
                    op if op.fetches() => Some(src.0),
                    _ => None,
                };
                match loaded {
                    Some(reg) => back_over_load(t, reg, slot),
                    None if t.has(base.0) => return Err(Lost::Opaque),
                    None => back_over_store(t, slot, Some(src.0)),
                }
            }
            Op::Store { base, src, .. } => {
                if t.has(base.0) {
                    return Err(Lost::Opaque);
                }
                let stored = match src {
                    Operand::Reg(reg) => Some(reg.0),
                    Operand::Imm(_) => None,
                };
                back_over_store(t, slot, stored);
            }
            Op::StoreRelease { base, src, .. } => {
                if t.has(base.0) {
                    return Err(Lost::Opaque);
                }
                back_over_store(t, slot, Some(src.0));
            }
            Op::Call(target) => return self.back_over_call(target, pc, next, t),
            Op::Exit => return self.back_over_exit(next, t),
            Op::Jump { dst, src: Operand::Reg(src), .. } => {
                if t.has(dst.0) || t.has(src.0) {
                    if !note.is_some_and(|note| note.src_stack) {
                        t.set(src.0);
                    }
                    if !note.is_some_and(|note| note.dst_stack) {
                        t.set(dst.0);
                    }
                }
            }
            Op::Jump { .. } => {}
            Op::LoadImm64 { dst, .. } => t.clear(dst.0),
            Op::LoadAbs { .. } | Op::LoadInd { .. } => {
                if t.has(0) {
                    return Err(Lost::Opaque);
                }
                if next != Some(pc + 1) {
                    t.enter()?;
                }
                return Ok(());
            }
        }
        if let Some(note) = note {
            t.sync_linked(&note.linked);
        }
        Ok(())
    }

    fn back_over_call(
        &self,
        target: CallTarget,
        pc: u32,
        next: Option<u32>,
        t: &mut Trace,
    ) -> Result<(), Lost> {
        match target {
            CallTarget::Local(_) => {
                let callee = self.code.callee(pc).ok_or(Lost::Bug)?;
                if self.code.subprogs[callee as usize].global {
                    if t.regs[t.frame] & ARGUMENTS != 0 {
                        return Err(Lost::Bug);
                    }
                    t.clear(0);
                    return Ok(());
                }
                // Entering the callee: its arguments are the caller's registers.
                let args = t.regs[t.frame];
                if args & !ARGUMENTS != 0 || t.slots[t.frame] != 0 {
                    return Err(Lost::Bug);
                }
                t.regs[t.frame] = 0;
                t.leave()?;
                t.regs[t.frame] |= args;
                Ok(())
            }
            _ if self.marks[pc as usize].calls_callback && next != Some(pc + 1) => {
                // Entering a callback: its arguments are made by the caller, and anything goes for them.
                if t.regs[t.frame] & !ARGUMENTS != 0 || t.slots[t.frame] != 0 {
                    return Err(Lost::Bug);
                }
                t.regs[t.frame] = 0;
                t.leave()
            }
            CallTarget::Kfunc { btf_id: 0, .. } => Err(Lost::Opaque),
            CallTarget::Helper(TAIL_CALL) if next != Some(pc + 1) => {
                t.clear(0);
                t.enter()
            }
            _ => {
                t.clear(0);
                if t.regs[t.frame] & ARGUMENTS != 0 {
                    return Err(Lost::Bug);
                }
                Ok(())
            }
        }
    }

    /// Going back into a function that returned here.
    fn back_over_exit(&self, next: Option<u32>, t: &mut Trace) -> Result<(), Lost> {
        let after_call =
            next.and_then(|next| next.checked_sub(1)).is_some_and(|pc| self.code.is_local_call(pc));
        let wants_result = after_call && t.has(0);
        if after_call && t.regs[t.frame] & ARGUMENTS != 0 {
            return Err(Lost::Bug);
        }
        t.clear(0);
        t.enter()?;
        if wants_result {
            t.set(0);
        }
        Ok(())
    }
}

/// The numbers of the bits that are set.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

fn set_operand(t: &mut Trace, src: Operand) {
    if let Operand::Reg(reg) = src
        && reg.0 < 10
    {
        t.set(reg.0);
    }
}

fn back_over_load(t: &mut Trace, reg: u8, slot: Option<(u8, u8)>) {
    if t.has(reg) {
        t.clear(reg);
        if let Some(at) = slot {
            t.set_slot(at);
        }
    }
}

fn back_over_store(t: &mut Trace, slot: Option<(u8, u8)>, stored: Option<u8>) {
    let Some(at) = slot else { return };
    if t.slots[at.0 as usize] & (1 << at.1) != 0 {
        t.slots[at.0 as usize] &= !(1 << at.1);
        if let Some(reg) = stored {
            t.set(reg);
        }
    }
}

/// The instruction before `pc` on the path that led to `st`.
fn previous(st: &State, pc: u32, first: u32, left: &mut usize) -> Option<u32> {
    if pc == first && (*left == 0 || (*left == 1 && st.history[0].insn == pc)) {
        return None;
    }
    match left.checked_sub(1).map(|i| &st.history[i]) {
        Some(step) if step.insn == pc => {
            *left -= 1;
            (step.prev != u32::MAX).then_some(step.prev)
        }
        _ => pc.checked_sub(1),
    }
}

/// Precise registers and slots of a state.
fn precise_in(state: &State) -> Trace {
    let mut trace = Trace::new(state.curframe());
    let is_precise = |reg: &Reg| reg.is_scalar() && reg.precise;
    for (fr, frame) in state.frames.iter().enumerate() {
        for i in (0..10).filter(|&i| is_precise(&frame.regs[i])) {
            trace.regs[fr] |= 1 << i;
        }
        for (i, slot) in frame.stack.iter().enumerate() {
            if slot.is_spill() && is_precise(&slot.reg) {
                trace.slots[fr] |= 1 << i;
            }
        }
    }
    trace
}
