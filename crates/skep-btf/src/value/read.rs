//! Type and bytes → a tree of values.

use std::cell::Cell;

use crate::types::{Array, Composite, Datasec, Enum, Int};
use crate::{Btf, ByteOrder, Member, Result, Shape, TypeId};

/// Values nest no deeper than this before the rest is missing; corrupt BTF may refer to itself.
const MAX_DEPTH: usize = 32;

/// A tree has no more values than this, plus one for each byte; types of size 0 could repeat each other without end.
const MAX_VALUES: usize = 1 << 16;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Signed {
        value: i64,
        bits: u32,
    },
    Unsigned {
        value: u64,
        bits: u32,
    },
    /// More than 64 bits, the most significant byte first.
    Wide(Vec<u8>),
    Bool(bool),
    Char {
        value: i64,
    },
    Float(f64),
    Pointer(u64),
    /// A value of an enumeration, with its name if it has one, and the length of the longest name.
    Named {
        name: Option<String>,
        value: i128,
        longest: usize,
    },
    /// Characters before the first NUL, and how many there could be.
    Text {
        bytes: Vec<u8>,
        capacity: usize,
    },
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
    /// The bytes end before it; what it would be like.
    Missing(Box<Node>),
    /// Nothing that has a value.
    Nothing,
}

/// Reads a value of type `id` from the beginning of `bytes`.
pub(super) fn read(btf: &Btf, id: TypeId, bytes: &[u8]) -> Result<Node> {
    let left = Cell::new(MAX_VALUES.saturating_add(bytes.len()));
    Reader { btf, order: btf.byte_order(), left }.value(id, bytes, 0)
}

struct Reader<'a> {
    btf: &'a Btf,
    order: ByteOrder,
    /// How many values may still be read.
    left: Cell<usize>,
}

