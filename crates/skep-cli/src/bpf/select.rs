//! Which object is meant: by id, name, tag, or where it is pinned.

use std::path::Path;
use std::sync::Arc;

use skep::host;
use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, BtfInfo, MapInfo, ProgArray, ProgInfo};
use skep::runtime::{Command, Fd, Handle, Map, RuntimeKind, SharedRuntime};

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;

/// Characters of an object's name (`BPF_OBJ_NAME_LEN` without the NUL).
const NAME_MAX: usize = 15;

/// A map with what the runtime says of it.
pub(crate) struct SelectedMap {
    pub(crate) map: Map,
    pub(crate) info: MapInfo,
}

/// A program with what the runtime says of it.
pub(crate) struct SelectedProg {
    pub(crate) handle: Handle,
    pub(crate) info: ProgInfo,
}

/// Opens what is pinned at a path.
pub(crate) fn open_pinned(runtime: &SharedRuntime, path: &str) -> Outcome<Handle> {
    let reply = runtime.bpf(Command::ObjGet { path: Path::new(path) });
    let handle = reply.and_then(|reply| info::owned(runtime, reply));
    handle.map_err(|e| Failure::from(e).context(format_args!("`{path}`")))
}

/// Opens the link that is pinned at a path.
pub(crate) fn pinned_link(runtime: &SharedRuntime, path: &str) -> Outcome<Handle> {
    let handle = open_pinned(runtime, path)?;
    // Older kernels call its descriptors `bpf_link`.
    is_a(&handle, "bpf-link", path).or_else(|e| is_a(&handle, "bpf_link", path).map_err(|_| e))?;
    Ok(handle)
}

/// Opens by id.
pub(crate) fn open_id(runtime: &SharedRuntime, kind: ObjectKind, id: u32) -> Outcome<Handle> {
    let what = match kind {
        ObjectKind::Prog => "program",
        ObjectKind::Map => "map",
        ObjectKind::Btf => "BTF object",
        ObjectKind::Link => "link",
    };
    info::open_id(runtime, kind, id)
        .map_err(|e| Failure::from(e).context(format_args!("{what} with id `{id}`")))
}

