//! The disassembler: instructions to text in any [`Style`].
//!
//! Takes slots and gives strings; what it cannot decode it reports or, in listings, marks. The texts are the templates
//! of the [table](crate::table); the references for them are `llvm-objdump` 19 and `kernel/bpf/disasm.c` of Linux 6.18.

use std::fmt::Write;

use crate::insn::{Insn, Reg};
use crate::op::{CallTarget, DecodeError, Imm64, Op, Slots, locate};
use crate::table::{Field, Row};
use crate::text::{Letter, Piece, Style, pieces};

/// Names for what instructions hold only numbers of. Every answer may be `None`; `()` knows none.
pub trait Names {
    /// The name of a kernel function, or of a helper that is not in the [table](crate::helper).
    fn call(&self, target: CallTarget) -> Option<String> {
        let _ = target;
        None
    }

    /// What [`Style::Kernel`] shows for a 64-bit immediate, such as `map[id:5]`.
    fn imm64(&self, imm: Imm64) -> Option<String> {
        let _ = imm;
        None
    }
}

impl Names for () {}

/// The text of the instruction at slot `pc`.
pub fn insn_text(insns: &[Insn], pc: usize, style: Style, names: &dyn Names) -> Result<String, DecodeError> {
    text_at(insns, pc, style, names).map(|(text, _)| text)
}

/// The text of an instruction and how many slots it takes.
fn text_at(
    insns: &[Insn],
    pc: usize,
    style: Style,
    names: &dyn Names,
) -> Result<(String, usize), DecodeError> {
    let (slots, row) = locate(insns, pc)?;
    row.check_regs(&slots, Reg(11)).map_err(|kind| DecodeError { pc, kind })?;
    Ok((render(&slots, row, style, names), slots.len()))
}

/// One instruction of a program, or one slot that is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// Index of the first slot.
    pub pc: usize,
    /// The slots.
    pub insns: &'a [Insn],
    /// The text, or why there is none.
    pub text: Result<String, DecodeError>,
}

/// The instructions of a program in order. A slot that does not decode is a line of its own.
pub fn lines<'a>(insns: &'a [Insn], style: Style, names: &'a dyn Names) -> impl Iterator<Item = Line<'a>> {
    let mut pc = 0;
    std::iter::from_fn(move || {
        let start = pc;
        insns.get(start)?;
        let text = text_at(insns, start, style, names);
        pc += text.as_ref().map_or(1, |(_, slots)| *slots);
        Some(Line { pc: start, insns: insns.get(start..pc)?, text: text.map(|(text, _)| text) })
    })
}

/// The program as the dialect's own tool lists it: with slot numbers, and with bytes as `llvm-objdump` has them.
pub fn listing(insns: &[Insn], style: Style, names: &dyn Names) -> String {
    let mut out = String::new();
    for line in lines(insns, style, names) {
        let text = line.text.as_deref().unwrap_or("<unknown>");
        let written = match style {
            Style::Llvm | Style::LlvmAlu32 => {
                writeln!(out, "{:>8}:\t{}\t{text}", line.pc, hex(line.insns))
            }
            Style::Kernel => writeln!(out, "{:>4}: {text}", line.pc),
            Style::Suite => writeln!(out, "{text}"),
        };
        written.expect("invariant: a string takes any text");
    }
    out
}

fn hex(insns: &[Insn]) -> String {
    let bytes = insns.iter().flat_map(|insn| insn.to_le_bytes());
    bytes.map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

impl Op {
    /// The text of this instruction; `None` for a combination that the instruction set lacks.
    pub fn text(&self, style: Style) -> Option<String> {
        let slots = self.encode()?;
        let row = crate::table::find(slots).ok()?;
        Some(render(&slots, row, style, &()))
    }
}

fn render(slots: &Slots, row: &Row, style: Style, names: &dyn Names) -> String {
    let mut out = String::new();
    if style == Style::Kernel {
        out = format!("({:02x}) ", row.code);
        if let Some(imm) = named_imm64(slots, row, names) {
            return format!("{out}{} = {imm}", slots.first().dst());
        }
    }
    for piece in pieces(style.template(row)) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Reg(letter, field) => push_reg(&mut out, style, letter, field, slots),
            Piece::Value(value) => value.render(&mut out, slots, style, names),
        }
    }
    out
}

fn named_imm64(slots: &Slots, row: &Row, names: &dyn Names) -> Option<String> {
    match (row.build)(slots) {
        Op::LoadImm64 { imm, .. } => names.imm64(imm),
        _ => None,
    }
}

fn push_reg(out: &mut String, style: Style, letter: Letter, field: Field, slots: &Slots) {
    if style == Style::Suite {
        out.push('%');
    }
    out.push(match letter {
        Letter::W => 'w',
        Letter::Any if style == Style::LlvmAlu32 => 'w',
        Letter::R | Letter::Any => 'r',
    });
    out.push_str(&field.of(slots).to_string());
}