impl Reader<'_> {
    fn value(&self, id: TypeId, bytes: &[u8], depth: usize) -> Result<Node> {
        let left = self.left.get();
        if depth > MAX_DEPTH || left == 0 {
            return Ok(Node::Nothing);
        }
        self.left.set(left - 1);
        let ty = self.btf.resolve(id)?;
        Ok(match ty.shape {
            Shape::Int(int) => self.int(int, ty.name == "char", bytes),
            Shape::Ptr(_) => self.scalar(bytes, self.btf.pointer_bytes(), Node::Pointer),
            Shape::Float { bytes: 4 } => {
                self.scalar(bytes, 4, |raw| Node::Float(f32::from_bits(raw as u32).into()))
            }
            Shape::Float { bytes: 8 } => self.scalar(bytes, 8, |raw| Node::Float(f64::from_bits(raw))),
            Shape::Float { bytes: width } => self.wide(bytes, width),
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => {
                self.scalar(bytes, enumeration.bytes, |raw| {
                    named(enumeration, raw, enumeration.bytes.saturating_mul(8))
                })
            }
            Shape::Array(array) => self.array(array, bytes, depth)?,
            Shape::Struct(composite) | Shape::Union(composite) => self.composite(composite, bytes, depth)?,
            Shape::Var { ty, .. } => self.value(ty, bytes, depth + 1)?,
            Shape::Datasec(section) => self.section(section, bytes, depth)?,
            _ => Node::Nothing,
        })
    }

    /// Members by name; those of anonymous ones are among them.
    fn composite(&self, composite: Composite<'_>, bytes: &[u8], depth: usize) -> Result<Node> {
        let mut fields = Vec::new();
        for member in composite.members.iter() {
            let member = member?;
            match self.member(composite, &member, bytes, depth)? {
                Node::Fields(inner) if member.name.is_empty() => fields.extend(inner),
                node => fields.push((member.name.to_owned(), node)),
            }
        }
        Ok(Node::Fields(fields))
    }

    fn member(
        &self,
        composite: Composite<'_>,
        member: &Member<'_>,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Node> {
        if member.bitfield_bits > 0 {
            return self.bit_field(member, bytes);
        }
        let first = (member.bit_offset / 8) as usize;
        let size = usize::try_from(self.btf.size_of(member.ty)?).unwrap_or(usize::MAX);
        let end = first.saturating_add(size);
        // What follows the last member belongs to it if it is, or ends in, an array without a length.
        let end = if end >= composite.bytes as usize { bytes.len() } else { end.min(bytes.len()) };
        self.value(member.ty, bytes.get(first..end).unwrap_or_default(), depth + 1)
    }

    fn bit_field(&self, member: &Member<'_>, bytes: &[u8]) -> Result<Node> {
        let (first, bits) = (member.bit_offset as usize, u32::from(member.bitfield_bits));
        let covering = bytes.get(first / 8..(first + bits as usize).div_ceil(8));
        let raw = covering.filter(|covering| covering.len() <= 16 && bits <= 64).map(|covering| {
            let mut wide = [0; 16];
            let raw = match self.order {
                ByteOrder::Little => {
                    wide[..covering.len()].copy_from_slice(covering);
                    u128::from_le_bytes(wide) >> (first % 8)
                }
                ByteOrder::Big => {
                    wide[16 - covering.len()..].copy_from_slice(covering);
                    u128::from_be_bytes(wide) >> (covering.len() * 8 - first % 8 - bits as usize)
                }
            };
            low_bits(raw as u64, bits)
        });
        let node = |raw: u64| -> Result<Node> {
            Ok(match self.btf.resolve(member.ty)?.shape {
                Shape::Int(int) if int.encoding.bool => Node::Bool(raw != 0),
                Shape::Int(int) if int.encoding.signed => {
                    Node::Signed { value: sign_extend(raw, bits), bits }
                }
                Shape::Enum(enumeration) | Shape::Enum64(enumeration) => named(enumeration, raw, bits),
                _ => Node::Unsigned { value: raw, bits },
            })
        };
        match raw {
            Some(raw) => node(raw),
            None => node(0).map(|like| Node::Missing(like.into())),
        }
    }

    /// An array; one without a length takes what is left.
    fn array(&self, array: Array, bytes: &[u8], depth: usize) -> Result<Node> {
        let elem_bytes = usize::try_from(self.btf.size_of(array.elem)?).unwrap_or(usize::MAX);
        let there = bytes.len() / elem_bytes.max(1);
        let len = if array.len == 0 { there } else { array.len as usize };
        if self.is_character(array.elem)? {
            let text = if bytes.len() < len { texts(bytes) } else { text(&bytes[..len]) };
            let node = Node::Text { bytes: text, capacity: len };
            return Ok(if bytes.is_empty() && len > 0 { Node::Missing(node.into()) } else { node });
        }
        if elem_bytes == 0 {
            return Ok(Node::List(Vec::new()));
        }
        let items = bytes.chunks_exact(elem_bytes).take(len);
        let items: Vec<Node> =
            items.map(|item| self.value(array.elem, item, depth + 1)).collect::<Result<_>>()?;
        let missing = items.is_empty() && len > 0;
        Ok(if missing { Node::Missing(Node::List(items).into()) } else { Node::List(items) })
    }

    /// The variables of a section, such as those in the one element of the map `.bss`.
    fn section(&self, section: Datasec<'_>, bytes: &[u8], depth: usize) -> Result<Node> {
        let mut fields = Vec::new();
        for var in section.vars.iter() {
            let var = var?;
            let first = var.offset as usize;
            let end = first.saturating_add(var.bytes as usize).min(bytes.len());
            let node = self.value(var.ty, bytes.get(first..end).unwrap_or_default(), depth + 1)?;
            fields.push((self.btf.name(var.ty)?.to_owned(), node));
        }
        Ok(Node::Fields(fields))
    }

    /// `char` and its typedefs: not every compiler marks characters as such, so the name decides, too.
    fn is_character(&self, elem: TypeId) -> Result<bool> {
        let ty = self.btf.resolve(elem)?;
        Ok(matches!(ty.shape, Shape::Int(int) if int.bytes == 1 && (int.encoding.char || ty.name == "char")))
    }

    fn int(&self, int: Int, is_char: bool, bytes: &[u8]) -> Node {
        if int.bytes > 8 {
            return self.wide(bytes, int.bytes);
        }
        self.scalar(bytes, int.bytes, |raw| {
            let bits = u32::from(int.bits);
            let raw = low_bits(raw >> int.bit_offset.min(63), bits);
            match int.encoding {
                encoding if encoding.bool => Node::Bool(raw != 0),
                encoding if encoding.char || is_char => Node::Char {
                    value: if encoding.signed { sign_extend(raw, bits) } else { raw.cast_signed() },
                },
                encoding if encoding.signed => Node::Signed { value: sign_extend(raw, bits), bits },
                _ => Node::Unsigned { value: raw, bits },
            }
        })
    }

    fn scalar(&self, bytes: &[u8], width: u32, node: impl Fn(u64) -> Node) -> Node {
        match self.number(bytes, width as usize) {
            Some(raw) => node(raw),
            None => Node::Missing(node(0).into()),
        }
    }

    fn wide(&self, bytes: &[u8], width: u32) -> Node {
        let Some(there) = bytes.get(..width as usize) else {
            return Node::Missing(Node::Wide(vec![0; 16]).into());
        };
        let mut wide = there.to_vec();
        if self.order == ByteOrder::Little {
            wide.reverse();
        }
        Node::Wide(wide)
    }

    /// A number of up to eight bytes.
    fn number(&self, bytes: &[u8], width: usize) -> Option<u64> {
        let there = bytes.get(..width).filter(|there| there.len() <= 8)?;
        let mut wide = [0; 8];
        Some(match self.order {
            ByteOrder::Little => {
                wide[..width].copy_from_slice(there);
                u64::from_le_bytes(wide)
            }
            ByteOrder::Big => {
                wide[8 - width..].copy_from_slice(there);
                u64::from_be_bytes(wide)
            }
        })
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

/// A value of an enumeration.
fn named(enumeration: Enum<'_>, raw: u64, bits: u32) -> Node {
    let (signed, unsigned) = (i128::from(sign_extend(raw, bits)), i128::from(raw));
    let value = if enumeration.signed { signed } else { unsigned };
    let (mut name, mut longest) = (None, 0);
    for known in enumeration.values.iter().filter_map(Result::ok) {
        longest = longest.max(known.name.len());
        if name.is_none() && known.value == value {
            name = Some(known.name.to_owned());
        }
    }
    Node::Named { name, value, longest }
}

fn low_bits(raw: u64, bits: u32) -> u64 {
    if bits < 64 { raw & ((1 << bits) - 1) } else { raw }
}

fn sign_extend(raw: u64, bits: u32) -> i64 {
    let shift = 64 - bits.clamp(1, 64);
    (raw << shift).cast_signed() >> shift
}
