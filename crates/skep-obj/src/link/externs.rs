//! Looks up what the object wants of the machine: configuration values, kernel symbols, kernel functions.

use skep_btf::core::{essential_name, types_are_compatible};
use skep_btf::{Btf, Kind, Shape, TypeId};

use super::Target;
use crate::error::{Error, Result};
use crate::externs::{Extern, ExternKind, KconfigForm};
use crate::map::{KernelType, MapDef, MapKind};
use crate::object::Object;

/// What was found, by number of the extern.
pub(super) struct Externs {
    pub(super) values: Vec<Result<Value>>,
    /// Modules that define functions, in the order of a program's `fd_array` from index 1 on.
    pub(super) modules: Vec<usize>,
}

/// What an extern is on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Bytes of the `.kconfig` map.
    Kconfig { map: usize, offset: u32 },
    /// An address; 0 for what is missing and may be.
    Address(u64),
    /// A kernel variable.
    Variable(KernelType),
    /// A kernel function, and its module's index in `fd_array`, or 0.
    Function { id: TypeId, module: Option<usize>, fd_index: i16 },
    /// Left to those who load the program.
    Deferred,
    /// A function that is missing and may be, as long as it is not called.
    MissingFunction,
}

/// Looks up all externs; what is missing is an error of those programs that refer to it.
pub(super) fn resolve(object: &Object, target: &Target, maps: &mut [MapDef]) -> Externs {
    let kconfig = maps.iter().position(|m| m.kind == MapKind::Kconfig);
    let mut externs = Externs { values: Vec::new(), modules: Vec::new() };
    for ext in &object.externs {
        let value = match ext.kind {
            ExternKind::Kconfig { form, size, offset } => {
                let map = kconfig.unwrap_or_default();
                let data = maps
                    .get_mut(map)
                    .and_then(|m| m.data.get_mut(offset as usize..)?.get_mut(..size as usize));
                set_kconfig(ext, form, data.unwrap_or_default(), target)
                    .map(|()| Value::Kconfig { map, offset })
            }
            ExternKind::Ksym | ExternKind::Kvar(_) | ExternKind::Kfunc(_) if target.deferred => {
                Ok(Value::Deferred)
            }
            ExternKind::Ksym => address(ext, target),
            ExternKind::Kvar(ty) => variable(object, ext, ty, target),
            ExternKind::Kfunc(proto) => externs.function(object, ext, proto, target),
            ExternKind::Unknown => unknown(ext),
        };
        externs.values.push(value);
    }
    externs
}

impl Externs {
    fn function(&mut self, object: &Object, ext: &Extern, proto: TypeId, target: &Target) -> Result<Value> {
        let name = essential_name(&ext.name);
        let Some((found, btf)) = find(target, name, Kind::Func) else {
            return match ext.weak {
                true => Ok(Value::MissingFunction),
                false => {
                    Err(missing(format!("the kernel has no function `{name}` for programs (kfunc)"), target))
                }
            };
        };
        let Shape::Func { proto: kernel_proto, .. } = btf.type_by_id(found.id)?.shape else {
            return Err(Error::unresolved(format!("`{name}` is no function")));
        };
        if !compatible(object, proto, btf, kernel_proto)? {
            return match ext.weak {
                true => Ok(Value::MissingFunction),
                false => Err(Error::unresolved(format!(
                    "the kernel's function `{name}` takes or returns other types"
                ))
                .hint("declare it as the kernel does; `vmlinux.h` has its declaration")),
            };
        }
        let fd_index = found.module.map_or(Ok(0), |module| self.fd_index(module))?;
        Ok(Value::Function { id: found.id, module: found.module, fd_index })
    }

    /// Index 0 of `fd_array` cannot be named by an instruction: it means the kernel itself.
    fn fd_index(&mut self, module: usize) -> Result<i16> {
        let index = self.modules.iter().position(|m| *m == module).unwrap_or_else(|| {
            self.modules.push(module);
            self.modules.len() - 1
        });
        i16::try_from(index + 1).map_err(|_| Error::unsupported("functions of more than 32,767 modules"))
    }
}

fn address(ext: &Extern, target: &Target) -> Result<Value> {
    match target.ksyms.get(&ext.name) {
        Some(address) => Ok(Value::Address(*address)),
        None if ext.weak => Ok(Value::Address(0)),
        None => Err(Error::unresolved(format!("the kernel has no symbol `{}`", ext.name))
            .hint("declare it `__weak` and test its address, if the program can do without it")),
    }
}

fn variable(object: &Object, ext: &Extern, ty: TypeId, target: &Target) -> Result<Value> {
    let Some((found, btf)) = find(target, &ext.name, Kind::Var) else {
        return match ext.weak {
            true => Ok(Value::Address(0)),
            false => Err(missing(format!("the kernel's types know no variable `{}`", ext.name), target)),
        };
    };
    let Shape::Var { ty: kernel_type, .. } = btf.type_by_id(found.id)?.shape else {
        return Err(Error::unresolved(format!("`{}` is no variable", ext.name)));
    };
    let kernel_type = btf.resolve(kernel_type)?;
    if !compatible(object, ty, btf, kernel_type.id)? {
        return Err(Error::unresolved(format!(
            "the kernel's variable `{}` is a `{}`",
            ext.name,
            kernel_type.describe()
        ))
        .hint("declare it with that type"));
    }
    Ok(Value::Variable(found))
}

fn unknown(ext: &Extern) -> Result<Value> {
    Err(Error::unresolved(format!(
        "`{}` is defined neither in the object nor, by `__ksym` or `__kconfig`, elsewhere",
        ext.name
    ))
    .hint("link the object that defines it, or compile with `-g` so that types tell where it is"))
}

