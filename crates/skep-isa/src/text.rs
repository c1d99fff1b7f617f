//! How instructions are written: the dialects, and the templates of the [table](crate::table) that both the
//! disassembler and the assembler read.
//!
//! A template is the text of an instruction with its operands in braces. Registers are a letter and a field:
//! `r{dst}`, `w{src}`, or `a{dst}`, which is `w` only where the dialect has 32-bit registers in memory accesses. What
//! other operands there are, `Value` says.

pub(crate) mod lex;
pub(crate) mod value;

use crate::table::{Field, Row};
use value::Value;

/// A dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Style {
    /// `llvm-objdump -d`: `r1 = *(u32 *)(r2 + 0x4)`.
    Llvm,
    /// `llvm-objdump -d --mcpu=v3` and later, which has 32-bit registers in memory accesses: `w1 = *(u32 *)(r2 + 0x4)`.
    LlvmAlu32,
    /// The verifier log and `bpftool prog dump xlated`: `(61) r1 = *(u32 *)(r2 +4)`.
    Kernel,
    /// The bpf_conformance suite and ubpf: `ldxw %r1, [%r2+4]`.
    Suite,
}

impl Style {
    /// The template of a row in this dialect.
    pub(crate) fn template(self, row: &Row) -> &'static str {
        let texts = &row.texts;
        match self {
            Self::Llvm | Self::LlvmAlu32 => texts.llvm,
            Self::Kernel => texts.kernel.unwrap_or(texts.llvm),
            Self::Suite => texts.suite.unwrap_or(texts.llvm),
        }
    }
}

/// A part of a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// Text as it stands.
    Text(&'static str),
    /// A register operand.
    Reg(Letter, Field),
    /// Another operand.
    Value(Value),
}

/// The letter before a register's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Letter {
    /// 64 bits.
    R,
    /// 32 bits.
    W,
    /// `w` in dialects that have 32-bit registers in memory accesses, otherwise `r`.
    Any,
}

/// Takes a template apart.
pub(crate) fn pieces(template: &'static str) -> impl Iterator<Item = Piece> {
    let mut rest = template;
    let mut operand = None;
    std::iter::from_fn(move || {
        if let Some(piece) = operand.take() {
            return Some(piece);
        }
        let Some((text, tail)) = rest.split_once('{') else {
            return (!rest.is_empty()).then(|| Piece::Text(std::mem::take(&mut rest)));
        };
        let (name, tail) = tail.split_once('}').expect("invariant: braces in the table are closed");
        rest = tail;
        let (text, piece) = operand_of(text, name);
        if text.is_empty() {
            return Some(piece);
        }
        operand = Some(piece);
        Some(Piece::Text(text))
    })
}

/// The operand of a name in braces; the letter of a register belongs to it and leaves the text before.
fn operand_of(text: &'static str, name: &str) -> (&'static str, Piece) {
    let field = match name {
        "dst" => Field::Dst,
        "src" => Field::Src,
        _ => {
            let value = Value::named(name).expect("invariant: the table names operands that exist");
            return (text, Piece::Value(value));
        }
    };
    let (before, letter) = text.split_at(text.len().saturating_sub(1));
    let letter = match letter {
        "r" => Letter::R,
        "w" => Letter::W,
        "a" => Letter::Any,
        other => unreachable!("invariant: `{other}` is no letter of a register in the table"),
    };
    (before, Piece::Reg(letter, field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ROWS;

    #[test]
    fn every_template_parses_and_names_every_operand() {
        for row in ROWS {
            let texts = &row.texts;
            let all = [Some(texts.llvm), texts.kernel, texts.suite].into_iter().flatten();
            for template in all.chain(texts.also.iter().copied()) {
                let operands = pieces(template).filter(|piece| !matches!(piece, Piece::Text(_))).count();
                let braces = template.matches('{').count();
                assert_eq!(operands, braces, "{template}");
            }
        }
    }
}
