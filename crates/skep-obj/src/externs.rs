//! Externs: what the object expects the machine to have.
//!
//! Values of the kernel's configuration (`__kconfig`) get a place in the `.kconfig` map here; kernel symbols
//! and functions (`__ksym`) are looked up when the object is linked.

use std::collections::HashMap;

use skep_btf::{Btf, Kind, Linkage, Shape, TypeId};

use crate::elf::{Bind, Elf};
use crate::error::{Error, Result};
use crate::types::{Types, variables_of};

/// More than all values of a kernel's configuration take.
const MAX_KCONFIG_BYTES: u32 = 1 << 20;

/// Something the machine has to supply.
#[derive(Clone, Debug, PartialEq)]
pub struct Extern {
    /// Name, as the object has it.
    pub name: String,
    /// What it is.
    pub kind: ExternKind,
    /// May it be missing? Then it is zero, and a function must not be called.
    pub weak: bool,
    /// The variable or function in the object's BTF, or void.
    pub type_id: TypeId,
}

/// What the machine has to supply.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExternKind {
    /// A value of the kernel's configuration, or a virtual one such as `LINUX_KERNEL_VERSION`.
    Kconfig {
        /// What values it can take.
        form: KconfigForm,
        /// Bytes in the `.kconfig` map.
        size: u32,
        /// Where they are.
        offset: u32,
    },
    /// The address of a kernel symbol of unknown type.
    Ksym,
    /// A kernel variable of this type.
    Kvar(TypeId),
    /// A kernel function of this signature.
    Kfunc(TypeId),
    /// Not described by types, so nobody knows.
    Unknown,
}

/// How a configuration value is written into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KconfigForm {
    /// `bool`: `y` or `n`.
    Bool,
    /// `enum libbpf_tristate`: `y`, `m` or `n`.
    Tristate,
    /// `char`: the letter itself, or a number.
    Char {
        /// Does it have a sign?
        signed: bool,
    },
    /// An integer.
    Int {
        /// Does it have a sign?
        signed: bool,
    },
    /// `char[]`: a string.
    Text,
}

/// The externs, ordered as libbpf orders them, and which of them each undefined symbol is.
pub(crate) struct Externs {
    pub(crate) list: Vec<Extern>,
    pub(crate) by_symbol: HashMap<usize, usize>,
}

/// Describes all undefined symbols.
pub(crate) fn collect(elf: &Elf<'_>, types: Option<&Types>) -> Result<Externs> {
    let known = types.map(|types| described(&types.btf)).transpose()?.unwrap_or_default();
    let mut list = Vec::new();
    for (index, symbol) in elf.symbols.iter().enumerate().filter(|(_, s)| s.is_extern()) {
        let (kind, type_id) = match (types, known.get(&*symbol.name)) {
            (Some(types), Some((id, section))) => {
                (kind(&types.btf, *id, section).map_err(|e| e.symbol(&symbol.name))?, *id)
            }
            _ => (ExternKind::Unknown, TypeId::VOID),
        };
        list.push((
            index,
            Extern { name: symbol.name.to_string(), kind, weak: symbol.bind == Bind::Weak, type_id },
        ));
    }
    if let Some(types) = types {
        list.sort_by_cached_key(|(_, ext)| order(&types.btf, ext));
    }
    place_values(list.iter_mut().map(|(_, ext)| ext), types)?;
    let by_symbol = list.iter().enumerate().map(|(n, (symbol, _))| (*symbol, n)).collect();
    Ok(Externs { list: list.into_iter().map(|(_, ext)| ext).collect(), by_symbol })
}

/// External variables and functions by name: their type's number and the section that types put them in.
fn described(btf: &Btf) -> Result<HashMap<String, (TypeId, String)>> {
    let mut found = HashMap::new();
    for ty in btf.types() {
        let ty = ty?;
        if ty.kind() == Kind::Datasec {
            for variable in variables_of(btf, ty.id)? {
                if variable.linkage == Linkage::Extern {
                    found.insert(variable.name, (variable.id, ty.name.to_owned()));
                }
            }
        }
    }
    Ok(found)
}

