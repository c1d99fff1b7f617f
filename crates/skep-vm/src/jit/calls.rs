//! Calls: of the program's own functions, and of thunks that lead to helpers.

use cranelift_codegen::cursor::Cursor;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    self, AbiParam, BlockArg, ExtFuncData, ExternalName, InstBuilder, Signature, UserExternalName, Value,
};
use skep_isa::helper::id;
use skep_isa::{CallTarget, Op, Reg};

use super::Declined;
use super::native::{self, Asked, Plain, Thunk};
use super::shape::{self, Function};
use super::translate::{PROVED, Translator, answers_status, each, signature, takes_run};
use crate::code::Code;
use crate::helper::HostFn;

impl Translator<'_> {
    pub(super) fn call(&mut self, slot: usize, target: CallTarget) -> Result<(), Declined> {
        match target {
            CallTarget::Local(_) => self.call_local(slot),
            CallTarget::Indirect(Reg(n)) => {
                Err(Declined::at(slot, format!("it calls what `r{n}` holds, which is not compiled")))
            }
            CallTarget::Helper(id::bpf_tail_call) => {
                self.tail_call(slot);
                Ok(())
            }
            CallTarget::Helper(helper) if let Some(asked) = self.asked(slot, helper) => {
                let value = self.ask_once(asked);
                self.forget_arguments();
                self.set_wide(0, value);
                Ok(())
            }
            CallTarget::Helper(helper) if let Some(plain) = self.plain(slot, helper) => {
                self.call_plain(plain);
                Ok(())
            }
            CallTarget::Helper(_) | CallTarget::Kfunc { .. } => self.call_helper(slot),
        }
    }

    fn call_helper(&mut self, slot: usize) -> Result<(), Declined> {
        if let Code::CallHost { run } = self.source.code(slot) {
            self.call_host(slot, run);
            return Ok(());
        }
        if !matches!(self.source.code(slot), Code::CallHelper { .. }) {
            return Err(Declined::at(slot, "what it calls is not known"));
        }
        if let Some(call) = self.source.map_call(slot) {
            let value = self.call_map(&call);
            self.forget_arguments();
            self.set_wide(0, value);
            return Ok(());
        }
        let arguments = self.arguments(slot);
        let value = self.thunk(slot, Thunk::Helper, &arguments);
        self.forget_arguments();
        self.set_wide(0, value);
        Ok(())
    }

    /// What takes the place of a helper that never ends the run, unless the embedder has its own.
    fn plain(&self, slot: usize, helper: u32) -> Option<Plain> {
        self.is_ours(slot).then(|| Plain::of(helper))?
    }

    /// Is the helper of an instruction not the embedder's own?
    fn is_ours(&self, slot: usize) -> bool {
        matches!(self.source.code(slot), Code::CallHelper { .. })
    }

    fn call_plain(&mut self, plain: Plain) {
        let value = self.answer(plain);
        self.forget_arguments();
        self.set_wide(0, value);
    }

    fn answer(&mut self, plain: Plain) -> Value {
        let run = self.run.expect("invariant: functions with helpers take the run");
        let mut arguments = vec![run];
        arguments.extend((1..=plain.arguments).map(|n| self.wide(n)));
        self.call_address(plain.address, &arguments)
    }

    /// What the run may know already, if a helper asks for that.
    fn asked(&self, slot: usize, helper: u32) -> Option<Asked> {
        self.is_ours(slot).then(|| Asked::of(helper))?
    }

    /// Asks the run what loops would ask it in every round.
    pub(super) fn ask_before_loops(&mut self) {
        let function = self.function;
        for block in function.blocks.iter().filter(|block| block.in_loop) {
            for (slot, op) in shape::each_op(self.source, block) {
                let asked = match op {
                    Op::Call(CallTarget::Helper(helper)) => match self.source.map_call(slot) {
                        Some(call) => call.asks(),
                        None => self.asked(slot, helper),
                    },
                    _ => None,
                };
                if let Some(asked) = asked {
                    let value = self.ask_once(asked);
                    self.asked.insert(asked.offset, value);
                }
            }
        }
    }

    /// What the run knows, or is asked for now.
    pub(super) fn ask_once(&mut self, asked: Asked) -> Value {
        if let Some(known) = self.asked.get(&asked.offset) {
            return *known;
        }
        let run = self.run.expect("invariant: functions with helpers take the run");
        let width = if asked.bytes == 4 { I32 } else { I64 };
        let known = self.at.ins().load(width, PROVED, run, asked.offset);
        let is_unasked = self.at.ins().icmp_imm_u(IntCC::Equal, known, asked.unasked.cast_signed());
        let known = if width == I32 { self.at.ins().uextend(I64, known) } else { known };
        let (ask, go_on) = (self.at.func.dfg.make_block(), self.at.func.dfg.make_block());
        let value = self.at.func.dfg.append_block_param(go_on, I64);
        self.at.ins().brif(is_unasked, ask, &[], go_on, &[BlockArg::Value(known)]);
        self.at.func.layout.set_cold(ask);
        self.at.insert_block(ask);
        let plain = Plain::of(asked.helper).expect("invariant: it only asks the run");
        let answer = self.answer(plain);
        self.at.ins().jump(go_on, &[BlockArg::Value(answer)]);
        self.at.insert_block(go_on);
        value
    }

    /// Calls a function of this process with numbers; it answers one.
    pub(super) fn call_address(&mut self, address: i64, arguments: &[Value]) -> Value {
        let signature = self.numbers(arguments.len(), 1);
        let address = self.at.ins().iconst(I64, address);
        let call = self.at.ins().call_indirect(signature, address, arguments);
        self.at.func.dfg.first_result(call)
    }

    /// A function of the embedder: called as it is.
    fn call_host(&mut self, slot: usize, run: HostFn) {
        let arguments = self.arguments(slot);
        let value = self.call_address(native::host_address(run), &arguments);
        self.forget_arguments();
        self.set_wide(0, value);
    }

    /// The arguments that the helper of an instruction has.
    fn arguments(&mut self, slot: usize) -> Vec<Value> {
        (1..=self.source.argument_count(slot)).map(|n| self.wide(n)).collect()
    }

    /// A program's own first function is left, and the run goes on in the other program; elsewhere that runs inside.
    fn tail_call(&mut self, slot: usize) {
        let arguments = [self.wide(1), self.wide(2), self.wide(3)];
        let is_program = self.function.start == 0;
        let thunk = if is_program { Thunk::TailCall } else { Thunk::TailCallInside };
        let value = self.thunk(slot, thunk, &arguments);
        self.forget_arguments();
        self.set_wide(0, value);
    }

    fn call_local(&mut self, slot: usize) -> Result<(), Declined> {
        let known = self.functions;
        let callee = self.source.callee(slot);
        let number = known.iter().position(|function| Some(function.start) == callee);
        let number = number.ok_or_else(|| Declined::at(slot, "it calls no function"))?;
        let callee = &known[number];
        let reference = self.import(number, callee);
        let mut arguments = Vec::new();
        if takes_run(callee) {
            let run = self.run;
            arguments.push(run.unwrap_or_else(|| self.at.ins().iconst(I64, 0)));
        }
        arguments.extend(each(callee.arguments()).map(|n| self.wide(n)));
        let call = self.at.ins().call(reference, &arguments);
        let value = self.at.func.dfg.first_result(call);
        if callee.needs_run {
            let status = self.at.func.dfg.inst_results(call)[1];
            self.leave_unless_zero(value, status);
        }
        self.forget_arguments();
        self.set_wide(0, value);
        Ok(())
    }

    fn import(&mut self, number: usize, callee: &Function) -> ir::FuncRef {
        if let Some(known) = self.imported.get(&number) {
            return *known;
        }
        let signature = self.at.func.import_signature(signature(callee, self.convention));
        let name = UserExternalName::new(native::FUNCTIONS, number as u32);
        let name = ExternalName::user(self.at.func.declare_imported_user_function(name));
        let data = ExtFuncData { name, signature, colocated: true, patchable: false };
        let reference = self.at.func.import_function(data);
        self.imported.insert(number, reference);
        reference
    }

    /// Calls a thunk; goes on when its status is zero.
    pub(super) fn thunk(&mut self, slot: usize, thunk: Thunk, arguments: &[Value]) -> Value {
        let run = self.run.expect("invariant: functions with thunks take the run");
        let here = self.at.ins().iconst(I32, slot as i64);
        self.at.ins().store(PROVED, here, run, native::slot_offset());
        let signature = self.numbers(arguments.len() + 1, 2);
        let address = self.at.ins().iconst(I64, thunk.address());
        let all: Vec<Value> = std::iter::once(run).chain(arguments.iter().copied()).collect();
        let call = self.at.ins().call_indirect(signature, address, &all);
        let [value, status] = *self.at.func.dfg.inst_results(call) else {
            unreachable!("invariant: thunks answer a value and a status")
        };
        self.leave_unless_zero(value, status);
        value
    }

    /// Of a function that takes and answers so many numbers.
    fn numbers(&mut self, taken: usize, answered: usize) -> ir::SigRef {
        if let Some(known) = self.signatures.get(&(taken, answered)) {
            return *known;
        }
        let mut signature = Signature::new(self.convention);
        signature.params = vec![AbiParam::new(I64); taken];
        signature.returns = vec![AbiParam::new(I64); answered];
        let signature = self.at.func.import_signature(signature);
        self.signatures.insert((taken, answered), signature);
        signature
    }

    fn leave_unless_zero(&mut self, value: Value, status: Value) {
        debug_assert!(answers_status(self.function), "invariant: who calls such answers a status");
        let leave = self.leave_block();
        let go_on = self.at.func.dfg.make_block();
        let both = [BlockArg::Value(value), BlockArg::Value(status)];
        self.at.ins().brif(status, leave, &both, go_on, &[]);
        self.at.insert_block(go_on);
    }
}
