//! Numbers of 32 bits that are the lower half of others.
//!
//! Compilers for BPF often compute a number twice: in 32 bits, to compare it, and in 64 bits, to go on with it. What adding,
//! subtracting, multiplying and the bitwise operations leave in the lower half depends on the lower halves alone, so the
//! first is the lower half of the second, and one of the two is enough. Here the first becomes that; the two 64-bit
//! operations that there are then, Cranelift makes one.

use std::collections::BTreeMap;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, Function, Inst, InstBuilder, InstructionData, Opcode, Type, Value};

/// An operand of 64 bits, or what that of 32 bits is the lower half of.
#[derive(Clone, Copy)]
enum Whole {
    Value(Value),
    Number(i64),
}

/// The same, as far as its lower half goes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Lower {
    Of(Value),
    Number(u32),
}

/// An operation on lower halves.
type Operation = (u8, Lower, Lower);

/// Takes the lower half wherever a block computes both.
pub(super) fn take_lower(func: &mut Function) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let insts: Vec<Inst> = func.layout.block_insts(block).collect();
        let wide: BTreeMap<Operation, [Whole; 2]> =
            insts.iter().filter_map(|inst| operation(func, *inst, I64)).collect();
        if wide.is_empty() {
            continue;
        }
        for inst in insts {
            let narrow = operation(func, inst, I32).map(|(operation, _)| operation);
            if let Some(operands) = narrow.and_then(|operation| wide.get(&operation)) {
                widen(func, inst, *operands);
            }
        }
    }
}

/// The operation of an instruction on numbers of a type, and its operands.
fn operation(func: &Function, inst: Inst, ty: Type) -> Option<(Operation, [Whole; 2])> {
    let (code, commutes) = match func.dfg.insts[inst].opcode() {
        Opcode::Iadd => (0, true),
        Opcode::Isub => (1, false),
        Opcode::Imul => (2, true),
        Opcode::Band => (3, true),
        Opcode::Bor => (4, true),
        Opcode::Bxor => (5, true),
        _ => return None,
    };
    let [a, b] = *func.dfg.inst_args(inst) else { return None };
    if func.dfg.value_type(func.dfg.first_result(inst)) != ty {
        return None;
    }
    let (whole_a, whole_b) = (whole(func, a)?, whole(func, b)?);
    let (a, b) = (whole_a.lower(), whole_b.lower());
    if commutes && b < a {
        return Some(((code, b, a), [whole_b, whole_a]));
    }
    Some(((code, a, b), [whole_a, whole_b]))
}

impl Whole {
    fn lower(self) -> Lower {
        match self {
            Self::Value(value) => Lower::Of(value),
            Self::Number(number) => Lower::Number(number as u32),
        }
    }
}

fn whole(func: &Function, value: Value) -> Option<Whole> {
    let value = func.dfg.resolve_aliases(value);
    let inst = func.dfg.value_def(value).inst();
    if let Some(InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }) =
        inst.map(|inst| func.dfg.insts[inst])
    {
        return Some(Whole::Number(imm.bits()));
    }
    if func.dfg.value_type(value) == I64 {
        return Some(Whole::Value(value));
    }
    let inst = inst.filter(|inst| func.dfg.insts[*inst].opcode() == Opcode::Ireduce)?;
    let of = func.dfg.resolve_aliases(func.dfg.inst_args(inst)[0]);
    (func.dfg.value_type(of) == I64).then_some(Whole::Value(of))
}

/// Makes a 32-bit operation the lower half of the same on 64 bits.
fn widen(func: &mut Function, inst: Inst, operands: [Whole; 2]) {
    let opcode = func.dfg.insts[inst].opcode();
    let mut at = FuncCursor::new(func).at_inst(inst);
    let [a, b] = operands.map(|operand| match operand {
        Whole::Value(value) => value,
        Whole::Number(number) => at.ins().iconst(I64, number),
    });
    let ins = at.ins();
    let wide = match opcode {
        Opcode::Iadd => ins.iadd(a, b),
        Opcode::Isub => ins.isub(a, b),
        Opcode::Imul => ins.imul(a, b),
        Opcode::Band => ins.band(a, b),
        Opcode::Bor => ins.bor(a, b),
        _ => ins.bxor(a, b),
    };
    at.func.dfg.insts[inst] = InstructionData::Unary { opcode: Opcode::Ireduce, arg: wide };
}
