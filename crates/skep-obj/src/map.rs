//! Maps: what an object defines, and the maps that hold its global variables.
//!
//! Three ways to define a map are read: by types in `.maps`, by structures in the older `maps`, and as the
//! sections of global variables, each of which is the single value of an array map.

mod btf_defined;
mod legacy;
mod slots;

use skep_btf::TypeId;
use skep_isa::uapi::MapType;

use crate::elf::{Elf, Section, SectionKind};
use crate::error::{Error, Result};
use crate::types::Types;

pub(crate) use btf_defined::define;
pub(crate) use slots::{fill as fill_slots, program as program_at};

/// Programs may read the map but not write it (`BPF_F_RDONLY_PROG`).
pub const F_RDONLY_PROG: u32 = 1 << 7;
/// User space may map the values into memory (`BPF_F_MMAPABLE`).
pub const F_MMAPABLE: u32 = 1 << 10;
/// A `struct_ops` map that is attached by a link (`BPF_F_LINK`).
pub const F_LINK: u32 = 1 << 13;

/// How a map comes to be shared by way of the BPF file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// It is not (`LIBBPF_PIN_NONE`).
    #[default]
    None,
    /// Under its name (`LIBBPF_PIN_BY_NAME`).
    ByName,
    /// As the loader that the object was written for understands this number.
    Other(u32),
}

/// One map.
///
/// In an [`Object`](crate::Object) it says what the bytes say; in a [`Linked`](crate::Linked) object what
/// depends on the target has been filled in, too.
#[derive(Clone, Debug, PartialEq)]
pub struct MapDef {
    /// Name; maps of global variables are called after object and section, as libbpf calls them. The kernel
    /// keeps 15 bytes of it.
    pub name: String,
    /// Where it comes from.
    pub kind: MapKind,
    /// What kind of map.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Elements at most; bytes for ring buffers.
    pub max_entries: u32,
    /// `BPF_F_NO_PREALLOC` and its like.
    pub map_flags: u32,
    /// Type-dependent: bloom filter hashes, arena address.
    pub map_extra: u64,
    /// NUMA node, with `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// Is the map shared with other objects by way of the BPF file system?
    pub pinning: Pinning,
    /// Type of a key in the object's BTF, or void.
    pub key_type: TypeId,
    /// Type of a value in the object's BTF, or void; for maps of global variables, the section.
    pub value_type: TypeId,
    /// For `struct_ops`: type of the value in the kernel's BTF, once linked.
    pub kernel_value_type: Option<KernelType>,
    /// Template of the maps that this one holds.
    pub inner: Option<Box<MapDef>>,
    /// Initial references to maps and programs.
    pub slots: Vec<Slot>,
    /// Initial values of the elements, one behind the other: of maps of global variables (one element),
    /// `struct_ops`, jump tables, and of an arena's memory. Before linking, zeroes at the end may be missing;
    /// afterwards there are as many bytes as elements take, or none where all are zero.
    pub data: Vec<u8>,
    /// Is the map created by default? A section with `?` says no.
    pub autocreate: bool,
    /// Section and offset that references to it name.
    pub(crate) place: Option<(usize, u64)>,
}

/// Where a map comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapKind {
    /// The programmer defined it.
    User,
    /// Variables with initial values: `.data`, `.data.*`.
    Data,
    /// Constants: `.rodata`, `.rodata.*`. To be frozen when it is filled.
    Rodata,
    /// Variables that start as zero: `.bss`, `.bss.*`.
    Bss,
    /// Values of the kernel's configuration: `.kconfig`. To be frozen when it is filled.
    Kconfig,
    /// Functions that a kernel subsystem calls: `.struct_ops`, `.struct_ops.link`.
    StructOps,
    /// The programmer defined it; its memory also holds the object's arena variables.
    Arena,
    /// Targets of indirect jumps: `.jumptables`. To be frozen when it is filled.
    JumpTable,
}

/// A type of the kernel or of one of its modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelType {
    /// Number of the type.
    pub id: TypeId,
    /// Which of the target's modules defines it; `None` for the kernel itself.
    pub module: Option<usize>,
}

/// An initial reference in a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The key of the element; in a `struct_ops` value, once linked, the offset in bytes.
    pub at: u32,
    /// What goes there.
    pub target: SlotTarget,
}

/// What an initial reference leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotTarget {
    /// One of the object's maps.
    Map(usize),
    /// One of the object's programs.
    Program(usize),
}

impl Slot {
    /// The program that goes there, if it is one.
    pub fn program(&self) -> Option<usize> {
        match self.target {
            SlotTarget::Program(program) => Some(program),
            SlotTarget::Map(_) => None,
        }
    }
}

impl MapDef {
    /// A map of which nothing but kind and name is said.
    pub(crate) fn new(name: impl Into<String>, kind: MapKind, map_type: MapType) -> Self {
        Self {
            name: name.into(),
            kind,
            map_type,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            map_flags: 0,
            map_extra: 0,
            numa_node: 0,
            pinning: Pinning::None,
            key_type: TypeId::VOID,
            value_type: TypeId::VOID,
            kernel_value_type: None,
            inner: None,
            slots: Vec::new(),
            data: Vec::new(),
            autocreate: true,
            place: None,
        }
    }

    /// Does the map hold global variables?
    pub fn is_data(&self) -> bool {
        matches!(self.kind, MapKind::Data | MapKind::Rodata | MapKind::Bss | MapKind::Kconfig)
    }

