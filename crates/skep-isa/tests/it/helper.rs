//! The table of helpers.

use skep_isa::helper::{self, ALL, id};

#[test]
fn numbers_are_positions() {
    assert_eq!(ALL.len(), 211);
    for (i, helper) in ALL.iter().enumerate() {
        assert_eq!(helper.id as usize, i + 1, "{}", helper.name);
        assert_eq!(helper::by_id(helper.id), Some(helper));
        assert_eq!(helper::by_name(helper.name), Some(helper));
        assert!(helper.args.iter().filter(|arg| arg.0 != "...").count() <= 5, "{}", helper.name);
    }
    assert_eq!(helper::by_id(0), None);
    assert_eq!(helper::by_id(212), None);
    assert_eq!(helper::by_id(u32::MAX), None);
    assert_eq!(helper::by_name("bpf_unspec"), None);
}

#[test]
fn prototypes_are_c() {
    let check = |id, expected: &str| assert_eq!(helper::by_id(id).unwrap().prototype(), expected);
    check(id::bpf_map_lookup_elem, "void *bpf_map_lookup_elem(void *map, const void *key)");
    check(id::bpf_get_current_pid_tgid, "__u64 bpf_get_current_pid_tgid(void)");
    check(id::bpf_trace_printk, "long bpf_trace_printk(const char *fmt, __u32 fmt_size, ...)");
    check(211, "long bpf_cgrp_storage_delete(void *map, struct cgroup *cgroup)");
}

#[test]
fn licences() {
    let gpl = |name: &str| helper::by_name(name).unwrap().gpl_only;
    assert!(gpl("probe_read_kernel") && gpl("bpf_trace_printk") && gpl("perf_event_output"));
    assert!(!gpl("map_lookup_elem") && !gpl("ktime_get_ns") && !gpl("ringbuf_output"));
}
