//! Kernel functions that programs may call: flags, and the program types that may.
//!
//! Who may call what was asked of Linux 6.18 (x86-64) itself, by offering it each call in a program of each type. Flags
//! are those of the kernel's `BTF_ID_FLAGS` lists; they say how arguments and the result are treated.

use skep_isa::uapi::ProgType;

use super::Kfunc;

const fn types(list: &[ProgType]) -> u64 {
    let (mut set, mut i) = (0, 0);
    while i < list.len() {
        set |= 1 << list[i].0;
        i += 1;
    }
    set
}

const fn row(name: &'static str, types: u64) -> Kfunc {
    Kfunc::new(name, types)
}

/// Every program type.
const ALL: u64 = u64::MAX;
/// Kprobe sessions only.
const SESSION: u64 = super::SESSION_ONLY;
/// Iterators only.
const ITER: u64 = super::ITER_ONLY;
const STRUCT_OPS: u64 = types(&[ProgType::STRUCT_OPS]);
const LSM: u64 = types(&[ProgType::LSM]);
/// A set of program types that kernel functions share.
const GENERIC: u64 = types(&[
    ProgType::SCHED_CLS,
    ProgType::TRACEPOINT,
    ProgType::XDP,
    ProgType::PERF_EVENT,
    ProgType::CGROUP_SKB,
    ProgType::CGROUP_SOCK,
    ProgType::SOCK_OPS,
    ProgType::CGROUP_DEVICE,
    ProgType::CGROUP_SOCK_ADDR,
    ProgType::CGROUP_SYSCTL,
    ProgType::CGROUP_SOCKOPT,
    ProgType::TRACING,
    ProgType::STRUCT_OPS,
    ProgType::LSM,
    ProgType::SYSCALL,
]);
/// A set of program types that kernel functions share.
const CPUMASK: u64 = types(&[
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::TRACING,
    ProgType::STRUCT_OPS,
    ProgType::LSM,
    ProgType::SYSCALL,
]);
/// A set of program types that kernel functions share.
const SYSCALL: u64 = types(&[ProgType::SYSCALL]);
/// A set of program types that kernel functions share.
const CRYPTO: u64 = types(&[ProgType::SCHED_CLS, ProgType::SCHED_ACT, ProgType::XDP]);
/// A set of program types that kernel functions share.
const CONNTRACK: u64 = types(&[ProgType::SCHED_CLS, ProgType::XDP]);
/// A set of program types that kernel functions share.
const SKB: u64 = !types(&[
    ProgType::KPROBE,
    ProgType::XDP,
    ProgType::SK_MSG,
    ProgType::RAW_TRACEPOINT,
    ProgType::SK_REUSEPORT,
    ProgType::FLOW_DISSECTOR,
    ProgType::RAW_TRACEPOINT_WRITABLE,
    ProgType::STRUCT_OPS,
    ProgType::SK_LOOKUP,
    ProgType::SYSCALL,
]);
/// A set of program types that kernel functions share.
const SCHED: u64 = types(&[ProgType::SCHED_CLS, ProgType::SCHED_ACT]);
/// A set of program types that kernel functions share.
const XDP: u64 = types(&[ProgType::XDP]);
/// A set of program types that kernel functions share.
const TASKS: u64 = types(&[
    ProgType::SCHED_CLS,
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::TRACING,
    ProgType::LSM,
    ProgType::SYSCALL,
]);
/// A set of program types that kernel functions share.
const CLASSIFIER: u64 = types(&[ProgType::SCHED_CLS]);
/// A set of program types that kernel functions share.
const CGROUP: u64 = types(&[
    ProgType::CGROUP_SKB,
    ProgType::CGROUP_SOCK,
    ProgType::SOCK_OPS,
    ProgType::CGROUP_DEVICE,
    ProgType::CGROUP_SOCK_ADDR,
    ProgType::CGROUP_SYSCTL,
    ProgType::CGROUP_SOCKOPT,
]);
/// A set of program types that kernel functions share.
const TRACING: u64 = types(&[ProgType::TRACEPOINT, ProgType::PERF_EVENT, ProgType::TRACING, ProgType::LSM]);

