//! Compares types as a whole: loosely for questions of existence and size, strictly for `TYPE_MATCHES`.
//!
//! The names of the two types are known to be equal but for flavours when a comparison begins.

use super::candidates::are_comparable;
use super::{Budget, essential_name};
use crate::resolve::MAX_DEPTH;
use crate::{Btf, Composite, Enum, Error, Proto, Result, Shape, Type, TypeId};

/// A type with the BTF it is in.
pub type Place<'a> = (&'a Btf, TypeId);

/// May the types stand for each other? They must be of the same kind; names and contents do not count. Behind pointers,
/// in arrays and signatures the same holds for what is there.
pub fn types_are_compatible(local: Place<'_>, target: Place<'_>) -> Result<bool> {
    let (a, b) = (local.0.type_by_id(local.1)?, target.0.type_by_id(target.1)?);
    let mut comparison = Comparison { local: local.0, target: target.0, budget: Budget::new() };
    Ok(are_comparable(a.kind(), b.kind()) && comparison.compatible(local.1, target.1, MAX_DEPTH)?)
}

/// Does the target's type have all that the local one has?
///
/// Members and values of the local type must be in the target's by name, their types must match in turn; integers must
/// agree in size and sign, enumerations in size, arrays in length, signatures in each parameter. Behind a pointer
/// structures and unions match by name and kind, and by a forward declaration of either.
pub(crate) fn types_match(local: Place<'_>, target: Place<'_>) -> Result<bool> {
    let mut comparison = Comparison { local: local.0, target: target.0, budget: Budget::new() };
    comparison.matches(local.1, target.1, false, MAX_DEPTH)
}

struct Comparison<'l, 't> {
    local: &'l Btf,
    target: &'t Btf,
    budget: Budget,
}

impl<'l, 't> Comparison<'l, 't> {
    fn compatible(&mut self, mut local: TypeId, mut target: TypeId, level: usize) -> Result<bool> {
        for _ in 0..MAX_DEPTH {
            self.budget.spend()?;
            let (a, b) = (self.local.resolve(local)?, self.target.resolve(target)?);
            if !are_comparable(a.kind(), b.kind()) {
                return Ok(false);
            }
            (local, target) = match (a.shape, b.shape) {
                (Shape::Int(a), Shape::Int(b)) => return Ok(a.bit_offset == 0 && b.bit_offset == 0),
                (Shape::Ptr(a), Shape::Ptr(b)) => (a, b),
                (Shape::Array(a), Shape::Array(b)) => (a.elem, b.elem),
                (Shape::FuncProto(a), Shape::FuncProto(b)) => {
                    if !self.params(a, b, level, Self::compatible)? {
                        return Ok(false);
                    }
                    (a.ret, b.ret)
                }
                (Shape::Void | Shape::Fwd { .. } | Shape::Enum(_) | Shape::Enum64(_), _) => return Ok(true),
                (Shape::Struct(_) | Shape::Union(_), _) => return Ok(true),
                _ => return Ok(false),
            };
        }
        Err(too_deep())
    }

    fn matches(
        &mut self,
        mut local: TypeId,
        mut target: TypeId,
        mut behind_ptr: bool,
        level: usize,
    ) -> Result<bool> {
        if level == 0 {
            return Err(too_deep());
        }
        for _ in 0..MAX_DEPTH {
            self.budget.spend()?;
            let (a, b) = (self.local.resolve(local)?, self.target.resolve(target)?);
            if essential_name(a.name) != essential_name(b.name) {
                return Ok(false);
            }
            (local, target) = match (a.shape, b.shape) {
                (Shape::Ptr(a), Shape::Ptr(b)) => {
                    behind_ptr = true;
                    (a, b)
                }
                (Shape::Array(a), Shape::Array(b)) if a.len == b.len => (a.elem, b.elem),
                (Shape::FuncProto(a), Shape::FuncProto(b)) => {
                    let param = |this: &mut Self, a, b, level| this.matches(a, b, behind_ptr, level);
                    if !self.params(a, b, level, param)? {
                        return Ok(false);
                    }
                    (a.ret, b.ret)
                }
                _ => return self.match_named(a, b, behind_ptr, level),
            };
        }
        Err(too_deep())
    }

    /// Types at which the comparison ends, or divides into members.
    fn match_named(&mut self, a: Type<'l>, b: Type<'t>, behind_ptr: bool, level: usize) -> Result<bool> {
        Ok(match (a.shape, b.shape) {
            (Shape::Void, Shape::Void) => true,
            (Shape::Int(a), Shape::Int(b)) => a.bytes == b.bytes && a.encoding.signed == b.encoding.signed,
            (Shape::Enum(a) | Shape::Enum64(a), Shape::Enum(b) | Shape::Enum64(b)) => {
                self.enums_match(a, b)?
            }
            (Shape::Fwd { union: a }, Shape::Fwd { union: b }) => a == b,
            (Shape::Fwd { union }, Shape::Struct(_)) | (Shape::Struct(_), Shape::Fwd { union }) => {
                behind_ptr && !union
            }
            (Shape::Fwd { union }, Shape::Union(_)) | (Shape::Union(_), Shape::Fwd { union }) => {
                behind_ptr && union
            }
            (Shape::Struct(_), Shape::Struct(_)) | (Shape::Union(_), Shape::Union(_)) if behind_ptr => true,
            (Shape::Struct(a), Shape::Struct(b)) | (Shape::Union(a), Shape::Union(b)) => {
                self.composites_match(a, b, level)?
            }
            _ => false,
        })
    }

    /// Is each local member in the target's type, with a type that matches?
    fn composites_match(&mut self, a: Composite<'l>, b: Composite<'t>, level: usize) -> Result<bool> {
        if a.members.len() > b.members.len() {
            return Ok(false);
        }
        for wanted in a.members.iter() {
            let wanted = wanted?;
            let mut found = false;
            for member in b.members.iter() {
                self.budget.spend()?;
                let member = member?;
                if essential_name(wanted.name) == essential_name(member.name)
                    && self.matches(wanted.ty, member.ty, false, level - 1)?
                {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Is each local value in the target's enumeration by name?
    fn enums_match(&mut self, a: Enum<'l>, b: Enum<'t>) -> Result<bool> {
        if a.bytes != b.bytes || a.values.len() > b.values.len() {
            return Ok(false);
        }
        for wanted in a.values.iter() {
            let wanted = essential_name(wanted?.name);
            let mut found = false;
            for value in b.values.iter() {
                self.budget.spend()?;
                if essential_name(value?.name) == wanted {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Do the parameters of two signatures compare one by one?
    fn params(
        &mut self,
        a: Proto<'l>,
        b: Proto<'t>,
        level: usize,
        mut compare: impl FnMut(&mut Self, TypeId, TypeId, usize) -> Result<bool>,
    ) -> Result<bool> {
        if a.params.len() != b.params.len() {
            return Ok(false);
        }
        for (a, b) in a.params.iter().zip(b.params.iter()) {
            let below = level.checked_sub(1).ok_or_else(too_deep)?;
            if !compare(self, a?.ty, b?.ty, below)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn too_deep() -> Error {
    Error::malformed(format!("the types nest more than {MAX_DEPTH} deep"))
}
