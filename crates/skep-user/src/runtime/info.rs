//! `BPF_OBJ_GET_INFO_BY_FD`: the kernel's `struct bpf_map_info`, `bpf_prog_info`, `bpf_link_info`, `bpf_btf_info`
//! (`include/uapi/linux/bpf.h`, Linux 6.18), as far as there is something to say. Arrays that a caller lends through
//! addresses in the structure are not filled; their counts are told.

use skep_isa::uapi::LinkType;
use skep_runtime::{Fd, Reply, Result};
use skep_vm::Map;
use skep_vm::map::MapTypes;

use super::UserRuntime;
use crate::objects::{Link, Object, Prog, Types};

/// A structure under construction; what lies behind the caller's buffer is dropped.
struct Info {
    bytes: Vec<u8>,
}

impl Info {
    fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes] }
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Self {
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// A name of at most 15 bytes and a zero.
    fn name(mut self, offset: usize, name: &str) -> Self {
        let length = name.len().min(15);
        self.bytes[offset..offset + length].copy_from_slice(&name.as_bytes()[..length]);
        self
    }
}

impl UserRuntime {
    pub(super) fn obj_get_info(&self, fd: Fd, info: &mut [u8]) -> Result<Reply> {
        let bytes = match self.objects.any(fd)? {
            Object::Map(map) => map_info(&map),
            Object::Prog(prog) => prog_info(&prog),
            Object::Link(link) => link_info(&link),
            Object::Btf(btf) => btf_info(&btf),
        }
        .bytes;
        let length = bytes.len().min(info.len());
        info[..length].copy_from_slice(&bytes[..length]);
        Ok(Reply::Count(length as u32))
    }
}

fn map_info(map: &Map) -> Info {
    let spec = map.spec();
    let types = spec.types.unwrap_or(MapTypes { btf_id: 0, key: 0, value: 0 });
    Info::new(88)
        .u32(0, spec.map_type.0)
        .u32(4, spec.id)
        .u32(8, spec.key_size)
        .u32(12, spec.value_size)
        .u32(16, spec.max_entries)
        .u32(20, spec.map_flags)
        .name(24, &spec.name)
        .u32(64, types.btf_id)
        .u32(68, types.key)
        .u32(72, types.value)
        .u64(80, spec.map_extra)
}

fn prog_info(prog: &Prog) -> Info {
    const INSN_BYTES: usize = 8;
    let spec = &prog.spec;
    Info::new(232)
        .u32(0, spec.prog_type.0)
        .u32(4, prog.id)
        .u32(20, (spec.insns.len() * INSN_BYTES) as u32)
        .u64(40, spec.load_time)
        .u32(52, prog.code.maps().len() as u32)
        .name(64, &spec.name)
        .u32(84, u32::from(spec.gpl_compatible))
}

fn link_info(link: &Link) -> Info {
    Info::new(64).u32(0, LinkType::RAW_TRACEPOINT.0).u32(4, link.id).u32(8, link.prog().id)
}

fn btf_info(types: &Types) -> Info {
    Info::new(32).u32(8, types.btf.bytes().len() as u32).u32(12, types.id)
}
