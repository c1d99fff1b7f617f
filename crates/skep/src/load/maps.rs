//! Maps: created or taken over, filled, and made to refer to programs.

use std::sync::OnceLock;

use skep_obj::map::{MapDef, MapKind, SlotTarget};
use skep_obj::{Linked, Pinning};
use skep_runtime::command::{Command, MapCreate, ObjectKind};
use skep_runtime::info::{self, MapInfo};
use skep_runtime::{ErrorKind, Fd, Handle, Map, SharedRuntime};

use super::types::Types;
use super::{LoadedMap, LoadedProgram, Options, pin};
use crate::{Error, Result, host};

/// Creates the maps that the object wants.
pub(super) fn create(
    runtime: &SharedRuntime,
    linked: &Linked,
    types: &Types,
    options: &Options,
) -> Result<Vec<Option<LoadedMap>>> {
    let cpus = host::possible_cpus();
    let creator = Creator { runtime, types, options, cpus };
    let wanted = linked.maps.iter().map(|def| def.autocreate.then(|| creator.create_or_reuse(def)));
    wanted.map(Option::transpose).collect()
}

struct Creator<'a> {
    runtime: &'a SharedRuntime,
    types: &'a Types,
    options: &'a Options,
    cpus: usize,
}

impl Creator<'_> {
    fn create_or_reuse(&self, def: &MapDef) -> Result<LoadedMap> {
        if let Some(&(_, id)) = self.options.maps.iter().find(|(name, _)| *name == def.name) {
            return self.loaded(def, pin::given(self.runtime, def, id, self.cpus)?, true);
        }
        match def.pinning {
            Pinning::None => return self.loaded(def, self.create(def)?, false),
            Pinning::ByName => {}
            Pinning::Other(other) => return Err(foreign_pinning(def, other)),
        }
        let path = self.options.pin_directory.join(&def.name);
        if let Some(map) = pin::reuse(self.runtime, def, &path, self.cpus)? {
            return self.loaded(def, map, true);
        }
        let map = self.create(def)?;
        pin::pin(self.runtime, map.fd(), &path).map_err(|e| e.context(format_args!("map `{}`", def.name)))?;
        self.loaded(def, map, false)
    }

    /// An arena is mapped at once: the verifier wants to know at which address user space sees it.
    fn loaded(&self, def: &MapDef, map: Map, reused: bool) -> Result<LoadedMap> {
        let memory = OnceLock::new();
        if def.kind == MapKind::Arena {
            let bytes = def.max_entries as usize * rustix::param::page_size();
            let mapped = map.memory(bytes, def.map_extra, true);
            let mapped = mapped.map_err(|e| e.context(format_args!("map `{}`", def.name)))?;
            memory.get_or_init(|| Some(mapped));
        }
        Ok(LoadedMap { def: def.clone(), map, reused, memory })
    }

    /// Creates one map, after a template of the maps it holds.
    fn create(&self, def: &MapDef) -> Result<Map> {
        let template = def.inner.as_deref().map(|inner| self.create(inner)).transpose()?;
        let value_type = def.kernel_value_type;
        let spec = MapCreate {
            map_flags: def.map_flags,
            map_extra: def.map_extra,
            numa_node: def.numa_node,
            inner_map: template.as_ref().map(Map::fd),
            btf: self.types.of_map(def),
            btf_vmlinux_value_type_id: value_type.map_or(0, |ty| ty.id.0),
            value_type_module: value_type.and_then(|ty| self.types.module(ty.module)),
            token: self.options.token,
            ..MapCreate::new(def.map_type, &def.name, def.key_size, def.value_size, def.max_entries)
        };
        match Map::create(self.runtime, &spec, self.cpus) {
            // As with libbpf: types of a map are for people, unless something in the map depends on them, and then the
            // kernel says so without them, too.
            Err(e) if spec.btf.is_some() && e.kind() == ErrorKind::Invalid => {
                let plain = MapCreate { btf: None, ..spec.clone() };
                Map::create(self.runtime, &plain, self.cpus).map_err(|_| e.into())
            }
            result => Ok(result?),
        }
    }
}

