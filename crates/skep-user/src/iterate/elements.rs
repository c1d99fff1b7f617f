//! What iterators go through, and the context in which a program sees one element.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use skep_isa::uapi::MapType;
use skep_runtime::command::ObjectKind;
use skep_vm::Map;

use super::Target;
use crate::objects::{Link, Object, Prog, Registry};
use crate::packets::World;
use crate::procfs::maps::Mapping;
use crate::runtime::link_type;
use crate::sys::Tid;

/// What there is to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    TaskFile,
    TaskVma,
    Map,
    Prog,
    Link,
    MapElement,
}

/// By the names in sections, which are those of the kernel's functions `bpf_iter_NAME`.
const KINDS: [(&str, Kind); 7] = [
    ("task", Kind::Task),
    ("task_file", Kind::TaskFile),
    ("task_vma", Kind::TaskVma),
    ("bpf_map", Kind::Map),
    ("bpf_prog", Kind::Prog),
    ("bpf_link", Kind::Link),
    ("bpf_map_elem", Kind::MapElement),
];

impl Kind {
    pub(crate) fn of_function(name: &str) -> Option<Self> {
        let name = name.strip_prefix("bpf_iter_")?;
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// One of them.
pub(super) enum Element {
    Task(Tid),
    File(Tid, u32),
    Vma(Tid, Box<Mapping>),
    Map(Arc<Map>),
    Prog(Arc<Prog>),
    Link(Arc<Link>),
    Key(Vec<u8>),
}

/// Everything there is now.
pub(super) fn of(target: &Target, registry: &Registry) -> Vec<Element> {
    let objects = |kind| registry.all(kind).into_iter().filter_map(of_object).collect();
    match target.kind {
        Kind::Task => tasks(target, true).into_iter().map(Element::Task).collect(),
        Kind::TaskFile => tasks(target, false).into_iter().flat_map(files).collect(),
        Kind::TaskVma => tasks(target, false).into_iter().flat_map(vmas).collect(),
        Kind::Map => objects(ObjectKind::Map),
        Kind::Prog => objects(ObjectKind::Prog),
        Kind::Link => objects(ObjectKind::Link),
        Kind::MapElement => target.map.as_ref().map(|map| keys(map)).unwrap_or_default(),
    }
}

fn of_object(object: Object) -> Option<Element> {
    Some(match object {
        Object::Map(map) => Element::Map(map),
        Object::Prog(prog) => Element::Prog(prog),
        Object::Link(link) => Element::Link(link),
        Object::Btf(_) => return None,
    })
}

/// Names in a directory that are numbers, in their order.
fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Threads by their numbers, or only those that begin a process.
fn tasks(target: &Target, threads: bool) -> Vec<Tid> {
    let of_process = |pid: u32| match threads {
        true => numbers(&format!("/proc/{pid}/task")),
        false => vec![pid],
    };
    let mut tids = match (target.tid, target.process) {
        (Some(tid), _) => vec![tid],
        (None, Some(pid)) => of_process(pid),
        (None, None) => numbers("/proc").into_iter().flat_map(of_process).collect(),
    };
    tids.sort_unstable();
    tids.into_iter().filter_map(|tid| Tid::try_from(tid).ok()).collect()
}

fn files(tid: Tid) -> Vec<Element> {
    numbers(&format!("/proc/{tid}/fd")).into_iter().map(|fd| Element::File(tid, fd)).collect()
}

fn vmas(tid: Tid) -> Vec<Element> {
    Mapping::all(tid).into_iter().map(|mapping| Element::Vma(tid, Box::new(mapping))).collect()
}

fn keys(map: &Map) -> Vec<Element> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut next = vec![0; map.spec().key_size as usize];
    while map.next_key(keys.last().map(Vec::as_slice), &mut next).is_ok() {
        keys.push(next.clone());
    }
    keys.into_iter().map(Element::Key).collect()
}

/// The context for an element, or for the end; `None` when the element is gone.
pub(super) fn context(
    target: &Target,
    element: Option<&Element>,
    meta: u64,
    world: &mut World,
) -> Option<Vec<u8>> {
    let words = match element {
        // As many words as any context has.
        None if target.kind == Kind::MapElement => vec![meta, map(target.map.as_ref()?, world), 0, 0],
        None => vec![meta, 0, 0, 0],
        Some(Element::Task(tid)) => vec![meta, world.task(*tid)?],
        Some(Element::File(tid, fd)) => vec![meta, world.task(*tid)?, (*fd).into(), file(*tid, *fd, world)?],
        Some(Element::Vma(tid, mapping)) => {
            vec![meta, world.task(*tid)?, world.memory().lend_vma(*tid, mapping)]
        }
        Some(Element::Map(it)) => vec![meta, map(it, world)],
        Some(Element::Prog(it)) => vec![meta, prog(it, world)],
        Some(Element::Link(it)) => vec![meta, link(it, world)],
        Some(Element::Key(key)) => return of_key(target.map.as_ref()?, key, meta, world),
    };
    Some(words.into_iter().flat_map(u64::to_ne_bytes).collect())
}

/// A key is shown as a copy that lies behind the context. A value is shown where it is, except that of per-CPU maps, which
/// is a copy of those of all processors.
fn of_key(of: &Arc<Map>, key: &[u8], meta: u64, world: &mut World) -> Option<Vec<u8>> {
    const KEY_AT: usize = 32;
    let value_at = KEY_AT + key.len().next_multiple_of(8);
    let spec = of.spec();
    let copied = if spec.is_percpu() { spec.value_stride() } else { 0 };
    let mut context = vec![0; value_at + copied];
    context[KEY_AT..][..key.len()].copy_from_slice(key);
    let at = context.as_ptr().addr() as u64;
    let value = match copied {
        0 => of.value_addr(key, 0)?,
        _ => {
            of.lookup(key, &mut context[value_at..], 0).ok()?;
            at + value_at as u64
        }
    };
    let words = [meta, map(of, world), at + KEY_AT as u64, value];
    context[..KEY_AT].copy_from_slice(words.map(u64::to_ne_bytes).as_flattened());
    Some(context)
}

/// Can the elements of maps of this type be gone through?
pub(crate) fn has_elements(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::HASH
            | MapType::LRU_HASH
            | MapType::PERCPU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::ARRAY
            | MapType::PERCPU_ARRAY
    )
}

