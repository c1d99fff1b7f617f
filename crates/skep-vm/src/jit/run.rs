//! Runs that take part in compiled code: into it, from program to program by tail calls, and into callbacks.

use std::sync::Arc;

use super::{Called, native};
use crate::machine::Machine;
use crate::program::Program;
use crate::{Fault, Reason};

impl Machine<'_> {
    /// Runs a program's code to its end, and the programs that it goes on in.
    pub(crate) fn execute_native(&mut self, program: &Program, args: [u64; 5]) -> Result<u64, Box<Fault>> {
        let (before, records) = (self.native_program, self.space.records().len());
        let mut other: Option<Arc<Program>> = None;
        let mut args = args;
        let result = loop {
            let current = other.as_deref().unwrap_or(program);
            let called = self.call_native(current, 0, args);
            native::discard_since(self, records);
            match called {
                None => break self.execute(current, 0, args),
                Some(Called::Done(value)) => break Ok(value),
                Some(Called::Stopped(fault)) => break Err(fault),
                Some(Called::TailCall) => {
                    let target = self.tail_target.take().expect("invariant: a tail call has a target");
                    self.space.swap_windows(Some(Arc::clone(target.windows())));
                    other = Some(target);
                    args = [self.space.context(), 0, 0, 0, 0];
                }
            }
        };
        self.native_program = before;
        result
    }

    /// Calls a function of a program in compiled code; `None` when there is none, or not for this run.
    fn call_native(&mut self, program: &Program, function: usize, args: [u64; 5]) -> Option<Called> {
        self.native_program = std::ptr::null();
        let native = program.native()?;
        if !native.admits_run(self.space.context_len(), self.packet.is_some()) {
            return None;
        }
        self.native_program = program;
        native.call(self, function, args)
    }

    /// A tail call from a function that others wait for: runs the other program, then goes on as before.
    pub(crate) fn run_inside(&mut self, target: &Program) -> Result<u64, Box<Fault>> {
        let before = self.space.swap_windows(Some(Arc::clone(target.windows())));
        let result = self.execute_native(target, [self.space.context(), 0, 0, 0, 0]);
        self.space.swap_windows(before);
        result
    }

    /// Calls a function of the program that runs in compiled code; `None` when that is not so.
    pub(crate) fn native_callback(
        &mut self,
        program: &Program,
        function: usize,
        args: [u64; 5],
    ) -> Option<Result<u64, Box<Fault>>> {
        if !std::ptr::eq(self.native_program, program) {
            return None;
        }
        let slot = self.native_slot;
        if self.space.push_frame().is_none() {
            return Some(Err(self.fault(program, slot as usize, Reason::CallDepth)));
        }
        let called = program.native().and_then(|native| native.call(self, function, args));
        self.space.pop_frame();
        self.native_slot = slot;
        match called? {
            Called::Done(value) => Some(Ok(value)),
            Called::Stopped(fault) => Some(Err(fault)),
            Called::TailCall => Some(Err(self.fault(program, slot as usize, Reason::CallDepth))),
        }
    }

    /// Takes what compiled code was left for.
    pub(crate) fn take_stopped(&mut self) -> Box<Fault> {
        self.stopped.take().expect("invariant: who leaves compiled code says why")
    }
}
