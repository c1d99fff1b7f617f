//! One function into Cranelift's instructions.
//!
//! Registers are held as SSA values, in 64 or 32 bits or both: 32-bit arithmetic works on 32 bits, and a value is widened
//! when something wants all of it. Blocks with one way in begin with what the block before ended with; others get the
//! registers that live there as parameters.

use std::collections::BTreeMap;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    self, AbiParam, BlockArg, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind,
    UserFuncName, Value,
};
use cranelift_codegen::isa::CallConv;
use skep_isa::{JmpOp, Op, Operand, Reg};

use super::Declined;
use super::compiler::Compiler;
use super::maps::Element;
use super::native::{FUNCTIONS, Referent};
use super::shape::{self, Block, Function, LOOPS, REGS, Set};
use super::source::Source;

/// Times that one function may pass its `may_goto` instructions (`BPF_MAX_LOOPS`).
const MAX_LOOPS: i64 = 8 << 20;

/// Machine code of one function.
pub(super) struct Body {
    pub(super) code: Vec<u8>,
    pub(super) align: u32,
    /// Where the code refers to something: the place, how, what is added, and to what.
    pub(super) references: Vec<(u32, Reloc, i64, Referent)>,
}

/// A register: its value, in one or both widths.
#[derive(Clone, Copy, Default)]
pub(super) struct Held {
    wide: Option<Value>,
    narrow: Option<Value>,
    /// Is the upper half zero, so that the narrow value is all?
    zero_extended: bool,
}

type Registers = [Held; REGS];

/// A function on its way.
pub(super) struct Translator<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) functions: &'a [Function],
    pub(super) function: &'a Function,
    pub(super) at: FuncCursor<'a>,
    pub(super) convention: CallConv,
    /// Constants of the program are made from two others.
    pub(super) blind: bool,
    registers: Registers,
    /// Cranelift's block of each block, and what registers hold at its start.
    blocks: Vec<ir::Block>,
    starts: Vec<Option<Registers>>,
    /// Address of the run, where the function needs it.
    pub(super) run: Option<Value>,
    frame: Option<Value>,
    /// Where the function is left in the middle of a block: with a value and a status.
    pub(super) leave: Option<ir::Block>,
    pub(super) imported: BTreeMap<usize, ir::FuncRef>,
    /// By how many numbers are taken and answered.
    pub(super) signatures: BTreeMap<(usize, usize), ir::SigRef>,
    /// Addresses that are loaded before loops.
    pub(super) addresses: BTreeMap<u64, ir::GlobalValue>,
    /// What the run was asked before loops, by its place there.
    pub(super) asked: BTreeMap<i32, Value>,
    /// Look-ups in arrays, by their answers.
    pub(super) elements: BTreeMap<Value, Element>,
    /// Is the block one of a loop?
    pub(super) in_loop: bool,
}

/// Accesses that the verifier has proved.
pub(super) const PROVED: MemFlagsData = MemFlagsData::new().with_notrap();

/// Compiles one function.
pub(super) fn function(
    source: &Source<'_>,
    functions: &[Function],
    number: usize,
    compiler: &mut Compiler<'_>,
    blind: bool,
) -> Result<Body, Declined> {
    let function = &functions[number];
    let convention = compiler.convention();
    let func = compiler.begin(UserFuncName::user(FUNCTIONS, number as u32));
    func.signature = signature(function, convention);
    Translator::new(source, functions, number, func, convention, blind).translate()?;
    let stands_for_calls = !function.is_entry && !function.needs_run;
    let body = compiler.finish(number, stands_for_calls);
    body.map_err(|reason| Declined::at(function.start, reason))
}

/// How a function is called: the run if it needs that, its arguments; it answers `r0`, and a status where it may be left
/// in the middle or the caller is not compiled code.
pub(super) fn signature(function: &Function, convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    if takes_run(function) {
        signature.params.push(AbiParam::new(I64));
    }
    signature.params.extend(each(function.arguments()).map(|_| AbiParam::new(I64)));
    signature.returns.push(AbiParam::new(I64));
    if answers_status(function) {
        signature.returns.push(AbiParam::new(I64));
    }
    signature
}

