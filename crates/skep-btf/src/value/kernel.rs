//! Values as the kernel prints them (`bpf_snprintf_btf`; `btf_type_show` in `kernel/bpf/btf.c`), with what is peculiar to it:
//! elements of arrays have no names, and members of structures among them have none until an array inside has ended; arrays
//! of pointers and of arrays show their first element again and again; strings end at their NUL.

use crate::types::{Array, Composite, Enum, Int};
use crate::{Btf, Member, Result, Shape, Type, TypeId};

/// No line breaks and no indentation.
pub const COMPACT: u64 = 1;
/// No names of members and types.
pub const NONAME: u64 = 2;
/// Addresses as they are.
pub const PTR_RAW: u64 = 4;
/// Zeros as well.
pub const ZERO: u64 = 8;

/// Pointers and arrays that a type may be nested in to have a name, and the bytes of that.
const MAX_NESTING: usize = 10;
const NAME_BYTES: usize = 79;
/// Deepest indentation.
const INDENTS: usize = 32;
/// Types do not nest deeper, and values are not more, unless they are damaged.
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 1 << 22;

/// The text of a value of type `id`, which may have any bytes. `hash` stands for an address that is not to be known.
pub fn show(btf: &Btf, id: TypeId, bytes: &[u8], flags: u64, hash: &dyn Fn(u64) -> u64) -> Result<Vec<u8>> {
    let mut printer = Printer {
        btf,
        bytes,
        flags,
        hash,
        out: Vec::new(),
        depth: 0,
        looking: None,
        member: None,
        ty: id,
        in_array: false,
        of_chars: false,
        terminated: false,
        values: 0,
    };
    printer.value(id, 0, 0)?;
    Ok(printer.out)
}

/// What a type is called.
struct Called<'a> {
    /// The kind of its tag.
    prefix: &'static str,
    name: &'a str,
    /// How often it is a pointer, and an array.
    stars: usize,
    brackets: usize,
    /// What begins its parts.
    parens: &'static str,
}

struct Printer<'a> {
    btf: &'a Btf,
    bytes: &'a [u8],
    flags: u64,
    hash: &'a dyn Fn(u64) -> u64,
    out: Vec<u8>,
    depth: usize,
    /// While it is looked whether there is anything to show: the deepest so far.
    looking: Option<usize>,
    member: Option<Member<'a>>,
    /// The type of what is shown if that is no member, before typedefs are followed.
    ty: TypeId,
    in_array: bool,
    /// Is the array one of characters, and has one been NUL?
    of_chars: bool,
    terminated: bool,
    values: usize,
}

