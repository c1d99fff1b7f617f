//! The part of a target's types that some objects need (what BTFGen makes): small enough to be shipped with the objects for
//! kernels that have no types of their own.
//!
//! Every relocation is resolved as when the object is loaded. What its answer was read from is kept: of structures the
//! members on the way, where an access is asked about; the whole enumeration, for a value; with all members, where a type
//! is to match. Behind a pointer nothing is kept but what some relocation names. References to what is left out become
//! `void`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::spec::Spec;
use super::{Relo, ReloKind, Resolver, Subject};
use crate::ext::Ext;
use crate::{Btf, Builder, Composite, Def, Error, Member, Result, Shape, Type, TypeId};

/// Types nest no deeper.
const DEPTH_MAX: u32 = 64;

/// Collects what objects need of a target's types.
pub struct Minimal<'a> {
    targets: &'a [Arc<Btf>; 1],
    /// Types that are kept, with those of their members that are.
    kept: BTreeMap<TypeId, BTreeSet<usize>>,
}

impl<'a> Minimal<'a> {
    /// Nothing of the target's types yet.
    pub fn new(target: &'a [Arc<Btf>; 1]) -> Self {
        Self { targets: target, kept: BTreeMap::new() }
    }

    /// Adds what the relocations of an object need. What the target does not have is no error, as it is none when the
    /// object is loaded.
    pub fn add(&mut self, local: &Btf, ext: &Ext) -> Result<()> {
        let mut resolver = Resolver::new(local, self.targets);
        for group in ext.core_relos() {
            for record in group.records() {
                let relo = Relo::read(local, &record)?;
                if let Some(spec) = resolver.target_spec(&relo)? {
                    let kept = self.keep(&relo, &spec);
                    kept.map_err(|e| e.at(format_args!("CO-RE relocation `{}`", relo.describe(local))))?;
                }
            }
        }
        Ok(())
    }

    /// The types that are kept, with new ids, in the order of the old ones.
    pub fn finish(self) -> Result<Builder> {
        let btf = self.btf();
        let mut builder = Builder::with_order(btf.byte_order());
        let ids: BTreeMap<TypeId, TypeId> = self.kept.keys().map(|&old| (old, builder.reserve())).collect();
        let renamed = |old: TypeId| ids.get(&old).copied().unwrap_or(TypeId::VOID);
        for (&old, members) in &self.kept {
            let (ty, id) = (btf.type_by_id(old)?, renamed(old));
            match ty.shape {
                Shape::Struct(composite) => {
                    let (name, bytes, members) =
                        (ty.name, composite.bytes, chosen(composite, members, &renamed)?);
                    builder.set(id, Def::Struct { name, bytes, members: &members });
                }
                Shape::Union(composite) => {
                    let (name, bytes, members) =
                        (ty.name, composite.bytes, chosen(composite, members, &renamed)?);
                    builder.set(id, Def::Union { name, bytes, members: &members });
                }
                _ => builder.copy_to(id, &ty, &renamed)?,
            }
        }
        Ok(builder)
    }

