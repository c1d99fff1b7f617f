//! Reading tokens one after the other, and saying what was expected where.

use std::fmt;

use crate::helper;
use crate::insn::{Insn, Reg};
use crate::table::Field;
use crate::text::Letter;
use crate::text::lex::{Kind, Token};
use crate::text::value::Range;

/// What a statement has filled in so far.
#[derive(Clone, Copy)]
pub(crate) struct Filled<'a> {
    pub(crate) insn: Insn,
    pub(crate) next: i32,
    /// A label and the field for its distance.
    pub(crate) label: Option<(Token<'a>, Field)>,
    dst: Option<Reg>,
    src: Option<Reg>,
}

impl<'a> Filled<'a> {
    /// An instruction with its fixed fields.
    pub(crate) fn new(insn: Insn) -> Self {
        Self { insn, next: 0, label: None, dst: None, src: None }
    }

    /// Puts a register into its field; one that is written twice must be the same.
    fn set_reg(&mut self, field: Field, reg: Reg) -> Result<(), Reg> {
        let slot = if field == Field::Dst { &mut self.dst } else { &mut self.src };
        match *slot.get_or_insert(reg) {
            first if first == reg => {
                self.insn = match field {
                    Field::Dst => Insn { regs: self.insn.regs & 0xf0 | reg.0, ..self.insn },
                    _ => self.insn.with_src(reg),
                };
                Ok(())
            }
            first => Err(first),
        }
    }
}

/// A token that does not fit: its position and what would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Miss {
    pub(crate) pos: usize,
    pub(crate) expected: Expected,
}

/// What would fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// This very text.
    Text(&'static str),
    /// A register with such a letter.
    Reg(Letter),
    /// The register that the statement has already named.
    SameReg(Letter, Reg),
    /// A number of 16 bits, unsigned.
    U16,
    /// A number of 32 bits.
    Imm32,
    /// A number of 64 bits.
    Imm64,
    /// An offset of 16 bits.
    Off16,
    /// A label or a distance.
    Target,
    /// A helper's number.
    HelperId,
    /// A helper's name.
    Helper,
    /// A kernel function's name and BTF id.
    Kfunc,
    /// Nothing more.
    End,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "`{text}`"),
            Self::Reg(Letter::W) => f.write_str("a register `w0` to `w10`"),
            Self::Reg(_) => f.write_str("a register `r0` to `r10`"),
            Self::SameReg(Letter::W, reg) => write!(f, "`w{}` again", reg.0),
            Self::SameReg(_, reg) => write!(f, "`{reg}` again"),
            Self::U16 => f.write_str("a number of 16 bits"),
            Self::Imm32 => f.write_str("a number of 32 bits"),
            Self::Imm64 => f.write_str("a number of 64 bits"),
            Self::Off16 => f.write_str("an offset of 16 bits"),
            Self::Target => f.write_str("a label or a distance such as `+1`"),
            Self::HelperId => f.write_str("the number of a helper"),
            Self::Helper => f.write_str("the name of a helper"),
            Self::Kfunc => f.write_str("a kernel function such as `name#1`"),
            Self::End => f.write_str("the end of the statement"),
        }
    }
}

