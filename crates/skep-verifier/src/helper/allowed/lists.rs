//! Names of the helpers that kinds of programs may call, without `bpf_`.

use crate::helper::set::Set;

/// Helpers of every program type.
pub(super) const BASE: Set = Set::of(&[
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "ktime_get_ns",
    "trace_printk",
    "get_prandom_u32",
    "get_smp_processor_id",
    "tail_call",
    "get_current_pid_tgid",
    "get_current_uid_gid",
    "get_current_comm",
    "get_cgroup_classid",
    "perf_event_read",
    "get_current_task",
    "current_task_under_cgroup",
    "get_numa_node_id",
    "perf_event_read_value",
    "get_current_cgroup_id",
    "map_push_elem",
    "map_pop_elem",
    "map_peek_elem",
    "spin_lock",
    "spin_unlock",
    "strtol",
    "strtoul",
    "send_signal",
    "probe_read_user",
    "probe_read_kernel",
    "probe_read_user_str",
    "probe_read_kernel_str",
    "send_signal_thread",
    "jiffies64",
    "get_ns_current_pid_tgid",
    "get_current_ancestor_cgroup_id",
    "ktime_get_boot_ns",
    "ringbuf_output",
    "ringbuf_reserve",
    "ringbuf_submit",
    "ringbuf_discard",
    "ringbuf_query",
    "get_task_stack",
    "copy_from_user",
    "snprintf_btf",
    "per_cpu_ptr",
    "this_cpu_ptr",
    "task_storage_get",
    "task_storage_delete",
    "get_current_task_btf",
    "for_each_map_elem",
    "snprintf",
    "timer_init",
    "timer_set_callback",
    "timer_start",
    "timer_cancel",
    "task_pt_regs",
    "get_branch_snapshot",
    "trace_vprintk",
    "find_vma",
    "loop",
    "strncmp",
    "copy_from_user_task",
    "kptr_xchg",
    "map_lookup_percpu_elem",
    "dynptr_from_mem",
    "ringbuf_reserve_dynptr",
    "ringbuf_submit_dynptr",
    "ringbuf_discard_dynptr",
    "dynptr_read",
    "dynptr_write",
    "dynptr_data",
    "ktime_get_tai_ns",
    "user_ringbuf_drain",
    "cgrp_storage_get",
    "cgrp_storage_delete",
]);

/// Helpers of every networking program type: casts of sockets, and the coarse clock.
pub(super) const SOCKETS: Set = Set::of(&[
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "ktime_get_coarse_ns",
    "skc_to_unix_sock",
    "skc_to_mptcp_sock",
]);

/// Socket filter.
pub(super) const SOCKET_FILTER: Set = Set::of(&[
    "perf_event_output",
    "skb_load_bytes",
    "get_socket_cookie",
    "get_socket_uid",
    "skb_load_bytes_relative",
    "get_netns_cookie",
]);

/// Kprobes, tracepoints and raw tracepoints.
pub(super) const PROBE: Set = Set::of(&[
    "probe_read",
    "perf_event_output",
    "get_stackid",
    "probe_read_str",
    "get_stack",
    "get_func_ip",
    "get_attach_cookie",
]);

/// Traffic control.
pub(super) const SCHED: Set = Set::of(&[
    "skb_store_bytes",
    "l3_csum_replace",
    "l4_csum_replace",
    "clone_redirect",
    "skb_vlan_push",
    "skb_vlan_pop",
    "skb_get_tunnel_key",
    "skb_set_tunnel_key",
    "redirect",
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "csum_diff",
    "skb_get_tunnel_opt",
    "skb_set_tunnel_opt",
    "skb_change_proto",
    "skb_change_type",
    "skb_under_cgroup",
    "get_hash_recalc",
    "skb_change_tail",
    "skb_pull_data",
    "csum_update",
    "set_hash_invalid",
    "skb_change_head",
    "get_socket_cookie",
    "get_socket_uid",
    "set_hash",
    "skb_adjust_room",
    "skb_get_xfrm_state",
    "skb_load_bytes_relative",
    "fib_lookup",
    "skb_cgroup_id",
    "skb_ancestor_cgroup_id",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "sk_fullsock",
    "tcp_sock",
    "skb_ecn_set_ce",
    "get_listener_sock",
    "skc_lookup_tcp",
    "tcp_check_syncookie",
    "sk_storage_get",
    "sk_storage_delete",
    "tcp_gen_syncookie",
    "get_netns_cookie",
    "sk_assign",
    "csum_level",
    "skb_cgroup_classid",
    "redirect_neigh",
    "redirect_peer",
    "check_mtu",
    "skb_set_tstamp",
    "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6",
    "tcp_raw_check_syncookie_ipv4",
    "tcp_raw_check_syncookie_ipv6",
]);