    fn btf(&self) -> &'a Btf {
        &self.targets[0]
    }

    fn keep(&mut self, relo: &Relo<'_>, spec: &Spec<'_>) -> Result<()> {
        match (relo.kind, relo.kind.subject()) {
            (_, Subject::Field) => self.keep_field(spec),
            (ReloKind::TypeIdLocal, _) => Ok(()),
            (ReloKind::TypeMatches, _) => self.keep_whole(spec.root, false, DEPTH_MAX),
            (_, Subject::Type) => self.keep_type(spec.root, true, DEPTH_MAX),
            (_, Subject::EnumValue) => self.keep_type(spec.root, false, DEPTH_MAX),
        }
    }

    /// The members on the way to a field, and their types.
    fn keep_field(&mut self, spec: &Spec<'_>) -> Result<()> {
        let btf = self.btf();
        self.keep_type(spec.root, false, DEPTH_MAX)?;
        let mut here = btf.resolve(spec.root)?;
        for step in spec.steps.iter().skip(1) {
            if step.name.is_none() {
                here = btf.resolve(step.ty)?;
                continue;
            }
            let mut path = vec![(step.ty, step.index)];
            if !find_anonymous(btf, &here, step.ty, &mut path, DEPTH_MAX)? {
                return Err(Error::malformed("the way to the field has been lost"));
            }
            for &(owner, index) in path[1..].iter().chain(&path[..1]) {
                let owner_type = btf.type_by_id(owner)?;
                let composite =
                    owner_type.composite().ok_or_else(|| Error::malformed("a step into no structure"))?;
                let member = composite.members.get(index)?;
                self.kept.entry(owner).or_default().insert(index);
                self.keep_type(member.ty, false, DEPTH_MAX)?;
                here = btf.resolve(member.ty)?;
            }
        }
        Ok(())
    }

    /// A type without its members, and what it is made of.
    fn keep_type(&mut self, id: TypeId, follow_pointers: bool, depth: u32) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
        if id == TypeId::VOID {
            return Ok(());
        }
        let ty = self.btf().type_by_id(id)?;
        self.kept.entry(id).or_default();
        for part in parts(&ty)? {
            if follow_pointers || !matches!(ty.shape, Shape::Ptr(_)) {
                self.keep_type(part, follow_pointers, depth)?;
            }
        }
        Ok(())
    }

    /// A type with all its members, unless it is behind a pointer.
    fn keep_whole(&mut self, id: TypeId, behind_pointer: bool, depth: u32) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
        if id == TypeId::VOID {
            return Ok(());
        }
        let ty = self.btf().type_by_id(id)?;
        let known = self.kept.entry(id).or_default();
        let behind_pointer = match ty.shape {
            Shape::Ptr(_) => true,
            Shape::Struct(_) | Shape::Union(_) | Shape::Array(_) | Shape::FuncProto(_) => false,
            _ => behind_pointer,
        };
        if let Some(composite) = ty.composite().filter(|_| !behind_pointer) {
            if known.len() == composite.members.len() {
                return Ok(());
            }
            known.extend(0..composite.members.len());
            for member in composite.members.iter() {
                self.keep_whole(member?.ty, false, depth)?;
            }
        }
        for part in parts(&ty)? {
            self.keep_whole(part, behind_pointer, depth)?;
        }
        Ok(())
    }
}

/// What a type is made of, apart from members.
fn parts(ty: &Type<'_>) -> Result<Vec<TypeId>> {
    Ok(match ty.shape {
        Shape::Ptr(to)
        | Shape::Typedef(to)
        | Shape::Volatile(to)
        | Shape::Const(to)
        | Shape::Restrict(to)
        | Shape::TypeTag { ty: to, .. } => vec![to],
        Shape::Array(array) => vec![array.elem, array.index],
        Shape::FuncProto(proto) => {
            let params = proto.params.iter().map(|param| param.map(|param| param.ty));
            std::iter::once(Ok(proto.ret)).chain(params).collect::<Result<_>>()?
        }
        _ => Vec::new(),
    })
}

/// The members of a structure that are kept.
fn chosen<'b>(
    composite: Composite<'b>,
    indexes: &BTreeSet<usize>,
    renamed: &dyn Fn(TypeId) -> TypeId,
) -> Result<Vec<Member<'b>>> {
    let member = |&index: &usize| composite.members.get(index).map(|m| Member { ty: renamed(m.ty), ..m });
    indexes.iter().map(member).collect()
}

/// Appends to `path` the anonymous members that lead from a type to the structure `owner`.
fn find_anonymous(
    btf: &Btf,
    ty: &Type<'_>,
    owner: TypeId,
    path: &mut Vec<(TypeId, usize)>,
    depth: u32,
) -> Result<bool> {
    let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
    if ty.id == owner {
        return Ok(true);
    }
    let Some(composite) = ty.composite() else { return Ok(false) };
    for (index, member) in composite.members.iter().enumerate() {
        let member = member?;
        if member.name.is_empty() {
            path.push((ty.id, index));
            if find_anonymous(btf, &btf.resolve(member.ty)?, owner, path, depth)? {
                return Ok(true);
            }
            path.pop();
        }
    }
    Ok(false)
}

fn too_deep() -> Error {
    Error::malformed("the types nest too deeply")
}