/// Writes initial values and references to maps, and freezes constants. A map that was there before keeps what it has.
pub(super) fn fill(maps: &[Option<LoadedMap>]) -> Result<()> {
    for loaded in maps.iter().flatten().filter(|map| !map.reused) {
        let in_map = |e: skep_runtime::Error| e.context(format_args!("map `{}`", loaded.def.name));
        write_values(loaded).map_err(in_map)?;
        for slot in &loaded.def.slots {
            if let SlotTarget::Map(target) = slot.target
                && loaded.def.kind == MapKind::User
                && let Some(target) = maps.get(target).and_then(Option::as_ref)
            {
                let fd = target.map.fd().0.to_ne_bytes();
                loaded.map.update(&slot.at.to_ne_bytes(), &fd, 0).map_err(in_map)?;
            }
        }
        if loaded.def.is_frozen() {
            freeze(&loaded.map).map_err(in_map)?;
        }
    }
    Ok(())
}

/// Writes the values of variables and of jump tables.
fn write_values(loaded: &LoadedMap) -> skep_runtime::Result<()> {
    let def = &loaded.def;
    if def.data.is_empty() {
        return Ok(());
    }
    match def.kind {
        MapKind::JumpTable => {
            let values = def.data.chunks_exact((def.value_size as usize).max(1));
            values.zip(0_u32..).try_for_each(|(value, key)| loaded.map.update(&key.to_ne_bytes(), value, 0))
        }
        MapKind::Arena => loaded.memory().map_or(Ok(()), |memory| memory.write(0, &def.data)),
        _ if def.is_data() => loaded.map.update(&0_u32.to_ne_bytes(), &def.data, 0),
        _ => Ok(()),
    }
}

/// Kernels before 5.2 cannot freeze, and do not make use of it either.
fn freeze(map: &Map) -> skep_runtime::Result<()> {
    match map.freeze() {
        Err(e) if e.kind() == ErrorKind::Invalid => Ok(()),
        result => result,
    }
}

/// Writes the initial elements of program arrays, and puts the functions of `struct_ops` structures into their values.
pub(super) fn refer_to_programs(
    maps: &mut [Option<LoadedMap>],
    programs: &[Option<LoadedProgram>],
) -> Result<()> {
    let program = |target: SlotTarget| match target {
        SlotTarget::Program(index) => programs.get(index).and_then(Option::as_ref),
        SlotTarget::Map(_) => None,
    };
    for loaded in maps.iter_mut().flatten() {
        let slots = loaded.def.slots.clone();
        let references = slots.iter().filter_map(|slot| Some((slot.at, program(slot.target)?.program.fd())));
        match loaded.def.kind {
            MapKind::User if !loaded.reused => {
                for (at, fd) in references {
                    let written = loaded.map.update(&at.to_ne_bytes(), &fd.0.to_ne_bytes(), 0);
                    written.map_err(|e| e.context(format_args!("map `{}`", loaded.def.name)))?;
                }
            }
            MapKind::StructOps => put_functions(&mut loaded.def, references),
            _ => {}
        }
    }
    Ok(())
}

fn foreign_pinning(def: &MapDef, number: u32) -> Error {
    Error::usage(
        format!("map `{}`: pinning `{number}` means something to another loader", def.name),
        "`LIBBPF_PIN_NONE` and `LIBBPF_PIN_BY_NAME` are known here",
    )
}

/// Puts descriptors of programs in place of the functions of a structure.
fn put_functions(def: &mut MapDef, programs: impl Iterator<Item = (u32, Fd)>) {
    def.data.resize(def.value_size as usize, 0);
    for (at, fd) in programs {
        if let Some(place) = def.data.get_mut(at as usize..at as usize + 8) {
            place.copy_from_slice(&i64::from(fd.0).to_ne_bytes());
        }
    }
}

/// Another descriptor of a map, for what must outlive the first one.
pub(super) fn another_handle(map: &Handle) -> skep_runtime::Result<Handle> {
    let id = MapInfo::of(map.runtime(), map.fd())?.id;
    info::open_id(map.runtime(), ObjectKind::Map, id)
}

/// Takes a `struct_ops` structure out of use.
pub(super) fn unregister(map: &Handle) -> skep_runtime::Result<()> {
    let key = 0_u32.to_ne_bytes();
    map.runtime().bpf(Command::MapDelete { map: map.fd(), key: &key }).map(drop)
}
