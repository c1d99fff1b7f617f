//! Text → bytes of a type: what `--set VAR=VALUE` says.

use std::borrow::Cow;
use std::fmt;

use super::scan::{Scanner, character};
use crate::types::{Array, Composite, Enum, Int};
use crate::{Btf, ByteOrder, Error, Member, Shape, Type, TypeId};

/// The largest value that text is turned into.
const MAX_BYTES: u64 = 1 << 26;

/// How deep values may nest.
const MAX_DEPTH: usize = 32;

/// How many members are looked at for one name.
const MAX_MEMBERS: usize = 1 << 17;

/// Why a text is no value of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl ParseError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The error of a value that is a part of another one.
    fn within(self, part: impl fmt::Display) -> Self {
        Self(format!("{part}: {}", self.0))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

impl From<Error> for ParseError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads a value.
///
/// Numbers are written as in C, also in binary (`-1`, `0x1f`, `017`, `0b11`, `'a'`), truth values as `true` and `false`,
/// values of enumerations by name or number. Character arrays take text, in quotes with C's escape sequences or without;
/// other arrays take lists, `1, 2, 3` or in brackets. Structures and unions are written as C or JSON would do it:
/// `{1, 2}`, `{.a = 1, .b = {2, 3}}`, `{.b.c = 2}`, `{"a": 1}`. What a list does not mention is 0.
pub fn parse(btf: &Btf, id: TypeId, text: &str) -> Result<Vec<u8>, ParseError> {
    let bytes = btf.size_of(id)?;
    if bytes > MAX_BYTES {
        return Err(ParseError(format!("a value of {bytes} bytes is too large to be given as text")));
    }
    let mut parser =
        Parser { btf, order: btf.byte_order(), text: Scanner::new(text), out: vec![0; bytes as usize] };
    parser.whole(id)?;
    parser.text.end()?;
    Ok(parser.out)
}

struct Parser<'a, 't> {
    btf: &'a Btf,
    order: ByteOrder,
    text: Scanner<'t>,
    out: Vec<u8>,
}

/// Where a value goes, in bits, and how wide it is if it is a bit field.
#[derive(Clone, Copy)]
struct Slot {
    bit: u64,
    bits: Option<u32>,
    depth: usize,
}

impl Slot {
    fn inner(self, bit: u64, bits: u8) -> Self {
        Self { bit: self.bit + bit, bits: (bits > 0).then_some(bits.into()), depth: self.depth + 1 }
    }
}

impl<'a, 't> Parser<'a, 't> {
    /// The value that is all of the text, for which brackets and quotes may be left out.
    fn whole(&mut self, id: TypeId) -> Result<(), ParseError> {
        let slot = Slot { bit: 0, bits: None, depth: 0 };
        match (self.btf.resolve(id)?.shape, self.text.peek()) {
            (Shape::Array(array), first) if !matches!(first, Some('[' | '{' | '"')) => {
                match self.is_character(array.elem)? {
                    true => {
                        let text = self.text.remainder();
                        self.put_text(array, text.as_bytes(), slot)
                    }
                    false => self.elements(array, None, slot),
                }
            }
            _ => self.value(id, slot),
        }
    }

    fn value(&mut self, id: TypeId, slot: Slot) -> Result<(), ParseError> {
        if slot.depth > MAX_DEPTH {
            return Err(ParseError(format!("values are nested deeper than {MAX_DEPTH} levels")));
        }
        let ty = self.btf.resolve(id)?;
        match ty.shape {
            Shape::Int(int) => {
                let value = self.integer(int)?;
                self.put(value, int.bytes, int.encoding.signed, id, slot)
            }
            Shape::Ptr(_) => {
                let value = number(&self.word()?)?;
                self.put(value, self.btf.pointer_bytes(), false, id, slot)
            }
            Shape::Float { bytes } => {
                let raw = float(&self.word()?, bytes)?;
                self.put(raw, bytes, false, id, slot)
            }
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => {
                let value = self.enumerator(&ty, enumeration)?;
                self.put(value, enumeration.bytes, enumeration.signed, id, slot)
            }
            Shape::Array(array) => self.array(array, slot),
            Shape::Struct(composite) | Shape::Union(composite) => self.composite(&ty, composite, slot),
            Shape::Var { ty, .. } => self.value(ty, Slot { depth: slot.depth + 1, ..slot }),
            _ => Err(ParseError(format!("a value of `{}` cannot be given as text", ty.describe()))),
        }
    }

    fn integer(&mut self, int: Int) -> Result<i128, ParseError> {
        let text = self.word()?;
        match &*text {
            "true" | "yes" | "on" | "y" if int.encoding.bool => Ok(1),
            "false" | "no" | "off" | "n" if int.encoding.bool => Ok(0),
            _ if int.encoding.bool => match number(&text) {
                Ok(value @ (0 | 1)) => Ok(value),
                _ => Err(ParseError(format!("`{text}` is neither `true` nor `false`"))),
            },
            _ if int.bytes >= 16 && !int.encoding.signed => wide_number(&text),
            _ => number(&text),
        }
    }

    /// A word, in quotes or without: JSON has quotes around names and around what is no number to it.
    fn word(&mut self) -> Result<Cow<'t, str>, ParseError> {
        Ok(match self.text.string()? {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            None => self.text.word().into(),
        })
    }

    fn enumerator(&mut self, ty: &Type<'_>, enumeration: Enum<'_>) -> Result<i128, ParseError> {
        let text = self.word()?;
        let values = || enumeration.values.iter().filter_map(Result::ok);
        if let Some(known) = values().find(|known| known.name == text) {
            return Ok(known.value);
        }
        number(&text).map_err(|_| {
            let mut names: Vec<&str> = values().map(|known| known.name).take(13).collect();
            if names.len() > 12 {
                names[12] = "…";
            }
            ParseError(format!("`{text}` is not in `{}`, which has {}", ty.describe(), names.join(", ")))
        })
    }

    fn array(&mut self, array: Array, slot: Slot) -> Result<(), ParseError> {
        let is_text = self.is_character(array.elem)?;
        if is_text && let Some(bytes) = self.text.string()? {
            return self.put_text(array, &bytes, slot);
        }
        match self.text.open() {
            Some(close) => self.elements(array, Some(close), slot),
            None if is_text => {
                let word = self.text.word();
                self.put_text(array, word.as_bytes(), slot)
            }
            None => Err(ParseError(format!("an array is written `[…]`, not `{}`", self.text.word()))),
        }
    }

    /// Elements with commas between them, up to the bracket or the end of the text.
    fn elements(&mut self, array: Array, close: Option<char>, slot: Slot) -> Result<(), ParseError> {
        let elem_bits = self.btf.size_of(array.elem)?.saturating_mul(8);
        for nth in 0_u64.. {
            if self.closed(close) {
                break;
            }
            if nth >= array.len.into() {
                return Err(ParseError(format!("the array has no more than {} elements", array.len)));
            }
            let inner = slot.inner(nth.saturating_mul(elem_bits), 0);
            self.value(array.elem, inner).map_err(|e| e.within(format_args!("[{nth}]")))?;
            if !self.text.eat(',') {
                return self.close(close);
            }
        }
        Ok(())
    }

    fn composite(&mut self, ty: &Type<'_>, composite: Composite<'a>, slot: Slot) -> Result<(), ParseError> {
        self.text.expect('{').map_err(|e| e.within(format_args!("`{}`", ty.describe())))?;
        let mut next = 0;
        while !self.closed(Some('}')) {
            let (offset, member) = match self.text.member() {
                Some(path) => {
                    let (index, offset, member) = self.member_at(ty, composite, path)?;
                    next = index + 1;
                    (offset, member)
                }
                None if next < composite.members.len() => {
                    next += 1;
                    (0, composite.members.get(next - 1)?)
                }
                None => {
                    return Err(ParseError(format!("`{}` has no more than {next} members", ty.describe())));
                }
            };
            let inner = slot.inner(offset + u64::from(member.bit_offset), member.bitfield_bits);
            self.value(member.ty, inner).map_err(|e| e.within(format_args!("`{}`", member.name)))?;
            if !self.text.eat(',') {
                return self.close(Some('}'));
            }
        }
        Ok(())
    }

    /// The member that a path such as `a.b` leads to, as [`Self::member`] says where it is.
    fn member_at(
        &self,
        ty: &Type<'_>,
        composite: Composite<'a>,
        path: &str,
    ) -> Result<(usize, u64, Member<'a>), ParseError> {
        let mut names = path.split('.');
        let (index, mut base, mut member) =
            self.member(ty, composite, names.next().unwrap_or_default().trim())?;
        for name in names {
            let inner = self.btf.resolve(member.ty)?;
            let Some(composite) = inner.composite() else {
                return Err(ParseError(format!("`{}` has no members", inner.describe())));
            };
            let (_, offset, next) = self.member(&inner, composite, name.trim())?;
            base += u64::from(member.bit_offset) + offset;
            member = next;
        }
        Ok((index, base, member))
    }

    /// The member of that name, also in structures and unions without a name: the index of the outer member, the offset
    /// of the structure that holds it, and the member itself.
    fn member(
        &self,
        ty: &Type<'_>,
        composite: Composite<'a>,
        name: &str,
    ) -> Result<(usize, u64, Member<'a>), ParseError> {
        let mut pending: Vec<(usize, u64, Member<'a>)> = Vec::new();
        let add = |pending: &mut Vec<_>, outer: Option<usize>, base: u64, composite: Composite<'a>| {
            let members = composite.members.iter().enumerate().filter_map(|(nth, m)| Some((nth, m.ok()?)));
            pending.extend(members.map(|(nth, member)| (outer.unwrap_or(nth), base, member)));
        };
        add(&mut pending, None, 0, composite);
        let mut at = 0;
        while let Some(&(outer, base, member)) = pending.get(at).filter(|_| pending.len() < MAX_MEMBERS) {
            if member.name == name {
                return Ok((outer, base, member));
            }
            if member.name.is_empty()
                && let Some(inner) = self.btf.resolve(member.ty)?.composite()
            {
                add(&mut pending, Some(outer), base + u64::from(member.bit_offset), inner);
            }
            at += 1;
        }
        let mut names: Vec<&str> = pending
            .iter()
            .map(|(_, _, member)| member.name)
            .filter(|name| !name.is_empty())
            .take(13)
            .collect();
        if names.len() > 12 {
            names[12] = "…";
        }
        Err(ParseError(format!("`{}` has no member `{name}`; it has {}", ty.describe(), names.join(", "))))
    }

    /// Whether the list ends here; then the bracket is taken.
    fn closed(&mut self, close: Option<char>) -> bool {
        match close {
            Some(close) => self.text.eat(close),
            None => self.text.peek().is_none(),
        }
    }

    fn close(&mut self, close: Option<char>) -> Result<(), ParseError> {
        close.map_or(Ok(()), |close| self.text.expect(close))
    }

    fn is_character(&self, elem: TypeId) -> Result<bool, ParseError> {
        let ty = self.btf.resolve(elem)?;
        Ok(matches!(ty.shape, Shape::Int(int) if int.bytes == 1 && (int.encoding.char || ty.name == "char")))
    }

    fn put_text(&mut self, array: Array, text: &[u8], slot: Slot) -> Result<(), ParseError> {
        let first = (slot.bit / 8) as usize;
        let room = self.out.get_mut(first..).and_then(|rest| rest.get_mut(..text.len()));
        match room {
            Some(room) if text.len() <= array.len as usize => {
                room.copy_from_slice(text);
                Ok(())
            }
            _ => Err(ParseError(format!(
                "{} bytes of text do not fit in an array of {}",
                text.len(),
                array.len
            ))),
        }
    }

    /// Puts a number in its place, if it fits.
    fn put(
        &mut self,
        value: i128,
        bytes: u32,
        signed: bool,
        id: TypeId,
        slot: Slot,
    ) -> Result<(), ParseError> {
        let bits = slot.bits.unwrap_or(bytes.saturating_mul(8));
        let (least, most) = match (bits, signed) {
            (0, _) => (0, 0),
            (1..=127, false) => (0, (1_i128 << bits) - 1),
            (1..=127, true) => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
            (128.., _) => (i128::MIN, i128::MAX),
        };
        if !(least..=most).contains(&value) {
            let what = self.btf.strip_modifiers(id)?.describe();
            let what = slot.bits.map_or(format!("`{what}`"), |bits| format!("{bits} bits of `{what}`"));
            return Err(ParseError(format!("{value} does not fit in {what} ({least}..{most})")));
        }
        for nth in 0..u64::from(bits.min(128)) {
            // Bit `nth`, from the least significant one on, and where it goes.
            let set = value >> nth & 1 != 0;
            let at = match self.order {
                ByteOrder::Little => slot.bit + nth,
                ByteOrder::Big => slot.bit + u64::from(bits) - 1 - nth,
            };
            let mask = match self.order {
                ByteOrder::Little => 1 << (at % 8),
                ByteOrder::Big => 0x80 >> (at % 8),
            };
            let Some(byte) = self.out.get_mut((at / 8) as usize) else {
                return Err(ParseError("a member lies outside of its structure".to_owned()));
            };
            *byte = if set { *byte | mask } else { *byte & !mask };
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<i128, ParseError> {
    if let Some(byte) = character(text) {
        return Ok(byte.into());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = i128::try_from(magnitude(text, digits)?)
        .map_err(|_| ParseError(format!("`{text}` has more than 127 bits")))?;
    Ok(if negative { -value } else { value })
}

/// The 128 bits of a number without a sign.
fn wide_number(text: &str) -> Result<i128, ParseError> {
    magnitude(text, text).map(u128::cast_signed)
}

fn magnitude(text: &str, digits: &str) -> Result<u128, ParseError> {
    let lower = digits.replace('_', "").to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ParseError(format!("`{text}` is not a number")));
    }
    u128::from_str_radix(digits, radix).map_err(|_| ParseError(format!("`{text}` has more than 128 bits")))
}

/// The bits of a floating-point number.
fn float(text: &str, bytes: u32) -> Result<i128, ParseError> {
    let value: f64 = text.parse().map_err(|_| ParseError(format!("`{text}` is not a number")))?;
    match bytes {
        4 => Ok((value as f32).to_bits().into()),
        8 => Ok(value.to_bits().into()),
        _ => Err(ParseError(format!("floating-point numbers of {bytes} bytes are not supported"))),
    }
}
