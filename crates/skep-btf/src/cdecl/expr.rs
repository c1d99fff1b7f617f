//! Constant expressions: array lengths, bit widths, enumerators, `#if`.
//!
//! Values have C's integer types, so that `~0U` and `1U << 31` come out as the compiler has them; everything below
//! `int` is an `int`, as C's promotions make it.

use super::error::Error;
use super::parser::Parser;
use super::prelude;
use super::token::{Kind, Token};
use super::types::Node;

/// Binary operators by rising precedence.
const OPERATORS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<", ">", "<=", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// A value of type `int`, `unsigned int`, `long` or `unsigned long`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    value: i128,
    bits: u32,
    signed: bool,
}

impl Value {
    /// The value that is left when `value` is stored in an integer of that type.
    pub(super) fn new(value: i128, bits: u32, signed: bool) -> Value {
        let shift = 128 - bits;
        let value = match signed {
            true => (value << shift) >> shift,
            false => (((value as u128) << shift) >> shift) as i128,
        };
        Value { value, bits, signed }
    }

    fn int(value: i128) -> Value {
        Value::new(value, 32, true)
    }

    fn size(value: u64) -> Value {
        Value::new(i128::from(value), 64, false)
    }

    /// An enumerator: an `int` if it fits, otherwise the smallest type that it fits.
    pub(super) fn enumerator(value: i128) -> Value {
        const TYPES: [(u32, bool); 4] = [(32, true), (32, false), (64, true), (64, false)];
        TYPES
            .iter()
            .map(|&(bits, signed)| Value::new(value, bits, signed))
            .find(|candidate| candidate.value == value)
            .unwrap_or(Value::new(value, 64, true))
    }

    pub(super) fn get(self) -> i128 {
        self.value
    }

    fn is_true(self) -> bool {
        self.value != 0
    }

    /// The type that both operands of an operator are brought to.
    fn common(self, other: Value) -> (u32, bool) {
        let bits = self.bits.max(other.bits);
        let unsigned = |v: Value| !v.signed && v.bits == bits;
        (bits, !unsigned(self) && !unsigned(other))
    }
}

impl Parser {
    /// A constant expression; commas end it.
    pub(super) fn constant(&mut self) -> Result<Value, Error> {
        self.nested(|parser| {
            let condition = parser.binary(0)?;
            if !parser.eat("?") {
                return Ok(condition);
            }
            let then = parser.evaluated_if(condition.is_true(), Parser::constant)?;
            parser.expect(":", "`:` between the two results of `?`")?;
            let otherwise = parser.evaluated_if(!condition.is_true(), Parser::constant)?;
            let (bits, signed) = then.common(otherwise);
            let chosen = if condition.is_true() { then } else { otherwise };
            Ok(Value::new(chosen.value, bits, signed))
        })
    }

    fn binary(&mut self, level: usize) -> Result<Value, Error> {
        let Some(operators) = OPERATORS.get(level) else { return self.nested(Parser::unary) };
        let mut left = self.binary(level + 1)?;
        while operators.iter().any(|o| self.peek().is(o)) {
            let operator = self.next();
            let evaluated = match &*operator.text {
                "||" => !left.is_true(),
                "&&" => left.is_true(),
                _ => true,
            };
            let right = self.evaluated_if(evaluated, |parser| parser.binary(level + 1))?;
            left = self.apply(&operator, left, right)?;
        }
        Ok(left)
    }

    fn apply(&self, operator: &Token, left: Value, right: Value) -> Result<Value, Error> {
        let (bits, signed) = left.common(right);
        let (a, b) =
            (Value::new(left.value, bits, signed).value, Value::new(right.value, bits, signed).value);
        let result = match &*operator.text {
            "||" => return Ok(Value::int((left.is_true() || right.is_true()).into())),
            "&&" => return Ok(Value::int((left.is_true() && right.is_true()).into())),
            "==" => return Ok(Value::int((a == b).into())),
            "!=" => return Ok(Value::int((a != b).into())),
            "<" => return Ok(Value::int((a < b).into())),
            ">" => return Ok(Value::int((a > b).into())),
            "<=" => return Ok(Value::int((a <= b).into())),
            ">=" => return Ok(Value::int((a >= b).into())),
            "<<" | ">>" => return self.shift(operator, left, right),
            "/" | "%" if b == 0 && self.unevaluated > 0 => 0,
            "/" | "%" if b == 0 => return Err(Error::at(operator, "division by zero")),
            "/" => a / b,
            "%" => a % b,
            "|" => a | b,
            "^" => a ^ b,
            "&" => a & b,
            "+" => a + b,
            "-" => a - b,
            // Only the low bits count, and a product of two 64-bit numbers may have 128.
            _ => a.wrapping_mul(b),
        };
        Ok(Value::new(result, bits, signed))
    }