/// Xdp.
pub(super) const XDP: Set = Set::of(&[
    "redirect",
    "perf_event_output",
    "csum_diff",
    "xdp_adjust_head",
    "redirect_map",
    "xdp_adjust_meta",
    "xdp_adjust_tail",
    "fib_lookup",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "skc_lookup_tcp",
    "tcp_check_syncookie",
    "tcp_gen_syncookie",
    "check_mtu",
    "xdp_get_buff_len",
    "xdp_load_bytes",
    "xdp_store_bytes",
    "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6",
    "tcp_raw_check_syncookie_ipv4",
    "tcp_raw_check_syncookie_ipv6",
]);

/// Perf event.
pub(super) const PERF_EVENT: Set = Set::of(&[
    "probe_read",
    "perf_event_output",
    "get_stackid",
    "probe_read_str",
    "perf_prog_read_value",
    "get_stack",
    "read_branch_records",
    "get_func_ip",
    "get_attach_cookie",
]);

/// Cgroup skb.
pub(super) const CGROUP_SKB: Set = Set::of(&[
    "perf_event_output",
    "skb_load_bytes",
    "get_socket_cookie",
    "get_socket_uid",
    "skb_load_bytes_relative",
    "skb_cgroup_id",
    "get_local_storage",
    "skb_ancestor_cgroup_id",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "sk_fullsock",
    "tcp_sock",
    "skb_ecn_set_ce",
    "get_listener_sock",
    "skc_lookup_tcp",
    "sk_storage_get",
    "sk_storage_delete",
    "get_netns_cookie",
    "sk_cgroup_id",
    "sk_ancestor_cgroup_id",
]);

/// Cgroup sock.
pub(super) const CGROUP_SOCK: Set = Set::of(&[
    "perf_event_output",
    "get_socket_cookie",
    "get_local_storage",
    "sk_storage_get",
    "get_netns_cookie",
    "ktime_get_coarse_ns",
    "get_retval",
    "set_retval",
]);

/// Lwt in.
pub(super) const LWT_IN: Set = Set::of(&[
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "csum_diff",
    "skb_under_cgroup",
    "get_hash_recalc",
    "skb_pull_data",
    "lwt_push_encap",
]);

/// Lwt out.
pub(super) const LWT_OUT: Set = Set::of(&[
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "csum_diff",
    "skb_under_cgroup",
    "get_hash_recalc",
    "skb_pull_data",
]);

/// Lwt xmit.
pub(super) const LWT_XMIT: Set = Set::of(&[
    "skb_store_bytes",
    "l3_csum_replace",
    "l4_csum_replace",
    "clone_redirect",
    "skb_get_tunnel_key",
    "skb_set_tunnel_key",
    "redirect",
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "csum_diff",
    "skb_get_tunnel_opt",
    "skb_set_tunnel_opt",
    "skb_under_cgroup",
    "get_hash_recalc",
    "skb_change_tail",
    "skb_pull_data",
    "csum_update",
    "set_hash_invalid",
    "skb_change_head",
    "lwt_push_encap",
    "csum_level",
]);

/// Lwt seg6local.
pub(super) const LWT_SEG6LOCAL: Set = Set::of(&[
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "csum_diff",
    "skb_under_cgroup",
    "get_hash_recalc",
    "skb_pull_data",
    "lwt_seg6_store_bytes",
    "lwt_seg6_adjust_srh",
    "lwt_seg6_action",
]);

/// Sock ops.
pub(super) const SOCK_OPS: Set = Set::of(&[
    "perf_event_output",
    "get_socket_cookie",
    "setsockopt",
    "sock_map_update",
    "getsockopt",
    "sock_ops_cb_flags_set",
    "sock_hash_update",
    "get_local_storage",
    "tcp_sock",
    "sk_storage_get",
    "sk_storage_delete",
    "get_netns_cookie",
    "load_hdr_opt",
    "store_hdr_opt",
    "reserve_hdr_opt",
]);

/// Sk skb.
pub(super) const SK_SKB: Set = Set::of(&[
    "skb_store_bytes",
    "perf_event_output",
    "skb_load_bytes",
    "skb_change_tail",
    "skb_pull_data",
    "skb_change_head",
    "get_socket_cookie",
    "get_socket_uid",
    "skb_adjust_room",
    "sk_redirect_map",
    "sk_redirect_hash",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "skc_lookup_tcp",
]);

/// Cgroup device.
pub(super) const CGROUP_DEVICE: Set =
    Set::of(&["perf_event_output", "get_local_storage", "get_retval", "set_retval"]);

