//! `skep struct_ops`: structures of functions that programs stand in for, such as congestion controls.

use std::path::Path;

use skep::btf::{Btf, Kind, TypeId};
use skep::object::AttachPoint;
use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, MapInfo};
use skep::runtime::{AttachOptions, AttachTarget, Command, Handle, Link, SharedRuntime};
use skep::{LoadedMap, host};
use skep_isa::uapi::MapType;

use super::btf_value::Values;
use super::failure::{Failure, Outcome};
use super::select::{self, SelectedMap};
use super::shell::Shell;
use super::words::Words;
use super::{pins, prog};

/// What the kernel puts before the name of a structure for the type of its map's value.
const PREFIX: &str = "bpf_struct_ops_";
/// `BPF_F_LINK`: the structure is used for as long as a link lives.
const F_LINK: u32 = 1 << 13;

/// `struct_ops show [id ID|name NAME]`
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let (maps, btf) = (listed(shell, words)?, kernel_types()?);
    if shell.is_json() {
        shell.json.begin_array();
    }
    for SelectedMap { info, .. } in &maps {
        let kernel_name = kernel_name(&btf, info);
        if shell.is_json() {
            shell.json.begin_object();
            shell.json.unsigned_field("id", info.id);
            shell.json.string_field("name", &info.name);
            shell.json.string_field("kernel_struct_ops", &kernel_name);
            shell.json.end_object();
        } else {
            shell.json.text(format_args!("{}: {:<15} {kernel_name:<32}\n", info.id, info.name));
        }
    }
    if shell.is_json() {
        shell.json.end_array();
    }
    Ok(())
}

/// `struct_ops dump [id ID|name NAME]`: what the kernel says of the map, and its value; JSON with either output.
pub(crate) fn dump(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let (maps, btf) = (listed(shell, words)?, kernel_types()?);
    let runtime = shell.runtime()?;
    let name_of = |id: u32| prog_name(&runtime, id);
    let values = Values { btf: &btf, plain: !shell.is_json(), programs: Some(&name_of) };
    shell.json.pretty |= !shell.is_json();
    shell.json.begin_array();
    for map in &maps {
        dump_one(shell, &runtime, map, &values)?;
    }
    shell.json.end_array();
    if !shell.is_json() {
        shell.json.finish_document();
    }
    Ok(())
}

fn dump_one(shell: &mut Shell, runtime: &SharedRuntime, map: &SelectedMap, values: &Values<'_>) -> Outcome {
    let btf = values.btf;
    let says = btf
        .find("bpf_map_info", Kind::Struct)
        .ok_or_else(|| Failure::new("this kernel has no `bpf_map_info`"))?;
    let mut bytes = vec![0; usize::try_from(btf.size_of(says)?).unwrap_or(0)];
    runtime.bpf(Command::ObjGetInfo { fd: map.map.fd(), info: &mut bytes, arrays: &mut [] })?;
    let value = map.map.lookup(&0_u32.to_ne_bytes()).map_err(|e| Failure::refused(&e))?.unwrap_or_default();
    let value_type = TypeId(map.info.btf_vmlinux_value_type_id);
    for (name, id, bytes) in [("bpf_map_info", says, &bytes), (btf.name(value_type)?, value_type, &value)] {
        shell.json.begin_object();
        shell.json.name(name);
        values.write(&mut shell.json, id, bytes)?;
        shell.json.end_object();
    }
    Ok(())
}

/// `struct_ops register OBJ [DIR]`: has the kernel use every structure of an object; links are pinned in `DIR`.
pub(crate) fn register(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = words.need("the object").map_err(Failure::aside)?;
    let directory = words.next();
    words.end()?;
    let object = skep::open(Path::new(file))?.object;
    let linked = object.link(&host::target(&object))?;
    let loaded = skep::load(&shell.runtime()?, &object, linked)?;
    let btf = kernel_types()?;
    let mut count = 0;
    for map in loaded.maps().filter(|map| map.map.map_type() == MapType::STRUCT_OPS) {
        register_one(shell, map, &btf, directory)?;
        count += 1;
    }
    if count == 0 {
        return Err(Failure::new(format!("`{file}` has no `struct_ops` structure"))
            .hint("they are in sections `.struct_ops` and `.struct_ops.link`"));
    }
    Ok(())
}

