//! Matches a statement against the texts of the table.
//!
//! All texts are tried; if none takes the whole statement, those that came furthest say what they expected there.

use std::sync::OnceLock;

use super::cursor::{Cursor, Expected, Filled, Miss};
use crate::insn::{Insn, Reg};
use crate::op::Slots;
use crate::table::{Field, LD_IMM64, ROWS, Row, Use};
use crate::text::lex::{Token, tokens};
use crate::text::value::Value;
use crate::text::{Letter, Piece, Style, pieces};

/// A statement that matched.
pub(super) struct Match<'a> {
    pub(super) slots: Slots,
    /// What its jump goes to, if that is a label.
    pub(super) label: Option<Label<'a>>,
}

/// A label as a target.
#[derive(Clone, Copy)]
pub(super) struct Label<'a> {
    pub(super) name: &'a str,
    /// The field for the distance.
    pub(super) field: Field,
}

/// A statement that did not match.
pub(super) struct Mismatch<'a> {
    /// The token that no text takes; at the end of the statement, its empty rest.
    pub(super) token: &'a str,
    pub(super) expected: Vec<String>,
}

/// Finds the instruction of a statement, among those of one opcode if that is given.
pub(super) fn parse(statement: &str, opcode: Option<u8>) -> Result<Match<'_>, Mismatch<'_>> {
    let tokens = tokens(statement);
    let mut misses = Misses::default();
    for form in forms().iter().filter(|form| opcode.is_none_or(|code| code == form.row.code)) {
        match form.parse(&tokens) {
            Ok(filled) => return Ok(found(&filled)),
            Err(miss) => misses.add(miss),
        }
    }
    let end = statement.get(statement.trim_end().len()..).unwrap_or_default();
    let token = tokens.get(misses.pos).map_or(end.get(..0).unwrap_or_default(), |token| token.text);
    Err(Mismatch { token, expected: misses.describe() })
}

fn found<'a>(filled: &Filled<'a>) -> Match<'a> {
    let insn = filled.insn;
    Match {
        slots: if insn.code == LD_IMM64 { Slots::two(insn, filled.next) } else { Slots::one(insn) },
        label: filled.label.map(|(token, field)| Label { name: token.text, field }),
    }
}

/// What the texts that came furthest expected.
#[derive(Default)]
struct Misses {
    pos: usize,
    expected: Vec<Expected>,
}

impl Misses {
    fn add(&mut self, miss: Miss) {
        if miss.pos > self.pos {
            self.pos = miss.pos;
            self.expected.clear();
        }
        if miss.pos == self.pos && !self.expected.contains(&miss.expected) {
            self.expected.push(miss.expected);
        }
    }

    fn describe(&self) -> Vec<String> {
        if self.pos == 0 && self.expected.len() > 4 {
            return vec!["an instruction".to_owned()];
        }
        let (words, kinds): (Vec<Expected>, Vec<Expected>) =
            self.expected.iter().copied().partition(|expected| matches!(expected, Expected::Text(_)));
        let mut all: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        match words.len() {
            0..=4 => all.extend(words.iter().map(ToString::to_string)),
            many => all.push(format!("one of {many} words")),
        }
        all
    }
}

/// A text of the table, taken apart.
struct Form {
    row: &'static Row,
    /// The slot with its operands zero.
    fixed: Insn,
    parts: Vec<Part>,
    /// What words of the statement may have in addition to the text's.
    suffix: &'static str,
}

enum Part {
    Literal(Token<'static>),
    Reg(Letter, Field),
    Value(Value),
}

impl Form {
    fn new(row: &'static Row, template: &'static str, suffix: &'static str) -> Self {
        let parts = pieces(template).flat_map(|piece| match piece {
            Piece::Text(text) => tokens(text).into_iter().map(Part::Literal).collect(),
            Piece::Reg(letter, field) => vec![Part::Reg(letter, field)],
            Piece::Value(value) => vec![Part::Value(value)],
        });
        Self { row, fixed: fixed_fields(row), parts: parts.collect(), suffix }
    }

    fn parse<'a>(&self, tokens: &[Token<'a>]) -> Result<Filled<'a>, Miss> {
        let mut cursor = Cursor::new(tokens);
        let mut filled = Filled::new(self.fixed);
        for part in &self.parts {
            match *part {
                Part::Literal(literal) => cursor.literal(literal, self.suffix)?,
                Part::Reg(letter, field) => cursor.reg(letter, field, &mut filled)?,
                Part::Value(value) => value.parse(&mut cursor, &mut filled)?,
            }
        }
        cursor.end()?;
        Ok(filled)
    }
}

/// The slot of a row with its operands zero.
fn fixed_fields(row: &Row) -> Insn {
    let fixed = |field| match row.layout.of(field) {
        Use::Fixed(value) => value,
        Use::Operand => 0,
    };
    let (src, off) = (fixed(Field::Src) as u8, fixed(Field::Off) as i16);
    Insn::new(row.code, Reg::R0, Reg(src), off, fixed(Field::Imm))
}

/// Every text of the table. Those of one dialect stand together, the one of `llvm-objdump` first: `r1 = 5` moves 32 bits
/// there and loads 64 in the kernel's dialect, which always says the opcode.
fn forms() -> &'static [Form] {
    static FORMS: OnceLock<Vec<Form>> = OnceLock::new();
    FORMS.get_or_init(|| {
        let mut forms: Vec<Form> = Vec::new();
        for style in [Style::Llvm, Style::Kernel] {
            forms.extend(ROWS.iter().map(|row| Form::new(row, style.template(row), "")));
        }
        forms.extend(ROWS.iter().map(|row| Form::new(row, Style::Suite.template(row), suite_suffix(row))));
        forms.extend(ROWS.iter().flat_map(|row| row.texts.also.iter().map(|text| Form::new(row, text, ""))));
        forms
    })
}

/// The suite's dialect may say `add64` for `add`, and so on for what works on 64 bits.
fn suite_suffix(row: &Row) -> &'static str {
    let (class, operation) = (row.code & 0x07, row.code & 0xf0);
    let sized = match class {
        3 => row.code == 0xdb,
        5 => !matches!(operation, 0x00 | 0x80 | 0x90 | 0xe0),
        7 => operation != 0xd0,
        _ => false,
    };
    if sized { "64" } else { "" }
}
