//! A function's type as listings of programs show it: `int pass(struct xdp_md * ctx)`.

use skep::btf::{Btf, Shape, TypeId};

use super::super::failure::{Failure, Outcome};

/// Types nest no deeper.
const DEPTH_MAX: usize = 32;

/// The signature of the function with that id.
pub(crate) fn signature(btf: &Btf, id: TypeId) -> Outcome<String> {
    let function = btf.type_by_id(id)?;
    let Shape::Func { proto, .. } = function.shape else {
        return Err(Failure::new(format!("type {id} is no function")));
    };
    let mut out = String::new();
    prototype(&mut out, btf, proto, function.name, DEPTH_MAX)?;
    Ok(out)
}

/// The signature of functions that a pointer leads to.
pub(crate) fn of_pointer(btf: &Btf, id: TypeId) -> Outcome<String> {
    let mut out = String::new();
    prototype(&mut out, btf, id, "", DEPTH_MAX)?;
    Ok(out)
}

fn prototype(out: &mut String, btf: &Btf, id: TypeId, name: &str, depth: usize) -> Outcome {
    let Shape::FuncProto(proto) = btf.type_by_id(id)?.shape else {
        return Err(Failure::new(format!("type {id} is no signature")));
    };
    type_name(out, btf, proto.ret, depth)?;
    out.push_str(name);
    out.push('(');
    for (at, param) in proto.params.iter().enumerate() {
        let param = param?;
        if at > 0 {
            out.push_str(", ");
        }
        match (param.ty, param.name) {
            (TypeId::VOID, "") => out.push_str("..."),
            (ty, name) => {
                type_name(out, btf, ty, depth)?;
                out.push_str(name);
                if name.is_empty() && out.ends_with(' ') {
                    out.pop();
                }
            }
        }
    }
    out.push(')');
    Ok(())
}

fn type_name(out: &mut String, btf: &Btf, id: TypeId, depth: usize) -> Outcome {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Failure::new(format!("type {id} contains itself")));
    };
    let ty = btf.type_by_id(id)?;
    let mut word = |prefix: &str| {
        out.push_str(prefix);
        out.push_str(ty.name);
        out.push(' ');
    };
    match ty.shape {
        Shape::Void => word("void"),
        Shape::Int(_) | Shape::Typedef(_) | Shape::Float { .. } => word(""),
        Shape::Struct(_) | Shape::Fwd { union: false } => word("struct "),
        Shape::Union(_) | Shape::Fwd { union: true } => word("union "),
        Shape::Enum(_) | Shape::Enum64(_) => word("enum "),
        Shape::Array(array) => {
            type_name(out, btf, array.elem, depth)?;
            out.push_str(&format!("[{}]", array.len));
        }
        Shape::Ptr(to) => {
            type_name(out, btf, to, depth)?;
            out.push_str("* ");
        }
        Shape::Volatile(to) => modified(out, btf, "volatile ", to, depth)?,
        Shape::Const(to) => modified(out, btf, "const ", to, depth)?,
        Shape::Restrict(to) => modified(out, btf, "restrict ", to, depth)?,
        Shape::TypeTag { ty: to, .. } => type_name(out, btf, to, depth)?,
        Shape::FuncProto(_) => prototype(out, btf, id, "", depth)?,
        _ => out.push_str(ty.name),
    }
    Ok(())
}

fn modified(out: &mut String, btf: &Btf, modifier: &str, id: TypeId, depth: usize) -> Outcome {
    out.push_str(modifier);
    type_name(out, btf, id, depth)
}
