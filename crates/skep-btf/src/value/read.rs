//! Type and bytes → a tree of values.

use crate::types::{Composite, Int};
use crate::{Btf, Member, Result, Shape, TypeId};

/// Types nest no deeper than this before the rest is shown as missing; corrupt BTF may refer to itself.
const DEPTH: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Signed {
        value: i64,
        bits: u32,
    },
    Unsigned {
        value: u64,
        bits: u32,
    },
    Wide(Vec<u8>),
    Bool(bool),
    Char(u8),
    Float(f64),
    Pointer(u64),
    Named {
        name: String,
        value: i128,
    },
    Text(Vec<u8>),
    List(Vec<Self>),
    Fields(Vec<(String, Self)>),
    /// The bytes end before it.
    Missing,
}

/// Reads a value of type `id` from the beginning of `bytes`.
pub(crate) fn read(btf: &Btf, id: TypeId, bytes: &[u8]) -> Result<Node> {
    Reader { btf }.value(id, bytes, 0)
}

struct Reader<'a> {
    btf: &'a Btf,
}

impl Reader<'_> {
    fn value(&self, id: TypeId, bytes: &[u8], depth: usize) -> Result<Node> {
        let ty = self.btf.resolve(id)?;
        if depth > DEPTH {
            return Ok(Node::Missing);
        }
        match ty.shape {
            Shape::Int(int) => Ok(read_int(int, bytes)),
            Shape::Ptr(_) => {
                Ok(number(bytes, self.btf.pointer_bytes() as usize).map_or(Node::Missing, Node::Pointer))
            }
            Shape::Float { bytes: width } => Ok(read_float(width, bytes)),
            Shape::Enum(en) | Shape::Enum64(en) => {
                let Some(raw) = number(bytes, en.bytes as usize) else { return Ok(Node::Missing) };
                let value =
                    if en.signed { i128::from(sign_extend(raw, en.bytes * 8)) } else { i128::from(raw) };
                let name = en.values.iter().filter_map(Result::ok).find(|named| named.value == value);
                Ok(match name {
                    Some(named) => Node::Named { name: named.name.to_owned(), value },
                    None if en.signed => Node::Signed { value: value as i64, bits: en.bytes * 8 },
                    None => Node::Unsigned { value: value as u64, bits: en.bytes * 8 },
                })
            }
            Shape::Array(array) => self.array(array.elem, array.len as usize, bytes, depth),
            Shape::Struct(composite) | Shape::Union(composite) => {
                let mut fields = Vec::new();
                self.fields(composite, bytes, depth, &mut fields)?;
                Ok(Node::Fields(fields))
            }
            Shape::Var { ty, .. } => self.value(ty, bytes, depth + 1),
            _ => Ok(Node::Missing),
        }
    }

    /// Members, those of anonymous ones among them.
    fn fields(
        &self,
        composite: Composite<'_>,
        bytes: &[u8],
        depth: usize,
        out: &mut Vec<(String, Node)>,
    ) -> Result<()> {
        for member in composite.members.iter() {
            let member = member?;
            let node = self.member(&member, bytes, depth)?;
            match node {
                Node::Fields(inner) if member.name.is_empty() => out.extend(inner),
                node => out.push((member.name.to_owned(), node)),
            }
        }
        Ok(())
    }

    fn member(&self, member: &Member<'_>, bytes: &[u8], depth: usize) -> Result<Node> {
        if member.bitfield_bits > 0 {
            return self.bit_field(member, bytes);
        }
        let rest = bytes.get((member.bit_offset / 8) as usize..).unwrap_or_default();
        self.value(member.ty, rest, depth + 1)
    }

    fn bit_field(&self, member: &Member<'_>, bytes: &[u8]) -> Result<Node> {
        let (first, bits) = (member.bit_offset as usize, u32::from(member.bitfield_bits));
        let covering = bytes.get(first / 8..(first + bits as usize).div_ceil(8));
        let Some(covering) = covering.filter(|covering| covering.len() <= 16) else {
            return Ok(Node::Missing);
        };
        let mut wide = [0; 16];
        wide[..covering.len()].copy_from_slice(covering);
        let raw = (u128::from_le_bytes(wide) >> (first % 8)) as u64;
        let raw = if bits < 64 { raw & ((1 << bits) - 1) } else { raw };
        Ok(match self.btf.resolve(member.ty)?.shape {
            Shape::Int(int) if int.encoding.bool => Node::Bool(raw != 0),
            Shape::Int(int) if int.encoding.signed => Node::Signed { value: sign_extend(raw, bits), bits },
            Shape::Enum(en) | Shape::Enum64(en) => {
                let named =
                    en.values.iter().filter_map(Result::ok).find(|named| named.value == i128::from(raw));
                named.map_or(Node::Unsigned { value: raw, bits }, |named| Node::Named {
                    name: named.name.to_owned(),
                    value: named.value,
                })
            }
            _ => Node::Unsigned { value: raw, bits },
        })
    }

    /// An array; one without a length takes what is left.
    fn array(&self, elem: TypeId, len: usize, bytes: &[u8], depth: usize) -> Result<Node> {
        let elem_bytes = usize::try_from(self.btf.size_of(elem)?).unwrap_or(usize::MAX).max(1);
        let len = if len == 0 { bytes.len() / elem_bytes } else { len };
        if self.is_character(elem)? {
            return Ok(Node::Text(if bytes.len() < len { texts(bytes) } else { text(&bytes[..len]) }));
        }
        let there = len.min(bytes.len().div_ceil(elem_bytes));
        let items = (0..there).map(|n| self.value(elem, &bytes[n * elem_bytes..], depth + 1));
        items.collect::<Result<_>>().map(Node::List)
    }

    /// `char` and its typedefs: BTF of clang marks `char` signed, so the name decides.
    fn is_character(&self, elem: TypeId) -> Result<bool> {
        let ty = self.btf.resolve(elem)?;
        Ok(matches!(ty.shape, Shape::Int(int) if int.bytes == 1 && (int.encoding.char || ty.name == "char")))
    }
}