pub(super) fn takes_run(function: &Function) -> bool {
    function.is_entry || function.needs_run
}

pub(super) fn answers_status(function: &Function) -> bool {
    function.is_entry || function.needs_run
}

/// Numbers of the registers of a set.
pub(super) fn each(set: Set) -> impl Iterator<Item = usize> {
    (0..REGS).filter(move |n| set & (1 << n) != 0)
}

impl<'a> Translator<'a> {
    fn new(
        source: &'a Source<'a>,
        functions: &'a [Function],
        number: usize,
        func: &'a mut ir::Function,
        convention: CallConv,
        blind: bool,
    ) -> Self {
        let function = &functions[number];
        Self {
            source,
            functions,
            function,
            at: FuncCursor::new(func),
            convention,
            blind,
            registers: Registers::default(),
            blocks: Vec::new(),
            starts: vec![None; function.blocks.len()],
            run: None,
            frame: None,
            leave: None,
            imported: BTreeMap::new(),
            signatures: BTreeMap::new(),
            addresses: BTreeMap::new(),
            asked: BTreeMap::new(),
            elements: BTreeMap::new(),
            in_loop: false,
        }
    }

    fn translate(mut self) -> Result<(), Declined> {
        self.make_blocks();
        self.enter();
        for number in order(&self.function.blocks) {
            self.block(number)?;
        }
        self.finish_leave();
        Ok(())
    }

    /// Blocks with more than one way in have parameters.
    fn make_blocks(&mut self) {
        for (number, block) in self.function.blocks.iter().enumerate() {
            let made = self.at.func.dfg.make_block();
            self.blocks.push(made);
            if block.edges_in > 1 {
                let mut start = Registers::default();
                for n in each(block.live) {
                    let narrow = block.narrow & (1 << n) != 0;
                    let ty = if narrow { I32 } else { I64 };
                    let value = self.at.func.dfg.append_block_param(made, ty);
                    start[n] = if narrow { Held::narrow(value) } else { Held::wide(value) };
                }
                self.starts[number] = Some(start);
            }
        }
    }

    /// Takes the arguments, clears the frame, and goes to the first block.
    fn enter(&mut self) {
        let entry = self.at.func.dfg.make_block();
        self.at.insert_block(entry);
        if takes_run(self.function) {
            self.run = Some(self.at.func.dfg.append_block_param(entry, I64));
        }
        for n in each(self.function.arguments()) {
            self.registers[n] = Held::wide(self.at.func.dfg.append_block_param(entry, I64));
        }
        if self.function.frame_bytes > 0 {
            self.clear_frame(self.function.frame_bytes);
        }
        if self.function.counts {
            self.registers[LOOPS] = Held::narrow(self.at.ins().iconst(I32, MAX_LOOPS));
        }
        self.ask_before_loops();
        let arguments = self.edge(0);
        self.at.ins().jump(self.blocks[0], &arguments);
    }

