//! Maps that objects share under their names in a BPF file system.

use std::path::Path;

use skep_isa::uapi::MapType;
use skep_obj::map::{F_RDONLY_PROG, MapDef};
use skep_runtime::command::{Command, ObjectKind, Reply};
use skep_runtime::info::{self, MapInfo};
use skep_runtime::{ErrorKind, Fd, Handle, Map, SharedRuntime};

use super::EEXIST;
use crate::{Error, Result};

/// The map that is pinned at `path`, if there is one; it has to be like the one that the object defines.
pub(super) fn reuse(runtime: &SharedRuntime, def: &MapDef, path: &Path, cpus: usize) -> Result<Option<Map>> {
    let in_map = |e: skep_runtime::Error| e.context(format_args!("map `{}`", def.name));
    let handle = match runtime.bpf(Command::ObjGet { path }) {
        Ok(Reply::Fd(fd)) => Handle::new(runtime.clone(), fd),
        Ok(_) => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(in_map(e).into()),
    };
    let info = MapInfo::of(runtime, handle.fd()).map_err(in_map)?;
    if let Some((what, here, there)) = difference(def, &info) {
        return Err(Error::usage(
            format!(
                "map `{}`: the one at `{}` has another {what}: {there} instead of {here}",
                def.name,
                path.display()
            ),
            "remove the pin if nobody needs that map any more, or pin into another directory",
        ));
    }
    Ok(Some(Map::adopt(handle, &info, cpus)))
}

/// The map with that id, which the caller wants used; it has to be like the one that the object defines.
pub(super) fn given(runtime: &SharedRuntime, def: &MapDef, id: u32, cpus: usize) -> Result<Map> {
    let in_map = |e: skep_runtime::Error| e.context(format_args!("map `{}`", def.name));
    let handle = info::open_id(runtime, ObjectKind::Map, id).map_err(in_map)?;
    let info = MapInfo::of(runtime, handle.fd()).map_err(in_map)?;
    match difference(def, &info) {
        None => Ok(Map::adopt(handle, &info, cpus)),
        Some((what, here, there)) => Err(Error::usage(
            format!(
                "map `{}`: the one with id `{id}` has another {what}: {there} instead of {here}",
                def.name
            ),
            "give a map that is like the one in the object",
        )),
    }
}

/// The first parameter that differs: what it is, what the object wants, and what is there.
fn difference(def: &MapDef, info: &MapInfo) -> Option<(&'static str, u64, u64)> {
    // The kernel adds this flag to maps of devices (`kernel/bpf/devmap.c`).
    let added = match def.map_type {
        MapType::DEVMAP | MapType::DEVMAP_HASH => F_RDONLY_PROG,
        _ => 0,
    };
    let parameters: [(&str, u64, u64); 6] = [
        ("type", def.map_type.0.into(), info.map_type.0.into()),
        ("size of keys", def.key_size.into(), info.key_size.into()),
        ("size of values", def.value_size.into(), info.value_size.into()),
        ("number of elements", def.max_entries.into(), info.max_entries.into()),
        ("set of flags", (def.map_flags | added).into(), (info.map_flags | added).into()),
        ("`map_extra`", def.map_extra, info.map_extra),
    ];
    parameters.into_iter().find(|(_, wanted, there)| wanted != there)
}

/// Pins a map. When somebody else has pinned one there meanwhile, that is an error, as with any other pin.
pub(super) fn pin(runtime: &SharedRuntime, map: Fd, path: &Path) -> skep_runtime::Result<()> {
    runtime.bpf(Command::ObjPin { fd: map, path }).map(drop).map_err(|e| match e.errno() {
        EEXIST => e.hint("another process was faster: try again, and its map will be used"),
        _ => e,
    })
}