    /// Is the map to be made read-only for user space once it is filled?
    pub fn is_frozen(&self) -> bool {
        matches!(self.kind, MapKind::Rodata | MapKind::Kconfig | MapKind::JumpTable)
    }

    /// The types of key and value for bpf(2), which wants none for some kinds of maps (libbpf,
    /// `bpf_object__create_map`).
    pub fn types_to_create(&self) -> Option<(TypeId, TypeId)> {
        match self.map_type {
            MapType::PERF_EVENT_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::STACK_TRACE
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::DEVMAP
            | MapType::DEVMAP_HASH
            | MapType::CPUMAP
            | MapType::XSKMAP
            | MapType::SOCKMAP
            | MapType::SOCKHASH
            | MapType::QUEUE
            | MapType::STACK
            | MapType::ARENA => None,
            MapType::STRUCT_OPS => Some((TypeId::VOID, TypeId::VOID)),
            _ => Some((self.key_type, self.value_type)),
        }
    }

    /// Does the map hold other maps?
    pub fn holds_maps(&self) -> bool {
        matches!(self.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS)
    }
}

/// All maps that the object defines and that hold its variables. `.kconfig` and `struct_ops` come later.
pub(crate) fn collect(elf: &Elf<'_>, types: Option<&Types>, object_name: &str) -> Result<Vec<MapDef>> {
    let mut maps = Vec::new();
    if let Some((index, section)) = elf.section("maps") {
        maps.extend(legacy::collect(elf, index, section, types).map_err(|e| e.section("maps"))?);
    }
    if let Some((index, section)) = elf.section(".maps") {
        maps.extend(btf_defined::collect(elf, index, section, types).map_err(|e| e.section(".maps"))?);
    }
    add_arena_variables(elf, &mut maps)?;
    for (index, section) in elf.sections.iter().enumerate() {
        if let Some(kind) = data_kind(section) {
            maps.push(data_map(kind, index, section, types, object_name));
        }
    }
    Ok(maps)
}

/// The map kind of a section of variables.
fn data_kind(section: &Section<'_>) -> Option<MapKind> {
    let named = |name: &str| {
        section.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match section.kind {
        _ if section.size == 0 => None,
        SectionKind::Data if named(".data") => Some(MapKind::Data),
        SectionKind::Data if named(".rodata") => Some(MapKind::Rodata),
        SectionKind::Zero if named(".bss") => Some(MapKind::Bss),
        _ => None,
    }
}

fn data_map(
    kind: MapKind,
    index: usize,
    section: &Section<'_>,
    types: Option<&Types>,
    object_name: &str,
) -> MapDef {
    let mut data = section.data.to_vec();
    // A section of zeroes takes no bytes of the file, so its size proves nothing; memory is taken when it is
    // linked.
    if kind != MapKind::Bss {
        data.resize(section.size as usize, 0);
    }
    MapDef {
        place: Some((index, 0)),
        ..variables_map(kind, &section.name, section.size as u32, data, types, object_name)
    }
}

/// The map that holds the variables of a section.
pub(crate) fn variables_map(
    kind: MapKind,
    section: &str,
    size: u32,
    data: Vec<u8>,
    types: Option<&Types>,
    object_name: &str,
) -> MapDef {
    let read_only = matches!(kind, MapKind::Rodata | MapKind::Kconfig);
    let value_type = types.and_then(|types| types.datasec(section));
    let mmapable = value_type.is_some_and(|id| types.is_some_and(|types| types.has_visible_variable(id)));
    MapDef {
        key_size: 4,
        value_size: size,
        max_entries: 1,
        map_flags: if read_only { F_RDONLY_PROG } else { 0 } | if mmapable { F_MMAPABLE } else { 0 },
        value_type: value_type.unwrap_or(TypeId::VOID),
        data,
        ..MapDef::new(variables_name(object_name, section), kind, MapType::ARRAY)
    }
}

/// The name libbpf gives the map of a section: as much of the object's name as leaves room for the section's,
/// which gets seven bytes at least; a section with a second dot stands alone, in full.
fn variables_name(object: &str, section: &str) -> String {
    const NAME_BYTES: usize = 15;
    if section.get(1..).is_some_and(|rest| rest.contains('.')) {
        return section.to_owned();
    }
    let suffix = section.len().clamp(7, NAME_BYTES);
    let name = object.bytes().take(NAME_BYTES - suffix).chain(section.bytes().take(suffix));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    name.map(|b| if allowed(b) { b as char } else { '_' }).collect()
}

/// Variables in an arena live in the memory of the one arena map.
fn add_arena_variables(elf: &Elf<'_>, maps: &mut [MapDef]) -> Result<()> {
    let mut arenas = maps.iter_mut().filter(|m| m.map_type == MapType::ARENA);
    let (arena, another) = (arenas.next(), arenas.next());
    if let Some(another) = another {
        return Err(
            Error::unsupported("a second arena map; a program can use only one").symbol(&another.name)
        );
    }
    let variables = elf.section(".addr_space.1").map(|(_, section)| section);
    match (arena, variables) {
        (Some(arena), variables) => {
            arena.kind = MapKind::Arena;
            arena.data = variables.map(|section| section.data.to_vec()).unwrap_or_default();
            Ok(())
        }
        (None, Some(section)) => Err(Error::invalid("arena variables, but no arena map to hold them")
            .section(&section.name)
            .hint("define a map of type `BPF_MAP_TYPE_ARENA` in `SEC(\".maps\")`")),
        (None, None) => Ok(()),
    }
}
