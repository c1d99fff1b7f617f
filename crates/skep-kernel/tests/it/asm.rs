//! Programs from operations.

use skep_isa::{AluOp, CallTarget, Imm64, Insn, JmpOp, Op, Operand, Reg, Size};
use skep_runtime::Fd;

/// `bpf_get_current_pid_tgid`.
pub(crate) const GET_CURRENT_PID_TGID: u32 = 14;
/// `bpf_perf_event_output`.
pub(crate) const PERF_EVENT_OUTPUT: u32 = 25;
/// `bpf_ringbuf_output`.
pub(crate) const RINGBUF_OUTPUT: u32 = 130;

/// Slots of some operations.
pub(crate) fn slots(ops: &[Op]) -> Vec<Insn> {
    ops.iter().flat_map(|op| op.encode().expect("the test encodes").to_vec()).collect()
}

pub(crate) fn mov(dst: Reg, imm: i32) -> Op {
    Op::Alu { wide: true, op: AluOp::Mov, dst, src: Operand::Imm(imm) }
}

pub(crate) fn mov_reg(dst: Reg, src: Reg) -> Op {
    Op::Alu { wide: true, op: AluOp::Mov, dst, src: Operand::Reg(src) }
}

pub(crate) fn alu(op: AluOp, dst: Reg, imm: i32) -> Op {
    Op::Alu { wide: true, op, dst, src: Operand::Imm(imm) }
}

pub(crate) fn call(id: u32) -> Op {
    Op::Call(CallTarget::Helper(id))
}

pub(crate) fn load_map(dst: Reg, map: Fd) -> Op {
    Op::LoadImm64 { dst, imm: Imm64::MapFd(map.0) }
}

pub(crate) fn load(size: Size, dst: Reg, base: Reg, off: i16) -> Op {
    Op::Load { size, signed: false, dst, base, off }
}

pub(crate) fn store(base: Reg, off: i16, imm: i32) -> Op {
    Op::Store { size: Size::DW, base, off, src: Operand::Imm(imm) }
}

/// Jumps over `off` slots when `dst` is not `imm`.
pub(crate) fn unless(dst: Reg, imm: i32, off: i16) -> Op {
    Op::Jump { wide: true, op: JmpOp::Ne, dst, src: Operand::Imm(imm), off }
}

/// `r0 = 0; exit`.
pub(crate) fn leave() -> [Op; 2] {
    [mov(Reg::R0, 0), Op::Exit]
}

/// Runs `then` in process `pid` only, and answers 0. The context is in `r6` for it.
pub(crate) fn only_in(pid: u32, then: &[Op]) -> Vec<Insn> {
    let then = slots(then);
    let over = i16::try_from(then.len()).expect("the test is short");
    let mut code = slots(&[
        mov_reg(Reg::R6, Reg::R1),
        call(GET_CURRENT_PID_TGID),
        alu(AluOp::Rsh, Reg::R0, 32),
        unless(Reg::R0, i32::try_from(pid).expect("process ids are positive"), over),
    ]);
    code.extend(then);
    code.extend(slots(&leave()));
    code
}
