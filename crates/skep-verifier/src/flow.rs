//! Edges of a program: reachability, loops, and the marks that steer exploration.
//!
//! A *prune point* is where the explorer compares its state with those it remembers; a *jump point* is where a path is
//! not the straight line, so that walking it backwards needs a note; a *forced checkpoint* always remembers.

use skep_isa::{CallTarget, Imm64, Op};

use crate::program::{Code, Subprog};
use crate::stop::{Res, reject};

/// Marks of one instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// Compare with remembered states here?
    pub(crate) prune: bool,
    /// Note the predecessor here?
    pub(crate) jump: bool,
    /// Always remember a state here?
    pub(crate) checkpoint: bool,
    /// Calls a callback that returns to this instruction?
    pub(crate) calls_callback: bool,
    /// The `next` call of an open-coded iterator?
    pub(crate) iter_next: bool,
    /// Loop this instruction is in: its strongly connected component, 0 for none.
    pub(crate) scc: u32,
    /// The loop is but the rounds of the callback that is called here.
    pub(crate) rounds: bool,
    /// Can it be reached?
    pub(crate) reachable: bool,
}

/// What a call does to the flow of control.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallShape {
    /// Calls a callback before it returns.
    pub(crate) sync_callback: bool,
    /// Arranges for a callback to run later.
    pub(crate) async_callback: bool,
    /// The `next` of an iterator.
    pub(crate) iter_next: bool,
    /// May move packet data.
    pub(crate) changes_pkt_data: bool,
    /// May sleep.
    pub(crate) might_sleep: bool,
}

/// Walks the program, marks it, and rejects what cannot be reached. With `rounds`, the call of a function that is called
/// again and again is a loop.
pub(crate) fn mark(
    code: &mut Code,
    shapes: &dyn Fn(u32) -> CallShape,
    entries: &[u32],
    rounds: bool,
) -> Res<Vec<Marks>> {
    let mut marks = vec![Marks::default(); code.ops.len()];
    walk(code, &mut marks, 0)?;
    for &entry in entries {
        walk(code, &mut marks, entry)?;
    }
    for pc in 0..code.len() {
        if code.op(pc).is_some() && !marks[pc as usize].reachable {
            reject!("unreachable insn {pc}");
        }
    }
    for pc in 0..code.len() {
        mark_insn(code, shapes, &mut marks, pc);
    }
    propagate_effects(code, shapes);
    mark_loops(code, &mut marks, rounds);
    Ok(marks)
}

fn walk(code: &Code, marks: &mut [Marks], entry: u32) -> Res {
    let mut work = vec![entry];
    while let Some(pc) = work.pop() {
        let Some(mark) = marks.get_mut(pc as usize) else {
            reject!("fallthrough to insn {pc} out of range");
        };
        if mark.reachable {
            continue;
        }
        if code.op(pc).is_none() {
            reject!("jump into the middle of ldimm64 insn {}", pc.saturating_sub(1));
        }
        mark.reachable = true;
        work.extend(code.successors(pc).into_iter().flatten());
        work.extend(code.callee(pc).map(|callee| code.subprogs[callee as usize].start));
    }
    Ok(())
}

fn mark_insn(code: &Code, shapes: &dyn Fn(u32) -> CallShape, marks: &mut [Marks], pc: u32) {
    let Some(op) = code.op(pc) else { return };
    let at = pc as usize;
    let mut mark_jump = |to: Option<u32>| {
        if let Some(mark) = to.and_then(|to| marks.get_mut(to as usize)) {
            (mark.prune, mark.jump) = (true, true);
        }
    };
    match op {
        Op::Ja { .. } => mark_jump(code.jump_target(pc)),
        Op::Jump { .. } => {
            mark_jump(code.jump_target(pc));
            marks[at].prune = true;
        }
        Op::MayGoto { .. } => {
            mark_jump(code.jump_target(pc));
            (marks[at].prune, marks[at].checkpoint) = (true, true);
        }
        Op::LoadImm64 { imm: Imm64::Func(_), .. } | Op::Call(CallTarget::Local(_)) => {
            mark_jump(Some(pc + code.slots(pc)));
            mark_jump(code.callee(pc).map(|callee| code.subprogs[callee as usize].start));
            marks[at].prune = true;
        }
        Op::Call(_) => {
            mark_jump(Some(pc + 1));
            let shape = shapes(pc);
            let mark = &mut marks[at];
            mark.prune |= shape.async_callback || shape.sync_callback || shape.iter_next;
            mark.checkpoint |= shape.sync_callback || shape.iter_next;
            mark.jump |= shape.sync_callback;
            mark.calls_callback = shape.sync_callback;
            mark.iter_next = shape.iter_next;
        }
        _ => {}
    }
}