/// A string: what is behind its zero is what was in memory before.
fn text(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

/// The beginning of an array that the record ends in: its program chose how much to send, so several strings in it are
/// meant, as in the arguments of a command; they are joined by blanks. What no zero ends may be a buffer's padding.
fn texts(bytes: &[u8]) -> Vec<u8> {
    let Some(last) = bytes.iter().rposition(|&byte| byte == 0) else { return bytes.to_vec() };
    let end = bytes[..last].iter().rposition(|&byte| byte != 0).map_or(0, |end| end + 1);
    bytes[..end].iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect()
}

fn read_int(int: Int, bytes: &[u8]) -> Node {
    let width = int.bytes as usize;
    if width > 8 {
        return bytes.get(..width).map_or(Node::Missing, |wide| Node::Wide(wide.to_vec()));
    }
    let Some(raw) = number(bytes, width) else { return Node::Missing };
    let bits = u32::from(int.bits);
    let raw = raw >> int.bit_offset.min(63);
    let raw = if bits < 64 { raw & ((1 << bits) - 1) } else { raw };
    match int.encoding {
        encoding if encoding.bool => Node::Bool(raw != 0),
        encoding if encoding.char => Node::Char(raw as u8),
        encoding if encoding.signed => Node::Signed { value: sign_extend(raw, bits), bits },
        _ => Node::Unsigned { value: raw, bits },
    }
}

fn read_float(width: u32, bytes: &[u8]) -> Node {
    match (width, number(bytes, width as usize)) {
        (4, Some(raw)) => Node::Float(f64::from(f32::from_bits(raw as u32))),
        (8, Some(raw)) => Node::Float(f64::from_bits(raw)),
        _ => Node::Missing,
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8], width: usize) -> Option<u64> {
    let there = bytes.get(..width).filter(|there| there.len() <= 8)?;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(there);
    Some(u64::from_le_bytes(wide))
}

fn sign_extend(raw: u64, bits: u32) -> i64 {
    let shift = 64 - bits.clamp(1, 64);
    (raw << shift).cast_signed() >> shift
}