impl<'a> Printer<'a> {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn value(&mut self, id: TypeId, at: usize, bit: u32) -> Result<()> {
        self.values += 1;
        if self.depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Ok(());
        }
        let ty = self.btf.resolve(id)?;
        match ty.shape {
            Shape::Int(int) => self.int(id, int, at, bit),
            Shape::Ptr(_) => self.pointer(id, at),
            Shape::Enum(of) | Shape::Enum64(of) => self.enumeration(id, of, at),
            Shape::Array(array) => self.aggregate(
                id,
                |printer| printer.elements(array, at, bit),
                |printer| {
                    printer.of_chars = printer.holds_chars(array);
                    printer.terminated = false;
                },
                b']',
            ),
            Shape::Struct(of) | Shape::Union(of) => {
                self.aggregate(id, |printer| printer.members(of, at), |_| {}, b'}')
            }
            Shape::Void => Ok(()),
            _ => {
                let text = format!("<unsupported kind:{}>", ty.kind().code());
                self.put(text.as_bytes());
                Ok(())
            }
        }
    }

    /// Shows what has parts. Inside of something else it is looked first whether one of them is to be shown.
    fn aggregate(
        &mut self,
        id: TypeId,
        mut parts: impl FnMut(&mut Self) -> Result<()>,
        begin: impl Fn(&mut Self),
        end: u8,
    ) -> Result<()> {
        let mut whole = |printer: &mut Self| {
            printer.ty = id;
            begin(printer);
            let name = printer.name()?;
            printer.line(&[&name], b"");
            printer.depth += 1;
            parts(printer)?;
            printer.depth -= 1;
            if end == b']' {
                (printer.of_chars, printer.terminated) = (false, false);
            }
            let delimiter: &[u8] = if printer.depth == 0 { b"" } else { b"," };
            printer.line(&[&[end]], delimiter);
            Ok(())
        };
        if self.depth > 0 && !self.has(ZERO) && self.looking.is_none() {
            let member = self.member;
            self.looking = Some(0);
            whole(self)?;
            self.member = member;
            if self.looking.take() <= Some(self.depth) {
                return Ok(());
            }
        }
        whole(self)
    }

    fn members(&mut self, of: Composite<'a>, at: usize) -> Result<()> {
        for member in of.members.iter() {
            let member = member?;
            self.member = Some(member);
            let (byte, bit) = (at + (member.bit_offset / 8) as usize, member.bit_offset % 8);
            match member.bitfield_bits {
                0 => self.value(member.ty, byte, bit)?,
                bits => self.bits(member.ty, byte, bit, bits.into())?,
            }
            self.member = None;
        }
        Ok(())
    }

    fn holds_chars(&self, array: Array) -> bool {
        let element = self.btf.resolve(array.elem).map(|ty| ty.shape);
        matches!(element, Ok(Shape::Int(int)) if int.bytes == 1 || int.encoding.char)
    }

    fn elements(&mut self, array: Array, at: usize, bit: u32) -> Result<()> {
        let stride = match self.btf.resolve(array.elem)?.shape {
            Shape::Ptr(_) | Shape::Array(_) => 0,
            _ => self.btf.size_of(array.elem)? as usize,
        };
        for n in 0..array.len as usize {
            (self.in_array, self.member) = (true, None);
            self.value(array.elem, at + n * stride, bit)?;
            (self.in_array, self.member) = (false, None);
            if self.terminated || self.values > MAX_VALUES {
                break;
            }
        }
        Ok(())
    }

    fn int(&mut self, id: TypeId, int: Int, at: usize, bit: u32) -> Result<()> {
        let bits = u32::from(int.bits);
        if bit != 0 || int.bit_offset != 0 || !matches!(bits, 8 | 16 | 32 | 64 | 128) {
            let from = bit + u32::from(int.bit_offset);
            return self.bits(id, at + (from / 8) as usize, from % 8, bits);
        }
        if bits == 128 {
            return self.bits(id, at, 0, 128);
        }
        let value = self.number(at, bits / 8);
        if bits == 8 && self.of_chars {
            self.terminated |= value == 0;
            if self.terminated {
                return Ok(());
            }
            if is_printable(value as u8) {
                return self.leaf(id, true, &[b'\'', value as u8, b'\'']);
            }
        }
        let unused = 64 - bits;
        let text = match int.encoding.signed {
            true => ((value << unused).cast_signed() >> unused).to_string(),
            false => value.to_string(),
        };
        self.leaf(id, value != 0, text.as_bytes())
    }

    /// Bits of a byte and those behind it, as a number without sign.
    fn bits(&mut self, id: TypeId, at: usize, bit: u32, bits: u32) -> Result<()> {
        let mut raw = [0; 16];
        let there = self.bytes.get(at..).unwrap_or_default();
        let len = (bit + bits).div_ceil(8).min(16).min(there.len() as u32) as usize;
        raw[..len].copy_from_slice(&there[..len]);
        let mask = 1u128.checked_shl(bits).map_or(u128::MAX, |above| above - 1);
        let value = u128::from_le_bytes(raw) >> bit & mask;
        let (upper, lower) = ((value >> 64) as u64, value as u64);
        match upper {
            0 => self.leaf(id, lower != 0, format!("0x{lower:x}").as_bytes()),
            _ => self.leaf(id, true, format!("0x{upper:x}{lower:016x}").as_bytes()),
        }
    }

    fn pointer(&mut self, id: TypeId, at: usize) -> Result<()> {
        let value = self.number(at, self.btf.pointer_bytes());
        let shown = if self.has(PTR_RAW) || value == 0 { value } else { (self.hash)(value) };
        self.leaf(id, value != 0, format!("0x{shown:016x}").as_bytes())
    }

    /// A name is shown even where it stands for zero.
    fn enumeration(&mut self, id: TypeId, of: Enum<'a>, at: usize) -> Result<()> {
        let wide = of.bytes == 8;
        let raw = self.number(at, if wide { 8 } else { 4 });
        let (signed, unsigned) = match wide {
            true => (i128::from(raw.cast_signed()), i128::from(raw)),
            false => (i128::from(raw as u32 as i32), i128::from(raw as u32)),
        };
        let value = if of.signed { signed } else { unsigned };
        for known in of.values.iter() {
            let known = known?;
            if known.value == value {
                return self.leaf(id, true, known.name.as_bytes());
            }
        }
        self.leaf(id, raw != 0, value.to_string().as_bytes())
    }

    /// A value without parts, unless it is a zero that is not to be shown.
    fn leaf(&mut self, id: TypeId, is_set: bool, text: &[u8]) -> Result<()> {
        self.ty = id;
        if is_set || self.has(ZERO) || self.depth == 0 {
            let name = self.name()?;
            let delimiter: &[u8] = if self.depth == 0 { b"" } else { b"," };
            self.line(&[&name, text], delimiter);
            if let Some(deepest) = &mut self.looking {
                *deepest = self.depth.max(*deepest);
            }
        }
        Ok(())
    }

    fn number(&self, at: usize, bytes: u32) -> u64 {
        let mut raw = [0; 8];
        let there = self.bytes.get(at..).unwrap_or_default();
        let len = there.len().min(bytes.min(8) as usize);
        raw[..len].copy_from_slice(&there[..len]);
        u64::from_le_bytes(raw)
    }

    fn put(&mut self, text: &[u8]) {
        if self.looking.is_none() {
            self.out.extend_from_slice(text);
        }
    }

    fn line(&mut self, parts: &[&[u8]], delimiter: &[u8]) {
        let compact = self.has(COMPACT);
        let indent = [b' '; INDENTS];
        self.put(if compact { b"" } else { &indent[..self.depth.min(INDENTS)] });
        parts.iter().for_each(|part| self.put(part));
        self.put(delimiter);
        self.put(if compact { b"" } else { b"\n" });
    }

    /// `.member = (type)`, and the parenthesis of what has parts.
    fn name(&self) -> Result<Vec<u8>> {
        if self.in_array {
            return Ok(Vec::new());
        }
        let member = self.member.map_or("", |member| member.name);
        let Some(called) = self.called(self.member.map_or(self.ty, |member| member.ty))? else {
            return Ok(Vec::new());
        };
        let Called { prefix, name, stars, brackets, parens } = called;
        if self.has(NONAME) {
            return Ok(parens.into());
        }
        let member = if member.is_empty() { String::new() } else { format!(".{member} = ") };
        let prefix =
            if prefix.is_empty() || name.is_empty() { prefix.to_owned() } else { format!("{prefix} ") };
        let (stars, brackets) = ("*".repeat(stars), "[]".repeat(brackets));
        let space = if stars.is_empty() { "" } else { " " };
        let mut text = format!("{member}({prefix}{name}{space}{stars}{brackets}){parens}").into_bytes();
        text.truncate(NAME_BYTES);
        Ok(text)
    }

    /// What a type is called, unless it is nested too deep.
    fn called(&self, id: TypeId) -> Result<Option<Called<'a>>> {
        let (mut stars, mut brackets, mut parens) = (0, 0, "");
        let mut typedef = None;
        let mut ty: Type<'a> = self.btf.type_by_id(id)?;
        for _ in 0..MAX_NESTING {
            let next = match ty.shape {
                Shape::Typedef(next) => {
                    typedef.get_or_insert(ty.name);
                    next
                }
                Shape::Array(array) => {
                    (brackets, parens) = (brackets + 1, "[");
                    array.elem
                }
                Shape::Ptr(next) => {
                    stars += 1;
                    next
                }
                _ => TypeId::VOID,
            };
            if next == TypeId::VOID {
                let (prefix, opened) = match ty.shape {
                    Shape::Struct(_) => ("struct", "{"),
                    Shape::Union(_) => ("union", "{"),
                    Shape::Enum(_) | Shape::Enum64(_) => ("enum", ""),
                    _ => ("", ""),
                };
                let parens = if stars > 0 {
                    ""
                } else if brackets > 0 {
                    parens
                } else {
                    opened
                };
                let prefix = if typedef.is_some() { "" } else { prefix };
                let name = typedef.unwrap_or(ty.name);
                return Ok(Some(Called { prefix, name, stars, brackets, parens }));
            }
            ty = self.btf.strip_modifiers(next)?;
        }
        Ok(None)
    }
}