    /// Programs may read of their stack what they have not written; they find zeros, as in the interpreter.
    fn clear_frame(&mut self, bytes: u32) {
        let slot =
            self.at.func.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4));
        let zero = self.at.ins().iconst(I64, 0);
        let bottom = self.at.ins().stack_addr(I64, slot, 0);
        for off in (0..bytes as i32).step_by(8) {
            self.at.ins().store(PROVED, zero, bottom, off);
        }
        self.frame = Some(self.at.ins().stack_addr(I64, slot, bytes as i32));
    }

    /// What goes along an edge; a block with one way in takes everything as it is.
    fn edge(&mut self, to: usize) -> Vec<BlockArg> {
        let block = &self.function.blocks[to];
        if block.edges_in == 1 {
            self.starts[to] = Some(self.registers);
            return Vec::new();
        }
        let narrow = block.narrow;
        let values = each(block.live).map(|n| {
            let value = if narrow & (1 << n) != 0 { self.narrow(n) } else { self.wide(n) };
            BlockArg::Value(value)
        });
        values.collect()
    }

    fn block(&mut self, number: usize) -> Result<(), Declined> {
        let block = &self.function.blocks[number];
        self.registers =
            self.starts[number].expect("invariant: an order in which a block's way in comes first");
        self.at.insert_block(self.blocks[number]);
        self.in_loop = block.in_loop;
        let ops: Vec<(usize, Op)> = shape::each_op(self.source, block).collect();
        for (slot, op) in &ops {
            self.op(*slot, op)?;
        }
        let (slot, last) = *ops.last().expect("invariant: blocks have instructions");
        self.end(block, slot, &last);
        Ok(())
    }

    /// Goes on from the end of a block.
    fn end(&mut self, block: &Block, slot: usize, last: &Op) {
        match (block.next, block.target) {
            (None, None) => self.exit(),
            (Some(way), None) | (None, Some(way)) => {
                let arguments = self.edge(way);
                self.at.ins().jump(self.blocks[way], &arguments);
            }
            (Some(next), Some(target)) => {
                if let Some((element, jumps)) = self.tested_element(last) {
                    let (found, missing) = if jumps { (target, next) } else { (next, target) };
                    self.end_by_element(&element, found, missing);
                    return;
                }
                let condition = self.condition(slot, last);
                let (to_next, to_target) = (self.edge(next), self.edge(target));
                let (next, target) = (self.blocks[next], self.blocks[target]);
                self.at.ins().brif(condition, target, &to_target, next, &to_next);
            }
        }
    }

    /// Goes on where an element was found, or where it is missing; neither has to ask again which it is.
    fn end_by_element(&mut self, element: &Element, found: usize, missing: usize) {
        let before = self.registers;
        self.replace(element.answer, element.address);
        let to_found = self.edge(found);
        self.registers = before;
        let null = self.at.ins().iconst(I64, 0);
        self.replace(element.answer, null);
        let to_missing = self.edge(missing);
        let (found, missing) = (self.blocks[found], self.blocks[missing]);
        self.at.ins().brif(element.exists, found, &to_found, missing, &to_missing);
    }

    /// Is the jump taken?
    fn condition(&mut self, _: usize, last: &Op) -> Value {
        match *last {
            Op::Jump { wide, op, dst, src, .. } => self.compare(wide, op, dst, src),
            _ => {
                let left = self.narrow(LOOPS);
                let less = self.at.ins().iadd_imm_s(left, -1);
                self.registers[LOOPS] = Held::narrow(less);
                self.at.ins().icmp_imm_s(IntCC::Equal, left, 0)
            }
        }
    }

    fn compare(&mut self, wide: bool, op: JmpOp, dst: Reg, src: Operand) -> Value {
        // Two numbers of 32 bits compare as such, if no sign is asked for.
        let narrow = !wide || (is_unsigned(op) && self.both_narrow(dst, src));
        let (a, b) = if narrow {
            (self.narrow(dst.0.into()), self.operand32(src))
        } else {
            (self.wide(dst.0.into()), self.operand64(src))
        };
        let condition = match op {
            JmpOp::Set => {
                let common = self.at.ins().band(a, b);
                return self.at.ins().icmp_imm_s(IntCC::NotEqual, common, 0);
            }
            JmpOp::Eq => IntCC::Equal,
            JmpOp::Ne => IntCC::NotEqual,
            JmpOp::Gt => IntCC::UnsignedGreaterThan,
            JmpOp::Ge => IntCC::UnsignedGreaterThanOrEqual,
            JmpOp::Lt => IntCC::UnsignedLessThan,
            JmpOp::Le => IntCC::UnsignedLessThanOrEqual,
            JmpOp::Sgt => IntCC::SignedGreaterThan,
            JmpOp::Sge => IntCC::SignedGreaterThanOrEqual,
            JmpOp::Slt => IntCC::SignedLessThan,
            JmpOp::Sle => IntCC::SignedLessThanOrEqual,
        };
        self.at.ins().icmp(condition, a, b)
    }

    fn both_narrow(&self, dst: Reg, src: Operand) -> bool {
        let src = match src {
            Operand::Reg(reg) => self.is_narrow(reg.0.into()),
            Operand::Imm(imm) => imm >= 0,
        };
        src && self.is_narrow(dst.0.into())
    }

    fn op(&mut self, slot: usize, op: &Op) -> Result<(), Declined> {
        match *op {
            Op::Alu { wide, op, dst, src } => self.alu(wide, op, dst, src),
            Op::MovSx { wide, bits, dst, src } => self.move_signed(wide, bits, dst, src),
            Op::Neg { wide, dst } => self.negate(wide, dst),
            Op::Endian { kind, bits, dst } => self.byte_order(kind, bits, dst),
            Op::AddrSpaceCast { dst, src, .. } => {
                let low = self.narrow(src.0.into());
                self.set_narrow(dst.0.into(), low);
            }
            Op::LoadImm64 { dst, imm } => self.load_imm64(slot, dst, imm)?,
            Op::Load { .. }
            | Op::Store { .. }
            | Op::Atomic { .. }
            | Op::LoadAcquire { .. }
            | Op::StoreRelease { .. } => self.access(slot, op),
            Op::LoadAbs { size, imm } => self.load_packet(slot, size, None, imm),
            Op::LoadInd { size, src, imm } => self.load_packet(slot, size, Some(src), imm),
            Op::Call(target) => self.call(slot, target)?,
            // These end blocks.
            Op::Ja { .. } | Op::Jump { .. } | Op::MayGoto { .. } | Op::Exit => {}
        }
        Ok(())
    }

    /// Returns `r0`.
    fn exit(&mut self) {
        let value = self.wide(0);
        if answers_status(self.function) {
            let status = self.at.ins().iconst(I64, 0);
            self.at.ins().return_(&[value, status]);
        } else {
            self.at.ins().return_(&[value]);
        }
    }

    /// The block that leaves the function with a value and a status.
    pub(super) fn leave_block(&mut self) -> ir::Block {
        *self.leave.get_or_insert_with(|| {
            let dfg = &mut self.at.func.dfg;
            let block = dfg.make_block();
            dfg.append_block_param(block, I64);
            dfg.append_block_param(block, I64);
            block
        })
    }

    fn finish_leave(&mut self) {
        let Some(block) = self.leave else { return };
        self.at.insert_block(block);
        self.at.layout_mut().set_cold(block);
        let [value, status] = *self.at.func.dfg.block_params(block) else { return };
        let status = self.at.ins().band_imm_u(status, super::native::STATUS_MASK);
        self.at.ins().return_(&[value, status]);
    }
}

