//! Why the kernel does not make a map: it says `EINVAL` for whatever is wrong with the definition (`kernel/bpf/*map*.c`).

use std::io;
use std::path::Path;

use skep_isa::uapi::{Cmd, MapType as M};
use skep_runtime::Error;
use skep_runtime::command::MapCreate;

use crate::sys::errno;

/// `BPF_F_NO_PREALLOC` and `BPF_F_NUMA_NODE`.
const NO_PREALLOC: u32 = 1;
const NUMA_NODE: u32 = 1 << 2;

/// The error of a map that the kernel did not make.
pub(crate) fn map(spec: &MapCreate<'_>, error: &io::Error) -> Error {
    let failed = super::command(Cmd::MAP_CREATE, error);
    match errno(error) {
        libc::EINVAL => match wrong_with(spec, rustix::param::page_size()) {
            Some(reason) => Error::os(libc::EINVAL, format!("`BPF_MAP_CREATE`: {reason}")),
            None => failed.hint(too_new(spec)),
        },
        libc::E2BIG | libc::ENOMEM => failed.hint(format!(
            "{} elements with keys of {} bytes and values of {} bytes are more than it makes",
            spec.max_entries, spec.key_size, spec.value_size
        )),
        _ => failed,
    }
}

/// What no kernel takes.
fn wrong_with(spec: &MapCreate<'_>, page_bytes: usize) -> Option<String> {
    let (kind, entries) = (spec.map_type, spec.max_entries);
    let absent_node = |node: &u32| !Path::new(&format!("/sys/devices/system/node/node{node}")).exists();
    if let Some(node) = (spec.map_flags & NUMA_NODE != 0).then_some(spec.numa_node).filter(absent_node) {
        return Some(format!("this machine has no NUMA node {node}"));
    }
    match kind {
        M::RINGBUF | M::USER_RINGBUF if !is_ring(entries, page_bytes) => Some(format!(
            "the `max_entries` of a ring buffer are bytes, a power of two and whole pages of {page_bytes}, not {entries}"
        )),
        M::SK_STORAGE | M::INODE_STORAGE | M::TASK_STORAGE | M::CGRP_STORAGE => wrong_with_storage(spec),
        M::CGROUP_STORAGE | M::PERCPU_CGROUP_STORAGE => {
            (entries != 0).then(|| format!("a map of type `{kind}` has no `max_entries`"))
        }
        M::STRUCT_OPS => None,
        _ if entries == 0 => Some("its `max_entries` is 0, or not said".to_owned()),
        M::BLOOM_FILTER | M::QUEUE | M::STACK if spec.key_size != 0 => {
            Some(format!("a map of type `{kind}` has no keys, and these have {} bytes", spec.key_size))
        }
        _ if is_array(kind) && spec.key_size != 4 => {
            Some(format!("the keys of a map of type `{kind}` have 4 bytes, not {}", spec.key_size))
        }
        M::LPM_TRIE if spec.map_flags & NO_PREALLOC == 0 => Some(without(kind)),
        _ => None,
    }
}

fn wrong_with_storage(spec: &MapCreate<'_>) -> Option<String> {
    let kind = spec.map_type;
    if spec.max_entries != 0 {
        return Some(format!("a map of type `{kind}` has no `max_entries`"));
    }
    if spec.map_flags & NO_PREALLOC == 0 {
        return Some(without(kind));
    }
    (spec.key_size != 4 || spec.btf.is_none())
        .then(|| format!("a map of type `{kind}` has a key of type `int`, and types: `__type(key, int)`"))
}

fn without(kind: M) -> String {
    format!("a map of type `{kind}` has to have the flag `BPF_F_NO_PREALLOC`")
}

fn is_ring(bytes: u32, page_bytes: usize) -> bool {
    bytes.is_power_of_two() && (bytes as usize).is_multiple_of(page_bytes)
}

/// Are the keys numbers of elements?
fn is_array(kind: M) -> bool {
    matches!(
        kind,
        M::ARRAY
            | M::PERCPU_ARRAY
            | M::PROG_ARRAY
            | M::PERF_EVENT_ARRAY
            | M::CGROUP_ARRAY
            | M::ARRAY_OF_MAPS
            | M::DEVMAP
            | M::SOCKMAP
            | M::CPUMAP
            | M::XSKMAP
            | M::REUSEPORT_SOCKARRAY
    )
}

/// What may be wrong where nothing is that all kernels mind.
fn too_new(spec: &MapCreate<'_>) -> String {
    let kind = spec.map_type;
    match spec.map_flags {
        0 => format!("the kernel may be too old for maps of type `{kind}`, or built without"),
        flags => format!(
            "maps of type `{kind}` may not have all of the flags {flags:#x}, or the kernel may be too old for them"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: MapCreate<'_>, expected: Option<&str>) {
        let reason = wrong_with(&spec, 4096);
        match (reason.as_deref(), expected) {
            (Some(reason), Some(part)) => assert!(reason.contains(part), "{reason}"),
            (reason, expected) => assert_eq!(reason, expected),
        }
    }

    #[test]
    fn what_is_wrong_with_a_definition_is_said() {
        check(MapCreate::new(M::HASH, "m", 4, 8, 0), Some("`max_entries` is 0"));
        check(MapCreate::new(M::RINGBUF, "m", 0, 0, 12288), Some("not 12288"));
        check(MapCreate::new(M::RINGBUF, "m", 0, 0, 2048), Some("whole pages of 4096"));
        check(MapCreate::new(M::RINGBUF, "m", 0, 0, 8192), None);
        check(MapCreate::new(M::ARRAY, "m", 8, 8, 1), Some("4 bytes, not 8"));
        check(MapCreate::new(M::QUEUE, "m", 4, 8, 1), Some("has no keys"));
        check(MapCreate::new(M::LPM_TRIE, "m", 8, 8, 1), Some("BPF_F_NO_PREALLOC"));
        check(MapCreate::new(M::TASK_STORAGE, "m", 4, 8, 1), Some("has no `max_entries`"));
        let storage = MapCreate { map_flags: NO_PREALLOC, ..MapCreate::new(M::SK_STORAGE, "m", 4, 8, 0) };
        check(storage, Some("__type(key, int)"));
        check(MapCreate::new(M::CGROUP_STORAGE, "m", 16, 8, 0), None);
        let far = MapCreate { map_flags: NUMA_NODE, numa_node: 999, ..MapCreate::new(M::HASH, "m", 4, 8, 1) };
        check(far, Some("no NUMA node 999"));
    }
}