    fn shift(&self, operator: &Token, left: Value, right: Value) -> Result<Value, Error> {
        if self.unevaluated > 0 {
            return Ok(left);
        }
        let by = u32::try_from(right.value).ok().filter(|by| *by < left.bits);
        let Some(by) = by else {
            let reason = format!("a value of {} bits cannot be shifted by {}", left.bits, right.value);
            return Err(Error::at(operator, reason));
        };
        let result = if operator.is("<<") { left.value << by } else { left.value >> by };
        Ok(Value::new(result, left.bits, left.signed))
    }

    pub(super) fn unary(&mut self) -> Result<Value, Error> {
        let token = self.peek().clone();
        match &*token.text {
            "+" | "-" | "~" | "!" if token.kind == Kind::Punct => {
                self.bump();
                let operand = self.nested(Parser::unary)?;
                let result = match &*token.text {
                    "-" => -operand.value,
                    "~" => !operand.value,
                    "!" => return Ok(Value::int((!operand.is_true()).into())),
                    _ => operand.value,
                };
                Ok(Value::new(result, operand.bits, operand.signed))
            }
            "&" => {
                self.bump();
                let object = self.nested(Parser::object)?;
                Ok(Value::new(object.address, 64, false))
            }
            "(" => self.parenthesized(),
            _ => self.primary(&token),
        }
    }

    /// `(TYPE) value` or `(value)`.
    fn parenthesized(&mut self) -> Result<Value, Error> {
        self.bump();
        if !self.starts_type() {
            let value = self.constant()?;
            self.expect(")", "`)`")?;
            return Ok(value);
        }
        let place = self.peek().clone();
        let ty = self.type_name()?;
        self.expect(")", "`)` after the type")?;
        let operand = self.nested(Parser::unary)?;
        let aliased = self.types.aliased(ty);
        match self.types.node(aliased) {
            Node::Int(int) if int.bool => Ok(Value::int(operand.is_true().into())),
            Node::Int(int) => {
                let bits = self.types.size(aliased).map_or(32, |bytes| bytes as u32 * 8).min(64);
                let value = Value::new(operand.value, bits, int.signed).value;
                Ok(if bits < 32 { Value::int(value) } else { Value::new(value, bits, int.signed) })
            }
            Node::Ptr(_) => Ok(Value::new(operand.value, 64, false)),
            Node::Enum(_) => Ok(Value::enumerator(operand.value)),
            _ => Err(Error::at(&place, "a constant can be cast to integers and pointers only")),
        }
    }

    fn primary(&mut self, token: &Token) -> Result<Value, Error> {
        match token.kind {
            Kind::Number => {
                self.bump();
                self.number(token)
            }
            Kind::Char => {
                self.bump();
                let value =
                    character(&token.text).ok_or_else(|| Error::expected("a character constant", token))?;
                Ok(Value::int(value))
            }
            Kind::Word => self.word(token),
            _ => Err(Error::expected("a constant expression", token)),
        }
    }

    fn word(&mut self, token: &Token) -> Result<Value, Error> {
        match &*token.text {
            _ if self.in_condition => Ok(self.unknown_in_condition()),
            "sizeof" => {
                self.bump();
                self.size_of().map(Value::size)
            }
            "_Alignof" | "__alignof__" | "alignof" => {
                self.bump();
                self.expect("(", "`(` before the type")?;
                let ty = self.type_name()?;
                self.expect(")", "`)` after the type")?;
                Ok(Value::size(self.types.align(ty)))
            }
            "offsetof" | "__builtin_offsetof" => {
                self.bump();
                self.offset_of().map(Value::size)
            }
            "sizeof_field" => {
                self.bump();
                self.size_of_field().map(Value::size)
            }
            name => match self
                .constants
                .get(name)
                .copied()
                .or_else(|| prelude::constant(name).map(Value::enumerator))
            {
                Some(value) => {
                    self.bump();
                    Ok(value)
                }
                None => {
                    let hint =
                        "it is neither an enumerator nor a macro that was read; perhaps it is in an include";
                    Err(Error::at(token, format!("the value of `{name}` is unknown: {hint}")))
                }
            },
        }
    }