/// Values of registers.
impl Translator<'_> {
    pub(super) fn wide(&mut self, n: usize) -> Value {
        if n == usize::from(Reg::R10.0) {
            return self.frame_pointer();
        }
        let held = self.registers[n];
        let value = match (held.wide, held.narrow) {
            (Some(wide), _) => return wide,
            (None, Some(narrow)) => return self.extend(narrow),
            // No path that a run takes reads it before it is written.
            (None, None) => self.at.ins().iconst(I64, 0),
        };
        self.registers[n].wide = Some(value);
        value
    }

    /// Widens a number, for all registers that hold it.
    fn extend(&mut self, narrow: Value) -> Value {
        let wide = self.at.ins().uextend(I64, narrow);
        for held in self.registers.iter_mut().filter(|held| held.narrow == Some(narrow) && held.zero_extended)
        {
            held.wide = Some(wide);
        }
        wide
    }

    pub(super) fn narrow(&mut self, n: usize) -> Value {
        if let Some(narrow) = self.registers.get(n).and_then(|held| held.narrow) {
            return narrow;
        }
        let wide = self.wide(n);
        let value = self.at.ins().ireduce(I32, wide);
        if n != usize::from(Reg::R10.0) {
            self.registers[n].narrow = Some(value);
        }
        value
    }

    fn frame_pointer(&mut self) -> Value {
        if let Some(frame) = self.frame {
            return frame;
        }
        // It is not accessed through, but its value may be looked at.
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
        let slot = self.at.func.create_sized_stack_slot(data);
        self.at.ins().stack_addr(I64, slot, 16)
    }

    pub(super) fn is_narrow(&self, n: usize) -> bool {
        n < REGS && self.registers[n].zero_extended
    }

    /// Registers that hold 32 bits, zero-extended.
    pub(super) fn narrow_set(&self) -> Set {
        (0..REGS).filter(|n| self.registers[*n].zero_extended).fold(0, |set, n| set | 1 << n)
    }

    pub(super) fn set_wide(&mut self, n: usize, value: Value) {
        self.registers[n] = Held::wide(value);
    }

    pub(super) fn set_narrow(&mut self, n: usize, value: Value) {
        self.registers[n] = Held::narrow(value);
    }

    /// What a register holds in 64 bits, if something was put there.
    pub(super) fn held(&self, n: usize) -> Option<Value> {
        self.registers.get(n)?.wide
    }

    /// Puts another value into all registers that hold one.
    fn replace(&mut self, old: Value, new: Value) {
        let holders = self.registers.iter_mut().filter(|held| held.wide == Some(old));
        holders.for_each(|held| *held = Held::wide(new));
    }

    pub(super) fn copy(&mut self, dst: usize, src: usize) {
        if src == usize::from(Reg::R10.0) {
            let frame = self.frame_pointer();
            self.set_wide(dst, frame);
        } else {
            self.registers[dst] = self.registers[src];
        }
    }

    /// What a call leaves in `r1` to `r5`: nothing.
    pub(super) fn forget_arguments(&mut self) {
        self.registers[1..=5].fill(Held::default());
    }

    pub(super) fn operand64(&mut self, src: Operand) -> Value {
        match src {
            Operand::Reg(reg) => self.wide(reg.0.into()),
            Operand::Imm(imm) => self.constant64(imm.into()),
        }
    }

    pub(super) fn operand32(&mut self, src: Operand) -> Value {
        match src {
            Operand::Reg(reg) => self.narrow(reg.0.into()),
            Operand::Imm(imm) => self.constant32(imm),
        }
    }

    /// A constant of the program, which is not to be seen in the code where that is asked for.
    pub(super) fn constant64(&mut self, value: i64) -> Value {
        if !self.blind {
            return self.at.ins().iconst(I64, value);
        }
        let key = (i64::from(crate::random::next()) << 32) | i64::from(crate::random::next());
        let hidden = self.at.ins().iconst(I64, value ^ key);
        let key = self.at.ins().iconst(I64, key);
        self.at.ins().bxor(hidden, key)
    }

    pub(super) fn constant32(&mut self, value: i32) -> Value {
        if !self.blind {
            return self.at.ins().iconst(I32, i64::from(value as u32));
        }
        let key = crate::random::next();
        let hidden = self.at.ins().iconst(I32, i64::from(value as u32 ^ key));
        let key = self.at.ins().iconst(I32, i64::from(key));
        self.at.ins().bxor(hidden, key)
    }
}

impl Held {
    fn wide(value: Value) -> Self {
        Self { wide: Some(value), narrow: None, zero_extended: false }
    }

    fn narrow(value: Value) -> Self {
        Self { wide: None, narrow: Some(value), zero_extended: true }
    }
}

fn is_unsigned(op: JmpOp) -> bool {
    !matches!(op, JmpOp::Sgt | JmpOp::Sge | JmpOp::Slt | JmpOp::Sle)
}

/// Blocks in an order in which the way into a block that has only one comes before it.
fn order(blocks: &[Block]) -> Vec<usize> {
    let mut done = vec![false; blocks.len()];
    let mut reversed = Vec::with_capacity(blocks.len());
    let mut waiting = vec![(0, false)];
    while let Some((number, left)) = waiting.pop() {
        if left {
            reversed.push(number);
        } else if !std::mem::replace(&mut done[number], true) {
            waiting.push((number, true));
            let ways = [blocks[number].target, blocks[number].next];
            waiting.extend(ways.into_iter().flatten().map(|way| (way, false)));
        }
    }
    reversed.reverse();
    reversed
}
