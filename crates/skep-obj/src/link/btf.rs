//! The object's types as the kernel takes them, and what types say about programs.

use std::sync::Arc;

use skep_btf::{Btf, Kind, Linkage, SecVar, Shape, TypeId};

use crate::error::{Error, Result};
use crate::externs::ExternKind;
use crate::object::Object;
use crate::patch::Patch;
use crate::types::{shared, variables_of};

/// The types to load. The kernel knows no external variables: they become defined ones, and a function among them is
/// replaced in its section by a variable that stands for all of them. Hidden functions become static, so that they are
/// verified with their callers instead of on their own.
pub(super) fn to_load(object: &Object) -> Result<Option<Arc<Btf>>> {
    let Some(btf) = &object.btf else {
        return Ok(None);
    };
    let (kconfig, ksyms) = (btf.find(".kconfig", Kind::Datasec), btf.find(".ksyms", Kind::Datasec));
    let hidden = hidden_functions(object, btf);
    if kconfig.is_none() && ksyms.is_none() && hidden.is_empty() {
        return Ok(Some(btf.clone()));
    }
    let mut patch = Patch::new(btf.bytes().to_vec())?;
    for function in hidden {
        patch.set_function_linkage(function, Linkage::Static);
    }
    if let Some(section) = kconfig {
        define_kconfig(object, btf, section, &mut patch)?;
    }
    if let Some(section) = ksyms {
        define_ksyms(btf, section, &mut patch)?;
    }
    Ok(Some(Arc::new(Btf::parse(shared(patch.finish()))?)))
}

/// Types of hidden functions that programs call.
fn hidden_functions(object: &Object, btf: &Btf) -> Vec<TypeId> {
    let hidden = object.functions.iter().filter(|f| f.global && f.hidden && !f.is_entry());
    hidden.filter_map(|f| btf.find(&f.name, Kind::Func)).collect()
}

fn define_kconfig(object: &Object, btf: &Btf, section: TypeId, patch: &mut Patch) -> Result<()> {
    let mut entries = Vec::new();
    for variable in variables_of(btf, section)? {
        let place = object.externs.iter().find(|ext| ext.type_id == variable.id);
        let offset = match place.map(|ext| ext.kind) {
            Some(ExternKind::Kconfig { offset, .. }) => offset,
            _ => variable.offset,
        };
        patch.set_linkage(variable.id, Linkage::Global);
        entries.push(SecVar { ty: variable.id, offset, bytes: variable.size });
    }
    entries.sort_by_key(|entry| entry.offset);
    patch.set_section(section, crate::externs::kconfig_size(&object.externs), &entries);
    Ok(())
}

/// Every symbol becomes an `int`, four bytes behind the one before.
fn define_ksyms(btf: &Btf, section: TypeId, patch: &mut Patch) -> Result<()> {
    const BYTES: u32 = 4;
    let int = four_byte_int(btf)
        .ok_or_else(|| Error::unsupported("kernel symbols without an `int` among the types"))?;
    let variables = variables_of(btf, section)?;
    let is_function = |id| btf.type_by_id(id).map(|ty| ty.kind() == Kind::Func);
    let mut dummy = None;
    let mut entries = Vec::new();
    for (n, variable) in variables.iter().enumerate() {
        let ty = if is_function(variable.id)? {
            let (name, stand_in) = *dummy.get_or_insert_with(|| {
                let name = patch.add_string("dummy_ksym");
                (name, patch.add_variable(name, int))
            });
            patch.name_parameters(variable.type_id, name);
            patch.set_function_linkage(variable.id, Linkage::Global);
            stand_in
        } else {
            patch.set_linkage(variable.id, Linkage::Global);
            patch.set_type(variable.id, int);
            variable.id
        };
        entries.push(SecVar { ty, offset: n as u32 * BYTES, bytes: BYTES });
    }
    patch.set_section(section, entries.len() as u32 * BYTES, &entries);
    Ok(())
}

fn four_byte_int(btf: &Btf) -> Option<TypeId> {
    let is_int = |shape| matches!(shape, Shape::Int(int) if int.bits == 32);
    btf.types().flatten().find(|ty| is_int(ty.shape)).map(|ty| ty.id)
}

/// The function that a program wants to run when it throws, by the declaration tag that `__exception_cb` leaves.
pub(super) fn exception_callback(btf: &Btf, program: &str) -> Result<Option<String>> {
    let mut found = None;
    for ty in btf.types() {
        let ty = ty?;
        let (Shape::DeclTag { ty: tagged, component: None, .. }, Some(name)) =
            (ty.shape, ty.name.strip_prefix("exception_callback:"))
        else {
            continue;
        };
        if btf.name(tagged)? == program {
            // More than one is the verifier's to refuse.
            if found.is_some() {
                return Ok(None);
            }
            found = Some(name.to_owned());
        }
    }
    Ok(found)
}
