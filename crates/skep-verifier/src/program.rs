//! The shape of a program before any value is known: instructions, functions, edges, and what follows from them alone.
//!
//! [`Code`] decodes every slot once and finds the functions. [`crate::flow`] walks the edges and marks where states
//! are remembered; [`crate::liveness`] says which registers each instruction's successors may read.

use skep_isa::table::EXIT;
use skep_isa::{CallTarget, DecodeError, DecodeErrorKind, Imm64, Insn, Op, decode};

use crate::stop::{Res, reject};

/// Number of the helper that jumps to another program.
pub(crate) const TAIL_CALL: u32 = 12;

/// A function of the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subprog {
    /// First instruction.
    pub(crate) start: u32,
    /// One past the last.
    pub(crate) end: u32,
    /// Linkage of a global function: verified on its own.
    pub(crate) global: bool,
    /// Contains a tail call?
    pub(crate) has_tail_call: bool,
    /// Contains a legacy packet load?
    pub(crate) has_ld_abs: bool,
    /// Called by a helper or kfunc?
    pub(crate) is_cb: bool,
    /// Called later, from a timer or work queue?
    pub(crate) is_async_cb: bool,
    /// Called when an exception is thrown?
    pub(crate) is_exception_cb: bool,
    /// May it move packet data?
    pub(crate) changes_pkt_data: bool,
    /// May it sleep?
    pub(crate) might_sleep: bool,
    /// Deepest stack byte touched.
    pub(crate) stack_depth: i32,
    /// Called from verified code (global functions are verified only then)?
    pub(crate) called: bool,
}

/// A program's decoded instructions and functions.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// One per slot; `None` in the second slot of a 64-bit immediate.
    pub(crate) ops: Vec<Option<Op>>,
    /// Functions by first instruction.
    pub(crate) subprogs: Vec<Subprog>,
    /// Does some jump lead to itself or to before it?
    pub(crate) jumps_back: bool,
}

impl Code {
    /// Decodes and splits a program. `extra` are entry points that nothing calls: the exception callback.
    pub(crate) fn new(insns: &[Insn], extra: &[u32]) -> Res<Self> {
        if insns.is_empty() {
            reject!("program of size 0");
        }
        let ops = decode_all(insns)?;
        let jumps_back = ops.iter().flatten().any(|op| op.jump_offset().is_some_and(|off| off < 0));
        let mut code = Self { ops, subprogs: Vec::new(), jumps_back };
        code.find_subprogs(extra)?;
        code.check_jumps()?;
        Ok(code)
    }

    /// Number of slots.
    pub(crate) fn len(&self) -> u32 {
        self.ops.len() as u32
    }

    /// The instruction that starts at `pc`, if one does.
    pub(crate) fn op(&self, pc: u32) -> Option<&Op> {
        self.ops.get(pc as usize)?.as_ref()
    }

    /// Slots of the instruction at `pc`.
    pub(crate) fn slots(&self, pc: u32) -> u32 {
        self.op(pc).map_or(1, |op| op.slots() as u32)
    }

    /// The function that starts at `pc`.
    pub(crate) fn subprog_at(&self, pc: u32) -> Option<u32> {
        self.subprogs.binary_search_by_key(&pc, |s| s.start).ok().map(|i| i as u32)
    }

    /// The function that a local call or function address at `pc` names.
    pub(crate) fn callee(&self, pc: u32) -> Option<u32> {
        self.subprog_at(self.callee_pc(pc)?)
    }

    fn callee_pc(&self, pc: u32) -> Option<u32> {
        match self.op(pc)? {
            Op::Call(CallTarget::Local(imm)) | Op::LoadImm64 { imm: Imm64::Func(imm), .. } => {
                u32::try_from(i64::from(pc) + 1 + i64::from(*imm)).ok()
            }
            _ => None,
        }
    }

    /// Where the jump at `pc` goes.
    pub(crate) fn jump_target(&self, pc: u32) -> Option<u32> {
        let off = self.op(pc)?.jump_offset()?;
        u32::try_from(i64::from(pc) + 1 + i64::from(off)).ok()
    }

