//! Cranelift's passes over one function after another, with some of our own: small functions take the place of calls,
//! nothing is computed in two widths (see [`halves`](super::halves)), loops are put right (see [`rounds`](super::rounds)),
//! so is what goes from block to block (see [`edges`](super::edges)), and frames that hold nothing go (see
//! [`frames`](super::frames)).

use std::borrow::Cow;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::inline::{Inline, InlineCommand};
use cranelift_codegen::ir::{self, ExternalName, UserFuncName};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_codegen::settings::OptLevel;
use cranelift_codegen::{CodegenResult, CompiledCode};

use super::edges;
use super::frames;
use super::halves;
use super::native;
use super::rounds;
use super::translate::Body;

/// Instructions of Cranelift's up to which a function takes the place of its calls.
const SMALL: usize = 48;

/// Compiles the functions of one program, callees first.
pub(super) struct Compiler<'a> {
    isa: &'a dyn TargetIsa,
    context: Context,
    small: Small,
}

/// Functions that take the place of their calls, by number.
#[derive(Default)]
struct Small(Vec<Option<ir::Function>>);

impl<'a> Compiler<'a> {
    pub(super) fn new(isa: &'a dyn TargetIsa) -> Self {
        Self { isa, context: Context::new(), small: Small::default() }
    }

    pub(super) fn convention(&self) -> CallConv {
        self.isa.default_call_conv()
    }

    /// An empty function, to be filled.
    pub(super) fn begin(&mut self, name: UserFuncName) -> &mut ir::Function {
        self.context.clear();
        self.context.func.name = name;
        // First in every function: where a call is replaced by a function, Cranelift keeps the number of the name of an address.
        self.context.func.declare_imported_user_function(native::ADDRESS);
        &mut self.context.func
    }

    /// Compiles what was begun; the errors are for people. `stands_for_calls` says that it may take the place of its calls.
    pub(super) fn finish(&mut self, number: usize, stands_for_calls: bool) -> Result<Body, String> {
        let fast = self.isa.flags().opt_level() != OptLevel::None;
        if fast {
            self.context.inline(&mut self.small).map_err(|e| format!("Cranelift: {e:?}"))?;
        }
        let keep = fast && stands_for_calls && self.context.func.dfg.num_insts() <= SMALL;
        self.small.0.resize(number, None);
        self.small.0.push(keep.then(|| self.context.func.clone()));
        let compiled = self.passes(fast).map_err(|e| format!("Cranelift: {e:?}"))?;
        let names = self.context.func.params.user_named_funcs();
        let references = compiled.buffer.relocs().iter().map(|reloc| {
            let referent = native::referent(&reloc.target, names)
                .ok_or("compiled code refers to something that is no function")?;
            Ok((reloc.offset, reloc.kind, reloc.addend, referent))
        });
        let references = references.collect::<Result<_, String>>()?;
        let (mut code, align) = (compiled.code_buffer().to_vec(), compiled.buffer.alignment);
        frames::take_out(&self.context.func, &mut code);
        Ok(Body { code, align, references })
    }

    fn passes(&mut self, fast: bool) -> CodegenResult<CompiledCode> {
        let mut control = ControlPlane::default();
        let context = &mut self.context;
        if fast {
            edges::unite_equal(&mut context.func);
            halves::take_lower(&mut context.func);
        }
        context.optimize(self.isa, &mut control)?;
        if fast {
            rounds::compare_what_goes_round(&mut context.func);
            edges::make_constants_on_ways(&mut context.func);
            context.flowgraph();
            context.compute_loop_analysis();
            edges::put_exits_aside(&mut context.func, &context.loop_analysis);
            context.verify_if(self.isa)?;
        }
        let mut registers = Default::default();
        let (func, dominators) = (&context.func, &context.domtree);
        let compiled = self.isa.compile_function(func, dominators, &mut registers, false, &mut control)?;
        Ok(compiled.apply_params(&func.params))
    }
}

impl Inline for Small {
    fn inline(
        &mut self,
        caller: &ir::Function,
        _: ir::Inst,
        _: ir::Opcode,
        callee: ir::FuncRef,
        _: &[ir::Value],
    ) -> InlineCommand<'_> {
        let ExternalName::User(name) = caller.dfg.ext_funcs[callee].name else {
            return InlineCommand::KeepCall;
        };
        let name = &caller.params.user_named_funcs()[name];
        match self.0.get(name.index as usize) {
            Some(Some(callee)) if name.namespace == native::FUNCTIONS => {
                InlineCommand::Inline { callee: Cow::Borrowed(callee), visit_callee: false }
            }
            _ => InlineCommand::KeepCall,
        }
    }
}
