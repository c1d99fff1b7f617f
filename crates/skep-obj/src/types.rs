//! The object's own types: `.BTF` with what the compiler left for the loader filled in, and `.BTF.ext`.

use std::collections::HashMap;
use std::sync::Arc;

use skep_btf::{Btf, Builder, Bytes, Def, Kind, Linkage, Shape, Type, TypeId};

use crate::elf::{Bind, Elf, SectionKind, Symbol, SymbolKind};
use crate::error::{Error, ErrorKind, Result};

/// Sections that exist in types only; what is in them is laid out when the object is linked.
const EXTERN_SECTIONS: [&str; 2] = [".kconfig", ".ksyms"];

/// The types of an object.
#[derive(Clone, Debug)]
pub(crate) struct Types {
    pub(crate) btf: Arc<Btf>,
}

/// A variable of a section, as types describe it.
#[derive(Clone, Debug)]
pub(crate) struct TypedVariable {
    pub(crate) name: String,
    /// The variable's type; that of the extern itself for functions.
    pub(crate) type_id: TypeId,
    pub(crate) offset: u32,
    pub(crate) size: u32,
    /// Its own number among the types.
    pub(crate) id: TypeId,
    pub(crate) linkage: Linkage,
}

impl From<skep_btf::Error> for Error {
    fn from(error: skep_btf::Error) -> Self {
        let kind = match error.kind() {
            skep_btf::ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        };
        Self::new(kind, error.to_string())
    }
}

impl Types {
    /// Reads `.BTF`, if there is one.
    pub(crate) fn read(elf: &Elf<'_>) -> Result<Option<Self>> {
        let Some((_, section)) = elf.section(".BTF") else {
            return Ok(None);
        };
        let read = || {
            let as_written = Btf::parse(shared(section.data.to_vec()))?;
            // Numbers of types and offsets of strings stay: `.BTF.ext` and maps name them.
            let mut builder = Builder::from_btf(&as_written)?;
            for ty in as_written.types() {
                let ty = ty?;
                if matches!(ty.shape, Shape::Datasec(_)) && !EXTERN_SECTIONS.contains(&ty.name) {
                    lay_out(elf, &as_written, ty.id, &mut builder)?;
                }
            }
            Ok(Some(Self { btf: Arc::new(builder.finish_btf(None)?) }))
        };
        read().map_err(|e: Error| e.section(".BTF"))
    }

    /// The section of variables of this name, as a type.
    pub(crate) fn datasec(&self, section: &str) -> Option<TypeId> {
        self.btf.find(section, Kind::Datasec)
    }

    /// Variables (and external functions) of a section, by offset.
    pub(crate) fn variables(&self, section: &str) -> Result<Vec<TypedVariable>> {
        let id = self
            .datasec(section)
            .ok_or_else(|| Error::corrupt(format!("the types do not describe section `{section}`")))?;
        variables_of(&self.btf, id)
    }

    /// Is a variable of the section visible outside the object? Then its map can be mapped into memory.
    pub(crate) fn has_visible_variable(&self, datasec: TypeId) -> bool {
        variables_of(&self.btf, datasec).is_ok_and(|vars| vars.iter().any(|v| v.linkage != Linkage::Static))
    }

    /// Offset of the last member of a structure, which is where a map's initial elements are.
    pub(crate) fn last_member_offset(&self, structure: TypeId) -> Result<u64> {
        let members = self.btf.resolve(structure)?.composite().map(|c| c.members);
        match members.filter(|members| !members.is_empty()) {
            Some(members) => Ok(u64::from(members.get(members.len() - 1)?.bit_offset / 8)),
            None => Err(Error::corrupt("a map's definition without members")),
        }
    }
}

pub(crate) fn shared(bytes: Vec<u8>) -> Bytes {
    Arc::new(bytes)
}

/// Variables (and external functions) of a section, by offset.
pub(crate) fn variables_of(btf: &Btf, datasec: TypeId) -> Result<Vec<TypedVariable>> {
    let Shape::Datasec(section) = btf.type_by_id(datasec)?.shape else {
        return Err(Error::corrupt(format!("type {datasec} is no section")));
    };
    let mut variables = Vec::new();
    for entry in section.vars.iter() {
        let entry = entry?;
        let ty = btf.type_by_id(entry.ty)?;
        let (type_id, linkage) = match ty.shape {
            Shape::Var { ty, linkage } => (ty, linkage),
            Shape::Func { proto, linkage } => (proto, linkage),
            _ => return Err(Error::corrupt(format!("`{}` in a section is no variable", ty.describe()))),
        };
        let (offset, size) = (entry.offset, entry.bytes);
        variables.push(TypedVariable {
            name: ty.name.to_owned(),
            type_id,
            offset,
            size,
            id: entry.ty,
            linkage,
        });
    }
    variables.sort_by_key(|v| v.offset);
    Ok(variables)
}

/// Fills in a section's size and its variables' offsets, which the compiler does not know, and marks hidden
/// variables as static, as the kernel and the map's flags want them. A static linker has filled in sizes
/// already.
fn lay_out(elf: &Elf<'_>, btf: &Btf, datasec: TypeId, builder: &mut Builder) -> Result<()> {
    let Type { name: section_name, shape: Shape::Datasec(section), .. } = btf.type_by_id(datasec)? else {
        return Ok(());
    };
    let fill_in = section.bytes == 0;
    let bytes = match elf.section(section_name) {
        _ if !fill_in => section.bytes,
        // What the static linker removed has types, but no section.
        None => return Ok(()),
        Some((_, section)) => section.size as u32,
    };
    let symbols = object_symbols(elf);
    let mut vars = Vec::new();
    for entry in section.vars.iter() {
        let mut entry = entry?;
        let variable = btf.type_by_id(entry.ty)?;
        let Shape::Var { ty, linkage } = variable.shape else {
            let what = variable.describe();
            return Err(Error::corrupt(format!("`{what}` in section `{section_name}` is no variable")));
        };
        if linkage == Linkage::Global {
            let name = variable.name;
            let symbol = symbols.get(name).ok_or_else(|| {
                Error::corrupt(format!("variable `{name}` of section `{section_name}` has no symbol"))
                    .hint("the object was stripped; use `llvm-strip -g`, which keeps symbols")
            })?;
            if fill_in {
                entry.offset = symbol.value as u32;
            }
            if symbol.hidden {
                builder.set(entry.ty, Def::Var { name, ty, linkage: Linkage::Static });
            }
        }
        vars.push(entry);
    }
    vars.sort_by_key(|entry| entry.offset);
    builder.set(datasec, Def::Datasec { name: section_name, bytes, vars: &vars });
    Ok(())
}

fn object_symbols<'e, 'd>(elf: &'e Elf<'d>) -> HashMap<&'e str, &'e Symbol<'d>> {
    let visible = |s: &&Symbol<'_>| s.kind == SymbolKind::Object && s.bind != Bind::Local;
    elf.symbols.iter().filter(visible).map(|s| (&*s.name, s)).collect()
}

/// Variables of sections without types, by their symbols.
pub(crate) fn untyped_variables<'e>(
    elf: &'e Elf<'_>,
    section: usize,
) -> impl Iterator<Item = &'e Symbol<'e>> {
    let holds_data =
        elf.sections.get(section).is_some_and(|s| matches!(s.kind, SectionKind::Data | SectionKind::Zero));
    elf.symbols.iter().filter(move |s| holds_data && s.is_in(section) && s.kind == SymbolKind::Object)
}
