//! Attributes of bpf(2) as a loader has them in its blob: `union bpf_attr` of `linux/bpf.h`, of which the kernel takes as much as
//! a command needs. Pointers and descriptors are filled in when the loader runs.

use skep_isa::Insn;
use skep_isa::uapi::AttachType;
use skep_obj::map::MapDef;
use skep_obj::source::{FuncInfo, LineInfo};
use skep_obj::{LinkedProgram, MapKind};

/// Bytes of a name, the zero at its end among them (`BPF_OBJ_NAME_LEN`).
const NAME_BYTES: usize = 16;
/// Bytes of `struct bpf_core_relo`.
pub(super) const CORE_RELO_BYTES: usize = 16;

/// Where the loader fills something in, for `BPF_BTF_LOAD`.
pub(super) mod btf {
    pub(in super::super) const DATA: i16 = 0;
    pub(in super::super) const LOG_BUF: i16 = 8;
    pub(in super::super) const LOG_SIZE: i16 = 20;
    pub(in super::super) const LOG_LEVEL: i16 = 24;
}

/// The same for `BPF_MAP_CREATE`.
pub(super) mod create {
    pub(in super::super) const MAX_ENTRIES: i16 = 12;
    pub(in super::super) const INNER_MAP_FD: i16 = 20;
    pub(in super::super) const BTF_FD: i16 = 48;
}

/// The same for commands on elements, and for `BPF_MAP_FREEZE`.
pub(super) mod element {
    pub(in super::super) const MAP_FD: i16 = 0;
    pub(in super::super) const KEY: i16 = 8;
    pub(in super::super) const VALUE: i16 = 16;
}

/// The same for `BPF_PROG_LOAD`.
pub(super) mod load {
    pub(in super::super) const INSNS: i16 = 8;
    pub(in super::super) const LICENSE: i16 = 16;
    pub(in super::super) const LOG_LEVEL: i16 = 24;
    pub(in super::super) const LOG_SIZE: i16 = 28;
    pub(in super::super) const LOG_BUF: i16 = 32;
    pub(in super::super) const BTF_FD: i16 = 72;
    pub(in super::super) const FUNC_INFO: i16 = 80;
    pub(in super::super) const LINE_INFO: i16 = 96;
    pub(in super::super) const ATTACH_BTF_ID: i16 = 108;
    pub(in super::super) const ATTACH_BTF_OBJ_FD: i16 = 112;
    pub(in super::super) const FD_ARRAY: i16 = 120;
    pub(in super::super) const CORE_RELOS: i16 = 128;
}

/// An attribute without what is filled in later.
struct Attr(Vec<u8>);

impl Attr {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    fn u32(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, at: usize, value: u64) -> Self {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// A name as the kernel takes it: what it does not like becomes `_`, and the end is cut off.
    fn name(mut self, at: usize, name: &str) -> Self {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        for (place, byte) in self.0[at..at + NAME_BYTES - 1].iter_mut().zip(name.bytes()) {
            *place = if allowed(byte) { byte } else { b'_' };
        }
        self
    }
}

/// Types to load, of so many bytes.
pub(super) fn btf_load(bytes: usize) -> Vec<u8> {
    Attr::new(28).u32(16, bytes as u32).0
}

/// A map.
pub(super) fn map_create(def: &MapDef) -> Vec<u8> {
    let attr = Attr::new(72)
        .u32(0, def.map_type.0)
        .u32(4, def.key_size)
        .u32(8, def.value_size)
        .u32(create::MAX_ENTRIES as usize, def.max_entries)
        .u32(16, def.map_flags)
        .u32(24, def.numa_node)
        .name(28, &def.name)
        .u64(64, def.map_extra);
    match types_of(def) {
        Some((key, value)) => attr.u32(52, key).u32(56, value).0,
        None => attr.0,
    }
}

/// The types of a map's keys and values, for those that have any.
pub(super) fn types_of(def: &MapDef) -> Option<(u32, u32)> {
    let (key, value) = def.types_to_create()?;
    (value.0 != 0 && def.kind != MapKind::StructOps).then_some((key.0, value.0))
}

/// An element to write; any there may be is replaced.
pub(super) fn map_update() -> Vec<u8> {
    Attr::new(32).0
}

/// A map to freeze.
pub(super) fn map_freeze() -> Vec<u8> {
    Attr::new(4).0
}

/// A program, whose types of functions and source lines have so many bytes.
pub(super) fn prog_load(program: &LinkedProgram, func_info: usize, line_info: usize) -> Vec<u8> {
    let relos = program.deferred.core_relos.len();
    let attr = Attr::new(140)
        .u32(0, program.prog_type.0)
        .u32(4, program.insns.len() as u32)
        .u32(44, program.flags)
        .name(48, &program.name)
        .u32(68, program.expected_attach_type.map_or(0, |AttachType(number)| number))
        .u32(76, FuncInfo::SIZE)
        .u32(88, (func_info / FuncInfo::SIZE as usize) as u32)
        .u32(92, LineInfo::SIZE)
        .u32(104, (line_info / LineInfo::SIZE as usize) as u32)
        .u32(116, relos as u32);
    match relos {
        0 => attr.0,
        _ => attr.u32(136, CORE_RELO_BYTES as u32).0,
    }
}

/// Instructions as the kernel takes them.
pub(super) fn insns(insns: &[Insn]) -> Vec<u8> {
    insns.iter().flat_map(|insn| insn.to_le_bytes()).collect()
}

/// CO-RE relocations as the kernel takes them.
pub(super) fn core_relos(program: &LinkedProgram) -> Vec<u8> {
    let words = program.deferred.core_relos.iter().flat_map(|r| [r.insn_off, r.ty.0, r.access_off, r.kind]);
    words.flat_map(u32::to_le_bytes).collect()
}