/// Sk msg.
pub(super) const SK_MSG: Set = Set::of(&[
    "perf_event_output",
    "msg_redirect_map",
    "msg_apply_bytes",
    "msg_cork_bytes",
    "msg_pull_data",
    "msg_redirect_hash",
    "msg_push_data",
    "msg_pop_data",
    "sk_storage_get",
    "sk_storage_delete",
    "get_netns_cookie",
]);

/// Socket addresses, without what depends on the attach type.
pub(super) const SOCK_ADDR: Set = Set::of(&[
    "perf_event_output",
    "get_socket_cookie",
    "setsockopt",
    "getsockopt",
    "get_local_storage",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "skc_lookup_tcp",
    "sk_storage_get",
    "sk_storage_delete",
    "get_netns_cookie",
]);

/// Sk reuseport.
pub(super) const SK_REUSEPORT: Set = Set::of(&[
    "skb_load_bytes",
    "get_socket_cookie",
    "skb_load_bytes_relative",
    "sk_select_reuseport",
    "ktime_get_coarse_ns",
]);

/// Flow dissector.
pub(super) const FLOW_DISSECTOR: Set = Set::of(&["skb_load_bytes"]);

/// Sysctl.
pub(super) const SYSCTL: Set = Set::of(&[
    "perf_event_output",
    "get_local_storage",
    "sysctl_get_name",
    "sysctl_get_current_value",
    "sysctl_get_new_value",
    "sysctl_set_new_value",
    "ktime_get_coarse_ns",
    "get_retval",
    "set_retval",
]);

/// Socket options, without what depends on the attach type.
pub(super) const SOCKOPT: Set = Set::of(&[
    "perf_event_output",
    "get_local_storage",
    "tcp_sock",
    "sk_storage_get",
    "sk_storage_delete",
    "get_netns_cookie",
    "get_retval",
    "set_retval",
]);

/// Sk lookup.
pub(super) const SK_LOOKUP: Set = Set::of(&["perf_event_output", "sk_release", "sk_assign"]);

/// Syscall.
pub(super) const SYSCALL: Set = Set::of(&[
    "probe_read",
    "perf_event_output",
    "get_stackid",
    "probe_read_str",
    "get_socket_cookie",
    "get_stack",
    "sk_storage_get",
    "sk_storage_delete",
    "skb_output",
    "xdp_output",
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "d_path",
    "sock_from_file",
    "sys_bpf",
    "btf_find_by_name_kind",
    "sys_close",
    "get_func_ip",
    "skc_to_unix_sock",
    "kallsyms_lookup_name",
    "xdp_get_buff_len",
    "skc_to_mptcp_sock",
]);

/// Tracing programs by BTF.
pub(super) const TRACING: Set = Set::of(&[
    "probe_read",
    "perf_event_output",
    "get_stackid",
    "probe_read_str",
    "get_socket_cookie",
    "get_stack",
    "sk_storage_get",
    "sk_storage_delete",
    "skb_output",
    "xdp_output",
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "d_path",
    "sock_from_file",
    "get_func_ip",
    "get_attach_cookie",
    "skc_to_unix_sock",
    "xdp_get_buff_len",
    "skc_to_mptcp_sock",
]);

/// Congestion control.
pub(super) const STRUCT_OPS: Set = Set::of(&[
    "setsockopt",
    "getsockopt",
    "sk_storage_get",
    "sk_storage_delete",
    "tcp_send_ack",
    "ktime_get_coarse_ns",
]);

/// Iterators write to their sequence file.
pub(super) const ITER: Set = Set::of(&["seq_printf", "seq_printf_btf", "seq_write"]);
/// Programs on a trampoline see the traced function's arguments.
pub(super) const TRAMPOLINE: Set = Set::of(&["get_func_arg", "get_func_ret", "get_func_arg_cnt"]);
/// LSM programs.
pub(super) const LSM: Set = Set::of(&[
    "inode_storage_get",
    "inode_storage_delete",
    "bprm_opts_set",
    "ima_inode_hash",
    "ima_file_hash",
    "get_attach_cookie",
]);
/// What the group has stored that a program is attached to.
pub(super) const GROUP: Set = Set::of(&["get_local_storage"]);
/// What cgroup programs can say about the result.
pub(super) const RETVAL: Set = Set::of(&["get_retval", "set_retval"]);
/// Socket options, where the socket is locked.
pub(super) const SOCKOPTS: Set = Set::of(&["getsockopt", "setsockopt"]);
/// LIRC decoders.
pub(super) const LIRC: Set = Set::of(&["rc_repeat", "rc_keydown", "rc_pointer_rel"]);
