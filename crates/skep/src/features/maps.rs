//! The smallest map of every type.

use skep_btf::{Builder, IntEncoding, Member};
use skep_isa::uapi::MapType;
use skep_runtime::command::{Command, MapCreate};
use skep_runtime::{Error, Handle, Map, SharedRuntime, info};

/// Elements are allocated when they are needed (`BPF_F_NO_PREALLOC`).
const F_NO_PREALLOC: u32 = 1;
/// The map can be mapped into memory (`BPF_F_MMAPABLE`).
const F_MMAPABLE: u32 = 1 << 10;

/// Creates a map that nobody else sees.
pub(super) fn create(runtime: &SharedRuntime, map_type: MapType, ifindex: u32) -> Result<Map, Error> {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    let (key, value, entries, flags) = match map_type {
        MapType::STACK_TRACE => (4, 8, 1, 0),
        MapType::LPM_TRIE => (8, 8, 1, F_NO_PREALLOC),
        MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => (16, 8, 0, 0),
        MapType::QUEUE | MapType::STACK | MapType::BLOOM_FILTER => (0, 4, 1, 0),
        MapType::RINGBUF | MapType::USER_RINGBUF => (0, 0, page, 0),
        MapType::ARENA => (0, 0, 1, F_MMAPABLE),
        MapType::STRUCT_OPS => (4, 4, 1, 0),
        _ if is_storage(map_type) => (4, 8, 0, F_NO_PREALLOC),
        _ => (4, 4, 1, 0),
    };
    let mut spec = MapCreate::new(map_type, "", key, value, entries);
    (spec.map_flags, spec.ifindex) = (flags, ifindex);
    // What is made for the map goes away with these.
    let (btf, inner);
    if is_storage(map_type) {
        btf = load_types(runtime)?;
        spec.btf = Some((btf.fd(), INT, VALUE));
    }
    if matches!(map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS) {
        inner = Map::create(runtime, &MapCreate::new(MapType::HASH, "", 4, 4, 1), 1)?;
        spec.inner_map = Some(inner.fd());
    }
    if map_type == MapType::STRUCT_OPS {
        spec.btf_vmlinux_value_type_id = 1;
    }
    Map::create(runtime, &spec, 1)
}

/// Does the map belong to other objects of the kernel, and so must have types?
fn is_storage(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::TASK_STORAGE | MapType::CGRP_STORAGE
    )
}

/// Numbers of the types that [`load_types`] makes.
const INT: u32 = 1;
const VALUE: u32 = 3;

/// `struct value { int count; struct bpf_spin_lock lock; }`
fn load_types(runtime: &SharedRuntime) -> Result<Handle, Error> {
    let mut builder = Builder::new();
    let int = builder.add_int("int", 4, IntEncoding { signed: true, ..IntEncoding::default() });
    let member = |name, ty, bit_offset| Member { name, ty, bit_offset, bitfield_bits: 0 };
    let lock = builder.add_struct("bpf_spin_lock", 4, &[member("val", int, 0)]);
    builder.add_struct("value", 8, &[member("count", int, 0), member("lock", lock, 32)]);
    let bytes = builder.finish();
    info::owned(runtime, runtime.bpf(Command::BtfLoad { data: &bytes, token: None })?)
}
