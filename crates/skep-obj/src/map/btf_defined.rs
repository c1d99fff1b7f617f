//! Maps defined by types in section `.maps`.
//!
//! A map is a variable of a structure type. What a property is called is a member's name; its value is in the
//! member's type: a number as the length of an array pointed to, a type as the type pointed to, a 64-bit
//! number as an enumerator.

use skep_btf::{Btf, Composite, Member, Shape, Type, TypeId};
use skep_isa::uapi::MapType;

use super::{MapDef, MapKind, Pinning};
use crate::elf::{Elf, Section};
use crate::error::{Error, Result};
use crate::types::Types;

/// Reads all variables of the section.
pub(super) fn collect(
    _elf: &Elf<'_>,
    index: usize,
    section: &Section<'_>,
    types: Option<&Types>,
) -> Result<Vec<MapDef>> {
    let Some(types) = types else {
        return Err(Error::unsupported("maps are defined by types, but the object has no `.BTF`")
            .hint("compile with `-g`, and strip with `llvm-strip -g`, which keeps types"));
    };
    let variables = types.variables(".maps").map_err(|e| e.hint("compile with `-g`"))?;
    variables
        .iter()
        .map(|variable| {
            if u64::from(variable.offset) + u64::from(variable.size) > section.data.len() as u64 {
                return Err(
                    Error::corrupt("the map's definition lies outside the section").symbol(&variable.name)
                );
            }
            let map = define(&types.btf, &variable.name, variable.type_id)?;
            Ok(MapDef { place: Some((index, variable.offset.into())), ..map })
        })
        .collect()
}

/// Reads the map that a variable's type defines.
pub(crate) fn define(btf: &Btf, name: &str, type_id: TypeId) -> Result<MapDef> {
    Reader { btf }.map(name, type_id).map_err(|e| e.symbol(name))
}

/// Reads definitions from types.
struct Reader<'a> {
    btf: &'a Btf,
}

impl<'a> Reader<'a> {
    /// The map that a variable's type defines.
    fn map(&self, name: &str, type_id: TypeId) -> Result<MapDef> {
        let ty = self.btf.resolve(type_id)?;
        let Shape::Struct(definition) = ty.shape else {
            return Err(Error::corrupt(format!(
                "a map is defined by a structure, not by `{}`",
                ty.describe()
            )));
        };
        let map = self.definition(name, definition, true)?;
        Ok(map)
    }

    fn definition(&self, name: &str, definition: Composite<'a>, outer: bool) -> Result<MapDef> {
        let mut map = MapDef::new(name, MapKind::User, MapType::UNSPEC);
        let mut sizes = Sizes::default();
        for member in definition.members.iter() {
            let member = member?;
            self.property(&mut map, &mut sizes, &member, outer)
                .map_err(|e| Error::new(e.kind(), format!("property `{}`: {}", member.name, e.message())))?;
        }
        if map.map_type == MapType::UNSPEC {
            return Err(Error::invalid("the definition does not say the map's type")
                .hint("add `__uint(type, BPF_MAP_TYPE_…);`"));
        }
        map.key_size = sizes.key.unwrap_or(0);
        map.value_size = sizes.value.unwrap_or(0);
        Ok(map)
    }

    fn property(&self, map: &mut MapDef, sizes: &mut Sizes, member: &Member<'a>, outer: bool) -> Result<()> {
        match member.name {
            "type" => map.map_type = MapType(self.number(member)?),
            "max_entries" => map.max_entries = self.number(member)?,
            "map_flags" => map.map_flags = self.number(member)?,
            "numa_node" => map.numa_node = self.number(member)?,
            "map_extra" => map.map_extra = self.long(member)?,
            "key_size" => set(&mut sizes.key, self.number(member)?)?,
            "value_size" => set(&mut sizes.value, self.number(member)?)?,
            "key" => {
                map.key_type = self.pointee(member)?;
                set(&mut sizes.key, self.size(map.key_type)?)?;
            }
            "value" => {
                map.value_type = self.pointee(member)?;
                set(&mut sizes.value, self.size(map.value_type)?)?;
            }
            "values" if outer => {
                set(&mut sizes.value, 4)?;
                map.inner = self.values(map, member)?.map(Box::new);
            }
            "values" => return Err(Error::unsupported("maps of maps of maps do not exist")),
            "pinning" if outer => map.pinning = self.pinning(member)?,
            "pinning" => return Err(Error::unsupported("a map inside a map cannot be pinned")),
            _ => return Err(Error::unsupported("no such property of maps")),
        }
        Ok(())
    }