    /// In `#if`, names without a meaning are 0, and so are questions like `__has_builtin(x)`.
    fn unknown_in_condition(&mut self) -> Value {
        self.bump();
        if self.peek().is("(") {
            self.skip_balanced();
        }
        Value::int(0)
    }

    fn number(&self, token: &Token) -> Result<Value, Error> {
        let malformed = || Error::at(token, format!("`{}` is not an integer constant", token.text));
        let text = token.text.to_ascii_lowercase();
        let (radix, digits) = match text.as_bytes() {
            [b'0', b'x', ..] => (16, &text[2..]),
            [b'0', b'b', ..] => (2, &text[2..]),
            [b'0', _, ..] => (8, &text[1..]),
            _ => (10, text.as_str()),
        };
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (digits, suffix) = digits.split_at(end);
        if !matches!(suffix, "" | "u" | "l" | "ul" | "lu" | "ll" | "ull" | "llu" | "z" | "uz" | "zu") {
            return Err(malformed());
        }
        let value = match digits.is_empty() {
            // All there is of the octal constant `0u` is its prefix.
            true if radix == 8 => 0,
            _ => i128::from_str_radix(digits, radix).map_err(|_| malformed())?,
        };
        let long = suffix.contains(['l', 'z']) || self.in_condition;
        let unsigned = suffix.contains('u');
        let types = [(32, true), (32, false), (64, true), (64, false)];
        types
            .into_iter()
            .filter(|&(bits, signed)| (bits == 64 || !long) && !(signed && unsigned))
            .filter(|&(bits, signed)| signed || unsigned || radix != 10 || bits == 64)
            .map(|(bits, signed)| Value::new(value, bits, signed))
            .find(|candidate| candidate.value == value)
            .ok_or_else(|| Error::at(token, format!("`{}` has more than 64 bits", token.text)))
    }

    /// Reads an operand whose value counts only if `evaluated`.
    fn evaluated_if<T>(
        &mut self,
        evaluated: bool,
        read: impl FnOnce(&mut Parser) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.unevaluated += usize::from(!evaluated);
        let result = read(self);
        self.unevaluated -= usize::from(!evaluated);
        result
    }
}

/// The value of a character constant with its quotes, of one character or escape sequence.
fn character(literal: &str) -> Option<i128> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    match inner.strip_prefix('\\') {
        None => {
            let mut chars = inner.chars();
            let c = chars.next()?;
            (chars.next().is_none() && c.is_ascii()).then_some(i128::from(u32::from(c)))
        }
        Some(escape) => unescape(escape).map(|byte| i128::from(byte as i8)),
    }
}

/// The byte that the escape sequence after a backslash stands for.
fn unescape(escape: &str) -> Option<u8> {
    Some(match escape {
        "n" => b'\n',
        "t" => b'\t',
        "r" => b'\r',
        "a" => 7,
        "b" => 8,
        "f" => 12,
        "v" => 11,
        "e" => 27,
        "\\" | "'" | "\"" | "?" => escape.as_bytes()[0],
        _ => match escape.strip_prefix('x') {
            Some(digits) => u8::from_str_radix(digits, 16).ok()?,
            None if escape.len() <= 3 => u8::from_str_radix(escape, 8).ok()?,
            None => return None,
        },
    })
}

/// The text of a string literal with its quotes.
pub(super) fn string(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::new();
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let len = escape_len(escape);
        out.push(unescape(escape.get(..len)?)?);
        rest = &escape[len..];
    }
    out.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn escape_len(escape: &str) -> usize {
    let digits =
        |text: &str, radix, most| text.chars().take(most).take_while(|c: &char| c.is_digit(radix)).count();
    match escape.as_bytes().first() {
        Some(b'x') => 1 + digits(&escape[1..], 16, 2),
        Some(b'0'..=b'7') => digits(escape, 8, 3),
        _ => 1,
    }
}
