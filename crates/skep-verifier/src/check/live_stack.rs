//! Which stack slots can still be read: learned while exploring, then propagated backwards.
//!
//! For each *instance* of a function (a chain of call sites), each frame it can reach, and each instruction, the sets of
//! slots that some visit read and that every visit wrote whole are recorded. Before an instruction that was visited,
//!
//! ```text
//! live = (∪ live of successors − written) ∪ read
//! ```
//!
//! and an instruction never visited contributes nothing, so sets only grow and updates are incremental: those of several
//! instructions wait until somebody asks what is live, which small programs never do. When all paths through a state have
//! been explored, a slot that is not live there cannot matter to any comparison with it.

use crate::program::Code;
use crate::state::State;

/// What is known of one instruction and one frame.
#[derive(Clone, Copy)]
struct Masks {
    read: u64,
    written: u64,
    live: u64,
}

/// A function as called through one chain of call sites.
struct Instance {
    /// Instance and call site it was called from.
    outer: Option<(u32, u32)>,
    depth: usize,
    start: u32,
    len: usize,
    visited: Vec<bool>,
    /// Instances called from here, by call site.
    callees: Vec<(u32, u32)>,
    /// By frame: its slots as this function sees them; allocated when first touched.
    frames: Vec<Option<Vec<Masks>>>,
}

/// Liveness of all instances.
#[derive(Default)]
pub(crate) struct LiveStack {
    instances: Vec<Instance>,
    /// Instances that nobody called, by first instruction.
    roots: Vec<(u32, u32)>,
    /// How instructions follow each other, once some instruction touches a stack.
    edges: Option<Edges>,
    /// Instructions to recompute before what is live is known, in the order of their changes.
    changed: Vec<Changed>,
    /// Slots the running instruction has written, by frame.
    writes: [u64; 8],
    /// Is any of them not empty?
    wrote: bool,
}

/// An instruction of an instance whose slots of a frame are to be recomputed.
struct Changed {
    instance: u32,
    frame: usize,
    at: usize,
}

/// Edges within functions, both ways.
struct Edges {
    successors: Vec<[Option<u32>; 2]>,
    /// Predecessors of instruction `pc` are at `first_predecessor[pc]..first_predecessor[pc + 1]` of `predecessors`.
    first_predecessor: Vec<u32>,
    predecessors: Vec<u32>,
}

impl Edges {
    fn new(code: &Code) -> Self {
        let successors: Vec<_> = (0..code.len()).map(|pc| code.successors(pc)).collect();
        let (first_predecessor, predecessors) = invert(&successors);
        Self { successors, first_predecessor, predecessors }
    }

    fn before(&self, pc: u32) -> &[u32] {
        let first = self.first_predecessor[pc as usize] as usize;
        let end = self.first_predecessor[pc as usize + 1] as usize;
        &self.predecessors[first..end]
    }

    /// Slots live after `pc` in a function that starts at `start`, as far as its instructions' masks say.
    fn live_after(&self, masks: &[Masks], start: u32, pc: u32) -> u64 {
        self.successors[pc as usize].iter().flatten().fold(0, |live, to| {
            let at = to.wrapping_sub(start) as usize;
            live | masks.get(at).map_or(0, |m| m.live)
        })
    }
}

/// The edges the other way round: where each instruction's predecessors begin, and all predecessors.
fn invert(successors: &[[Option<u32>; 2]]) -> (Vec<u32>, Vec<u32>) {
    let n = successors.len();
    let edges = || (0..).zip(successors).flat_map(|(pc, to)| to.iter().flatten().map(move |&to| (pc, to)));
    let inside = || edges().filter(|&(_, to): &(u32, u32)| (to as usize) < n);
    let mut first = vec![0u32; n + 1];
    for (_, to) in inside() {
        first[to as usize] += 1;
    }
    let mut sum = 0;
    for count in &mut first {
        sum += *count;
        *count = sum;
    }
    // Each now ends where the next begins; filling from the back turns ends into beginnings.
    let mut predecessors = vec![0; sum as usize];
    for (pc, to) in inside() {
        first[to as usize] -= 1;
        predecessors[first[to as usize] as usize] = pc;
    }
    (first, predecessors)
}

/// What stands beside `key`; the lists are as long as a function has call sites.
fn look_up(list: &[(u32, u32)], key: u32) -> Option<u32> {
    list.iter().find(|(k, _)| *k == key).map(|&(_, id)| id)
}

impl LiveStack {
    /// The instance of a function that nobody called.
    pub(crate) fn root(&mut self, code: &Code, subprog: u32) -> u32 {
        let start = code.subprogs[subprog as usize].start;
        if let Some(id) = look_up(&self.roots, start) {
            return id;
        }
        let id = self.add(code, subprog, None, 0);
        self.roots.push((start, id));
        id
    }

    /// The instance of a function called from `callsite` in `outer`.
    pub(crate) fn call(&mut self, code: &Code, outer: u32, callsite: u32, subprog: u32) -> u32 {
        let caller = &self.instances[outer as usize];
        if let Some(id) = look_up(&caller.callees, callsite) {
            return id;
        }
        let depth = caller.depth + 1;
        let id = self.add(code, subprog, Some((outer, callsite)), depth);
        self.instances[outer as usize].callees.push((callsite, id));
        id
    }

