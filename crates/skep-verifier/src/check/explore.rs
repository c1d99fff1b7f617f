//! Exploration: a depth-first walk over paths, remembering states so that equal ones are not walked twice.

use std::collections::HashMap;

use super::Verifier;
use super::equal::{self, Exact, Live};
use crate::liveness::RegSet;
use crate::reg::{Detail, IterState, Reg};
use crate::state::{Linked, MAX_FRAMES, Slot, State, StateId, Step};
use crate::stop::{Res, reject};

/// Paths that may wait to be walked.
const MAX_PENDING: usize = 8192;
/// Rounds of carrying precision marks round a loop before everything in it is made precise.
const MAX_ROUNDS: u32 = 64;

/// Dropped states among which it is worth looking for memory to give back.
pub(crate) const EVICTED_ENOUGH: usize = 32;

/// A remembered state and how useful it was.
pub(crate) struct Explored {
    pub(crate) state: State,
    hits: u32,
    misses: u32,
    /// The outermost loop it is in.
    in_loop: Option<u32>,
}

/// A remembered state in the list of its instruction, with what tells without a look at it that it is passed over.
pub(crate) struct Head {
    id: StateId,
    callsite: u32,
    cleaned: bool,
}

/// A path to walk later.
pub(crate) struct Pending {
    state: State,
    pc: u32,
    prev_pc: u32,
}

/// A state that ended because it came back to a loop being explored.
pub(crate) struct Backedge {
    pub(crate) state: State,
    equal: StateId,
    /// Was it compared as if the marks of the other were final?
    provisional: bool,
}

/// The loop a state is in: its component, and the calls that led to it.
type LoopKey = (u32, Vec<u32>);

/// A loop, and the visit of it that is not finished.
pub(crate) struct Loop {
    /// But the rounds of a callback: see [`Verifier::leave_loop`].
    rounds: bool,
    entry: Option<StateId>,
    backedges: Vec<Backedge>,
}

/// All loops that were come to, numbered, so that a remembered state finds its own at once.
#[derive(Default)]
pub(crate) struct Loops {
    numbers: HashMap<LoopKey, u32>,
    loops: Vec<Loop>,
}

impl Loops {
    fn number(&mut self, key: LoopKey, rounds: bool) -> u32 {
        let next = self.loops.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.loops.push(Loop { rounds, entry: None, backedges: Vec::new() });
        }
        number
    }

    fn get(&mut self, number: u32) -> &mut Loop {
        &mut self.loops[number as usize]
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.loops.clear();
    }
}

