//! Which helpers go with which maps.

use skep_isa::uapi::{AttachType, MapType, ProgType};

use super::super::Verifier;
use super::{Meta, id};
use crate::environment::RDONLY_PROG;
use crate::helper::proto::{Arg, ArgFlags, ArgKind};
use crate::helper::short_name;
use crate::stop::{Res, reject};

impl Verifier<'_> {
    /// Sockets stand for the values of socket maps.
    pub(super) fn resolve_map_arg(&self, arg: Arg, meta: &Meta) -> Res<Arg> {
        if arg.kind != ArgKind::Value {
            return Ok(arg);
        }
        let Some(map) = meta.map else { reject!("invalid map_ptr to access map->type") };
        let kind = match self.maps[map as usize].info.ty {
            MapType::SOCKMAP | MapType::SOCKHASH if arg.flags == ArgFlags::default() => ArgKind::BtfSock,
            MapType::SOCKMAP | MapType::SOCKHASH => reject!("invalid arg_type for sockmap/sockhash"),
            MapType::BLOOM_FILTER if meta.helper == id::MAP_PEEK => return Ok(Arg::of(ArgKind::Value)),
            _ => ArgKind::Value,
        };
        Ok(Arg { kind, ..arg })
    }

    /// Maps that programs may only read.
    pub(super) fn check_map_writable(&self, meta: &Meta) -> Res {
        let writes = matches!(meta.helper, id::MAP_UPDATE | id::MAP_DELETE | id::MAP_PUSH | id::MAP_POP);
        if writes && meta.map.is_some_and(|m| self.maps[m as usize].info.flags & RDONLY_PROG != 0) {
            reject!("write into map forbidden");
        }
        Ok(())
    }

    /// Some helpers take only some maps, and some maps go only with some helpers.
    pub(super) fn check_map_helper(&self, meta: &Meta) -> Res {
        let Some(map) = meta.map else { return Ok(()) };
        let ty = self.maps[map as usize].info.ty;
        let name = short_name(meta.helper);
        let ok = map_takes(ty, name, self.may_update_sockmap(meta.helper)) && helper_takes(name, ty);
        if !ok {
            reject!("cannot pass map_type {} into func bpf_{name}#{}", ty.0, meta.helper);
        }
        Ok(())
    }

    fn may_update_sockmap(&self, helper: u32) -> bool {
        if !matches!(helper, id::MAP_UPDATE | id::MAP_DELETE) {
            return false;
        }
        match self.prog_type() {
            ProgType::TRACING => self.input.attach_type == AttachType::TRACE_ITER,
            ProgType::SOCK_OPS => helper == id::MAP_DELETE,
            ProgType::SOCKET_FILTER
            | ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::XDP
            | ProgType::SK_REUSEPORT
            | ProgType::FLOW_DISSECTOR
            | ProgType::SK_LOOKUP => true,
            _ => false,
        }
    }
}