    /// Is it a local call?
    pub(crate) fn is_local_call(&self, pc: u32) -> bool {
        matches!(self.op(pc), Some(Op::Call(CallTarget::Local(_))))
    }

    /// Instructions that may run after `pc` in the same function: the next one, and the target of a jump.
    pub(crate) fn successors(&self, pc: u32) -> [Option<u32>; 2] {
        let next = Some(pc + self.slots(pc));
        match self.op(pc) {
            None | Some(Op::Exit) => [None, None],
            Some(Op::Ja { .. }) => [None, self.jump_target(pc)],
            Some(Op::Jump { .. } | Op::MayGoto { .. }) => [next, self.jump_target(pc)],
            Some(_) => [next, None],
        }
    }

    fn find_subprogs(&mut self, extra: &[u32]) -> Res {
        let mut starts = vec![0];
        for pc in 0..self.len() {
            let names_function = matches!(
                self.op(pc),
                Some(Op::Call(CallTarget::Local(_)) | Op::LoadImm64 { imm: Imm64::Func(_), .. })
            );
            if !names_function {
                continue;
            }
            match self.callee_pc(pc) {
                Some(target) if target < self.len() => starts.push(target),
                other => reject!("call to invalid destination {}", other.map_or(-1, i64::from)),
            }
        }
        starts.extend(extra.iter().filter(|&&pc| pc < self.len()));
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).copied().chain([self.len()]);
        self.subprogs = starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| Subprog { start, end, ..Subprog::default() })
            .collect();
        for subprog in &mut self.subprogs {
            for op in self.ops[subprog.start as usize..subprog.end as usize].iter().flatten() {
                match op {
                    Op::Call(CallTarget::Helper(TAIL_CALL)) => subprog.has_tail_call = true,
                    Op::LoadAbs { .. } | Op::LoadInd { .. } => subprog.has_ld_abs = true,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Jumps stay in their function, and no function runs off its end.
    fn check_jumps(&self) -> Res {
        for subprog in &self.subprogs {
            for pc in subprog.start..subprog.end {
                let Some(op) = self.op(pc) else { continue };
                if let Some(off) = op.jump_offset() {
                    let target = i64::from(pc) + 1 + i64::from(off);
                    if target < i64::from(subprog.start) || target >= i64::from(subprog.end) {
                        reject!("jump out of range from insn {pc} to {target}");
                    }
                }
            }
            let last = self.op(subprog.end - 1);
            if !matches!(last, Some(Op::Exit | Op::Ja { .. })) {
                reject!("last insn is not an exit or jmp");
            }
        }
        Ok(())
    }
}

fn decode_all(insns: &[Insn]) -> Res<Vec<Option<Op>>> {
    let mut ops = vec![None; insns.len()];
    let mut pc = 0;
    while pc < insns.len() {
        let op = match decode_at(insns, pc) {
            Ok(op) => op,
            Err(e) => match e.kind {
                DecodeErrorKind::Reserved { family, .. } => reject!("{family} uses reserved fields"),
                DecodeErrorKind::UnknownOpcode(code) => reject!("unknown opcode {code:02x}"),
                DecodeErrorKind::Register(reg) => reject!("{} is invalid", reg.to_string().to_uppercase()),
                DecodeErrorKind::Truncated | DecodeErrorKind::SecondSlot => {
                    reject!("invalid bpf_ld_imm64 insn")
                }
                other => reject!("{other}"),
            },
        };
        ops[pc] = Some(op);
        pc += op.slots();
    }
    Ok(ops)
}

/// The kernel looks at no offset of an exit, where the standard reserves it.
fn decode_at(insns: &[Insn], pc: usize) -> Result<Op, DecodeError> {
    match insns[pc] {
        exit if exit.code == EXIT => decode(&[Insn { off: 0, ..exit }], 0),
        _ => decode(insns, pc),
    }
}
