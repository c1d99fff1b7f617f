//! The assembler: text in any [`Style`] to slots.
//!
//! Dialects need not be declared and may be mixed; every statement is matched against every text of the
//! [table](crate::table), and the first that takes all of it wins. Labels stand before statements or alone (`loop:`) and
//! serve as targets of jumps, calls and subprogram addresses. What the tools print around instructions — slot numbers,
//! bytes, `(61)`, `<LBB0_1>`, comments, headings — is read and left out, so their output can be fed back.
//!
//! `llvm-objdump` prints some different instructions alike (`call 0x5` may call a helper, a function or a kfunc). Where
//! it printed the bytes beside them, the bytes decide; otherwise a call of a negative number is local and of another one
//! a helper's. As in the bpf_conformance suite, the first `exit` is a label of that name unless a line defines it.

pub(crate) mod cursor;
mod line;
mod matcher;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use crate::disasm::insn_text;
use crate::insn::Insn;
use crate::op::Slots;
use crate::table::{EXIT, Field};
use crate::text::Style;
use line::Statement;
use matcher::Label;

/// What a text assembles to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assembly {
    /// The slots.
    pub insns: Vec<Insn>,
    /// For every slot the line it comes from, from 1.
    pub lines: Vec<usize>,
    /// For every label the slot it names.
    pub labels: BTreeMap<String, usize>,
}

/// Assembles a program.
pub fn assemble(text: &str) -> Result<Assembly, AsmError> {
    let mut assembler = Assembler::default();
    for (index, source) in text.lines().enumerate() {
        assembler.source = Source { line: index + 1, text: source };
        for statement in line::statements(source) {
            assembler.statement(&statement)?;
        }
    }
    assembler.resolve_labels()?;
    Ok(assembler.done)
}

/// A line of the text under work.
#[derive(Clone, Copy, Default)]
struct Source<'a> {
    line: usize,
    text: &'a str,
}

impl Source<'_> {
    /// An error at `token`, which is a part of this line, perhaps an empty one.
    fn error(&self, token: &str, kind: AsmErrorKind) -> AsmError {
        let offset = (token.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.get(..offset).unwrap_or(self.text);
        AsmError { line: self.line, column: before.chars().count() + 1, token: token.to_owned(), kind }
    }
}

/// A jump whose distance waits for its label.
struct Fixup<'a> {
    source: Source<'a>,
    pc: usize,
    label: Label<'a>,
}

#[derive(Default)]
struct Assembler<'a> {
    done: Assembly,
    source: Source<'a>,
    fixups: Vec<Fixup<'a>>,
    first_exit: Option<usize>,
}

impl<'a> Assembler<'a> {
    fn statement(&mut self, statement: &Statement<'a>) -> Result<(), AsmError> {
        match statement {
            Statement::Label(name) => self.define(name),
            Statement::Insn(insn) if insn.code == line::UNKNOWN && !insn.bytes.is_empty() => {
                self.push(&insn.bytes);
                Ok(())
            }
            Statement::Insn(insn) => self.insn(insn),
        }
    }

    fn define(&mut self, name: &'a str) -> Result<(), AsmError> {
        match self.done.labels.entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(self.done.insns.len());
                Ok(())
            }
            Entry::Occupied(_) => Err(self.source.error(name, AsmErrorKind::DuplicateLabel)),
        }
    }

    fn insn(&mut self, insn: &line::InsnText<'a>) -> Result<(), AsmError> {
        let found = matcher::parse(insn.code, insn.opcode)
            .map_err(|miss| self.source.error(miss.token, AsmErrorKind::Expected(miss.expected)))?;
        let pc = self.done.insns.len();
        if let Some(label) = found.label {
            self.fixups.push(Fixup { source: self.source, pc, label });
        }
        if found.slots.first().code == EXIT {
            self.first_exit.get_or_insert(pc);
        }
        if insn.bytes.is_empty() {
            self.push(&found.slots);
        } else if *insn.bytes == *found.slots || prints_as(&insn.bytes, insn.code, &found.slots) {
            self.push(&insn.bytes);
        } else {
            return Err(self.source.error(insn.code, AsmErrorKind::BytesDiffer));
        }
        Ok(())
    }

    fn push(&mut self, insns: &[Insn]) {
        self.done.insns.extend_from_slice(insns);
        self.done.lines.resize(self.done.insns.len(), self.source.line);
    }

    fn resolve_labels(&mut self) -> Result<(), AsmError> {
        for fixup in &self.fixups {
            let name = fixup.label.name;
            let implied = || self.first_exit.filter(|_| name == "exit");
            let Some(target) = self.done.labels.get(name).copied().or_else(implied) else {
                return Err(fixup.source.error(name, AsmErrorKind::UndefinedLabel));
            };
            let distance = target as i64 - fixup.pc as i64 - 1;
            let too_far = || fixup.source.error(name, AsmErrorKind::TooFar { distance });
            let insn = self.done.insns.get_mut(fixup.pc).expect("invariant: a fixup stands at a slot");
            match fixup.label.field {
                Field::Off => insn.off = i16::try_from(distance).map_err(|_| too_far())?,
                _ => insn.imm = i32::try_from(distance).map_err(|_| too_far())?,
            }
        }
        Ok(())
    }
}

/// Whether `llvm-objdump` prints these bytes as `text`, which assembles to `slots`.
fn prints_as(insns: &[Insn], text: &str, slots: &Slots) -> bool {
    let same = |style| insn_text(insns, 0, style, &()).as_deref() == Ok(text);
    same(Style::Llvm) || same(Style::LlvmAlu32) || hides_imm(insns, slots.first())
}

/// Whether `insns` differ from what `llvm-objdump` printed in an immediate alone that version 19 does not print: of
/// `LD_IND`, and of atomics that it does not know.
fn hides_imm(insns: &[Insn], printed: Insn) -> bool {
    let hides = matches!(printed.code, 0x40 | 0x48 | 0x50 | 0xc3 | 0xdb);
    hides && matches!(*insns, [insn] if insn == Insn { imm: insn.imm, ..printed })
}

/// A text that does not assemble, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AsmError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The token there; empty at the end of a statement.
    pub token: String,
    /// What is wrong with it.
    pub kind: AsmErrorKind,
}

/// Why a text does not assemble.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AsmErrorKind {
    /// Something else should stand there: any of these.
    Expected(Vec<String>),
    /// A label that no line defines.
    UndefinedLabel,
    /// A label that an earlier line defines too.
    DuplicateLabel,
    /// A label further away than the instruction reaches.
    TooFar {
        /// The distance in slots.
        distance: i64,
    },
    /// The bytes beside an instruction are another one.
    BytesDiffer,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, token, kind } = self;
        write!(f, "line {line}, column {column}: ")?;
        match kind {
            AsmErrorKind::Expected(expected) => {
                match token.as_str() {
                    "" => f.write_str("the statement ends early")?,
                    token => write!(f, "found `{token}`")?,
                }
                write!(f, ", expected {}", expected.join(" or "))
            }
            AsmErrorKind::UndefinedLabel => write!(f, "no line defines the label `{token}`"),
            AsmErrorKind::DuplicateLabel => write!(f, "the label `{token}` is defined before"),
            AsmErrorKind::TooFar { distance } => {
                write!(
                    f,
                    "the label `{token}` is {distance} slots away, further than this instruction reaches"
                )
            }
            AsmErrorKind::BytesDiffer => {
                write!(f, "the bytes of this line are not those of `{token}`; leave out one of them")
            }
        }
    }
}

impl std::error::Error for AsmError {}
