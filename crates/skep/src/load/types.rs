//! Types as the runtime knows them: the object's own, and those of kernel modules.

use std::sync::Arc;

use skep_btf::TypeId;
use skep_obj::Linked;
use skep_obj::map::{MapDef, MapKind};
use skep_runtime::command::{Command, ObjectKind, Reply};
use skep_runtime::info::{self, BtfInfo};
use skep_runtime::{ErrorKind, Fd, Handle, SharedRuntime};

use super::Options;
use crate::Result;

/// Descriptors of types.
#[derive(Debug)]
pub(super) struct Types {
    /// The object's, where the runtime takes any.
    own: Option<Handle>,
    /// Why the runtime has not taken the object's, although it takes types.
    refused: Option<skep_runtime::Error>,
    /// Those of modules, by the target's numbers; `None` for modules that nothing of the object is in.
    modules: Vec<Option<Handle>>,
}

impl Types {
    /// Hands the object's types to the runtime, and opens those of the modules that it uses.
    pub(super) fn load(runtime: &SharedRuntime, linked: &Linked, options: &Options) -> Result<Self> {
        let (own, refused) = load_own(runtime, linked, options)?;
        Ok(Self { own, refused, modules: open_modules(runtime, linked)? })
    }

    /// The object's types.
    pub(super) fn own(&self) -> Option<Fd> {
        self.own.as_ref().map(Handle::fd)
    }

    /// What was wrong with the object's types. Many programs do without; where one does not, that is why.
    pub(super) fn refused(&self) -> Option<&skep_runtime::Error> {
        self.refused.as_ref()
    }

    /// Types of a module, by the target's number.
    pub(super) fn module(&self, module: Option<usize>) -> Option<Fd> {
        self.modules.get(module?)?.as_ref().map(Handle::fd)
    }

    /// The types of a map's keys and values, for those maps that have any.
    pub(super) fn of_map(&self, def: &MapDef) -> Option<(Fd, u32, u32)> {
        let (key, value) = def.types_to_create()?;
        let described = value != TypeId::VOID || def.kernel_value_type.is_some();
        self.own().filter(|_| described).map(|fd| (fd, key.0, value.0))
    }
}

/// A runtime that does not take any types gets none. A kernel that does not know all kinds of them gets those that it knows, or
/// else none: maps and programs that need them say so themselves, but for structures of functions.
fn load_own(
    runtime: &SharedRuntime,
    linked: &Linked,
    options: &Options,
) -> Result<(Option<Handle>, Option<skep_runtime::Error>)> {
    let Some(btf) = &linked.btf else {
        return Ok((None, None));
    };
    let load = |data: &[u8]| -> skep_runtime::Result<_> {
        match runtime.bpf(Command::BtfLoad { data, token: options.token })? {
            Reply::Fd(fd) => Ok(Some(Handle::new(Arc::clone(runtime), fd))),
            _ => Ok(None),
        }
    };
    let refused = match load(btf.bytes()) {
        Ok(own) => return Ok((own, None)),
        Err(e) if e.kind() == ErrorKind::Unsupported => return Ok((None, None)),
        Err(e) => e.context("types of the object"),
    };
    let are_needed = linked.maps.iter().any(|map| map.kind == MapKind::StructOps);
    if are_needed || !matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::Rejected) {
        return Err(refused.into());
    }
    let plain = linked.plain_types()?.and_then(|plain| load(plain.bytes()).ok().flatten());
    Ok((plain, Some(refused)))
}

/// Finds the descriptors of modules' types by going through all types that the kernel has.
fn open_modules(runtime: &SharedRuntime, linked: &Linked) -> Result<Vec<Option<Handle>>> {
    let wanted = linked.used_modules();
    let mut found: Vec<Option<Handle>> = linked.modules.iter().map(|_| None).collect();
    if wanted.is_empty() {
        return Ok(found);
    }
    for id in info::ids(runtime, ObjectKind::Btf)? {
        // What has gone meanwhile is not what is wanted.
        let Ok(handle) = info::open_id(runtime, ObjectKind::Btf, id) else { continue };
        let says = BtfInfo::of(runtime, handle.fd())?;
        let module = wanted.iter().copied().find(|&module| linked.modules[module] == says.name);
        if let Some(module) = module.filter(|_| says.kernel) {
            found[module] = Some(handle);
        }
    }
    Ok(found)
}
