//! Matches a local access against a candidate: fields by name, array elements by index, values by name.

use super::candidates::{Candidate, are_comparable};
use super::spec::{Spec, Step};
use super::{Budget, ReloKind, Subject, essential_name, types};
use crate::{Btf, Member, Result, Shape, Type, TypeId};

/// The access in the candidate's types, or why there is none.
pub(crate) type Match<'a> = Result<Spec<'a>, String>;

impl Spec<'_> {
    /// Finds the local access in a candidate. An error says that types are malformed; a mismatch is an answer.
    pub(crate) fn match_candidate<'a>(&self, candidate: &Candidate<'a>) -> Result<Match<'a>> {
        let target = Spec::new(candidate.btf, self.kind, candidate.id);
        match self.kind.subject() {
            Subject::Type => self.match_type(target),
            Subject::EnumValue => self.match_value(target),
            Subject::Field => self.match_field(target),
        }
    }

    fn match_type<'a>(&self, target: Spec<'a>) -> Result<Match<'a>> {
        let (local, candidate) = ((self.btf, self.root), (target.btf, target.root));
        let matches = match self.kind {
            ReloKind::TypeMatches => types::types_match(local, candidate)?,
            _ => types::types_are_compatible(local, candidate)?,
        };
        Ok(if matches {
            Ok(target)
        } else {
            Err(format!("the target's `{}` is another one", self.root_name()))
        })
    }

    fn match_value<'a>(&self, mut target: Spec<'a>) -> Result<Match<'a>> {
        let wanted = self.steps.first().and_then(|step| step.name).unwrap_or_default();
        let ty = target.btf.resolve(target.root)?;
        let Some(enumeration) = ty.enumeration() else {
            return Ok(Err(format!("the target's `{}` is no enumeration", self.root_name())));
        };
        for (index, value) in enumeration.values.iter().enumerate() {
            let name = value?.name;
            if essential_name(name) == essential_name(wanted) {
                target.push(Step { ty: ty.id, index, name: Some(name) }, 0)?;
                return Ok(Ok(target));
            }
        }
        Ok(Err(format!("no value `{wanted}` in the target's `{}`", ty.describe())))
    }

    fn match_field<'a>(&self, mut target: Spec<'a>) -> Result<Match<'a>> {
        let mut id = target.root;
        for (nth, step) in self.steps.iter().enumerate() {
            let ty = target.btf.resolve(id)?;
            let next = match step.name {
                Some(_) => self.match_member(step, ty, &mut target)?,
                None if nth == 0 => {
                    let bits = target.element_bits(ty.id, step.index)?;
                    target.push(Step { ty: ty.id, index: step.index, name: None }, bits)?;
                    Ok(ty.id)
                }
                None => match_element(step, ty, &mut target)?,
            };
            match next {
                Ok(next) => id = next,
                Err(mismatch) => return Ok(Err(mismatch)),
            }
        }
        Ok(Ok(target))
    }

    /// Finds the member of a named step in a type; answers the member's type.
    fn match_member<'a>(
        &self,
        step: &Step<'_>,
        ty: Type<'a>,
        target: &mut Spec<'a>,
    ) -> Result<Result<TypeId, String>> {
        let local_type = self.btf.type_by_id(step.ty)?;
        let wanted = match local_type.composite() {
            Some(composite) => composite.members.get(step.index)?,
            None => return Ok(Err(format!("`{}` has no members", local_type.describe()))),
        };
        let mut search = MemberSearch { local: self.btf, wanted, budget: Budget::new() };
        Ok(match search.find(ty, target)? {
            Some(Ok(id)) => Ok(id),
            Some(Err(())) => Err(format!(
                "field `{}` of the target's `{}` has another kind of type",
                wanted.name,
                ty.describe()
            )),
            None => Err(format!("no field `{}` in the target's `{}`", wanted.name, ty.describe())),
        })
    }
}

/// Goes into an element of the target's array.
fn match_element<'a>(step: &Step<'_>, ty: Type<'a>, target: &mut Spec<'a>) -> Result<Result<TypeId, String>> {
    let Shape::Array(array) = ty.shape else {
        return Ok(Err(format!("the target has `{}` instead of an array", ty.describe())));
    };
    let elem = target.enter_array(array, step.index)?;
    Ok(elem
        .map(|elem| elem.id)
        .ok_or_else(|| format!("the target's array has {} elements, no number {}", array.len, step.index)))
}

/// The search for a member, which goes through anonymous structures and unions.
struct MemberSearch<'l> {
    local: &'l Btf,
    wanted: Member<'l>,
    budget: Budget,
}

impl MemberSearch<'_> {
    /// The type of the member; `Some(Err)`: one of that name has a type that does not fit.
    fn find<'a>(&mut self, ty: Type<'a>, target: &mut Spec<'a>) -> Result<Option<Result<TypeId, ()>>> {
        let Some(composite) = ty.composite() else { return Ok(None) };
        for (index, member) in composite.members.iter().enumerate() {
            self.budget.spend()?;
            let member = member?;
            let before = (target.raw_len, target.bit_offset);
            if member.name.is_empty() {
                target.pass(member.bit_offset.into())?;
                let found = self.find(target.btf.resolve(member.ty)?, target)?;
                if found.is_some() {
                    return Ok(found);
                }
                (target.raw_len, target.bit_offset) = before;
            } else if member.name == self.wanted.name {
                if !fields_are_compatible((self.local, self.wanted.ty), (target.btf, member.ty))? {
                    return Ok(Some(Err(())));
                }
                target.push(Step { ty: ty.id, index, name: Some(member.name) }, member.bit_offset.into())?;
                return Ok(Some(Ok(member.ty)));
            }
        }
        Ok(None)
    }
}

/// May a field of one type be read as one of the other? Structures, unions, pointers and floats always, integers unless
/// they are bit fields of the old sort, enumerations and forward declarations by name, arrays by their elements.
fn fields_are_compatible(local: (&Btf, TypeId), target: (&Btf, TypeId)) -> Result<bool> {
    let (mut local_id, mut target_id) = (local.1, target.1);
    let mut budget = Budget::new();
    loop {
        budget.spend()?;
        let (a, b) = (local.0.resolve(local_id)?, target.0.resolve(target_id)?);
        if a.kind().is_composite() && b.kind().is_composite() {
            return Ok(true);
        }
        if !are_comparable(a.kind(), b.kind()) {
            return Ok(false);
        }
        return Ok(match (a.shape, b.shape) {
            (Shape::Ptr(_) | Shape::Float { .. }, _) => true,
            (Shape::Fwd { .. } | Shape::Enum(_) | Shape::Enum64(_), _) => {
                a.name.is_empty() || b.name.is_empty() || essential_name(a.name) == essential_name(b.name)
            }
            (Shape::Int(a), Shape::Int(b)) => a.bit_offset == 0 && b.bit_offset == 0,
            (Shape::Array(a), Shape::Array(b)) => {
                (local_id, target_id) = (a.elem, b.elem);
                continue;
            }
            _ => false,
        });
    }
}