fn kind(btf: &Btf, id: TypeId, section: &str) -> Result<ExternKind> {
    match (btf.type_by_id(id)?.shape, section) {
        (Shape::Var { ty, .. }, ".kconfig") => Ok(ExternKind::Kconfig {
            form: kconfig_form(btf, ty)?,
            size: u32::try_from(btf.size_of(ty)?)
                .map_err(|_| Error::corrupt("a value of more than 4 GiB"))?,
            offset: 0,
        }),
        (Shape::Var { ty, .. }, ".ksyms") => {
            let ty = btf.resolve(ty)?;
            Ok(if matches!(ty.shape, Shape::Void) { ExternKind::Ksym } else { ExternKind::Kvar(ty.id) })
        }
        (Shape::Func { proto, .. }, ".ksyms") => Ok(ExternKind::Kfunc(proto)),
        _ => Err(Error::unsupported(format!("an extern in section `{section}`"))
            .hint("externs are marked `__ksym` or `__kconfig`")),
    }
}

fn is_char(form: KconfigForm) -> bool {
    matches!(form, KconfigForm::Char { .. })
}

fn kconfig_form(btf: &Btf, id: TypeId) -> Result<KconfigForm> {
    let ty = btf.resolve(id)?;
    match ty.shape {
        Shape::Int(int) if int.encoding.bool && int.bytes == 1 => Ok(KconfigForm::Bool),
        Shape::Int(int) if !int.encoding.bool && int.bytes == 1 => {
            Ok(KconfigForm::Char { signed: int.encoding.signed })
        }
        Shape::Int(int) if !int.encoding.bool && matches!(int.bytes, 2 | 4 | 8) => {
            Ok(KconfigForm::Int { signed: int.encoding.signed })
        }
        Shape::Enum(_) | Shape::Enum64(_) if ty.name == "libbpf_tristate" => Ok(KconfigForm::Tristate),
        Shape::Array(array) if array.len > 0 && is_char(kconfig_form(btf, array.elem)?) => {
            Ok(KconfigForm::Text)
        }
        _ => Err(Error::unsupported(format!("`{}` is no type for a configuration value", ty.describe()))
            .hint("use `bool`, `char`, an integer, `char[]` or `enum libbpf_tristate`")),
    }
}

/// libbpf's order: configuration values first, by falling alignment and rising size; then by name.
fn order(btf: &Btf, ext: &Extern) -> (bool, u32, u32, String) {
    match ext.kind {
        ExternKind::Kconfig { size, .. } => (false, u32::MAX - alignment(btf, ext), size, ext.name.clone()),
        _ => (true, 0, 0, ext.name.clone()),
    }
}

/// Alignment of a configuration value: its size, or that of a string's characters.
fn alignment(btf: &Btf, ext: &Extern) -> u32 {
    match ext.kind {
        ExternKind::Kconfig { form: KconfigForm::Text, .. } => 1,
        ExternKind::Kconfig { size, .. } => size.clamp(1, btf.pointer_bytes()),
        _ => 1,
    }
}

/// Gives every configuration value its bytes in the `.kconfig` map.
fn place_values<'e>(externs: impl Iterator<Item = &'e mut Extern>, types: Option<&Types>) -> Result<()> {
    let Some(types) = types else {
        return Ok(());
    };
    let mut end = 0u32;
    for ext in externs {
        let align = alignment(&types.btf, ext);
        if let ExternKind::Kconfig { size, offset, .. } = &mut ext.kind {
            *offset = end.next_multiple_of(align);
            end = offset.checked_add(*size).filter(|end| *end <= MAX_KCONFIG_BYTES).ok_or_else(|| {
                Error::corrupt(format!("configuration values of more than {MAX_KCONFIG_BYTES} bytes"))
            })?;
        }
    }
    Ok(())
}

/// Bytes of the `.kconfig` map; 0 when the object wants no configuration values.
pub(crate) fn kconfig_size(externs: &[Extern]) -> u32 {
    let ends = externs.iter().map(|ext| match ext.kind {
        ExternKind::Kconfig { size, offset, .. } => offset.saturating_add(size),
        _ => 0,
    });
    ends.max().unwrap_or(0)
}