/// A function does what its callees do.
fn propagate_effects(code: &mut Code, shapes: &dyn Fn(u32) -> CallShape) {
    let calls = direct_effects(code, shapes);
    loop {
        let mut changed = false;
        for &(caller, callee) in &calls {
            let Subprog { changes_pkt_data: pkt, might_sleep: sleep, .. } = code.subprogs[callee];
            let subprog = &mut code.subprogs[caller];
            changed |= (pkt && !subprog.changes_pkt_data) || (sleep && !subprog.might_sleep);
            subprog.changes_pkt_data |= pkt;
            subprog.might_sleep |= sleep;
        }
        if !changed {
            return;
        }
    }
}

/// Notes what each function does itself; gives the calls between functions, caller first.
fn direct_effects(code: &mut Code, shapes: &dyn Fn(u32) -> CallShape) -> Vec<(usize, usize)> {
    let mut calls = Vec::new();
    for caller in 0..code.subprogs.len() {
        for pc in code.subprogs[caller].start..code.subprogs[caller].end {
            match code.op(pc) {
                Some(Op::Call(CallTarget::Helper(_) | CallTarget::Kfunc { .. })) => {
                    let shape = shapes(pc);
                    let subprog = &mut code.subprogs[caller];
                    subprog.changes_pkt_data |= shape.changes_pkt_data;
                    subprog.might_sleep |= shape.might_sleep;
                }
                Some(Op::Call(CallTarget::Local(_)) | Op::LoadImm64 { imm: Imm64::Func(_), .. }) => {
                    calls.extend(code.callee(pc).map(|callee| (caller, callee as usize)));
                }
                _ => {}
            }
        }
    }
    calls
}

/// Numbers strongly connected components (Tarjan, without recursion); a single instruction counts if it jumps to itself, or
/// calls a function again and again. Linux 6.18 forgets the latter, and takes states in a callback for finished before their
/// next round has been walked; later versions do not.
fn mark_loops(code: &Code, marks: &mut [Marks], rounds: bool) {
    const NEW: u32 = u32::MAX;
    // Where every edge leads forward there is no loop.
    let has_rounds = rounds && marks.iter().any(|mark| mark.calls_callback);
    if !code.jumps_back && !has_rounds {
        return;
    }
    let n = code.ops.len();
    let (mut index, mut low) = (vec![NEW; n], vec![NEW; n]);
    let (mut on_stack, mut stack, mut next, mut scc) = (vec![false; n], Vec::new(), 0, 0);
    for root in 0..code.len() {
        if index[root as usize] != NEW || code.op(root).is_none() {
            continue;
        }
        let mut work = vec![(root, 0usize)];
        while let Some(&mut (pc, ref mut edge)) = work.last_mut() {
            let at = pc as usize;
            if *edge == 0 {
                (index[at], low[at], on_stack[at]) = (next, next, true);
                next += 1;
                stack.push(pc);
            }
            let successor = code.successors(pc).get(*edge).copied();
            *edge += 1;
            match successor {
                Some(Some(to)) if (to as usize) < n && index[to as usize] == NEW => work.push((to, 0)),
                Some(Some(to)) if (to as usize) < n && on_stack[to as usize] => {
                    low[at] = low[at].min(index[to as usize]);
                }
                Some(_) => {}
                None => {
                    work.pop();
                    if let Some(&(parent, _)) = work.last() {
                        low[parent as usize] = low[parent as usize].min(low[at]);
                    }
                    if low[at] == index[at] {
                        close_component(code, marks, &mut stack, &mut on_stack, pc, &mut scc, rounds);
                    }
                }
            }
        }
    }
}

fn close_component(
    code: &Code,
    marks: &mut [Marks],
    stack: &mut Vec<u32>,
    on_stack: &mut [bool],
    root: u32,
    scc: &mut u32,
    rounds: bool,
) {
    let at = stack.iter().rposition(|&pc| pc == root).unwrap_or(0);
    let members = stack.split_off(at);
    for &pc in &members {
        on_stack[pc as usize] = false;
    }
    let calls_again = rounds && marks[root as usize].calls_callback;
    let loops = members.len() > 1 || code.successors(root).contains(&Some(root));
    if loops || calls_again {
        *scc += 1;
        marks[root as usize].rounds = !loops;
        for pc in members {
            marks[pc as usize].scc = *scc;
        }
    }
}
