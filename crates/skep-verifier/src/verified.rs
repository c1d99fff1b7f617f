//! The proof that a program is safe, and what a code generator may rely on.

use skep_isa::Insn;
use skep_isa::uapi::ProgType;

use crate::convert;
use crate::facts::Facts;

/// A program that was verified. Only this crate makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    insns: Vec<Insn>,
    prog_type: ProgType,
    stack_depth: Vec<(u32, u32)>,
    reached: Vec<bool>,
    exception_callback: Option<u32>,
    facts: Option<Facts>,
}

impl Verified {
    pub(crate) fn new(
        insns: &[Insn],
        prog_type: ProgType,
        stack_depth: Vec<(u32, u32)>,
        reached: Vec<bool>,
        exception_callback: Option<u32>,
    ) -> Self {
        Self { insns: insns.to_vec(), prog_type, stack_depth, reached, exception_callback, facts: None }
    }

    /// The instructions, as they were given; with facts, loads of parts of context fields are as Linux has them.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// The first instruction of the function that is called when it throws, if it has its own.
    pub fn exception_callback(&self) -> Option<u32> {
        self.exception_callback
    }

    /// The program's type.
    pub fn prog_type(&self) -> ProgType {
        self.prog_type
    }

    /// First instruction and bytes of stack of each function, in order.
    pub fn subprograms(&self) -> &[(u32, u32)] {
        &self.stack_depth
    }

    /// Can a run come to the instruction in this slot? What no path of the analysis came to, no run does.
    pub fn is_reached(&self, slot: usize) -> bool {
        self.reached.get(slot).copied().unwrap_or(false)
    }

    /// The same with facts, and with loads of parts of context fields as Linux has them.
    pub(crate) fn with_facts(mut self, facts: Facts) -> Self {
        convert::convert(&mut self.insns, self.prog_type, &facts);
        Self { facts: Some(facts), ..self }
    }

    /// What a code generator may rely on; `None` where [`prove`](crate::prove) was not asked for it.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }
}