/// Every kernel function, by name.
#[rustfmt::skip]
pub(crate) static ROWS: &[Kfunc] = &[
    row("__bpf_trap", ALL),
    row("bbr_cwnd_event", STRUCT_OPS),
    row("bbr_init", STRUCT_OPS),
    row("bbr_main", STRUCT_OPS),
    row("bbr_min_tso_segs", STRUCT_OPS),
    row("bbr_set_state", STRUCT_OPS),
    row("bbr_sndbuf_expand", STRUCT_OPS),
    row("bbr_ssthresh", STRUCT_OPS),
    row("bbr_undo_cwnd", STRUCT_OPS),
    row("bpf_arena_alloc_pages", ALL).trusted().sleeps(),
    row("bpf_arena_free_pages", ALL).trusted().sleeps(),
    row("bpf_arena_reserve_pages", ALL).trusted().sleeps(),
    row("bpf_cast_to_kern_ctx", ALL),
    row("bpf_cgroup_acquire", GENERIC).acquire().rcu().ret_null(),
    row("bpf_cgroup_ancestor", GENERIC).acquire().rcu().ret_null(),
    row("bpf_cgroup_from_id", GENERIC).acquire().ret_null(),
    row("bpf_cgroup_read_xattr", ALL).rcu(),
    row("bpf_cgroup_release", GENERIC).release(),
    row("bpf_copy_from_user_dynptr", ALL).sleeps(),
    row("bpf_copy_from_user_str", ALL).sleeps(),
    row("bpf_copy_from_user_str_dynptr", ALL).sleeps(),
    row("bpf_copy_from_user_task_dynptr", ALL).sleeps().trusted(),
    row("bpf_copy_from_user_task_str", ALL).sleeps(),
    row("bpf_copy_from_user_task_str_dynptr", ALL).sleeps().trusted(),
    row("bpf_cpumask_acquire", CPUMASK).acquire().trusted(),
    row("bpf_cpumask_and", CPUMASK).rcu(),
    row("bpf_cpumask_any_and_distribute", CPUMASK).rcu(),
    row("bpf_cpumask_any_distribute", CPUMASK).rcu(),
    row("bpf_cpumask_clear", CPUMASK).rcu(),
    row("bpf_cpumask_clear_cpu", CPUMASK).rcu(),
    row("bpf_cpumask_copy", CPUMASK).rcu(),
    row("bpf_cpumask_create", CPUMASK).acquire().ret_null(),
    row("bpf_cpumask_empty", CPUMASK).rcu(),
    row("bpf_cpumask_equal", CPUMASK).rcu(),
    row("bpf_cpumask_first", CPUMASK).rcu(),
    row("bpf_cpumask_first_and", CPUMASK).rcu(),
    row("bpf_cpumask_first_zero", CPUMASK).rcu(),
    row("bpf_cpumask_full", CPUMASK).rcu(),
    row("bpf_cpumask_intersects", CPUMASK).rcu(),
    row("bpf_cpumask_or", CPUMASK).rcu(),
    row("bpf_cpumask_populate", CPUMASK).rcu(),
    row("bpf_cpumask_release", CPUMASK).release(),
    row("bpf_cpumask_set_cpu", CPUMASK).rcu(),
    row("bpf_cpumask_setall", CPUMASK).rcu(),
    row("bpf_cpumask_subset", CPUMASK).rcu(),
    row("bpf_cpumask_test_and_clear_cpu", CPUMASK).rcu(),
    row("bpf_cpumask_test_and_set_cpu", CPUMASK).rcu(),
    row("bpf_cpumask_test_cpu", CPUMASK).rcu(),
    row("bpf_cpumask_weight", CPUMASK).rcu(),
    row("bpf_cpumask_xor", CPUMASK).rcu(),
    row("bpf_crypto_ctx_acquire", SYSCALL).acquire().rcu().ret_null(),
    row("bpf_crypto_ctx_create", SYSCALL).acquire().ret_null().sleeps(),
    row("bpf_crypto_ctx_release", SYSCALL).release(),
    row("bpf_crypto_decrypt", CRYPTO).rcu(),
    row("bpf_crypto_encrypt", CRYPTO).rcu(),
    row("bpf_ct_change_status", CONNTRACK).trusted(),
    row("bpf_ct_change_timeout", CONNTRACK).trusted(),
    row("bpf_ct_insert_entry", CONNTRACK).acquire().ret_null().release(),
    row("bpf_ct_release", CONNTRACK).release(),
    row("bpf_ct_set_nat_info", CONNTRACK).trusted(),
    row("bpf_ct_set_status", CONNTRACK).trusted(),
    row("bpf_ct_set_timeout", CONNTRACK).trusted(),
    row("bpf_dynptr_adjust", ALL),
    row("bpf_dynptr_clone", ALL),
    row("bpf_dynptr_copy", ALL),
    row("bpf_dynptr_from_skb", SKB).trusted(),
    row("bpf_dynptr_from_skb_meta", SCHED).trusted(),
    row("bpf_dynptr_from_xdp", XDP),
    row("bpf_dynptr_is_null", ALL),
    row("bpf_dynptr_is_rdonly", ALL),
    row("bpf_dynptr_memset", ALL),
    row("bpf_dynptr_size", ALL),
    row("bpf_dynptr_slice", ALL).ret_null(),
    row("bpf_dynptr_slice_rdwr", ALL).ret_null(),
    row("bpf_get_dentry_xattr", LSM).trusted().sleeps(),
    row("bpf_get_file_xattr", LSM).trusted().sleeps(),
    row("bpf_get_fsverity_digest", LSM).trusted(),
    row("bpf_get_kmem_cache", ALL).ret_null(),
    row("bpf_get_task_exe_file", LSM).acquire().ret_null().trusted(),
    row("bpf_iter_bits_destroy", ALL).iter_destroy(),
    row("bpf_iter_bits_new", ALL).iter_new(),
    row("bpf_iter_bits_next", ALL).iter_next().ret_null(),
    row("bpf_iter_css_destroy", ALL).iter_destroy(),
    row("bpf_iter_css_new", ALL).iter_new().trusted().rcu_protected(),
    row("bpf_iter_css_next", ALL).iter_next().ret_null(),
    row("bpf_iter_css_task_destroy", ALL).iter_destroy(),
    row("bpf_iter_css_task_new", ALL).iter_new().trusted(),
    row("bpf_iter_css_task_next", ALL).iter_next().ret_null(),
    row("bpf_iter_dmabuf_destroy", ALL).iter_destroy().sleeps(),
    row("bpf_iter_dmabuf_new", ALL).iter_new().sleeps(),
    row("bpf_iter_dmabuf_next", ALL).iter_next().ret_null().sleeps(),
    row("bpf_iter_kmem_cache_destroy", ALL).iter_destroy().sleeps(),
    row("bpf_iter_kmem_cache_new", ALL).iter_new().sleeps(),
    row("bpf_iter_kmem_cache_next", ALL).iter_next().ret_null().sleeps(),
    row("bpf_iter_num_destroy", ALL).iter_destroy(),
    row("bpf_iter_num_new", ALL).iter_new(),
    row("bpf_iter_num_next", ALL).iter_next().ret_null(),
    row("bpf_iter_task_destroy", ALL).iter_destroy(),
    row("bpf_iter_task_new", ALL).iter_new().trusted().rcu_protected(),
    row("bpf_iter_task_next", ALL).iter_next().ret_null(),
    row("bpf_iter_task_vma_destroy", ALL).iter_destroy(),
    row("bpf_iter_task_vma_new", ALL).iter_new().rcu(),
    row("bpf_iter_task_vma_next", ALL).iter_next().ret_null(),
    row("bpf_key_put", GENERIC).release(),
    row("bpf_kfunc_call_memb_release", TASKS).release(),
    row("bpf_kfunc_call_test_release", TASKS).release(),
    row("bpf_list_back", GENERIC).ret_null(),
    row("bpf_list_front", GENERIC).ret_null(),
    row("bpf_list_pop_back", GENERIC).acquire().ret_null(),
    row("bpf_list_pop_front", GENERIC).acquire().ret_null(),
    row("bpf_list_push_back_impl", GENERIC),
    row("bpf_list_push_front_impl", GENERIC),
    row("bpf_local_irq_restore", ALL),
    row("bpf_local_irq_save", ALL),
    row("bpf_lookup_system_key", GENERIC).acquire().ret_null(),
    row("bpf_lookup_user_key", GENERIC).acquire().ret_null().sleeps(),
    row("bpf_map_sum_elem_count", ALL).trusted(),
    row("bpf_modify_return_test_tp", ALL),
    row("bpf_obj_drop_impl", GENERIC).release(),
    row("bpf_obj_new_impl", GENERIC).acquire().ret_null(),
    row("bpf_path_d_path", LSM).trusted(),
    row("bpf_percpu_obj_drop_impl", GENERIC).release(),
    row("bpf_percpu_obj_new_impl", GENERIC).acquire().ret_null(),
    row("bpf_preempt_disable", ALL),
    row("bpf_preempt_enable", ALL),
    row("bpf_probe_read_kernel_dynptr", ALL),
    row("bpf_probe_read_kernel_str_dynptr", ALL),
    row("bpf_probe_read_user_dynptr", ALL),
    row("bpf_probe_read_user_str_dynptr", ALL),
    row("bpf_put_file", LSM).release(),
    row("bpf_rbtree_add_impl", GENERIC),
    row("bpf_rbtree_first", GENERIC).ret_null(),
    row("bpf_rbtree_left", GENERIC).ret_null(),
    row("bpf_rbtree_remove", GENERIC).acquire().ret_null(),
    row("bpf_rbtree_right", GENERIC).ret_null(),
    row("bpf_rbtree_root", GENERIC).ret_null(),
    row("bpf_rcu_read_lock", ALL),
    row("bpf_rcu_read_unlock", ALL),
    row("bpf_rdonly_cast", ALL),
    row("bpf_refcount_acquire_impl", GENERIC).acquire().ret_null().rcu(),
    row("bpf_remove_dentry_xattr", LSM).trusted().sleeps(),
    row("bpf_res_spin_lock", ALL).ret_null(),
    row("bpf_res_spin_lock_irqsave", ALL).ret_null(),
    row("bpf_res_spin_unlock", ALL),
    row("bpf_res_spin_unlock_irqrestore", ALL),
    row("bpf_send_signal_task", GENERIC).trusted(),
    row("bpf_session_cookie", SESSION),
    row("bpf_session_is_return", SESSION),
    row("bpf_set_dentry_xattr", LSM).trusted().sleeps(),
    row("bpf_sk_assign_tcp_reqsk", CLASSIFIER).trusted(),
    row("bpf_skb_ct_alloc", CONNTRACK).acquire().ret_null(),
    row("bpf_skb_ct_lookup", CONNTRACK).acquire().ret_null(),
    row("bpf_sock_addr_set_sun_path", CGROUP),
    row("bpf_sock_destroy", ITER).trusted(),
    row("bpf_sock_ops_enable_tx_tstamp", CGROUP).trusted(),
    row("bpf_strcasecmp", ALL),
    row("bpf_strchr", ALL),
    row("bpf_strchrnul", ALL),
    row("bpf_strcmp", ALL),
    row("bpf_strcspn", ALL),
    row("bpf_stream_vprintk_impl", ALL).trusted(),
    row("bpf_strlen", ALL),
    row("bpf_strnchr", ALL),
    row("bpf_strnlen", ALL),
    row("bpf_strnstr", ALL),
    row("bpf_strrchr", ALL),
    row("bpf_strspn", ALL),
    row("bpf_strstr", ALL),
    row("bpf_task_acquire", GENERIC).acquire().rcu().ret_null(),
    row("bpf_task_from_pid", GENERIC).acquire().ret_null(),
    row("bpf_task_from_vpid", GENERIC).acquire().ret_null(),
    row("bpf_task_get_cgroup1", GENERIC).acquire().rcu().ret_null(),
    row("bpf_task_release", GENERIC).release(),
    row("bpf_task_under_cgroup", GENERIC).rcu(),
    row("bpf_task_work_schedule_resume_impl", ALL),
    row("bpf_task_work_schedule_signal_impl", ALL),
    row("bpf_throw", GENERIC),
    row("bpf_verify_pkcs7_signature", GENERIC).sleeps(),
    row("bpf_wq_init", ALL),
    row("bpf_wq_set_callback_impl", ALL),
    row("bpf_wq_start", ALL),
    row("bpf_xdp_ct_alloc", CONNTRACK).acquire().ret_null(),
    row("bpf_xdp_ct_lookup", CONNTRACK).acquire().ret_null(),
    row("bpf_xdp_get_xfrm_state", XDP).ret_null().acquire(),
    row("bpf_xdp_metadata_rx_hash", ALL).trusted(),
    row("bpf_xdp_metadata_rx_timestamp", ALL).trusted(),
    row("bpf_xdp_metadata_rx_vlan_tag", ALL).trusted(),
    row("bpf_xdp_pull_data", XDP),
    row("bpf_xdp_xfrm_state_release", XDP).release(),
    row("cgroup_rstat_flush", TRACING).sleeps(),
    row("cgroup_rstat_updated", TRACING),
    row("css_rstat_flush", TRACING).sleeps(),
    row("css_rstat_updated", TRACING),
    row("cubictcp_acked", STRUCT_OPS),
    row("cubictcp_cong_avoid", STRUCT_OPS),
    row("cubictcp_cwnd_event", STRUCT_OPS),
    row("cubictcp_init", STRUCT_OPS),
    row("cubictcp_recalc_ssthresh", STRUCT_OPS),
    row("cubictcp_state", STRUCT_OPS),
    row("tcp_cong_avoid_ai", STRUCT_OPS),
    row("tcp_reno_cong_avoid", STRUCT_OPS),
    row("tcp_reno_ssthresh", STRUCT_OPS),
    row("tcp_reno_undo_cwnd", STRUCT_OPS),
    row("tcp_slow_start", STRUCT_OPS),
];