fn register_one(shell: &mut Shell, map: &LoadedMap, btf: &Btf, directory: Option<&str>) -> Outcome {
    let runtime = map.map.handle().runtime();
    let info = MapInfo::of(runtime, map.map.fd())?;
    let in_map = |e: skep::runtime::Error| Failure::from(e).context(format_args!("`{}`", map.def.name));
    map.map.update(&0_u32.to_ne_bytes(), &map.def.data, 0).map_err(in_map)?;
    let kernel_name = kernel_name(btf, &info);
    if map.def.map_flags & F_LINK == 0 {
        tell(shell, format_args!("Registered {kernel_name} {} id {}\n", info.name, info.id));
        return Ok(());
    }
    let options = AttachOptions { target: Some(AttachTarget::Map(map.map.fd())), ..AttachOptions::default() };
    let fd = runtime.attach(map.map.fd(), &AttachPoint::StructOps, &options).map_err(in_map)?;
    let link = Link::new(Handle::new(runtime.clone(), fd));
    let id = link.info()?.id;
    match directory {
        Some(directory) => pins::pin(shell, link.fd(), &format!("{directory}/{}", info.name))?,
        None => crate::term::warning(format_args!(
            "`{}` is used for as long as a link lives, which ends with this command: name a directory to pin it in",
            info.name
        )),
    }
    tell(shell, format_args!("Registered {kernel_name} {} map id {} link id {id}\n", info.name, info.id));
    Ok(())
}

/// `struct_ops unregister id ID|name NAME`
pub(crate) fn unregister(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if words.is_empty() {
        return Err(Failure::new("say which").hint("`id ID`, or `name NAME`"));
    }
    let maps = selected(shell, words).map_err(|e| Failure::new(e.message()))?;
    let btf = kernel_types()?;
    for SelectedMap { map, info } in &maps {
        let kernel_name = kernel_name(&btf, info);
        map.delete(&0_u32.to_ne_bytes()).map_err(|e| {
            let is_linked = e.errno() == EOPNOTSUPP;
            let failure =
                Failure::from(e).context(format_args!("cannot unregister {kernel_name} `{}`", info.name));
            match is_linked {
                true => failure.hint("a link holds it: `skep link detach`, or removing its pin, ends that"),
                false => failure,
            }
        })?;
        tell(shell, format_args!("Unregistered {kernel_name} {} id {}\n", info.name, info.id));
    }
    Ok(())
}

/// What the kernel answers of a structure that a link holds.
const EOPNOTSUPP: i32 = 95;

fn tell(shell: &mut Shell, line: std::fmt::Arguments<'_>) {
    if !shell.is_json() {
        shell.json.text(line);
    }
}

/// The maps that are meant, to be shown; that there is none of a name is an empty list.
fn listed(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<Vec<SelectedMap>> {
    let found = selected(shell, words);
    if shell.is_json() && found.as_ref().is_err_and(Failure::is_aside) {
        shell.json.begin_array();
        shell.json.end_array();
    }
    found
}

/// The maps that are meant, or all of this kind.
fn selected(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<Vec<SelectedMap>> {
    let runtime = shell.runtime()?;
    if words.keyword("id") {
        let id = words.number("the id")?;
        let map = select::adopt_map(&runtime, select::open_id(&runtime, ObjectKind::Map, id)?)?;
        if map.info.map_type != MapType::STRUCT_OPS {
            let MapInfo { name, map_type, .. } = &map.info;
            return Err(Failure::new(format!(
                "map `{name}` with id `{id}` is of type `{map_type}`, not `struct_ops`"
            )));
        }
        words.end()?;
        return Ok(vec![map]);
    }
    let name = if words.keyword("name") { Some(words.need("the name")?) } else { None };
    words.end()?;
    let mut found = Vec::new();
    for id in info::ids(&runtime, ObjectKind::Map)? {
        // One that is gone by now is not meant.
        let Ok(handle) = info::open_id(&runtime, ObjectKind::Map, id) else { continue };
        let map = select::adopt_map(&runtime, handle)?;
        let is_meant = name.is_none_or(|name| name == map.info.name);
        if map.info.map_type == MapType::STRUCT_OPS && is_meant {
            found.push(map);
        }
    }
    match name.filter(|_| found.is_empty()) {
        Some(name) => Err(Failure::usage(format!("there is no `struct_ops` map with name `{name}`"))),
        None => Ok(found),
    }
}

fn kernel_types() -> Outcome<std::sync::Arc<Btf>> {
    host::kernel_btf().ok_or_else(|| {
        Failure::new("this kernel does not show its types").hint("it takes `CONFIG_DEBUG_INFO_BTF`")
    })
}

/// What the kernel calls the structure.
fn kernel_name(btf: &Btf, info: &MapInfo) -> String {
    let name = btf.name(TypeId(info.btf_vmlinux_value_type_id)).unwrap_or_default();
    name.strip_prefix(PREFIX).unwrap_or(name).to_owned()
}

/// The full name of a program.
fn prog_name(runtime: &SharedRuntime, id: u32) -> Option<String> {
    let handle = info::open_id(runtime, ObjectKind::Prog, id).ok()?;
    prog::full_name(runtime, handle)
}