/// Helpers a map of this type goes with.
fn map_takes(ty: MapType, helper: &str, sockmap_update: bool) -> bool {
    let one_of = |names: &[&str]| names.contains(&helper);
    match ty {
        MapType::PROG_ARRAY => one_of(&["tail_call"]),
        MapType::PERF_EVENT_ARRAY => one_of(&[
            "perf_event_read",
            "perf_event_output",
            "skb_output",
            "perf_event_read_value",
            "xdp_output",
        ]),
        MapType::RINGBUF => one_of(&[
            "ringbuf_output",
            "ringbuf_reserve",
            "ringbuf_query",
            "ringbuf_reserve_dynptr",
            "ringbuf_submit_dynptr",
            "ringbuf_discard_dynptr",
        ]),
        MapType::USER_RINGBUF => one_of(&["user_ringbuf_drain"]),
        MapType::STACK_TRACE => one_of(&["get_stackid"]),
        MapType::CGROUP_ARRAY => one_of(&["skb_under_cgroup", "current_task_under_cgroup"]),
        MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => one_of(&["get_local_storage"]),
        MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::XSKMAP => {
            one_of(&["redirect_map", "map_lookup_elem"])
        }
        MapType::CPUMAP => one_of(&["redirect_map"]),
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => one_of(&["map_lookup_elem"]),
        MapType::SOCKMAP => {
            sockmap_update
                || one_of(&[
                    "sk_redirect_map",
                    "sock_map_update",
                    "msg_redirect_map",
                    "sk_select_reuseport",
                    "map_lookup_elem",
                ])
        }
        MapType::SOCKHASH => {
            sockmap_update
                || one_of(&[
                    "sk_redirect_hash",
                    "sock_hash_update",
                    "msg_redirect_hash",
                    "sk_select_reuseport",
                    "map_lookup_elem",
                ])
        }
        MapType::REUSEPORT_SOCKARRAY => one_of(&["sk_select_reuseport"]),
        MapType::QUEUE | MapType::STACK => one_of(&["map_peek_elem", "map_pop_elem", "map_push_elem"]),
        MapType::SK_STORAGE => one_of(&["sk_storage_get", "sk_storage_delete", "kptr_xchg"]),
        MapType::INODE_STORAGE => one_of(&["inode_storage_get", "inode_storage_delete", "kptr_xchg"]),
        MapType::TASK_STORAGE => one_of(&["task_storage_get", "task_storage_delete", "kptr_xchg"]),
        MapType::CGRP_STORAGE => one_of(&["cgrp_storage_get", "cgrp_storage_delete", "kptr_xchg"]),
        MapType::BLOOM_FILTER => one_of(&["map_peek_elem", "map_push_elem"]),
        _ => true,
    }
}

/// Maps a helper takes.
fn helper_takes(helper: &str, ty: MapType) -> bool {
    let one_of = |types: &[MapType]| types.contains(&ty);
    match helper {
        "tail_call" => one_of(&[MapType::PROG_ARRAY]),
        "perf_event_read" | "perf_event_output" | "perf_event_read_value" | "skb_output" | "xdp_output" => {
            one_of(&[MapType::PERF_EVENT_ARRAY])
        }
        "ringbuf_output" | "ringbuf_reserve" | "ringbuf_query" | "ringbuf_reserve_dynptr" => {
            one_of(&[MapType::RINGBUF])
        }
        "user_ringbuf_drain" => one_of(&[MapType::USER_RINGBUF]),
        "get_stackid" => one_of(&[MapType::STACK_TRACE]),
        "current_task_under_cgroup" | "skb_under_cgroup" => one_of(&[MapType::CGROUP_ARRAY]),
        "redirect_map" => one_of(&[MapType::DEVMAP, MapType::DEVMAP_HASH, MapType::CPUMAP, MapType::XSKMAP]),
        "sk_redirect_map" | "msg_redirect_map" | "sock_map_update" => one_of(&[MapType::SOCKMAP]),
        "sk_redirect_hash" | "msg_redirect_hash" | "sock_hash_update" => one_of(&[MapType::SOCKHASH]),
        "get_local_storage" => one_of(&[MapType::CGROUP_STORAGE, MapType::PERCPU_CGROUP_STORAGE]),
        "sk_select_reuseport" => one_of(&[MapType::REUSEPORT_SOCKARRAY, MapType::SOCKMAP, MapType::SOCKHASH]),
        "map_pop_elem" => one_of(&[MapType::QUEUE, MapType::STACK]),
        "map_peek_elem" | "map_push_elem" => one_of(&[MapType::QUEUE, MapType::STACK, MapType::BLOOM_FILTER]),
        "map_lookup_percpu_elem" => {
            one_of(&[MapType::PERCPU_ARRAY, MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH])
        }
        "sk_storage_get" | "sk_storage_delete" => one_of(&[MapType::SK_STORAGE]),
        "inode_storage_get" | "inode_storage_delete" => one_of(&[MapType::INODE_STORAGE]),
        "task_storage_get" | "task_storage_delete" => one_of(&[MapType::TASK_STORAGE]),
        "cgrp_storage_get" | "cgrp_storage_delete" => one_of(&[MapType::CGRP_STORAGE]),
        _ => true,
    }
}