impl Verifier<'_> {
    /// Queues a copy of the current state to continue at `pc`; the caller adjusts it.
    pub(crate) fn push(&mut self, pc: u32) -> Res<&mut State> {
        self.push_from(pc, self.pc)
    }

    /// The same, saying which instruction it comes from.
    pub(crate) fn push_from(&mut self, pc: u32, prev_pc: u32) -> Res<&mut State> {
        let state = self.cur.clone();
        self.push_state(state, pc, prev_pc)
    }

    /// Queues a state.
    pub(crate) fn push_state(&mut self, state: State, pc: u32, prev_pc: u32) -> Res<&mut State> {
        if self.pending.len() >= MAX_PENDING {
            reject!("The sequence of {} jumps is too complex.", self.pending.len() + 1);
        }
        if let Some(parent) = state.parent {
            self.states[parent.0 as usize].state.branches += 1;
        }
        self.pending.push(Pending { state, pc, prev_pc });
        self.log_put_off();
        let top = self.pending.len() - 1;
        Ok(&mut self.pending[top].state)
    }

    /// Ends the current path and takes up a waiting one; false where none is left.
    pub(crate) fn pop(&mut self) -> Res<bool> {
        self.count_down()?;
        let Some(next) = self.pending.pop() else { return Ok(false) };
        self.log_resume();
        self.cur = next.state;
        (self.pc, self.prev_pc) = (next.pc, next.prev_pc);
        Ok(true)
    }

    /// One path through the current state and its ancestors is done.
    fn count_down(&mut self) -> Res {
        self.cur.branches = self.cur.branches.saturating_sub(1);
        let mut at = if self.cur.branches == 0 { self.cur.parent } else { None };
        while let Some(id) = at {
            let state = &mut self.states[id.0 as usize].state;
            state.branches = state.branches.saturating_sub(1);
            if state.branches != 0 {
                break;
            }
            at = state.parent;
            self.leave_loop(id)?;
        }
        Ok(())
    }

    /// Notes how the path came here, for [`super::precision`].
    pub(crate) fn note_step(&mut self, change: impl FnOnce(&mut Step)) {
        if !std::mem::replace(&mut self.step_noted, true) {
            let prev = self.prev_pc;
            self.cur.history.push(Step {
                insn: self.pc,
                prev,
                stack: None,
                src_stack: false,
                dst_stack: false,
                linked: Linked::default(),
            });
        }
        if let Some(step) = self.cur.history.last_mut() {
            change(step);
        }
    }

    /// Compares the current state with those remembered here. True: it is covered, the path ends.
    pub(crate) fn visit(&mut self) -> Res<bool> {
        let pc = self.pc;
        self.cur.insn = pc;
        let mark = self.marks[pc as usize];
        let force_new = mark.checkpoint || self.cur.history.len() > 40;
        let mut add_new = force_new
            || (self.jumps_processed - self.prev_jumps >= 2 && self.insns_processed - self.prev_insns >= 8);
        self.clean_states(pc);
        let mut list = std::mem::take(&mut self.heads[pc as usize]);
        let outcome = self.search(&mut list, force_new, &mut add_new);
        let count = list.len() as u32;
        self.heads[pc as usize] = list;
        if let Some((id, looped)) = outcome? {
            self.hit(id, looped)?;
            return Ok(true);
        }
        self.stats.max_states_per_insn = self.stats.max_states_per_insn.max(count);
        if add_new {
            self.remember();
        }
        Ok(false)
    }

    /// Looks for a state that covers the current one, newest first, and drops useless ones.
    ///
    /// Those of calls from elsewhere cover nothing here, but that does not count against them: a function that is called in
    /// many places would lose its states before the next call from the same place.
    fn search(
        &mut self,
        list: &mut Vec<Head>,
        force_new: bool,
        add_new: &mut bool,
    ) -> Res<Option<(StateId, bool)>> {
        let callsite = self.cur.frame().callsite;
        let mut i = list.len();
        while i > 0 {
            i -= 1;
            let Head { id, callsite: from, .. } = list[i];
            if from != callsite {
                continue;
            }
            let active = self.states[id.0 as usize].state.branches > 0;
            let hit = if active {
                let hit = self.revisit_active(id)?;
                let recent = self.jumps_processed - self.prev_jumps < 20
                    && self.insns_processed - self.prev_insns < 100;
                if !hit && !force_new && recent {
                    *add_new = false;
                }
                hit.then_some(true)
            } else {
                let looped = self.unfinished_loop(id);
                let exhaustive = self.watch.as_ref().is_some_and(|watch| watch.exhaustive);
                let exact = if looped.is_some_and(|l| !l.rounds) { Exact::Within } else { Exact::No };
                let looped = looped.is_some();
                ((looped || !exhaustive) && self.covers(id, exact)).then_some(looped)
            };
            if let Some(looped) = hit {
                self.states[id.0 as usize].hits += 1;
                return Ok(Some((id, looped)));
            }
            let checkpoint = self.marks[self.pc as usize].checkpoint;
            let entry = &mut self.states[id.0 as usize];
            if *add_new {
                entry.misses += 1;
            }
            let patience = if checkpoint && active { 64 } else { 3 };
            if entry.misses > entry.hits * patience + patience {
                list.remove(i);
                self.evicted.push(id);
            }
        }
        Ok(None)
    }

    /// A state whose paths are still being walked: coming back to it is a loop that converges, or an endless one.
    fn revisit_active(&mut self, id: StateId) -> Res<bool> {
        let old = &self.states[id.0 as usize].state;
        let (top, cur) = (old.frame(), self.cur.frame());
        if top.in_async_callback && top.async_entry != cur.async_entry {
            return Ok(false);
        }
        let mark = self.marks[self.pc as usize];
        if mark.iter_next {
            return Ok(self.covers(id, Exact::Within) && self.iterator_is_active());
        }
        let may_goto = matches!(self.code.op(self.pc), Some(skep_isa::Op::MayGoto { .. }));
        let goto_moved = self.states[id.0 as usize].state.may_goto_depth != self.cur.may_goto_depth;
        if may_goto && goto_moved && self.covers(id, Exact::Within) {
            return Ok(true);
        }
        if mark.calls_callback {
            return Ok(self.covers(id, Exact::Within));
        }
        let old = &self.states[id.0 as usize].state;
        let endless = equal::maybe_looping(old, &self.cur)
            && !equal::iterator_depths_differ(old, &self.cur)
            && old.may_goto_depth == self.cur.may_goto_depth
            && old.callback_unroll_depth == self.cur.callback_unroll_depth
            && self.covers(id, Exact::Same);
        if endless {
            self.log_endless(id);
            reject!("infinite loop detected at insn {}", self.pc);
        }
        Ok(false)
    }

    fn covers(&mut self, id: StateId, exact: Exact) -> bool {
        self.ids.reset(self.id_gen);
        let slots = self.slots_that_matter(id, exact);
        let live = Live { regs: &self.live, slots };
        equal::states(&self.states[id.0 as usize].state, &self.cur, &mut self.ids, &live, exact)
    }

    /// Slots that can still be read after a state. Finished ones have lost all others, see [`Verifier::clean`].
    fn slots_that_matter(&mut self, id: StateId, exact: Exact) -> [u64; MAX_FRAMES] {
        let mut slots = [u64::MAX; MAX_FRAMES];
        if exact == Exact::No && self.loop_unfinished(id) {
            self.live_stack.settle(&self.code);
            let state = &self.states[id.0 as usize].state;
            for (f, slots) in slots.iter_mut().enumerate().take(state.frames.len()) {
                *slots = self.live_slots(state, f);
            }
        }
        slots
    }

    fn live_slots(&self, state: &State, frame: usize) -> u64 {
        let marks = &self.marks;
        self.live_stack.live_slots(&|pc: u32| marks[pc as usize].calls_callback, state, frame)
    }

    /// The iterator that `r1` points to has not ended.
    fn iterator_is_active(&self) -> bool {
        let reg = self.cur.reg(1);
        let off = i64::from(reg.off) + reg.val.bits.value as i64;
        let slot = usize::try_from((-off - 1) / 8).unwrap_or(usize::MAX);
        let slot = self.cur.frames.get(reg.frame()).and_then(|f| f.stack.get(slot));
        slot.is_some_and(|s| matches!(s.reg.detail, Detail::Iter { state: IterState::Active, .. }))
    }

    fn hit(&mut self, id: StateId, looped: bool) -> Res {
        if self.marks[self.pc as usize].jump {
            self.note_step(|_| {});
        }
        self.propagate_precision(id)?;
        if looped && let Some(number) = self.states[id.0 as usize].in_loop {
            let mut state = self.cur.clone();
            state.insn = self.pc;
            let provisional = self.states[id.0 as usize].state.branches == 0;
            self.loops.get(number).backedges.push(Backedge { state, equal: id, provisional });
        }
        Ok(())
    }

    /// Remembers the current state; what follows is its child.
    fn remember(&mut self) {
        (self.prev_jumps, self.prev_insns) = (self.jumps_processed, self.insns_processed);
        self.stats.total_states += 1;
        self.cur.for_each_reg(|r| r.is_scalar() && r.precise, |r| r.precise = false);
        let mut state = self.cur.clone();
        state.insn = self.pc;
        let id = StateId(self.states.len() as u32);
        let depth = state.dfs_depth;
        let in_loop = self.loop_key(&state).map(|(key, rounds)| self.loops.number(key, rounds));
        if let Some(number) = in_loop {
            self.loops.get(number).entry.get_or_insert(id);
        }
        let callsite = state.frame().callsite;
        self.states.push(Explored { state, hits: 0, misses: 0, in_loop });
        self.heads[self.pc as usize].push(Head { id, callsite, cleaned: false });
        self.cur.parent = Some(id);
        self.cur.first_insn = self.pc;
        self.cur.history.clear();
        self.step_noted = false;
        self.cur.dfs_depth = depth + 1;
        self.stats.peak_states = self.stats.peak_states.max(self.states.len() as u32 - self.freed);
        self.free_evicted();
    }

    /// Dropped states that nothing needs any more give their memory back.
    ///
    /// Looks at them only when there are twice as many as the last look left, which keeps its cost proportional.
    fn free_evicted(&mut self) {
        if self.evicted.len() < self.evicted_enough {
            return;
        }
        let evicted = std::mem::take(&mut self.evicted);
        for id in evicted {
            if self.states[id.0 as usize].state.branches > 0 || self.loop_unfinished(id) {
                self.evicted.push(id);
                continue;
            }
            let state = &mut self.states[id.0 as usize].state;
            state.frames.clear();
            state.history = Vec::new();
            self.freed += 1;
        }
        self.evicted_enough = (2 * self.evicted.len()).max(EVICTED_ENOUGH);
    }

    /// The outermost loop a state is in, and whether it is but the rounds of a callback.
    fn loop_key(&self, state: &State) -> Option<(LoopKey, bool)> {
        let mut calls = Vec::new();
        for f in 0..state.frames.len() {
            let pc = state.frame_insn(f);
            let mark = self.marks[pc as usize];
            match mark.scc {
                0 => calls.push(pc),
                scc => return Some(((scc, calls), mark.rounds)),
            }
        }
        None
    }

    /// Is the loop of this state still being explored, with states that wait for its outcome?
    fn loop_unfinished(&self, id: StateId) -> bool {
        self.unfinished_loop(id).is_some()
    }

    /// The loop of this state, where it is still being explored and states wait for its outcome.
    fn unfinished_loop(&self, id: StateId) -> Option<&Loop> {
        let number = self.states[id.0 as usize].in_loop?;
        Some(&self.loops.loops[number as usize]).filter(|l| !l.backedges.is_empty())
    }

    /// When the first state of a loop is done, marks travel round it until they settle.
    ///
    /// In the rounds of a callback, paths have ended at states whose marks were not final: demanding there that all values
    /// be within the old ones would walk most of its paths again for every value it leaves behind. So those are compared
    /// again now; where one is not covered after all, the path goes on, and the loop is left later.
    fn leave_loop(&mut self, id: StateId) -> Res {
        let Some(number) = self.states[id.0 as usize].in_loop else { return Ok(()) };
        let visit = self.loops.get(number);
        if visit.entry != Some(id) {
            return Ok(());
        }
        self.backedges = std::mem::take(&mut visit.backedges);
        let rounds = visit.rounds;
        self.settle()?;
        let kept = std::mem::take(&mut self.backedges);
        let open = if rounds { self.go_on_uncovered(number, kept) } else { false };
        if !open {
            let done = self.loops.get(number);
            done.entry = None;
            done.backedges.clear();
        }
        Ok(())
    }

    /// Takes up the paths that ended at a state which does not cover them, now that marks are final. True: there are some.
    fn go_on_uncovered(&mut self, number: u32, kept: Vec<Backedge>) -> bool {
        // Until all are compared the loop counts as unfinished.
        self.loops.get(number).backedges = kept;
        let mut uncovered = Vec::new();
        for i in 0..self.loops.get(number).backedges.len() {
            let Backedge { equal, provisional, .. } = self.loops.loops[number as usize].backedges[i];
            if !provisional {
                continue;
            }
            let slots = self.slots_that_matter(equal, Exact::No);
            self.ids.reset(self.id_gen);
            let live = Live { regs: &self.live, slots };
            let old = &self.states[equal.0 as usize].state;
            let cur = &self.loops.loops[number as usize].backedges[i].state;
            if !equal::states(old, cur, &mut self.ids, &live, Exact::No) {
                uncovered.push(i);
            }
        }
        for &i in uncovered.iter().rev() {
            let path = self.loops.get(number).backedges.swap_remove(i);
            self.take_up(path.state);
        }
        !uncovered.is_empty()
    }

    /// Queues a path that had ended; those that wait for it are unfinished again.
    fn take_up(&mut self, mut state: State) {
        let (pc, prev_pc) = (state.insn, state.last_insn);
        if self.marks[pc as usize].jump {
            // Noted where it ended; arriving notes it again.
            state.history.pop();
        }
        state.branches = 1;
        let mut at = state.parent;
        while let Some(id) = at {
            let waiting = &mut self.states[id.0 as usize].state;
            waiting.branches += 1;
            at = if waiting.branches == 1 { waiting.parent } else { None };
        }
        self.pending.push(Pending { state, pc, prev_pc });
        self.log_put_off();
    }

    fn settle(&mut self) -> Res {
        for round in 0.. {
            let mut changed = false;
            for i in 0..self.backedges.len() {
                if round >= MAX_ROUNDS {
                    self.force_precise_kept(i)?;
                } else {
                    changed |= self.propagate_precision_kept(self.backedges[i].equal, i)?;
                }
            }
            if !changed {
                break;
            }
        }
        Ok(())
    }

    /// Forgets dead registers and slots of finished states at `pc`.
    fn clean_states(&mut self, pc: u32) {
        for i in 0..self.heads[pc as usize].len() {
            let Head { id, cleaned, .. } = self.heads[pc as usize][i];
            if cleaned || self.states[id.0 as usize].state.branches > 0 || self.loop_unfinished(id) {
                continue;
            }
            self.heads[pc as usize][i].cleaned = true;
            self.clean(id);
        }
    }

    fn clean(&mut self, id: StateId) {
        self.live_stack.settle(&self.code);
        for f in 0..self.states[id.0 as usize].state.frames.len() {
            let state = &self.states[id.0 as usize].state;
            let frame = &state.frames[f];
            let dead = !self.live[state.frame_insn(f) as usize];
            let regs = (0..10).filter(|&i| dead & (1 << i) != 0 && frame.regs[i] != Reg::NOT_INIT);
            let regs = regs.fold(0 as RegSet, |set, i| set | (1 << i));
            let live = self.live_slots(state, f);
            let slots = frame.stack.iter().enumerate();
            let slots = slots.filter(|&(s, slot)| live & (1 << s) == 0 && *slot != Slot::EMPTY);
            let slots = slots.fold(0u64, |set, (s, _)| set | (1 << s));
            if regs == 0 && slots == 0 {
                continue;
            }
            let frame = self.states[id.0 as usize].state.frame_at(f);
            for i in (0..10).filter(|i| regs & (1 << i) != 0) {
                frame.regs[i] = Reg::NOT_INIT;
            }
            for s in (0..frame.stack.len()).filter(|s| slots & (1 << s) != 0) {
                frame.stack[s] = Slot::EMPTY;
            }
        }
    }

    /// The newest unfinished state at `pc` above `cur` with the same calls: where the last round of a loop began.
    pub(crate) fn previous_round(&self, from: &State, pc: u32) -> Option<StateId> {
        self.heads[pc as usize].iter().rev().map(|head| head.id).find(|id| {
            let st = &self.states[id.0 as usize].state;
            st.insn == pc && st.branches > 0 && st.same_callsites(from) && st.dfs_depth < from.dfs_depth
        })
    }

    /// Scalars that changed since the last round of a loop and that nothing relies on yet may become anything.
    pub(crate) fn widen(&mut self, old: StateId, cur: &mut State) {
        self.ids.reset(self.id_gen);
        let old = &self.states[old.0 as usize].state;
        let ids = &mut self.ids;
        let mut wants = |old: &Reg, cur: &Reg| {
            old.is_scalar() && cur.is_scalar() && !old.precise && !cur.precise && !equal::same(old, cur, ids)
        };
        for f in (0..old.frames.len().min(cur.frames.len())).rev() {
            let fold = &old.frames[f];
            for i in 0..11 {
                if wants(&fold.regs[i], &cur.frames[f].regs[i]) {
                    cur.frame_at(f).regs[i] = Reg::UNKNOWN;
                }
            }
            for i in 0..fold.stack.len().min(cur.frames[f].stack.len()) {
                let (a, b) = (&fold.stack[i], &cur.frames[f].stack[i]);
                if a.is_spill() && b.is_spill() && wants(&a.reg, &b.reg) {
                    cur.frame_at(f).stack[i].reg = Reg::UNKNOWN;
                }
            }
        }
    }

    /// Forgets all remembered states, between functions verified on their own.
    pub(crate) fn forget_states(&mut self) {
        self.states.clear();
        self.evicted.clear();
        self.pending.clear();
        self.loops.clear();
        self.backedges.clear();
        self.freed = 0;
        self.heads.iter_mut().for_each(Vec::clear);
    }
}
