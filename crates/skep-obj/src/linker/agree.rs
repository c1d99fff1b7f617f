//! Do two files mean the same by a symbol?
//!
//! The rules are libbpf's: modifiers and typedefs do not count, nor do the lengths of arrays, the values of enumerations
//! and the names of arguments. Behind a pointer, structures are compared by name alone, and may be declared on one side
//! only.

use skep_btf::{Btf, Composite, Linkage, Proto, Shape, Type, TypeId};

use crate::map::{self, MapDef};

/// A type of a file.
type Of<'a> = (&'a Btf, TypeId);
/// Says what differs.
type Agreed = Result<(), String>;

/// Types nest no deeper.
const DEPTH_MAX: u32 = 32;

/// Compares two variables or two functions.
pub(super) fn types(a: Of<'_>, b: Of<'_>) -> Agreed {
    compare(a, b, true, DEPTH_MAX)
}

/// Compares the definitions of two maps.
pub(super) fn maps(name: &str, a: Of<'_>, b: Of<'_>) -> Agreed {
    let define = |(btf, id): Of<'_>| match btf.type_by_id(id).map(|ty| ty.shape) {
        Ok(Shape::Var { ty, .. }) => map::define(btf, name, ty).map_err(|e| e.message().to_owned()),
        _ => Err("a map that is no variable".to_owned()),
    };
    compare_maps((a.0, &define(a)?), (b.0, &define(b)?))
}

fn compare_maps((a_btf, a): (&Btf, &MapDef), (b_btf, b): (&Btf, &MapDef)) -> Agreed {
    let differs = |what: &str| Err(format!("the map's {what} differs"));
    let numbers: [(&str, u64, u64); 7] = [
        ("type", a.map_type.0.into(), b.map_type.0.into()),
        ("`key_size`", a.key_size.into(), b.key_size.into()),
        ("`value_size`", a.value_size.into(), b.value_size.into()),
        ("`max_entries`", a.max_entries.into(), b.max_entries.into()),
        ("`map_flags`", a.map_flags.into(), b.map_flags.into()),
        ("`map_extra`", a.map_extra, b.map_extra),
        ("`numa_node`", a.numa_node.into(), b.numa_node.into()),
    ];
    for (what, a, b) in numbers {
        if a != b {
            return Err(format!("the map's {what} differs: {a} and {b}"));
        }
    }
    if a.pinning != b.pinning {
        return differs("`pinning`");
    }
    for (what, a_type, b_type) in [("key", a.key_type, b.key_type), ("value", a.value_type, b.value_type)] {
        let compared = match (a_type, b_type) {
            (TypeId::VOID, TypeId::VOID) => Ok(()),
            (TypeId::VOID, _) | (_, TypeId::VOID) => {
                return differs(&format!("{what} has a type on one side only, which"));
            }
            _ => compare((a_btf, a_type), (b_btf, b_type), true, DEPTH_MAX),
        };
        compared.map_err(|why| format!("the map's {what}: {why}"))?;
    }
    match (&a.inner, &b.inner) {
        (None, None) => Ok(()),
        (Some(a), Some(b)) => compare_maps((a_btf, a), (b_btf, b)),
        _ => differs("inner map"),
    }
}

/// Compares types; where not `exact`, structures by name.
fn compare(a: Of<'_>, b: Of<'_>, exact: bool, depth: u32) -> Agreed {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("types nest too deeply to compare".to_owned());
    };
    let (a_type, b_type) = (resolved(a)?, resolved(b)?);
    let differ = || Err(format!("`{}` is not `{}`", a_type.describe(), b_type.describe()));
    let named = |agreed: bool| if agreed && a_type.name == b_type.name { Ok(()) } else { differ() };
    match (a_type.shape, b_type.shape) {
        (Shape::Void, Shape::Void) => Ok(()),
        (Shape::Int(a), Shape::Int(b)) if a.bytes == b.bytes => Ok(()),
        (Shape::Float { bytes: a }, Shape::Float { bytes: b }) if a == b => Ok(()),
        (Shape::Enum(a), Shape::Enum(b)) | (Shape::Enum64(a), Shape::Enum64(b)) => named(a.bytes == b.bytes),
        (Shape::Fwd { union: a }, Shape::Fwd { union: b }) => named(a == b),
        (Shape::Fwd { union }, Shape::Struct(_)) | (Shape::Struct(_), Shape::Fwd { union }) => {
            named(!exact && !union)
        }
        (Shape::Fwd { union }, Shape::Union(_)) | (Shape::Union(_), Shape::Fwd { union }) => {
            named(!exact && union)
        }
        (Shape::Struct(x), Shape::Struct(y)) | (Shape::Union(x), Shape::Union(y)) => {
            named(true)?;
            if exact { members((a.0, x), (b.0, y), depth) } else { Ok(()) }
        }
        (Shape::Ptr(x), Shape::Ptr(y)) => compare((a.0, x), (b.0, y), false, depth),
        (Shape::Array(x), Shape::Array(y)) => compare((a.0, x.elem), (b.0, y.elem), exact, depth),
        (Shape::FuncProto(x), Shape::FuncProto(y)) => proto((a.0, x), (b.0, y), exact, depth),
        (Shape::Func { proto: x, linkage: l }, Shape::Func { proto: y, linkage: m })
        | (Shape::Var { ty: x, linkage: l }, Shape::Var { ty: y, linkage: m }) => {
            named((l == Linkage::Static) == (m == Linkage::Static))?;
            compare((a.0, x), (b.0, y), exact, depth)
        }
        _ => differ(),
    }
}

fn resolved((btf, id): Of<'_>) -> Result<Type<'_>, String> {
    btf.resolve(id).map_err(|e| e.to_string())
}

fn members((a_btf, a): (&Btf, Composite<'_>), (b_btf, b): (&Btf, Composite<'_>), depth: u32) -> Agreed {
    if a.members.len() != b.members.len() {
        return Err(format!("a structure has {} members and {}", a.members.len(), b.members.len()));
    }
    for (x, y) in a.members.iter().zip(b.members.iter()) {
        let (x, y) = (x.map_err(|e| e.to_string())?, y.map_err(|e| e.to_string())?);
        if x.name != y.name {
            return Err(format!("member `{}` is not `{}`", x.name, y.name));
        }
        if (x.bit_offset, x.bitfield_bits) != (y.bit_offset, y.bitfield_bits) {
            return Err(format!("member `{}` lies at bit {} and {}", x.name, x.bit_offset, y.bit_offset));
        }
        let compared = compare((a_btf, x.ty), (b_btf, y.ty), true, depth);
        compared.map_err(|why| format!("member `{}`: {why}", x.name))?;
    }
    Ok(())
}

fn proto((a_btf, a): (&Btf, Proto<'_>), (b_btf, b): (&Btf, Proto<'_>), exact: bool, depth: u32) -> Agreed {
    if a.params.len() != b.params.len() {
        return Err(format!("a function takes {} arguments and {}", a.params.len(), b.params.len()));
    }
    for (nth, (x, y)) in a.params.iter().zip(b.params.iter()).enumerate() {
        let (x, y) = (x.map_err(|e| e.to_string())?, y.map_err(|e| e.to_string())?);
        let compared = compare((a_btf, x.ty), (b_btf, y.ty), exact, depth);
        compared.map_err(|why| format!("argument {}: {why}", nth + 1))?;
    }
    compare((a_btf, a.ret), (b_btf, b.ret), exact, depth).map_err(|why| format!("the result: {why}"))
}
