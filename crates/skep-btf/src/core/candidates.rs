//! Which types of the target may stand for a local type.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::names::essential_name;
use crate::{Btf, Error, Kind, Result, TypeId};

/// A type of a target that has the local type's name and kind.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) btf: &'a Btf,
    pub(crate) id: TypeId,
    /// Index of the target.
    pub(crate) target: usize,
}

/// The candidates for a local type: those of the first target, or, if it has none, those of all others.
pub(crate) fn find<'a>(local: &Btf, id: TypeId, targets: &'a [Arc<Btf>]) -> Result<Vec<Candidate<'a>>> {
    let ty = local.type_by_id(id)?;
    if ty.name.is_empty() {
        return Err(Error::invalid(format!("`{}` has no name to look for in the target", ty.describe())));
    }
    let (name, kind) = (essential_name(ty.name), ty.kind());
    let Some((kernel, modules)) = targets.split_first() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    collect(kernel, 0, name, kind, &mut found);
    if found.is_empty() {
        for (nth, module) in modules.iter().enumerate() {
            collect(module, nth + 1, name, kind, &mut found);
        }
    }
    Ok(found)
}

/// Adds the candidates among a BTF's own types.
fn collect<'a>(btf: &'a Btf, target: usize, name: &str, kind: Kind, found: &mut Vec<Candidate<'a>>) {
    btf.flavours::<()>(name, &mut |id, record| {
        if are_comparable(kind, Kind::from_code(record.kind_code())) {
            found.push(Candidate { btf, id, target });
        }
        ControlFlow::Continue(())
    });
}

/// May types of these kinds stand for each other? Enumerations of either size may.
pub(crate) fn are_comparable(a: Kind, b: Kind) -> bool {
    a == b || a.is_enum() && b.is_enum()
}
