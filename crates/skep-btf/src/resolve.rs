//! What is behind a type: modifiers and typedefs stripped, sizes.

use std::ops::ControlFlow;

use crate::{Btf, Error, Kind, Result, Shape, Type, TypeId};

/// How many types may stand between a type and what it stands for; the kernel has the same limit
/// (`MAX_RESOLVE_DEPTH`, `kernel/bpf/btf.c`).
pub(crate) const MAX_DEPTH: usize = 32;

impl Btf {
    /// The type behind modifiers (`const`, `volatile`, `restrict`, type tags) and typedefs.
    pub fn resolve(&self, id: TypeId) -> Result<Type<'_>> {
        self.strip(id, |shape| match shape {
            Shape::Typedef(ty) => Some(ty),
            other => modified(other),
        })
    }

    /// The type behind modifiers; typedefs stay.
    pub fn strip_modifiers(&self, id: TypeId) -> Result<Type<'_>> {
        self.strip(id, modified)
    }

    /// The bytes a value of the type takes.
    pub fn size_of(&self, id: TypeId) -> Result<u64> {
        let mut count = 1u64;
        let (behind, shape) = self.follow(id, |shape| match shape {
            Shape::Array(array) => {
                count = count.checked_mul(u64::from(array.len)).ok_or_else(|| too_big(id))?;
                Ok(Some(array.elem))
            }
            Shape::Typedef(ty) | Shape::Var { ty, .. } | Shape::DeclTag { ty, .. } => Ok(Some(ty)),
            other => Ok(modified(other)),
        })?;
        let bytes = match shape {
            Shape::Int(int) => int.bytes,
            Shape::Ptr(_) => self.pointer_bytes(),
            Shape::Struct(composite) | Shape::Union(composite) => composite.bytes,
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => enumeration.bytes,
            Shape::Datasec(datasec) => datasec.bytes,
            Shape::Float { bytes } => bytes,
            _ => {
                let what = self.type_by_id(behind)?.describe();
                return Err(Error::invalid(format!("type {id}: `{what}` has no size")));
            }
        };
        count.checked_mul(u64::from(bytes)).ok_or_else(|| too_big(id))
    }

    /// The size of a pointer: that of C's `long`, or 8 where the types have no `long`.
    pub fn pointer_bytes(&self) -> u32 {
        *self.pointer_bytes.get_or_init(|| match self.base() {
            Some(base) => base.pointer_bytes(),
            None => self.long_bytes().unwrap_or(8),
        })
    }

    /// The size of the first integer that is called `long` in one of C's ways.
    fn long_bytes(&self) -> Option<u32> {
        const NAMES: [&[u8]; 5] = [b"long", b"long int", b"int long", b"unsigned long", b"long unsigned int"];
        self.walk_own(&mut |_, record| {
            let is_long = record.kind_code() == Kind::Int.code()
                && matches!(record.word, 4 | 8)
                && self.string_bytes(record.name_off).is_ok_and(|name| NAMES.contains(&name));
            if is_long { ControlFlow::Break(record.word) } else { ControlFlow::Continue(()) }
        })
    }

    fn strip(&self, id: TypeId, next: impl Fn(Shape<'_>) -> Option<TypeId>) -> Result<Type<'_>> {
        let (behind, _) = self.follow(id, |shape| Ok(next(shape)))?;
        self.type_by_id(behind)
    }

    /// Goes from type to type as `next` says, until it says `None`.
    fn follow<'a>(
        &'a self,
        id: TypeId,
        mut next: impl FnMut(Shape<'a>) -> Result<Option<TypeId>>,
    ) -> Result<(TypeId, Shape<'a>)> {
        let mut at = id;
        let mut shape = self.shape_by_id(at)?;
        for _ in 0..MAX_DEPTH {
            match next(shape)? {
                Some(id) => (at, shape) = (id, self.shape_by_id(id)?),
                None => return Ok((at, shape)),
            }
        }
        Err(Error::malformed(format!(
            "type {id} leads through more than {MAX_DEPTH} types, perhaps in a circle"
        )))
    }
}

/// What a modifier modifies.
fn modified(shape: Shape<'_>) -> Option<TypeId> {
    match shape {
        Shape::Volatile(ty) | Shape::Const(ty) | Shape::Restrict(ty) | Shape::TypeTag { ty, .. } => Some(ty),
        _ => None,
    }
}

fn too_big(id: TypeId) -> Error {
    Error::malformed(format!("type {id} is larger than an address space"))
}