    /// `__uint(name, N)`: a pointer to an array of `N`.
    fn number(&self, member: &Member<'_>) -> Result<u32> {
        let pointee = self.btf.type_by_id(self.pointee(member)?)?;
        match pointee.shape {
            Shape::Array(array) => Ok(array.len),
            _ => Err(not("a number, written with `__uint`", &pointee)),
        }
    }

    /// `__ulong(name, N)`: an enumeration with one value; or as [`number`](Self::number).
    fn long(&self, member: &Member<'_>) -> Result<u64> {
        let ty = self.btf.resolve(member.ty)?;
        match ty.enumeration() {
            Some(enumeration) if enumeration.values.len() == 1 => Ok(enumeration.values.get(0)?.value as u64),
            Some(_) => Err(Error::corrupt("a number has one value")),
            None => Ok(self.number(member)?.into()),
        }
    }

    /// `__type(name, T)`: a pointer to `T`.
    fn pointee(&self, member: &Member<'_>) -> Result<TypeId> {
        let ty = self.btf.resolve(member.ty)?;
        match ty.shape {
            Shape::Ptr(to) => Ok(to),
            _ => Err(not("a pointer", &ty)),
        }
    }

    fn size(&self, id: TypeId) -> Result<u32> {
        let bytes = self.btf.size_of(id)?;
        u32::try_from(bytes)
            .map_err(|_| Error::invalid(format!("a type of {bytes} bytes; 4 GiB is the limit")))
    }

    /// `__array(values, T)`: what the elements of a map of maps or a program array are initialised with.
    fn values(&self, map: &MapDef, member: &Member<'_>) -> Result<Option<MapDef>> {
        let ty = self.btf.type_by_id(member.ty)?;
        let Shape::Array(array) = ty.shape else {
            return Err(not("an array without length", &ty));
        };
        let Shape::Ptr(to) = self.btf.resolve(array.elem)?.shape else {
            return Err(not("an array of pointers", &self.btf.resolve(array.elem)?));
        };
        let element = self.btf.resolve(to)?;
        match element.shape {
            Shape::FuncProto(_) if map.map_type == MapType::PROG_ARRAY => Ok(None),
            Shape::Struct(definition) if map.holds_maps() => {
                self.definition(&format!("{}.inner", map.name), definition, false).map(Some)
            }
            _ => Err(not("an array of maps in a map of maps, or of functions in a program array", &element)),
        }
    }

    fn pinning(&self, member: &Member<'_>) -> Result<Pinning> {
        Ok(match self.number(member)? {
            0 => Pinning::None,
            1 => Pinning::ByName,
            other => Pinning::Other(other),
        })
    }
}

/// Sizes said so far; types and numbers may both say one, and then have to agree.
#[derive(Default)]
struct Sizes {
    key: Option<u32>,
    value: Option<u32>,
}

fn set(size: &mut Option<u32>, bytes: u32) -> Result<()> {
    match size.replace(bytes) {
        Some(before) if before != 0 && before != bytes => {
            Err(Error::invalid(format!("{bytes} bytes here, {before} bytes said before")))
        }
        _ => Ok(()),
    }
}

fn not(expected: &str, ty: &Type<'_>) -> Error {
    Error::corrupt(format!("expected {expected}, found `{}`", ty.describe()))
}