fn missing(message: String, target: &Target) -> Error {
    let error = Error::unresolved(message);
    match target.btf {
        None => error.hint("the kernel's types are not known: it needs `CONFIG_DEBUG_INFO_BTF`"),
        Some(_) => error.hint(
            "the kernel is too old, or the module that defines it is not loaded; `__weak` makes it optional",
        ),
    }
}

/// Looks for a name in the kernel, then in what each module adds.
fn find<'t>(target: &'t Target, name: &str, kind: Kind) -> Option<(KernelType, &'t Btf)> {
    target.all_btf().find_map(|(module, btf)| {
        let own = |id: &TypeId| module.is_none() || *id >= btf.first_id();
        let id = btf.find(name, kind).filter(own)?;
        Some((KernelType { id, module }, btf))
    })
}

fn compatible(object: &Object, local: TypeId, btf: &Btf, kernel: TypeId) -> Result<bool> {
    match &object.btf {
        Some(own) => Ok(types_are_compatible((own, local), (btf, kernel))?),
        None => Ok(false),
    }
}

/// Writes a configuration value into its bytes, which are zero.
fn set_kconfig(ext: &Extern, form: KconfigForm, place: &mut [u8], target: &Target) -> Result<()> {
    if let Some(value) = virtual_value(ext, target) {
        return set_number(ext, form, place, value);
    }
    if !ext.name.starts_with("CONFIG_") {
        return match ext.weak && ext.name.starts_with("LINUX_") {
            true => Ok(()),
            false => Err(Error::unresolved(format!("no configuration value is called `{}`", ext.name))
                .hint("names begin with `CONFIG_`, or are `LINUX_KERNEL_VERSION` and its like")),
        };
    }
    match target.kconfig.as_ref().and_then(|config| config.get(&ext.name)) {
        Some(text) => set_text(ext, form, place, text),
        None if ext.weak => Ok(()),
        None if target.kconfig.is_none() => Err(Error::unresolved(format!(
            "`{}` is wanted, but the kernel's configuration is not known",
            ext.name
        ))
        .hint("it is looked for in `/proc/config.gz` and `/boot/config-RELEASE`")),
        None => Err(Error::unresolved(format!("the kernel's configuration does not set `{}`", ext.name))
            .hint("declare it `__weak`, if the program can do without it")),
    }
}

/// Values that look like configuration, but are facts of the machine.
fn virtual_value(ext: &Extern, target: &Target) -> Option<u64> {
    match ext.name.as_str() {
        "LINUX_KERNEL_VERSION" => Some(target.kernel_version.into()),
        "LINUX_HAS_BPF_COOKIE" => Some(target.bpf_cookie.into()),
        "LINUX_HAS_SYSCALL_WRAPPER" => Some(target.syscall_wrapper.into()),
        _ => None,
    }
}

fn set_text(ext: &Extern, form: KconfigForm, place: &mut [u8], text: &str) -> Result<()> {
    let unfit = || {
        Error::unresolved(format!(
            "the value `{text}` of `{}` does not fit the type it is declared with",
            ext.name
        ))
    };
    match (form, text) {
        (KconfigForm::Bool, "y" | "n") => set_number(ext, form, place, (text == "y").into()),
        (KconfigForm::Tristate, "y" | "m" | "n") => {
            // `enum libbpf_tristate`: no, yes, module.
            let value = match text {
                "y" => 1,
                "m" => 2,
                _ => 0,
            };
            write_number(place, value);
            Ok(())
        }
        (KconfigForm::Char { .. }, "y" | "m" | "n") => {
            set_number(ext, form, place, text.as_bytes()[0].into())
        }
        (KconfigForm::Text, _) => {
            let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or_else(unfit)?;
            let kept = inner.len().min(place.len().saturating_sub(1));
            place[..kept].copy_from_slice(&inner.as_bytes()[..kept]);
            Ok(())
        }
        (KconfigForm::Char { .. } | KconfigForm::Int { .. }, _) => {
            set_number(ext, form, place, number(text).ok_or_else(unfit)?)
        }
        _ => Err(unfit()),
    }
}

/// As C's `strtoull` with base 0 reads it.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

fn set_number(ext: &Extern, form: KconfigForm, place: &mut [u8], value: u64) -> Result<()> {
    let bits = place.len() * 8;
    let fits = match form {
        KconfigForm::Bool => value <= 1,
        _ if bits >= 64 => true,
        KconfigForm::Int { signed: true } | KconfigForm::Char { signed: true } => {
            let sign = 1u64 << (bits - 1);
            value.wrapping_add(sign) < sign << 1
        }
        KconfigForm::Int { signed: false } | KconfigForm::Char { signed: false } => value >> bits == 0,
        KconfigForm::Tristate | KconfigForm::Text => false,
    };
    if !fits {
        return Err(Error::unresolved(format!(
            "the value {value} of `{}` does not fit the {} bytes it is declared with",
            ext.name,
            place.len()
        )));
    }
    write_number(place, value);
    Ok(())
}

fn write_number(place: &mut [u8], value: u64) {
    for (byte, from) in place.iter_mut().zip(value.to_le_bytes()) {
        *byte = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_signs() {
        let kind = ExternKind::Kconfig { form: KconfigForm::Char { signed: true }, size: 1, offset: 0 };
        let ext = Extern { name: "CONFIG_HZ".to_owned(), kind, weak: false, type_id: TypeId::VOID };
        let fits = |signed, text| set_text(&ext, KconfigForm::Char { signed }, &mut [0], text).is_ok();
        assert!(fits(true, "127") && fits(true, "-128") && fits(false, "250") && fits(true, "y"));
        assert!(!fits(true, "250") && !fits(false, "256") && !fits(false, "-1"));
    }
}
