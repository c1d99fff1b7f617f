//! What C would make of a list of members, and so what to pad and pack.
//!
//! BTF has offsets and sizes but no attributes. A member that does not lie at a multiple of its alignment, or a bit field
//! that crosses a boundary of its type, shows that the structure is packed; a gap that alignment does not explain is
//! filled by bit fields without a name, which do not raise the alignment of the structure.

use super::table::{Field, Table};
use crate::{Error, Result, Shape, Type, TypeId};

/// How deep values may hold each other.
const MAX_DEPTH: usize = 200;

/// How a structure or union is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaped {
    pub(super) packed: bool,
    /// Alignment in bytes that its members give it.
    pub(super) align: u8,
}

/// The types of padding, by falling width.
pub(super) const PADS: [(&str, u64); 4] = [("long", 64), ("int", 32), ("short", 16), ("char", 8)];

impl<'a> Table<'a> {
    /// How a structure or union is written.
    pub(super) fn shape(&self, ty: &Type<'a>) -> Result<Shaped> {
        self.shape_at(ty, 0)
    }

    /// The alignment of a member as it is written here.
    fn align(&self, field: &Field, depth: usize) -> Result<u8> {
        if field.align > 0 {
            return Ok(field.align);
        }
        let (ty, _) = self.element(field.ty)?;
        Ok(self.shape_at(ty, depth + 1)?.align)
    }

    /// The alignment of what is no structure or union, and no array.
    pub(super) fn scalar_align(&self, ty: &Type<'a>) -> Option<u8> {
        Some(match ty.shape {
            Shape::Int(int) => scalar_align(int.bytes, 16),
            Shape::Float { bytes } => scalar_align(bytes, 8),
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => scalar_align(enumeration.bytes, 8),
            Shape::Ptr(_) => scalar_align(self.pointer_bytes, 8),
            Shape::Struct(_) | Shape::Union(_) => return None,
            _ => 1,
        })
    }

    fn shape_at(&self, ty: &Type<'a>, depth: usize) -> Result<Shaped> {
        if let Some(known) = self.shaped[ty.id.0 as usize].get() {
            return Ok(known);
        }
        if depth > MAX_DEPTH {
            return Err(Error::malformed(format!("type {} is nested deeper than {MAX_DEPTH} types", ty.id)));
        }
        let shaped = match ty.composite() {
            Some(composite) => self.shape_of(ty.id, composite.bytes.into(), depth)?,
            None => Shaped { packed: false, align: 1 },
        };
        self.shaped[ty.id.0 as usize].set(Some(shaped));
        Ok(shaped)
    }

    fn shape_of(&self, id: TypeId, bytes: u64, depth: usize) -> Result<Shaped> {
        let (mut packed, mut align) = (false, 1);
        for field in self.fields(id) {
            let field_align = self.align(field, depth)?;
            align = align.max(field_align);
            packed |= !lies_naturally(field, field_align.into());
        }
        packed |= !bytes.is_multiple_of(align.into());
        Ok(Shaped { packed, align: if packed { 1 } else { align } })
    }

    /// Where C puts the member after `end` bits of others.
    pub(super) fn natural_offset(&self, field: &Field, end: u64, packed: bool) -> Result<u64> {
        let align = if packed { 1 } else { self.align(field, 0)? };
        Ok(match field.bits {
            None => end.next_multiple_of(u64::from(align) * 8),
            Some(_) if packed => end,
            Some(bits) => {
                let unit = u64::from(field.bytes.max(1)) * 8;
                if end % unit + u64::from(bits) > unit { end.next_multiple_of(unit) } else { end }
            }
        })
    }
}

/// Bit fields, by type and width, that fill the bits from `from` to `to`.
pub(super) fn padding(from: u64, to: u64) -> impl Iterator<Item = (&'static str, u64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        if at >= to {
            return None;
        }
        let whole = PADS.iter().find(|(_, bits)| at.is_multiple_of(*bits) && at + bits <= to);
        let (name, bits) = match whole {
            Some((name, bits)) => (*name, *bits),
            None => ("char", (to - at).min(8 - at % 8)),
        };
        at += bits;
        Some((name, bits))
    })
}

fn lies_naturally(field: &Field, align: u64) -> bool {
    match field.bits {
        None => u64::from(field.bit_offset).is_multiple_of(align * 8),
        Some(bits) => {
            let unit = u64::from(field.bytes.max(1)) * 8;
            u64::from(field.bit_offset) % unit + u64::from(bits) <= unit
        }
    }
}

fn scalar_align(bytes: u32, most: u8) -> u8 {
    if bytes.is_power_of_two() { bytes.min(most.into()) as u8 } else { 1 }
}
