//! All types at hand by their ids: a dump visits every one of them several times.

use std::cell::Cell;

use super::layout::Shaped;
use crate::{Btf, Error, Kind, Member, Result, Shape, Type, TypeId};

/// The longest way through typedefs, modifiers and arrays.
const MAX_CHAIN: usize = 64;

pub(super) struct Table<'a> {
    types: Vec<Type<'a>>,
    /// The members of all structures and unions, one after the other, and where each type's begin.
    fields: Vec<Field<'a>>,
    first_field: Vec<u32>,
    /// What [`super::layout`] has found out about structures and unions.
    pub(super) shaped: Vec<Cell<Option<Shaped>>>,
    pub(super) pointer_bytes: u32,
    /// The most text that is written before the BTF is taken for corrupt.
    pub(super) text_limit: usize,
}

/// A member with its place, and its width in bits if it is a bit field.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) ty: TypeId,
    pub(super) bit_offset: u32,
    pub(super) bits: Option<u8>,
}

impl<'a> Field<'a> {
    fn new(member: &Member<'a>) -> Self {
        Self {
            name: member.name,
            ty: member.ty,
            bit_offset: member.bit_offset,
            bits: (member.bitfield_bits > 0).then_some(member.bitfield_bits),
        }
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(btf: &'a Btf) -> Result<Self> {
        let count = btf.len();
        let mut types = Vec::with_capacity(count);
        let mut first_field = Vec::with_capacity(count + 1);
        let mut fields = Vec::with_capacity(count);
        types.push(Type::VOID);
        first_field.push(0);
        for ty in btf.types() {
            let ty = ty?;
            first_field.push(fields.len() as u32);
            if let Some(composite) = ty.composite() {
                for member in composite.members.iter() {
                    fields.push(Field::new(&member?));
                }
            }
            types.push(ty);
        }
        first_field.push(fields.len() as u32);
        let base_bytes = std::iter::successors(btf.base(), |base| base.base()).map(|base| base.bytes().len());
        let bytes = btf.bytes().len() + base_bytes.sum::<usize>();
        let mut table = Self {
            shaped: vec![Cell::new(None); types.len()],
            types,
            fields: Vec::new(),
            first_field,
            pointer_bytes: btf.pointer_bytes(),
            text_limit: bytes.saturating_mul(16).saturating_add(1 << 20),
        };
        for field in &mut fields {
            table.take_width_of_type(field)?;
        }
        table.fields = fields;
        Ok(table)
    }

    pub(super) fn len(&self) -> u32 {
        self.types.len() as u32
    }

    pub(super) fn get(&self, id: TypeId) -> Result<&Type<'a>> {
        self.types.get(id.0 as usize).ok_or_else(|| Error::no_type(id, self.types.len()))
    }

    /// The type behind typedefs and modifiers.
    pub(super) fn resolve(&self, id: TypeId) -> Result<&Type<'a>> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            match ty.shape {
                Shape::Typedef(next)
                | Shape::Const(next)
                | Shape::Volatile(next)
                | Shape::Restrict(next)
                | Shape::TypeTag { ty: next, .. } => ty = self.get(next)?,
                _ => return Ok(ty),
            }
        }
        Err(Error::malformed(format!("type {id} leads through more than {MAX_CHAIN} types")))
    }

    /// What a value consists of, and how many of it: arrays are opened.
    pub(super) fn element(&self, id: TypeId) -> Result<(&Type<'a>, u64)> {
        let (mut ty, mut count) = (self.resolve(id)?, 1_u64);
        for _ in 0..MAX_CHAIN {
            let Shape::Array(array) = ty.shape else { return Ok((ty, count)) };
            count = count.saturating_mul(array.len.into());
            ty = self.resolve(array.elem)?;
        }
        Err(Error::malformed(format!("type {id} is an array of more than {MAX_CHAIN} dimensions")))
    }

    /// Bytes of a value; a type without a size has none.
    pub(super) fn bytes(&self, id: TypeId) -> Result<u64> {
        let (ty, count) = self.element(id)?;
        let bytes = match ty.shape {
            Shape::Int(int) => int.bytes,
            Shape::Ptr(_) => self.pointer_bytes,
            Shape::Struct(composite) | Shape::Union(composite) => composite.bytes,
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => enumeration.bytes,
            Shape::Float { bytes } => bytes,
            _ => 0,
        };
        Ok(count.saturating_mul(bytes.into()))
    }

    /// The members of a structure or union.
    pub(super) fn fields(&self, id: TypeId) -> &[Field<'a>] {
        let bound = |at: u32| self.first_field.get(at as usize).map_or(0, |first| *first as usize);
        self.fields.get(bound(id.0)..bound(id.0 + 1)).unwrap_or_default()
    }

    /// Before members had a width of their own, a bit field was one by its integer type.
    fn take_width_of_type(&self, field: &mut Field<'a>) -> Result<()> {
        if field.bits.is_none()
            && let Shape::Int(int) = self.resolve(field.ty)?.shape
            && u32::from(int.bits) < int.bytes.saturating_mul(8)
            && int.bytes <= 16
        {
            field.bits = Some(int.bits.max(1));
            field.bit_offset = field.bit_offset.saturating_add(int.bit_offset.into());
        }
        Ok(())
    }

    /// Functions that carry the tag `bpf_kfunc`, in the order of their ids.
    pub(super) fn kfuncs(&self) -> Vec<TypeId> {
        let tagged = self.types.iter().filter_map(|tag| match tag.shape {
            Shape::DeclTag { ty, component: None, .. } if tag.name == "bpf_kfunc" => Some(ty),
            _ => None,
        });
        let mut kfuncs: Vec<TypeId> =
            tagged.filter(|id| self.get(*id).is_ok_and(|ty| ty.kind() == Kind::Func)).collect();
        kfuncs.sort();
        kfuncs.dedup();
        kfuncs
    }

    /// Which types another one refers to.
    pub(super) fn referenced(&self) -> Vec<bool> {
        let mut referenced = vec![false; self.types.len()];
        let mut mark = |id: TypeId| {
            if let Some(slot) = referenced.get_mut(id.0 as usize) {
                *slot = true;
            }
        };
        self.fields.iter().for_each(|field| mark(field.ty));
        for ty in &self.types {
            match ty.shape {
                Shape::Ptr(to) => mark(to),
                Shape::Typedef(of) | Shape::Volatile(of) | Shape::Const(of) | Shape::Restrict(of) => mark(of),
                Shape::TypeTag { ty, .. } | Shape::DeclTag { ty, .. } | Shape::Var { ty, .. } => mark(ty),
                Shape::Func { proto, .. } => mark(proto),
                Shape::Array(array) => {
                    mark(array.elem);
                    mark(array.index);
                }
                Shape::FuncProto(proto) => {
                    mark(proto.ret);
                    proto.param_types().for_each(&mut mark);
                }
                _ => {}
            }
        }
        referenced
    }
}
