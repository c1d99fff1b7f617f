//! All types at hand by their ids: a dump visits every one of them several times. Functions, which are half of a kernel's
//! types and hardly ever written, stay where they are.

use std::cell::Cell;

use super::layout::Shaped;
use crate::{Btf, Error, Kind, Linkage, Position, Result, Shape, Type, TypeId};

/// The longest way through typedefs, modifiers and arrays.
const MAX_CHAIN: usize = 64;

/// Stands for every function.
const FUNCTION: Type<'static> =
    Type { id: TypeId::VOID, name: "", shape: Shape::Func { proto: TypeId::VOID, linkage: Linkage::Static } };

pub(super) struct Table<'a> {
    btf: &'a Btf,
    /// All types but functions, and where each id's is.
    types: Vec<Type<'a>>,
    places: Vec<u32>,
    /// The members of all structures and unions, one after the other, and where each type's begin.
    fields: Vec<Field>,
    first_field: Vec<u32>,
    /// Functions that carry the tag `bpf_kfunc`.
    kfuncs: Vec<TypeId>,
    /// What [`super::layout`] has found out about structures and unions.
    pub(super) shaped: Vec<Cell<Option<Shaped>>>,
    pub(super) pointer_bytes: u32,
    /// The most text that is written before the BTF is taken for corrupt.
    pub(super) text_limit: usize,
}

/// A member with its place, its size, its width in bits if it is a bit field, and its alignment in bytes, which is 0 where
/// that of other members decides.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) ty: TypeId,
    pub(super) bit_offset: u32,
    pub(super) bytes: u32,
    pub(super) bits: Option<u8>,
    pub(super) align: u8,
}

impl Field {
    fn new(member: &Position) -> Self {
        Self {
            ty: member.ty,
            bit_offset: member.bit_offset,
            bytes: 0,
            bits: (member.bitfield_bits > 0).then_some(member.bitfield_bits),
            align: 0,
        }
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(btf: &'a Btf) -> Result<Self> {
        let count = btf.len();
        let mut places = Vec::with_capacity(count);
        let mut types = Vec::with_capacity(count);
        let mut first_field = Vec::with_capacity(count + 1);
        let mut fields = Vec::with_capacity(count);
        let mut kfuncs = Vec::new();
        types.extend([Type::VOID, FUNCTION]);
        places.push(0);
        first_field.extend([0, 0]);
        for ty in btf.types_without_names_of(Kind::Func) {
            let ty = ty?;
            if let Shape::Func { .. } = ty.shape {
                places.push(1);
                continue;
            }
            if let Shape::DeclTag { ty: tagged, component: None, .. } = ty.shape
                && ty.name == "bpf_kfunc"
            {
                kfuncs.push(tagged);
            }
            places.push(types.len() as u32);
            first_field.push(fields.len() as u32);
            if let Some(composite) = ty.composite() {
                for member in composite.members.positions().iter() {
                    fields.push(Field::new(&member?));
                }
            }
            types.push(ty);
        }
        first_field.push(fields.len() as u32);
        let base_bytes = std::iter::successors(btf.base(), |base| base.base()).map(|base| base.bytes().len());
        let bytes = btf.bytes().len() + base_bytes.sum::<usize>();
        let mut table = Self {
            btf,
            shaped: vec![Cell::new(None); places.len()],
            types,
            places,
            kfuncs,
            fields: Vec::new(),
            first_field,
            pointer_bytes: btf.pointer_bytes(),
            text_limit: bytes.saturating_mul(16).saturating_add(1 << 20),
        };
        for field in &mut fields {
            table.measure(field)?;
        }
        table.fields = fields;
        Ok(table)
    }

    pub(super) fn len(&self) -> u32 {
        self.places.len() as u32
    }

    /// The type with that id; of a function, only that it is one.
    pub(super) fn get(&self, id: TypeId) -> Result<&Type<'a>> {
        let place = self.places.get(id.0 as usize).map(|place| *place as usize);
        place.and_then(|place| self.types.get(place)).ok_or_else(|| Error::no_type(id, self.places.len()))
    }

    /// The name and the signature of a function.
    pub(super) fn function(&self, id: TypeId) -> Result<Option<(&'a str, TypeId)>> {
        let ty = self.btf.type_by_id(id)?;
        Ok(match ty.shape {
            Shape::Func { proto, .. } => Some((ty.name, proto)),
            _ => None,
        })
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
        self.opened(self.resolve(id)?)
    }

    fn opened<'t>(&'t self, mut ty: &'t Type<'a>) -> Result<(&'t Type<'a>, u64)> {
        let (id, mut count) = (ty.id, 1_u64);
        for _ in 0..MAX_CHAIN {
            let Shape::Array(array) = ty.shape else { return Ok((ty, count)) };
            count = count.saturating_mul(array.len.into());
            ty = self.resolve(array.elem)?;
        }
        Err(Error::malformed(format!("type {id} is an array of more than {MAX_CHAIN} dimensions")))
    }

    /// Bytes of a value that is no array; a type without a size has none.
    fn bytes_of(&self, ty: &Type<'a>) -> u32 {
        match ty.shape {
            Shape::Int(int) => int.bytes,
            Shape::Ptr(_) => self.pointer_bytes,
            Shape::Struct(composite) | Shape::Union(composite) => composite.bytes,
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => enumeration.bytes,
            Shape::Float { bytes } => bytes,
            _ => 0,
        }
    }

    /// The members of a structure or union.
    pub(super) fn fields(&self, id: TypeId) -> &[Field] {
        let place = self.places.get(id.0 as usize).map_or(0, |place| *place as usize);
        let bound = |at: usize| self.first_field.get(at).map_or(0, |first| *first as usize);
        self.fields.get(bound(place)..bound(place + 1)).unwrap_or_default()
    }

    /// Looks up what a member's type says of it.
    fn measure(&self, field: &mut Field) -> Result<()> {
        let ty = self.resolve(field.ty)?;
        let (element, count) = self.opened(ty)?;
        let bytes = count.saturating_mul(self.bytes_of(element).into());
        field.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        field.align = self.scalar_align(element).unwrap_or(0);
        // Before members had a width of their own, a bit field was one by its integer type.
        if field.bits.is_none()
            && let Shape::Int(int) = ty.shape
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
        let is_function = |id: &TypeId| self.get(*id).is_ok_and(|ty| ty.kind() == Kind::Func);
        let mut kfuncs: Vec<TypeId> = self.kfuncs.iter().copied().filter(is_function).collect();
        kfuncs.sort();
        kfuncs.dedup();
        kfuncs
    }

    /// Which types another one refers to, leaving out what only functions do, which is signatures.
    pub(super) fn referenced(&self) -> Vec<bool> {
        let mut referenced = vec![false; self.places.len()];
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
