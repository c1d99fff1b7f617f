//! Which registers an instruction's successors may read: a backward data flow within each function.
//!
//! `before[pc] = (after[pc] − defined) ∪ used`, where `after` joins the successors. Calls read their arguments and
//! leave `r0` to `r5` undefined; a callee's own reads are its own affair.

use skep_isa::{AluOp, CallTarget, Imm64, Op, Operand, Reg};

use crate::program::Code;

/// A set of registers, one bit each.
pub(crate) type RegSet = u16;

const CALLER_SAVED: RegSet = 0x3f;
const ARGUMENTS: RegSet = 0x3e;

/// Registers live before each instruction. `args` gives how many arguments the helper or kfunc called at `pc` takes.
pub(crate) fn live_registers(code: &Code, args: &dyn Fn(u32) -> Option<u32>) -> Vec<RegSet> {
    let n = code.ops.len();
    let effects: Vec<(RegSet, RegSet)> =
        (0..code.len()).map(|pc| code.op(pc).map_or((0, 0), |op| effect(op, &|| args(pc)))).collect();
    let mut before = vec![0; n];
    loop {
        let mut changed = false;
        for pc in (0..n).rev() {
            let after = code
                .successors(pc as u32)
                .into_iter()
                .flatten()
                .fold(0, |set: RegSet, to| set | before.get(to as usize).copied().unwrap_or(0));
            let (used, defined) = effects[pc];
            let now = (after & !defined) | used;
            changed |= now != before[pc];
            before[pc] = now;
        }
        // Where every edge leads forward, what follows an instruction was settled before it.
        if !changed || !code.jumps_back {
            return before;
        }
    }
}

/// Registers an instruction reads and writes. `args` gives how many arguments a helper or kfunc takes; all five, where that is
/// not known.
pub(crate) fn effect(op: &Op, args: &dyn Fn() -> Option<u32>) -> (RegSet, RegSet) {
    match *op {
        Op::Alu { op: AluOp::Mov, dst, src, .. } => (operand(src), bit(dst)),
        Op::Alu { dst, src, .. } => (bit(dst) | operand(src), bit(dst)),
        Op::MovSx { dst, src, .. } | Op::AddrSpaceCast { dst, src, .. } => (bit(src), bit(dst)),
        Op::Neg { dst, .. } | Op::Endian { dst, .. } => (bit(dst), bit(dst)),
        Op::LoadImm64 { dst, imm: Imm64::Func(_), .. } | Op::LoadImm64 { dst, .. } => (0, bit(dst)),
        Op::Load { dst, base, .. } | Op::LoadAcquire { dst, base, .. } => (bit(base), bit(dst)),
        Op::LoadAbs { .. } => (bit(Reg::R6), CALLER_SAVED),
        Op::LoadInd { src, .. } => (bit(Reg::R6) | bit(src), CALLER_SAVED),
        Op::Store { base, src, .. } => (bit(base) | operand(src), 0),
        Op::StoreRelease { base, src, .. } => (bit(base) | bit(src), 0),
        Op::Atomic { op: skep_isa::AtomicOp::Cmpxchg, base, src, .. } => {
            (bit(base) | bit(src) | bit(Reg::R0), bit(Reg::R0))
        }
        Op::Atomic { op, base, src, .. } => (bit(base) | bit(src), if op.fetches() { bit(src) } else { 0 }),
        Op::Ja { .. } | Op::MayGoto { .. } => (0, 0),
        Op::Jump { dst, src, .. } => (bit(dst) | operand(src), 0),
        Op::Call(CallTarget::Local(_)) => (ARGUMENTS, CALLER_SAVED),
        Op::Call(CallTarget::Indirect(reg)) => (ARGUMENTS | bit(reg), CALLER_SAVED),
        Op::Call(CallTarget::Helper(_) | CallTarget::Kfunc { .. }) => {
            let used = args().map_or(ARGUMENTS, |n| ((1 << (n.min(5) + 1)) - 1) & ARGUMENTS);
            (used, CALLER_SAVED)
        }
        Op::Exit => (bit(Reg::R0), 0),
    }
}

fn bit(reg: Reg) -> RegSet {
    1 << (reg.0 & 15)
}

fn operand(src: Operand) -> RegSet {
    match src {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}