fn map(map: &Map, world: &mut World) -> u64 {
    let spec = map.spec();
    let fields = [
        ("id", spec.id.into()),
        ("map_type", spec.map_type.0.into()),
        ("key_size", spec.key_size.into()),
        ("value_size", spec.value_size.into()),
        ("max_entries", spec.max_entries.into()),
        ("map_flags", spec.map_flags.into()),
        ("map_extra", spec.map_extra),
        ("refcnt.counter", 1),
        ("usercnt.counter", 1),
        ("frozen", map.is_frozen().into()),
    ];
    world.lend_named("bpf_map", &fields, &spec.name)
}

fn prog(prog: &Prog, world: &mut World) -> u64 {
    let spec = &prog.spec;
    let aux = [
        ("id", prog.id.into()),
        ("used_map_cnt", prog.code.maps().len() as u64),
        ("attach_btf_id", spec.attach_btf_id.into()),
        ("load_time", spec.load_time),
        ("refcnt.counter", 1),
    ];
    let aux = world.lend_named("bpf_prog_aux", &aux, &spec.name);
    let fields = [
        ("type", spec.prog_type.0.into()),
        ("expected_attach_type", spec.attach_type.map_or(0, |attach| attach.0.into())),
        ("len", spec.insns.len() as u64),
        ("jited_len", prog.code.machine_code().map_or(0, |code| code.len() as u64)),
        ("aux", aux),
    ];
    world.lend("bpf_prog", &fields)
}

fn link(link: &Link, world: &mut World) -> u64 {
    let prog = prog(&link.prog(), world);
    let fields =
        [("id", link.id.into()), ("type", link_type(link).0.into()), ("refcnt.counter", 1), ("prog", prog)];
    world.lend("bpf_link", &fields)
}

/// An open file, as far as /proc says something of it.
fn file(tid: Tid, fd: u32, world: &mut World) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).ok()?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let link = format!("/proc/{tid}/fd/{fd}");
    let path = fs::read_link(&link).unwrap_or_default();
    let inode = match fs::metadata(link) {
        Ok(file) => world.memory().lend_inode(file.ino(), file.mode(), file.dev()),
        Err(_) => 0,
    };
    let fields = [
        ("f_pos", field("pos:").and_then(|pos| pos.parse().ok()).unwrap_or(0)),
        ("f_flags", field("flags:").and_then(|flags| u64::from_str_radix(flags, 8).ok()).unwrap_or(0)),
        ("f_inode", inode),
    ];
    Some(world.memory().lend_file(&fields, &path))
}