    fn add(&mut self, code: &Code, subprog: u32, outer: Option<(u32, u32)>, depth: usize) -> u32 {
        let (start, end) = (code.subprogs[subprog as usize].start, code.subprogs[subprog as usize].end);
        let len = (end - start) as usize;
        let frames = (0..=depth).map(|_| None).collect();
        let (visited, callees) = (vec![false; len], Vec::new());
        self.instances.push(Instance { outer, depth, start, len, visited, callees, frames });
        self.instances.len() as u32 - 1
    }

    /// A new instruction begins.
    pub(crate) fn begin(&mut self) {
        if std::mem::take(&mut self.wrote) {
            self.writes = [0; 8];
        }
    }

    /// The instruction overwrites whole slots.
    pub(crate) fn write(&mut self, frame: usize, slots: u64) {
        self.writes[frame & 7] |= slots;
        self.wrote = true;
    }

    /// The instruction may read slots of a frame.
    pub(crate) fn read(&mut self, instance: u32, pc: u32, frame: usize, slots: u64) {
        let Some(at) = self.index(instance, pc) else { return };
        let masks = self.masks(instance, frame);
        if masks[at].read & slots != slots {
            masks[at].read |= slots;
            self.changed.push(Changed { instance, frame, at });
        }
    }

    /// The instruction is done: what it wrote on every visit so far is what it writes.
    pub(crate) fn commit(&mut self, instance: u32, pc: u32) {
        let Some(at) = self.index(instance, pc) else { return };
        let writes = self.writes;
        let first = !std::mem::replace(&mut self.instances[instance as usize].visited[at], true);
        for (frame, &written) in writes.iter().enumerate().take(self.instances[instance as usize].depth + 1) {
            if written == 0 && self.instances[instance as usize].frames[frame].is_none() {
                continue;
            }
            let masks = self.masks(instance, frame);
            let now = if first { written } else { masks[at].written & written };
            if now != masks[at].written || first {
                masks[at].written = now;
                self.changed.push(Changed { instance, frame, at });
            }
        }
    }

    /// Slots of frame `frame` that may be read after `state`, as [`LiveStack::settle`] found it last.
    pub(crate) fn live_slots(
        &self,
        calls_callback: &dyn Fn(u32) -> bool,
        state: &State,
        frame: usize,
    ) -> u64 {
        let top = state.curframe();
        let live = |f: usize, pc: u32| {
            let instance = &self.instances[state.frames[f].instance as usize];
            let masks = instance.frames.get(frame).and_then(Option::as_ref);
            let at = pc.wrapping_sub(instance.start) as usize;
            masks.and_then(|masks| masks.get(at)).map_or(0, |m| m.live)
        };
        (frame..top).fold(live(top, state.insn), |slots, f| {
            let callsite = state.frames[f + 1].callsite;
            let after = if calls_callback(callsite) { callsite } else { callsite + 1 };
            slots | live(f, after)
        })
    }

    fn index(&self, instance: u32, pc: u32) -> Option<usize> {
        let instance = self.instances.get(instance as usize)?;
        let at = pc.checked_sub(instance.start)? as usize;
        (at < instance.len).then_some(at)
    }

    fn masks(&mut self, instance: u32, frame: usize) -> &mut Vec<Masks> {
        let instance = &mut self.instances[instance as usize];
        let Instance { frames, visited, .. } = instance;
        frames[frame.min(instance.depth)].get_or_insert_with(|| {
            let unknown = |&seen: &bool| Masks { read: 0, written: if seen { 0 } else { u64::MAX }, live: 0 };
            visited.iter().map(unknown).collect()
        })
    }

    /// Recomputes what has changed and everything before it that changes with it.
    pub(crate) fn settle(&mut self, code: &Code) {
        if self.changed.is_empty() {
            return;
        }
        let edges = self.edges.take().unwrap_or_else(|| Edges::new(code));
        let mut work = std::mem::take(&mut self.changed);
        // From the last instruction visited back: most need one look.
        while let Some(Changed { instance, frame, at }) = work.pop() {
            let Instance { start, len, depth, outer, .. } = self.instances[instance as usize];
            let pc = start + at as u32;
            let masks = self.masks(instance, frame);
            let after = edges.live_after(masks, start, pc);
            let now = &mut masks[at];
            let live = (after & !now.written) | now.read;
            if live == now.live {
                continue;
            }
            now.live = live;
            let before = edges.before(pc).iter().map(|p| p.wrapping_sub(start) as usize);
            work.extend(before.filter(|&p| p < len).map(|at| Changed { instance, frame, at }));
            // What a function reads of an outer frame, its call reads.
            if let Some((outer, callsite)) = outer.filter(|_| at == 0 && frame < depth)
                && let Some(call_at) = self.index(outer, callsite)
            {
                self.masks(outer, frame)[call_at].read |= live;
                work.push(Changed { instance: outer, frame, at: call_at });
            }
        }
        (self.edges, self.changed) = (Some(edges), work);
    }
}
