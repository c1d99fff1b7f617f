//! Programs from operations, and ways to run them.

use std::sync::Arc;

use skep_isa::uapi::ProgType;
use skep_isa::{AluOp, CallTarget, Imm64, Insn, Op, Operand, Reg, Size};
use skep_vm::{Env, Fault, Map, MapRef, NoEnv, PrepareError, Program, ProgramInfo};

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

pub(crate) fn add(dst: Reg, imm: i32) -> Op {
    Op::Alu { wide: true, op: AluOp::Add, dst, src: Operand::Imm(imm) }
}

pub(crate) fn call(id: u32) -> Op {
    Op::Call(CallTarget::Helper(id))
}

pub(crate) fn load_map(dst: Reg, index: i32) -> Op {
    Op::LoadImm64 { dst, imm: Imm64::MapIdx(index) }
}

pub(crate) fn store(base: Reg, off: i16, imm: i32) -> Op {
    Op::Store { size: Size::DW, base, off, src: Operand::Imm(imm) }
}

pub(crate) fn load(dst: Reg, base: Reg, off: i16) -> Op {
    Op::Load { size: Size::DW, signed: false, dst, base, off }
}

/// A program whose maps are referred to by index.
pub(crate) fn prepare(ops: &[Op], maps: &[Arc<Map>]) -> Result<Program, PrepareError> {
    let find = |reference| match reference {
        MapRef::Index(n) => maps.get(n as usize).cloned(),
        MapRef::Fd(_) => None,
    };
    Program::prepare(&slots(ops), &find, ProgramInfo::new("test", ProgType::RAW_TRACEPOINT))
}

pub(crate) fn run(ops: &[Op], maps: &[Arc<Map>]) -> Result<u64, Box<Fault>> {
    run_in(ops, maps, &mut NoEnv)
}

pub(crate) fn run_in(ops: &[Op], maps: &[Arc<Map>], env: &mut dyn Env) -> Result<u64, Box<Fault>> {
    prepare(ops, maps).expect("the test prepares").run(&mut [0; 64], env)
}

/// Runs with a budget of instructions.
pub(crate) fn run_within(budget: u64, ops: &[Op]) -> Result<u64, Box<Fault>> {
    let none = |_: MapRef| None;
    let info = ProgramInfo { budget, ..ProgramInfo::new("test", ProgType::RAW_TRACEPOINT) };
    let program = Program::prepare(&slots(ops), &none, info).expect("the test prepares");
    program.run(&mut [0; 64], &mut NoEnv)
}