/// A position among the tokens of a statement.
#[derive(Clone)]
pub(crate) struct Cursor<'t, 'a> {
    tokens: &'t [Token<'a>],
    pos: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(crate) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self { tokens, pos: 0 }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.pos).copied()
    }

    fn miss<T>(&self, expected: Expected) -> Result<T, Miss> {
        Err(Miss { pos: self.pos, expected })
    }

    /// Takes the next token if it is `text`.
    pub(crate) fn skip(&mut self, text: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.text == text);
        self.pos += usize::from(is_next);
        is_next
    }

    /// Takes a token of a template: a number by its value, a word also with `suffix` behind it.
    pub(crate) fn literal(&mut self, literal: Token<'static>, suffix: &str) -> Result<(), Miss> {
        let fits = |token: Token<'_>| match (token.kind, literal.kind) {
            (Kind::Number(a), Kind::Number(b)) => a == b,
            (Kind::Word, Kind::Word) => {
                let short = token.text.strip_suffix(suffix).unwrap_or(token.text);
                token.text.eq_ignore_ascii_case(literal.text) || short.eq_ignore_ascii_case(literal.text)
            }
            _ => token.text == literal.text,
        };
        if !self.peek().is_some_and(fits) {
            return self.miss(Expected::Text(literal.text));
        }
        self.pos += 1;
        Ok(())
    }

    /// Takes a register.
    pub(crate) fn reg(&mut self, letter: Letter, field: Field, filled: &mut Filled<'a>) -> Result<(), Miss> {
        let Some(reg) = self.peek().and_then(|token| reg(token.text, letter)) else {
            return self.miss(Expected::Reg(letter));
        };
        if let Err(first) = filled.set_reg(field, reg) {
            return self.miss(Expected::SameReg(letter, first));
        }
        self.pos += 1;
        Ok(())
    }

    /// Whether a sign is next.
    pub(crate) fn at_sign(&self) -> bool {
        self.peek().is_some_and(|token| matches!(token.text, "+" | "-"))
    }

    /// Takes a number with its signs (`5`, `- 5`, `+ -5`) in a range.
    pub(crate) fn number(&mut self, range: Range, expected: Expected) -> Result<i128, Miss> {
        let mut ahead = self.clone();
        ahead.skip("+");
        let negative = ahead.skip("-");
        let Some(Token { kind: Kind::Number(Some(magnitude)), .. }) = ahead.peek() else {
            return ahead.miss(expected);
        };
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        if value < range.0 || value > range.1 {
            return ahead.miss(expected);
        }
        self.pos = ahead.pos + 1;
        Ok(value)
    }

    /// Takes a label, which is any word but `pc`.
    pub(crate) fn label(&mut self) -> Option<Token<'a>> {
        let token = self.peek().filter(|token| token.kind == Kind::Word && token.text != "pc")?;
        self.pos += 1;
        Some(token)
    }

    /// Takes a helper: `bpf_map_lookup_elem`, with `#1` behind it or not, or `unknown#999`.
    pub(crate) fn helper(&mut self) -> Result<u32, Miss> {
        let mut ahead = self.clone();
        let Some(token) = ahead.peek().filter(|token| token.kind == Kind::Word) else {
            return self.miss(Expected::Helper);
        };
        ahead.pos += 1;
        let known = helper::by_name(token.text).map(|helper| helper.id);
        if known.is_none() && token.text != "unknown" {
            return self.miss(Expected::Helper);
        }
        let numbered = ahead.skip("#");
        let id = match known {
            Some(id) if !numbered => id,
            Some(id) => ahead.number((id.into(), id.into()), Expected::HelperId)? as u32,
            None => ahead.number((i32::MIN.into(), u32::MAX.into()), Expected::HelperId)? as u32,
        };
        self.pos = ahead.pos;
        Ok(id)
    }

    /// Takes a kernel function by its BTF id: `name#1`. The name says nothing that the id does not.
    pub(crate) fn kfunc(&mut self) -> Result<i32, Miss> {
        let mut ahead = self.clone();
        if ahead.label().is_none() {
            return self.miss(Expected::Kfunc);
        }
        if ahead.skip("-") && ahead.label().is_none() {
            return self.miss(Expected::Kfunc);
        }
        if !ahead.skip("#") {
            return ahead.miss(Expected::Text("#"));
        }
        let id = ahead.number((i32::MIN.into(), i32::MAX.into()), Expected::Kfunc)?;
        self.pos = ahead.pos;
        Ok(id as i32)
    }

    /// Takes nothing; there must be nothing more.
    pub(crate) fn end(&self) -> Result<(), Miss> {
        if self.pos < self.tokens.len() { self.miss(Expected::End) } else { Ok(()) }
    }
}

/// Reads a register's name. `r11` is read too, because the kernel's rewritten programs show it.
fn reg(text: &str, letter: Letter) -> Option<Reg> {
    let (first, number) = text.split_at_checked(1)?;
    let fits = match first {
        "r" | "R" => letter != Letter::W,
        "w" | "W" => letter != Letter::R,
        _ => false,
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit()) && (number.len() == 1 || !number.starts_with('0'));
    let number: u8 = number.parse().ok()?;
    (fits && plain && number <= 11).then_some(Reg(number))
}