/// Does the kernel print this character (`isprint`, in Latin-1)?
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 0xa0..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdecl;

    fn check(source: &str, bytes: &[u8], flags: u64, expected: &str) {
        let declared = cdecl::parse(source).expect("it can be read");
        let id = declared.main_type().expect("it was declared");
        let text = show(&declared.btf, id, bytes, flags, &|_| 0x1234).expect("it can be shown");
        assert_eq!(String::from_utf8_lossy(&text), expected, "{source}");
    }

    #[test]
    fn values_are_shown_as_the_kernel_shows_them() {
        let event =
            "struct event { int pid; unsigned int a : 3; unsigned int b : 5; char comm[4]; void *at; };";
        let bytes =
            [&7u32.to_le_bytes()[..], &[0b1010_1001], b"cat\0", &[0; 7], &9u64.to_le_bytes()].concat();
        check(
            event,
            &bytes,
            0,
            "(struct event){\n .pid = (int)7,\n .a = (unsigned int)0x1,\n .b = (unsigned int)0x15,\n .comm = \
             (char[])[\n  'c',\n  'a',\n  't',\n ],\n .at = ( *)0x0000000000001234,\n}\n",
        );
        check(event, &bytes, COMPACT | NONAME | PTR_RAW, "{7,0x1,0x15,['c','a','t',],0x0000000000000009,}");
        check(event, &[0; 24], COMPACT, "(struct event){}");
        check(event, &[0; 24], COMPACT | NONAME | ZERO, "{0,0x0,0x0,[],0x0000000000000000,}");
    }

    #[test]
    fn bytes_that_are_missing_are_zeros() {
        check("struct pair { long a; long b; };", &[1], COMPACT, "(struct pair){.a = (long)1,}");
    }
}