/// The maps that a selector means: one, or several of one name.
pub(crate) fn maps(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<Vec<SelectedMap>> {
    let runtime = shell.runtime()?;
    if words.keyword("id") {
        let id = words.number("the id")?;
        return Ok(vec![adopt_map(&runtime, open_id(&runtime, ObjectKind::Map, id)?)?]);
    }
    if words.keyword("name") {
        let name = short_name(words)?;
        let found = named_maps(&runtime, name)?;
        return if found.is_empty() { Err(none("map", "name", name)) } else { Ok(found) };
    }
    if words.keyword("pinned") {
        let path = words.need("the file")?;
        let handle = open_pinned(&runtime, path)?;
        return Ok(vec![adopt_map(&runtime, is_a(&handle, "bpf-map", path).map(|()| handle)?)?]);
    }
    Err(unknown_selector(words, "a map", "id, name or pinned"))
}

/// The one map that is meant.
pub(crate) fn map(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<SelectedMap> {
    let mut found = maps(shell, words)?;
    match found.pop() {
        Some(map) if found.is_empty() => Ok(map),
        Some(map) => Err(several("maps", &map.info.name)),
        None => Err(Failure::new("there is no such map")),
    }
}

fn named_maps(runtime: &SharedRuntime, name: &str) -> Outcome<Vec<SelectedMap>> {
    let mut found = Vec::new();
    for id in info::ids(runtime, ObjectKind::Map)? {
        // One that is gone by now is not meant.
        let Ok(handle) = info::open_id(runtime, ObjectKind::Map, id) else { continue };
        let map = adopt_map(runtime, handle)?;
        if map.info.name == name {
            found.push(map);
        }
    }
    Ok(found)
}

/// A map of which the descriptor is known.
pub(crate) fn adopt_map(runtime: &SharedRuntime, handle: Handle) -> Outcome<SelectedMap> {
    let info = MapInfo::of(runtime, handle.fd())?;
    let map = Map::adopt(handle, &info, host::possible_cpus());
    Ok(SelectedMap { map, info })
}

/// The programs that a selector means: one, or several of one name or tag.
pub(crate) fn progs(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<Vec<SelectedProg>> {
    let runtime = shell.runtime()?;
    if words.keyword("id") {
        let id = words.number("the id")?;
        return Ok(vec![adopt_prog(&runtime, open_id(&runtime, ObjectKind::Prog, id)?)?]);
    }
    if words.keyword("tag") {
        let text = words.need("the tag")?;
        let tag = parse_tag(text)?;
        return some("program", "tag", text, matching_progs(&runtime, |prog| prog.info.tag == tag)?);
    }
    if words.keyword("name") {
        let name = words.need("the name")?;
        let mut names = FullNames::default();
        let is_it = |prog: &SelectedProg| names.of(&runtime, prog.handle.fd(), &prog.info) == name;
        return some("program", "name", name, matching_progs(&runtime, is_it)?);
    }
    if words.keyword("pinned") {
        let path = words.need("the file")?;
        let handle = open_pinned(&runtime, path)?;
        return Ok(vec![adopt_prog(&runtime, is_a(&handle, "bpf-prog", path).map(|()| handle)?)?]);
    }
    Err(unknown_selector(words, "a program", "id, name, tag or pinned"))
}

/// The one program that is meant.
pub(crate) fn prog(shell: &mut Shell, words: &mut Words<'_>) -> Outcome<SelectedProg> {
    let mut found = progs(shell, words)?;
    match found.pop() {
        Some(prog) if found.is_empty() => Ok(prog),
        Some(prog) => Err(several("programs", &prog.info.name)),
        None => Err(Failure::new("there is no such program")),
    }
}

fn matching_progs(
    runtime: &SharedRuntime,
    mut is_meant: impl FnMut(&SelectedProg) -> bool,
) -> Outcome<Vec<SelectedProg>> {
    let mut found = Vec::new();
    for id in info::ids(runtime, ObjectKind::Prog)? {
        let Ok(handle) = info::open_id(runtime, ObjectKind::Prog, id) else { continue };
        let prog = adopt_prog(runtime, handle)?;
        if is_meant(&prog) {
            found.push(prog);
        }
    }
    Ok(found)
}

/// A program of which the descriptor is known.
pub(crate) fn adopt_prog(runtime: &SharedRuntime, handle: Handle) -> Outcome<SelectedProg> {
    let info = ProgInfo::of(runtime, handle.fd(), &[ProgArray::MapIds])?;
    Ok(SelectedProg { handle, info })
}

/// Names of programs. Those of one object have the same types, which are read once.
#[derive(Default)]
pub(crate) struct FullNames {
    types: Option<(u32, Arc<skep::btf::Btf>)>,
}

impl FullNames {
    /// A program's name, from the types of its function where the kernel cut it off.
    pub(crate) fn of(&mut self, runtime: &SharedRuntime, prog: Fd, info: &ProgInfo) -> String {
        self.function(runtime, prog, info).unwrap_or_else(|| info.name.clone())
    }

    fn function(&mut self, runtime: &SharedRuntime, prog: Fd, info: &ProgInfo) -> Option<String> {
        if info.name.len() < NAME_MAX || info.btf_id == 0 {
            return None;
        }
        let functions = ProgInfo::of(runtime, prog, &[ProgArray::FuncInfo]).ok()?;
        let function = functions.bytes(ProgArray::FuncInfo).get(4..8)?;
        let type_id = skep::btf::TypeId(function.try_into().map(u32::from_ne_bytes).ok()?);
        self.types(runtime, info.btf_id)?.name(type_id).ok().map(str::to_owned)
    }

    /// The types with that id, which are those of the program before more often than not.
    pub(crate) fn types(&mut self, runtime: &SharedRuntime, btf_id: u32) -> Option<Arc<skep::btf::Btf>> {
        if self.types.as_ref().is_none_or(|(id, _)| *id != btf_id) {
            // The ones before give their memory back first.
            self.types = None;
            self.types = Some((btf_id, Arc::new(btf(runtime, btf_id).ok()?)));
        }
        self.types.as_ref().map(|(_, types)| Arc::clone(types))
    }
}

/// The types with that id, over the kernel's where they continue these.
pub(crate) fn btf(runtime: &SharedRuntime, id: u32) -> Outcome<skep::btf::Btf> {
    let handle = open_id(runtime, ObjectKind::Btf, id)?;
    let info = BtfInfo::of(runtime, handle.fd())?;
    let data = Arc::new(BtfInfo::data(runtime, handle.fd())?);
    if info.kernel && info.name != "vmlinux" {
        let base = host::kernel_btf().ok_or_else(|| Failure::new("this kernel does not show its types"))?;
        return Ok(skep::btf::Btf::parse_split(data, base)?);
    }
    Ok(skep::btf::Btf::parse(data)?)
}

/// What kind of object a descriptor leads to is in the name of its file; other runtimes than the kernel's say what they
/// have pinned.
fn is_a(handle: &Handle, kind: &str, path: &str) -> Outcome {
    if handle.runtime().kind() != RuntimeKind::Kernel {
        let absolute = std::path::absolute(path).map_err(|e| Failure::file(path, &e))?;
        let pin = handle.runtime().pins()?.into_iter().find(|pin| pin.path == absolute);
        return match pin.map(|pin| kind_name(pin.kind)) {
            Some(found) if found != kind => {
                Err(Failure::new(format!("`{path}` is no {kind}, but a {found}")))
            }
            _ => Ok(()),
        };
    }
    match std::fs::read_link(format!("/proc/self/fd/{}", handle.fd().0)) {
        Ok(target) if target.to_string_lossy().starts_with("anon_inode:bpf") => {
            let is_it = target.to_string_lossy().contains(kind);
            if is_it {
                Ok(())
            } else {
                Err(Failure::new(format!("`{path}` is no {kind}, but {}", target.display())))
            }
        }
        _ => Ok(()),
    }
}

/// The kernel's word for a kind of object.
fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Prog => "bpf-prog",
        ObjectKind::Map => "bpf-map",
        ObjectKind::Link => "bpf-link",
        ObjectKind::Btf => "btf",
    }
}

fn short_name<'a>(words: &mut Words<'a>) -> Outcome<&'a str> {
    let name = words.need("the name")?;
    match name.len() {
        0..=NAME_MAX => Ok(name),
        _ => Err(Failure::new(format!("`{name}` is longer than the {NAME_MAX} bytes that a name may have"))),
    }
}

fn parse_tag(text: &str) -> Outcome<[u8; 8]> {
    let tag = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
    tag.map(u64::to_be_bytes)
        .ok_or_else(|| Failure::new(format!("`{text}` is no tag")).hint("a tag is 16 hexadecimal digits"))
}

fn some<T>(what: &str, by: &str, value: &str, found: Vec<T>) -> Outcome<Vec<T>> {
    if found.is_empty() { Err(none(what, by, value)) } else { Ok(found) }
}

fn none(what: &str, by: &str, value: &str) -> Failure {
    Failure::new(format!("there is no {what} with {by} `{value}`"))
}

pub(crate) fn several(what: &str, name: &str) -> Failure {
    Failure::new(format!("several {what} match `{name}`")).hint("say which by `id` or `pinned`")
}

fn unknown_selector(words: &Words<'_>, what: &str, how: &str) -> Failure {
    let hint = format!("name {what} by {how}");
    match words.peek() {
        Some(word) => Failure::new(format!("`{word}` does not say which")).hint(hint),
        None => Failure::new(format!("{what} is missing")).hint(hint),
    }
}
