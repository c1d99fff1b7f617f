//! The filter's instructions.

use skep_isa::{AluOp, CallTarget, Imm64, Insn, JmpOp, Op, Operand, Reg, Size};
use skep_runtime::Fd;

const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const GET_CURRENT_PID_TGID: u32 = 14;

/// Where the key lies on the stack, and a value below it.
const KEY: i16 = -4;
const VALUE: i16 = -8;

/// Leaves with 0 unless the current process is in the map; else falls through with the context where it was.
///
/// `r6` keeps the context: at entry programs may not read it, so nothing is lost.
pub(super) fn prologue(tasks: Fd) -> Vec<Insn> {
    let mut code = current_process_in(tasks);
    code.extend(slots(&[
        jump(JmpOp::Ne, Reg::R0, 0, 2),
        mov(Reg::R0, 0),
        Op::Exit,
        mov_reg(Reg::R1, Reg::R6),
    ]));
    code
}

/// A program that does nothing: whether it may be loaded says whether others may.
pub(crate) fn nothing() -> Vec<Insn> {
    slots(&[mov(Reg::R0, 0), Op::Exit])
}

/// On `sched_process_fork`, in the parent: adds the child when the parent is in the map.
pub(super) fn add_child(tasks: Fd, child_pid: i16) -> Vec<Insn> {
    let mut add = key_from_context(child_pid).to_vec();
    add.extend([
        Op::Store { size: Size::W, base: Reg::R10, off: VALUE, src: Operand::Imm(1) },
        load_map(Reg::R1, tasks),
        mov_reg(Reg::R2, Reg::R10),
        add_imm(Reg::R2, KEY),
        mov_reg(Reg::R3, Reg::R10),
        add_imm(Reg::R3, VALUE),
        mov(Reg::R4, 0),
        call(MAP_UPDATE_ELEM),
    ]);
    let add = slots(&add);
    let mut code = current_process_in(tasks);
    let over = i16::try_from(add.len()).unwrap_or(i16::MAX);
    code.extend(slots(&[jump(JmpOp::Eq, Reg::R0, 0, over)]));
    code.extend(add);
    code.extend(slots(&[mov(Reg::R0, 0), Op::Exit]));
    code
}

/// On `sched_process_free`: removes the task.
pub(super) fn remove(tasks: Fd, pid: i16) -> Vec<Insn> {
    let [load, store] = key_from_context(pid);
    slots(&[
        mov_reg(Reg::R6, Reg::R1),
        load,
        store,
        load_map(Reg::R1, tasks),
        mov_reg(Reg::R2, Reg::R10),
        add_imm(Reg::R2, KEY),
        call(MAP_DELETE_ELEM),
        mov(Reg::R0, 0),
        Op::Exit,
    ])
}

/// Puts the context into `r6`, and the map's element for the current process, or 0, into `r0`.
fn current_process_in(tasks: Fd) -> Vec<Insn> {
    slots(&[
        mov_reg(Reg::R6, Reg::R1),
        call(GET_CURRENT_PID_TGID),
        Op::Alu { wide: true, op: AluOp::Rsh, dst: Reg::R0, src: Operand::Imm(32) },
        store_key(Reg::R0),
        load_map(Reg::R1, tasks),
        mov_reg(Reg::R2, Reg::R10),
        add_imm(Reg::R2, KEY),
        call(MAP_LOOKUP_ELEM),
    ])
}

/// Makes a 32-bit field of the context in `r6` the key.
fn key_from_context(field: i16) -> [Op; 2] {
    [Op::Load { size: Size::W, signed: false, dst: Reg::R1, base: Reg::R6, off: field }, store_key(Reg::R1)]
}

fn slots(ops: &[Op]) -> Vec<Insn> {
    let slots = |op: &Op| op.encode().expect("invariant: the filter's operations have encodings").to_vec();
    ops.iter().flat_map(slots).collect()
}

fn store_key(src: Reg) -> Op {
    Op::Store { size: Size::W, base: Reg::R10, off: KEY, src: Operand::Reg(src) }
}

fn load_map(dst: Reg, map: Fd) -> Op {
    Op::LoadImm64 { dst, imm: Imm64::MapFd(map.0) }
}

fn mov(dst: Reg, imm: i32) -> Op {
    Op::Alu { wide: true, op: AluOp::Mov, dst, src: Operand::Imm(imm) }
}

fn mov_reg(dst: Reg, src: Reg) -> Op {
    Op::Alu { wide: true, op: AluOp::Mov, dst, src: Operand::Reg(src) }
}

fn add_imm(dst: Reg, imm: i16) -> Op {
    Op::Alu { wide: true, op: AluOp::Add, dst, src: Operand::Imm(imm.into()) }
}

fn jump(op: JmpOp, dst: Reg, imm: i32, off: i16) -> Op {
    Op::Jump { wide: true, op, dst, src: Operand::Imm(imm), off }
}

fn call(helper: u32) -> Op {
    Op::Call(CallTarget::Helper(helper))
}
