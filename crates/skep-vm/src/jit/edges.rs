//! What goes along edges, between the blocks of a function.
//!
//! Before Cranelift's passes: registers that hold the same whichever way a run comes to a block become one parameter of it.
//! After them: constants that only one way of a conditional jump takes along are made on that way, not before the jump,
//! where they would take a register from what lives on the other way. And blocks by which a loop is left in its middle move
//! out of it, so that a round is one straight line.

use std::collections::BTreeMap;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstBuilder, InstructionData, Opcode, Type, Value,
};
use cranelift_codegen::loop_analysis::LoopAnalysis;

/// Arguments of every way into a block.
type Ways = BTreeMap<Block, Vec<Vec<Value>>>;

/// Makes equal parameters one.
pub(super) fn unite_equal(func: &mut Function) {
    loop {
        let ways = ways(func);
        let equal =
            ways.iter().find_map(|(block, ways)| Some((*block, equal_parameters(func, *block, ways)?)));
        let Some((block, (kept, place))) = equal else { return };
        unite(func, block, kept, place);
    }
}

fn ways(func: &Function) -> Ways {
    let mut ways = Ways::new();
    for block in func.layout.blocks() {
        let Some(inst) = func.layout.last_inst(block) else { continue };
        for call in calls(func, inst) {
            let pool = &func.dfg.value_lists;
            let values = call.args(pool).filter_map(|arg| arg.as_value());
            let values = values.map(|value| func.dfg.resolve_aliases(value)).collect();
            ways.entry(call.block(pool)).or_default().push(values);
        }
    }
    ways
}

fn calls(func: &Function, inst: Inst) -> &[BlockCall] {
    func.dfg.insts[inst].branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables)
}

/// A parameter, and the place of another that is the same: on every way both get the same, or both keep what they are.
fn equal_parameters(func: &Function, block: Block, ways: &[Vec<Value>]) -> Option<(Value, usize)> {
    let parameters = func.dfg.block_params(block);
    let of_type = |value: &Value| func.dfg.value_type(*value);
    parameters.iter().enumerate().find_map(|(n, kept)| {
        let others = parameters.iter().enumerate().skip(n + 1);
        let mut others = others.filter(|(_, other)| of_type(kept) == of_type(other));
        let (place, _) = others.find(|(m, other)| {
            ways.iter().all(|way| way[n] == way[*m] || (way[n] == *kept && way[*m] == **other))
        })?;
        Some((*kept, place))
    })
}

fn unite(func: &mut Function, block: Block, kept: Value, place: usize) {
    let gone = func.dfg.block_params(block)[place];
    func.dfg.remove_block_param(gone);
    func.dfg.change_to_alias(gone, kept);
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for from in blocks {
        let Some(inst) = func.layout.last_inst(from) else { continue };
        let dfg = &mut func.dfg;
        let calls = dfg.insts[inst].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
        for call in calls {
            if call.block(&dfg.value_lists) == block {
                call.remove(place, &mut dfg.value_lists);
            }
        }
    }
}

/// Moves blocks by which loops are left in their middle to the function's end.
pub(super) fn put_exits_aside(func: &mut Function, loops: &LoopAnalysis) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let Some(around) = loops.innermost_loop(block) else { continue };
        let Some(inst) = func.layout.last_inst(block) else { continue };
        let [one, other] = calls(func, inst) else { continue };
        let pool = &func.dfg.value_lists;
        let (one, other) = (one.block(pool), other.block(pool));
        let (stays, leaves) = if loops.is_in_loop(one, around) { (one, other) } else { (other, one) };
        let goes_round = stays == loops.loop_header(around);
        if loops.is_in_loop(stays, around) && loops.innermost_loop(leaves).is_none() && !goes_round {
            func.layout.set_cold(leaves);
        }
    }
}

/// Makes constants on the ways that take them.
pub(super) fn make_constants_on_ways(func: &mut Function) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let Some(inst) = func.layout.last_inst(block) else { continue };
        if !matches!(func.dfg.insts[inst], InstructionData::Brif { .. }) {
            continue;
        }
        for way in 0..2 {
            move_constants(func, block, inst, way);
        }
    }
}

/// Puts a block of its own on a way that takes constants along.
fn move_constants(func: &mut Function, block: Block, inst: Inst, way: usize) {
    let call = calls(func, inst)[way];
    let to = call.block(&func.dfg.value_lists);
    let arguments: Vec<BlockArg> = call.args(&func.dfg.value_lists).collect();
    let constants: Vec<Option<(Type, i64)>> = arguments.iter().map(|arg| constant(func, *arg)).collect();
    if constants.iter().all(Option::is_none) {
        return;
    }
    let between = func.dfg.make_block();
    func.layout.insert_block_after(between, block);
    let mut at = FuncCursor::new(func).at_bottom(between);
    let mut taken = Vec::with_capacity(arguments.len());
    for (argument, constant) in arguments.into_iter().zip(constants) {
        taken.push(match constant {
            Some((ty, number)) => BlockArg::Value(at.ins().iconst(ty, number)),
            None => argument,
        });
    }
    at.ins().jump(to, &taken);
    let dfg = &mut func.dfg;
    let there = BlockCall::new(between, [], &mut dfg.value_lists);
    dfg.insts[inst].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables)[way] = there;
}

fn constant(func: &Function, argument: BlockArg) -> Option<(Type, i64)> {
    let value = argument.as_value()?;
    let inst = func.dfg.value_def(value).inst()?;
    let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } = func.dfg.insts[inst] else { return None };
    Some((func.dfg.value_type(value), imm.bits()))
}
