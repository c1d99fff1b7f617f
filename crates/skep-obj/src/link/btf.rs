//! The object's types as the kernel takes them, and what types say about programs.

use std::sync::Arc;

use skep_btf::{Btf, Builder, Def, Kind, Linkage, Param, SecVar, Shape, Type, TypeId};

use crate::error::{Error, Result};
use crate::externs::ExternKind;
use crate::object::Object;
use crate::types::{TypedVariable, variables_of};

/// A name for what has none but needs one.
const DUMMY: &str = "dummy_ksym";

/// The types to load. The kernel knows nothing external: variables become defined ones, and so do functions,
/// each of which is replaced in its section by a variable that stands for all of them. Hidden functions
/// become static, so that they are verified with their callers instead of on their own.
pub(super) fn to_load(object: &Object) -> Result<Option<Arc<Btf>>> {
    let Some(btf) = &object.btf else {
        return Ok(None);
    };
    let (kconfig, ksyms) = (btf.find(".kconfig", Kind::Datasec), btf.find(".ksyms", Kind::Datasec));
    // Numbers of types and offsets of strings stay: `.BTF.ext` and maps name them.
    let mut builder = Builder::from_btf(btf)?;
    define_functions(btf, &mut builder)?;
    hide_functions(object, btf, &mut builder)?;
    if let Some(section) = kconfig {
        define_kconfig(object, btf, section, &mut builder)?;
    }
    if let Some(section) = ksyms {
        define_ksyms(btf, section, &mut builder)?;
    }
    Ok(Some(Arc::new(builder.finish_btf(None)?)))
}

/// Makes functions defined elsewhere global, and names their parameters.
fn define_functions(btf: &Btf, builder: &mut Builder) -> Result<()> {
    for ty in btf.types() {
        let ty = ty?;
        let Shape::Func { proto, linkage: Linkage::Extern } = ty.shape else {
            continue;
        };
        builder.set(ty.id, Def::Func { name: ty.name, proto, linkage: Linkage::Global });
        if let Shape::FuncProto(signature) = btf.type_by_id(proto)?.shape {
            let mut params = Vec::new();
            for param in signature.params.iter() {
                let param = param?;
                let nameless = param.name.is_empty() && param.ty != TypeId::VOID;
                params.push(if nameless { Param { name: DUMMY, ..param } } else { param });
            }
            builder.set(proto, Def::FuncProto { ret: signature.ret, params: &params });
        }
    }
    Ok(())
}

/// The types without kinds that old kernels do not know, each replaced by an older one of the same size, as libbpf does:
/// floating-point numbers and 64-bit enumerations by structures, tags by what changes nothing.
/// Numbers of types stay.
pub(super) fn plain(btf: &Btf) -> Result<Btf> {
    let mut builder = Builder::from_btf(btf)?;
    for ty in btf.types() {
        let ty = ty?;
        let def = match ty.shape {
            Shape::Float { bytes } => Def::Struct { name: ty.name, bytes, members: &[] },
            Shape::Enum64(_) => Def::Struct { name: ty.name, bytes: 8, members: &[] },
            Shape::TypeTag { ty, .. } | Shape::DeclTag { ty, .. } => Def::Const(ty),
            Shape::Func { proto, linkage: Linkage::Global } => {
                Def::Func { name: ty.name, proto, linkage: Linkage::Static }
            }
            _ => continue,
        };
        builder.set(ty.id, def);
    }
    Ok(builder.finish_btf(None)?)
}

fn hide_functions(object: &Object, btf: &Btf, builder: &mut Builder) -> Result<()> {
    for function in object.functions.iter().filter(|f| f.global && f.hidden && !f.is_entry()) {
        let name = function.name.as_str();
        if let Some(id) = btf.find(name, Kind::Func)
            && let Shape::Func { proto, .. } = btf.type_by_id(id)?.shape
        {
            builder.set(id, Def::Func { name, proto, linkage: Linkage::Static });
        }
    }
    Ok(())
}

fn define_kconfig(object: &Object, btf: &Btf, section: TypeId, builder: &mut Builder) -> Result<()> {
    let mut vars = Vec::new();
    for variable in variables_of(btf, section)? {
        let place = object.externs.iter().find(|ext| ext.type_id == variable.id);
        let offset = match place.map(|ext| ext.kind) {
            Some(ExternKind::Kconfig { offset, .. }) => offset,
            _ => variable.offset,
        };
        define_variable(&variable, variable.type_id, builder);
        vars.push(SecVar { ty: variable.id, offset, bytes: variable.size });
    }
    vars.sort_by_key(|entry| entry.offset);
    let bytes = crate::externs::kconfig_size(&object.externs);
    builder.set(section, Def::Datasec { name: ".kconfig", bytes, vars: &vars });
    Ok(())
}

/// Every symbol becomes an `int`, four bytes behind the one before.
fn define_ksyms(btf: &Btf, section: TypeId, builder: &mut Builder) -> Result<()> {
    const BYTES: u32 = 4;
    let int = four_byte_int(btf)
        .ok_or_else(|| Error::unsupported("kernel symbols without an `int` among the types"))?;
    let mut stand_in = None;
    let mut vars = Vec::new();
    for (n, variable) in variables_of(btf, section)?.iter().enumerate() {
        let ty = if btf.type_by_id(variable.id)?.kind() == Kind::Func {
            *stand_in.get_or_insert_with(|| builder.add_var(DUMMY, int, Linkage::Global))
        } else {
            define_variable(variable, int, builder);
            variable.id
        };
        vars.push(SecVar { ty, offset: n as u32 * BYTES, bytes: BYTES });
    }
    let bytes = vars.len() as u32 * BYTES;
    builder.set(section, Def::Datasec { name: ".ksyms", bytes, vars: &vars });
    Ok(())
}

fn define_variable(variable: &TypedVariable, ty: TypeId, builder: &mut Builder) {
    builder.set(variable.id, Def::Var { name: &variable.name, ty, linkage: Linkage::Global });
}

fn four_byte_int(btf: &Btf) -> Option<TypeId> {
    let is_int = |shape| matches!(shape, Shape::Int(int) if int.bits == 32);
    btf.types().flatten().find(|ty| is_int(ty.shape)).map(|ty| ty.id)
}

/// The functions that programs want to run when they throw, by the declaration tags that `__exception_cb` leaves: each
/// program with its function.
pub(super) fn exception_callbacks(btf: &Btf) -> Vec<(String, String)> {
    let tag = |ty: Type<'_>| match (ty.shape, ty.name.strip_prefix("exception_callback:")) {
        (Shape::DeclTag { ty, component: None, .. }, Some(callback)) => {
            Some((btf.name(ty).ok()?.to_owned(), callback.to_owned()))
        }
        _ => None,
    };
    btf.types().flatten().filter_map(tag).collect()
}
