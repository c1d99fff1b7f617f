//! Copies types from one BTF to another: strings go along, and the ids of what a type names are given anew.

use crate::{
    Array, Builder, Composite, Datasec, Def, Enum, EnumValue, Error, Member, Param, Proto, Result, SecVar,
    Shape, Type, TypeId,
};

impl Builder {
    /// Adds a copy of `ty`, which may be of another BTF; `ids` says what each type it names is called here.
    ///
    /// Fails where the type is damaged or of a kind that this crate does not know.
    pub fn copy(&mut self, ty: &Type<'_>, ids: &dyn Fn(TypeId) -> TypeId) -> Result<TypeId> {
        let id = self.reserve();
        self.copy_to(id, ty, ids)?;
        Ok(id)
    }

    /// Gives an id of this builder the meaning of `ty`, as [`Builder::copy`] does.
    pub fn copy_to(&mut self, id: TypeId, ty: &Type<'_>, ids: &dyn Fn(TypeId) -> TypeId) -> Result<()> {
        let name = ty.name;
        match ty.shape {
            Shape::Struct(composite) => {
                let members = members(composite, ids)?;
                self.set(id, Def::Struct { name, bytes: composite.bytes, members: &members });
            }
            Shape::Union(composite) => {
                let members = members(composite, ids)?;
                self.set(id, Def::Union { name, bytes: composite.bytes, members: &members });
            }
            Shape::Enum(Enum { bytes, signed, values }) => {
                let values = values.iter().collect::<Result<Vec<EnumValue<'_>>>>()?;
                self.set(id, Def::Enum { name, bytes, signed, values: &values });
            }
            Shape::Enum64(Enum { bytes, signed, values }) => {
                let values = values.iter().collect::<Result<Vec<EnumValue<'_>>>>()?;
                self.set(id, Def::Enum64 { name, bytes, signed, values: &values });
            }
            Shape::FuncProto(Proto { ret, params }) => {
                let params = params.iter().map(|param| param.map(|p| Param { ty: ids(p.ty), ..p }));
                let params = params.collect::<Result<Vec<_>>>()?;
                self.set(id, Def::FuncProto { ret: ids(ret), params: &params });
            }
            Shape::Datasec(Datasec { bytes, vars }) => {
                let vars = vars.iter().map(|var| var.map(|v| SecVar { ty: ids(v.ty), ..v }));
                let vars = vars.collect::<Result<Vec<_>>>()?;
                self.set(id, Def::Datasec { name, bytes, vars: &vars });
            }
            shape => {
                let def = plain(name, shape, ids).ok_or_else(|| {
                    let kind = ty.kind();
                    Error::unsupported(format!("type {} has kind {kind}, which cannot be copied", ty.id))
                })?;
                self.set(id, def);
            }
        }
        Ok(())
    }
}

fn members<'a>(composite: Composite<'a>, ids: &dyn Fn(TypeId) -> TypeId) -> Result<Vec<Member<'a>>> {
    composite.members.iter().map(|member| member.map(|m| Member { ty: ids(m.ty), ..m })).collect()
}

/// Types without elements.
fn plain<'a>(name: &'a str, shape: Shape<'a>, ids: &dyn Fn(TypeId) -> TypeId) -> Option<Def<'a>> {
    Some(match shape {
        Shape::Int(int) => Def::Int { name, int },
        Shape::Ptr(ty) => Def::Ptr(ids(ty)),
        Shape::Array(array) => {
            Def::Array(Array { elem: ids(array.elem), index: ids(array.index), len: array.len })
        }
        Shape::Fwd { union } => Def::Fwd { name, union },
        Shape::Typedef(ty) => Def::Typedef { name, ty: ids(ty) },
        Shape::Volatile(ty) => Def::Volatile(ids(ty)),
        Shape::Const(ty) => Def::Const(ids(ty)),
        Shape::Restrict(ty) => Def::Restrict(ids(ty)),
        Shape::Func { proto, linkage } => Def::Func { name, proto: ids(proto), linkage },
        Shape::Var { ty, linkage } => Def::Var { name, ty: ids(ty), linkage },
        Shape::Float { bytes } => Def::Float { name, bytes },
        Shape::DeclTag { ty, component, attribute } => {
            Def::DeclTag { name, ty: ids(ty), component, attribute }
        }
        Shape::TypeTag { ty, attribute } => Def::TypeTag { name, ty: ids(ty), attribute },
        _ => return None,
    })
}
