//! The kernel's enumerations that objects, programs and bpf(2) share: program, map, attach and link types, commands.
//!
//! Source: `include/uapi/linux/bpf.h`, Linux 6.18. Every type keeps numbers it does not know, so a newer kernel or object
//! is never a parse error; [`name`](MapType::name) answers `None` for those.

/// Declares a newtype over the kernel's number with named constants, the C name and the short name tools print.
macro_rules! kernel_enum {
    ($(#[$meta:meta])* $ty:ident, $prefix:literal { $($konst:ident = $value:literal, $c:literal, $short:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $ty(pub u32);

        impl $ty {
            $(
                #[doc = concat!("`", $c, "`")]
                #[doc(alias = $c)]
                pub const $konst: Self = Self($value);
            )*

            /// Every value this version knows, in the order of the kernel's numbers.
            pub const ALL: &[Self] = &[$(Self::$konst),*];

            /// The short name that tools print (`"hash"`), if the number is known.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($value => Some($short),)* _ => None }
            }

            /// The C name, such as `BPF_MAP_TYPE_HASH`, if the number is known.
            pub const fn c_name(self) -> Option<&'static str> {
                match self.0 { $($value => Some($c),)* _ => None }
            }

            /// Finds a value by its short name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($short => Some(Self::$konst),)* _ => None }
            }
        }

        impl std::fmt::Display for $ty {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{}{}", $prefix, self.0),
                }
            }
        }

        impl std::fmt::Debug for $ty {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.c_name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!(stringify!($ty), "({})"), self.0),
                }
            }
        }
    };
}

kernel_enum! {
    /// What a map is (`enum bpf_map_type`).
    MapType, "unknown-maptype-" {
        UNSPEC = 0, "BPF_MAP_TYPE_UNSPEC", "unspec";
        HASH = 1, "BPF_MAP_TYPE_HASH", "hash";
        ARRAY = 2, "BPF_MAP_TYPE_ARRAY", "array";
        PROG_ARRAY = 3, "BPF_MAP_TYPE_PROG_ARRAY", "prog_array";
        PERF_EVENT_ARRAY = 4, "BPF_MAP_TYPE_PERF_EVENT_ARRAY", "perf_event_array";
        PERCPU_HASH = 5, "BPF_MAP_TYPE_PERCPU_HASH", "percpu_hash";
        PERCPU_ARRAY = 6, "BPF_MAP_TYPE_PERCPU_ARRAY", "percpu_array";
        STACK_TRACE = 7, "BPF_MAP_TYPE_STACK_TRACE", "stack_trace";
        CGROUP_ARRAY = 8, "BPF_MAP_TYPE_CGROUP_ARRAY", "cgroup_array";
        LRU_HASH = 9, "BPF_MAP_TYPE_LRU_HASH", "lru_hash";
        LRU_PERCPU_HASH = 10, "BPF_MAP_TYPE_LRU_PERCPU_HASH", "lru_percpu_hash";
        LPM_TRIE = 11, "BPF_MAP_TYPE_LPM_TRIE", "lpm_trie";
        ARRAY_OF_MAPS = 12, "BPF_MAP_TYPE_ARRAY_OF_MAPS", "array_of_maps";
        HASH_OF_MAPS = 13, "BPF_MAP_TYPE_HASH_OF_MAPS", "hash_of_maps";
        DEVMAP = 14, "BPF_MAP_TYPE_DEVMAP", "devmap";
        SOCKMAP = 15, "BPF_MAP_TYPE_SOCKMAP", "sockmap";
        CPUMAP = 16, "BPF_MAP_TYPE_CPUMAP", "cpumap";
        XSKMAP = 17, "BPF_MAP_TYPE_XSKMAP", "xskmap";
        SOCKHASH = 18, "BPF_MAP_TYPE_SOCKHASH", "sockhash";
        CGROUP_STORAGE = 19, "BPF_MAP_TYPE_CGROUP_STORAGE", "cgroup_storage";
        REUSEPORT_SOCKARRAY = 20, "BPF_MAP_TYPE_REUSEPORT_SOCKARRAY", "reuseport_sockarray";
        PERCPU_CGROUP_STORAGE = 21, "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE", "percpu_cgroup_storage";
        QUEUE = 22, "BPF_MAP_TYPE_QUEUE", "queue";
        STACK = 23, "BPF_MAP_TYPE_STACK", "stack";
        SK_STORAGE = 24, "BPF_MAP_TYPE_SK_STORAGE", "sk_storage";
        DEVMAP_HASH = 25, "BPF_MAP_TYPE_DEVMAP_HASH", "devmap_hash";
        STRUCT_OPS = 26, "BPF_MAP_TYPE_STRUCT_OPS", "struct_ops";
        RINGBUF = 27, "BPF_MAP_TYPE_RINGBUF", "ringbuf";
        INODE_STORAGE = 28, "BPF_MAP_TYPE_INODE_STORAGE", "inode_storage";
        TASK_STORAGE = 29, "BPF_MAP_TYPE_TASK_STORAGE", "task_storage";
        BLOOM_FILTER = 30, "BPF_MAP_TYPE_BLOOM_FILTER", "bloom_filter";
        USER_RINGBUF = 31, "BPF_MAP_TYPE_USER_RINGBUF", "user_ringbuf";
        CGRP_STORAGE = 32, "BPF_MAP_TYPE_CGRP_STORAGE", "cgrp_storage";
        ARENA = 33, "BPF_MAP_TYPE_ARENA", "arena";
    }
}

kernel_enum! {
    /// What a program is (`enum bpf_prog_type`).
    ProgType, "unknown-progtype-" {
        UNSPEC = 0, "BPF_PROG_TYPE_UNSPEC", "unspec";
        SOCKET_FILTER = 1, "BPF_PROG_TYPE_SOCKET_FILTER", "socket_filter";
        KPROBE = 2, "BPF_PROG_TYPE_KPROBE", "kprobe";
        SCHED_CLS = 3, "BPF_PROG_TYPE_SCHED_CLS", "sched_cls";
        SCHED_ACT = 4, "BPF_PROG_TYPE_SCHED_ACT", "sched_act";
        TRACEPOINT = 5, "BPF_PROG_TYPE_TRACEPOINT", "tracepoint";
        XDP = 6, "BPF_PROG_TYPE_XDP", "xdp";
        PERF_EVENT = 7, "BPF_PROG_TYPE_PERF_EVENT", "perf_event";
        CGROUP_SKB = 8, "BPF_PROG_TYPE_CGROUP_SKB", "cgroup_skb";
        CGROUP_SOCK = 9, "BPF_PROG_TYPE_CGROUP_SOCK", "cgroup_sock";
        LWT_IN = 10, "BPF_PROG_TYPE_LWT_IN", "lwt_in";
        LWT_OUT = 11, "BPF_PROG_TYPE_LWT_OUT", "lwt_out";
        LWT_XMIT = 12, "BPF_PROG_TYPE_LWT_XMIT", "lwt_xmit";
        SOCK_OPS = 13, "BPF_PROG_TYPE_SOCK_OPS", "sock_ops";
        SK_SKB = 14, "BPF_PROG_TYPE_SK_SKB", "sk_skb";
        CGROUP_DEVICE = 15, "BPF_PROG_TYPE_CGROUP_DEVICE", "cgroup_device";
        SK_MSG = 16, "BPF_PROG_TYPE_SK_MSG", "sk_msg";
        RAW_TRACEPOINT = 17, "BPF_PROG_TYPE_RAW_TRACEPOINT", "raw_tracepoint";
        CGROUP_SOCK_ADDR = 18, "BPF_PROG_TYPE_CGROUP_SOCK_ADDR", "cgroup_sock_addr";
        LWT_SEG6LOCAL = 19, "BPF_PROG_TYPE_LWT_SEG6LOCAL", "lwt_seg6local";
        LIRC_MODE2 = 20, "BPF_PROG_TYPE_LIRC_MODE2", "lirc_mode2";
        SK_REUSEPORT = 21, "BPF_PROG_TYPE_SK_REUSEPORT", "sk_reuseport";
        FLOW_DISSECTOR = 22, "BPF_PROG_TYPE_FLOW_DISSECTOR", "flow_dissector";
        CGROUP_SYSCTL = 23, "BPF_PROG_TYPE_CGROUP_SYSCTL", "cgroup_sysctl";
        RAW_TRACEPOINT_WRITABLE = 24, "BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE", "raw_tracepoint_writable";
        CGROUP_SOCKOPT = 25, "BPF_PROG_TYPE_CGROUP_SOCKOPT", "cgroup_sockopt";
        TRACING = 26, "BPF_PROG_TYPE_TRACING", "tracing";
        STRUCT_OPS = 27, "BPF_PROG_TYPE_STRUCT_OPS", "struct_ops";
        EXT = 28, "BPF_PROG_TYPE_EXT", "ext";
        LSM = 29, "BPF_PROG_TYPE_LSM", "lsm";
        SK_LOOKUP = 30, "BPF_PROG_TYPE_SK_LOOKUP", "sk_lookup";
        SYSCALL = 31, "BPF_PROG_TYPE_SYSCALL", "syscall";
        NETFILTER = 32, "BPF_PROG_TYPE_NETFILTER", "netfilter";
    }
}

kernel_enum! {
    /// Where a program is meant to run (`enum bpf_attach_type`).
    AttachType, "unknown-attachtype-" {
        CGROUP_INET_INGRESS = 0, "BPF_CGROUP_INET_INGRESS", "cgroup_inet_ingress";
        CGROUP_INET_EGRESS = 1, "BPF_CGROUP_INET_EGRESS", "cgroup_inet_egress";
        CGROUP_INET_SOCK_CREATE = 2, "BPF_CGROUP_INET_SOCK_CREATE", "cgroup_inet_sock_create";
        CGROUP_SOCK_OPS = 3, "BPF_CGROUP_SOCK_OPS", "cgroup_sock_ops";
        SK_SKB_STREAM_PARSER = 4, "BPF_SK_SKB_STREAM_PARSER", "sk_skb_stream_parser";
        SK_SKB_STREAM_VERDICT = 5, "BPF_SK_SKB_STREAM_VERDICT", "sk_skb_stream_verdict";
        CGROUP_DEVICE = 6, "BPF_CGROUP_DEVICE", "cgroup_device";
        SK_MSG_VERDICT = 7, "BPF_SK_MSG_VERDICT", "sk_msg_verdict";
        CGROUP_INET4_BIND = 8, "BPF_CGROUP_INET4_BIND", "cgroup_inet4_bind";
        CGROUP_INET6_BIND = 9, "BPF_CGROUP_INET6_BIND", "cgroup_inet6_bind";
        CGROUP_INET4_CONNECT = 10, "BPF_CGROUP_INET4_CONNECT", "cgroup_inet4_connect";
        CGROUP_INET6_CONNECT = 11, "BPF_CGROUP_INET6_CONNECT", "cgroup_inet6_connect";
        CGROUP_INET4_POST_BIND = 12, "BPF_CGROUP_INET4_POST_BIND", "cgroup_inet4_post_bind";
        CGROUP_INET6_POST_BIND = 13, "BPF_CGROUP_INET6_POST_BIND", "cgroup_inet6_post_bind";
        CGROUP_UDP4_SENDMSG = 14, "BPF_CGROUP_UDP4_SENDMSG", "cgroup_udp4_sendmsg";
        CGROUP_UDP6_SENDMSG = 15, "BPF_CGROUP_UDP6_SENDMSG", "cgroup_udp6_sendmsg";
        LIRC_MODE2 = 16, "BPF_LIRC_MODE2", "lirc_mode2";
        FLOW_DISSECTOR = 17, "BPF_FLOW_DISSECTOR", "flow_dissector";
        CGROUP_SYSCTL = 18, "BPF_CGROUP_SYSCTL", "cgroup_sysctl";
        CGROUP_UDP4_RECVMSG = 19, "BPF_CGROUP_UDP4_RECVMSG", "cgroup_udp4_recvmsg";
        CGROUP_UDP6_RECVMSG = 20, "BPF_CGROUP_UDP6_RECVMSG", "cgroup_udp6_recvmsg";
        CGROUP_GETSOCKOPT = 21, "BPF_CGROUP_GETSOCKOPT", "cgroup_getsockopt";
        CGROUP_SETSOCKOPT = 22, "BPF_CGROUP_SETSOCKOPT", "cgroup_setsockopt";
        TRACE_RAW_TP = 23, "BPF_TRACE_RAW_TP", "trace_raw_tp";
        TRACE_FENTRY = 24, "BPF_TRACE_FENTRY", "trace_fentry";
        TRACE_FEXIT = 25, "BPF_TRACE_FEXIT", "trace_fexit";
        MODIFY_RETURN = 26, "BPF_MODIFY_RETURN", "modify_return";
        LSM_MAC = 27, "BPF_LSM_MAC", "lsm_mac";
        TRACE_ITER = 28, "BPF_TRACE_ITER", "trace_iter";
        CGROUP_INET4_GETPEERNAME = 29, "BPF_CGROUP_INET4_GETPEERNAME", "cgroup_inet4_getpeername";
        CGROUP_INET6_GETPEERNAME = 30, "BPF_CGROUP_INET6_GETPEERNAME", "cgroup_inet6_getpeername";
        CGROUP_INET4_GETSOCKNAME = 31, "BPF_CGROUP_INET4_GETSOCKNAME", "cgroup_inet4_getsockname";
        CGROUP_INET6_GETSOCKNAME = 32, "BPF_CGROUP_INET6_GETSOCKNAME", "cgroup_inet6_getsockname";
        XDP_DEVMAP = 33, "BPF_XDP_DEVMAP", "xdp_devmap";
        CGROUP_INET_SOCK_RELEASE = 34, "BPF_CGROUP_INET_SOCK_RELEASE", "cgroup_inet_sock_release";
        XDP_CPUMAP = 35, "BPF_XDP_CPUMAP", "xdp_cpumap";
        SK_LOOKUP = 36, "BPF_SK_LOOKUP", "sk_lookup";
        XDP = 37, "BPF_XDP", "xdp";
        SK_SKB_VERDICT = 38, "BPF_SK_SKB_VERDICT", "sk_skb_verdict";
        SK_REUSEPORT_SELECT = 39, "BPF_SK_REUSEPORT_SELECT", "sk_reuseport_select";
        SK_REUSEPORT_SELECT_OR_MIGRATE = 40, "BPF_SK_REUSEPORT_SELECT_OR_MIGRATE", "sk_reuseport_select_or_migrate";
        PERF_EVENT = 41, "BPF_PERF_EVENT", "perf_event";
        TRACE_KPROBE_MULTI = 42, "BPF_TRACE_KPROBE_MULTI", "trace_kprobe_multi";
        LSM_CGROUP = 43, "BPF_LSM_CGROUP", "lsm_cgroup";
        STRUCT_OPS = 44, "BPF_STRUCT_OPS", "struct_ops";
        NETFILTER = 45, "BPF_NETFILTER", "netfilter";
        TCX_INGRESS = 46, "BPF_TCX_INGRESS", "tcx_ingress";
        TCX_EGRESS = 47, "BPF_TCX_EGRESS", "tcx_egress";
        TRACE_UPROBE_MULTI = 48, "BPF_TRACE_UPROBE_MULTI", "trace_uprobe_multi";
        CGROUP_UNIX_CONNECT = 49, "BPF_CGROUP_UNIX_CONNECT", "cgroup_unix_connect";
        CGROUP_UNIX_SENDMSG = 50, "BPF_CGROUP_UNIX_SENDMSG", "cgroup_unix_sendmsg";
        CGROUP_UNIX_RECVMSG = 51, "BPF_CGROUP_UNIX_RECVMSG", "cgroup_unix_recvmsg";
        CGROUP_UNIX_GETPEERNAME = 52, "BPF_CGROUP_UNIX_GETPEERNAME", "cgroup_unix_getpeername";
        CGROUP_UNIX_GETSOCKNAME = 53, "BPF_CGROUP_UNIX_GETSOCKNAME", "cgroup_unix_getsockname";
        NETKIT_PRIMARY = 54, "BPF_NETKIT_PRIMARY", "netkit_primary";
        NETKIT_PEER = 55, "BPF_NETKIT_PEER", "netkit_peer";
        TRACE_KPROBE_SESSION = 56, "BPF_TRACE_KPROBE_SESSION", "trace_kprobe_session";
        TRACE_UPROBE_SESSION = 57, "BPF_TRACE_UPROBE_SESSION", "trace_uprobe_session";
    }
}

kernel_enum! {
    /// What holds a program to its hook (`enum bpf_link_type`).
    LinkType, "unknown-linktype-" {
        UNSPEC = 0, "BPF_LINK_TYPE_UNSPEC", "unspec";
        RAW_TRACEPOINT = 1, "BPF_LINK_TYPE_RAW_TRACEPOINT", "raw_tracepoint";
        TRACING = 2, "BPF_LINK_TYPE_TRACING", "tracing";
        CGROUP = 3, "BPF_LINK_TYPE_CGROUP", "cgroup";
        ITER = 4, "BPF_LINK_TYPE_ITER", "iter";
        NETNS = 5, "BPF_LINK_TYPE_NETNS", "netns";
        XDP = 6, "BPF_LINK_TYPE_XDP", "xdp";
        PERF_EVENT = 7, "BPF_LINK_TYPE_PERF_EVENT", "perf_event";
        KPROBE_MULTI = 8, "BPF_LINK_TYPE_KPROBE_MULTI", "kprobe_multi";
        STRUCT_OPS = 9, "BPF_LINK_TYPE_STRUCT_OPS", "struct_ops";
        NETFILTER = 10, "BPF_LINK_TYPE_NETFILTER", "netfilter";
        TCX = 11, "BPF_LINK_TYPE_TCX", "tcx";
        UPROBE_MULTI = 12, "BPF_LINK_TYPE_UPROBE_MULTI", "uprobe_multi";
        NETKIT = 13, "BPF_LINK_TYPE_NETKIT", "netkit";
        SOCKMAP = 14, "BPF_LINK_TYPE_SOCKMAP", "sockmap";
    }
}

kernel_enum! {
    /// A command of bpf(2) (`enum bpf_cmd`).
    Cmd, "unknown-cmd-" {
        MAP_CREATE = 0, "BPF_MAP_CREATE", "map_create";
        MAP_LOOKUP_ELEM = 1, "BPF_MAP_LOOKUP_ELEM", "map_lookup_elem";
        MAP_UPDATE_ELEM = 2, "BPF_MAP_UPDATE_ELEM", "map_update_elem";
        MAP_DELETE_ELEM = 3, "BPF_MAP_DELETE_ELEM", "map_delete_elem";
        MAP_GET_NEXT_KEY = 4, "BPF_MAP_GET_NEXT_KEY", "map_get_next_key";
        PROG_LOAD = 5, "BPF_PROG_LOAD", "prog_load";
        OBJ_PIN = 6, "BPF_OBJ_PIN", "obj_pin";
        OBJ_GET = 7, "BPF_OBJ_GET", "obj_get";
        PROG_ATTACH = 8, "BPF_PROG_ATTACH", "prog_attach";
        PROG_DETACH = 9, "BPF_PROG_DETACH", "prog_detach";
        PROG_TEST_RUN = 10, "BPF_PROG_TEST_RUN", "prog_test_run";
        PROG_GET_NEXT_ID = 11, "BPF_PROG_GET_NEXT_ID", "prog_get_next_id";
        MAP_GET_NEXT_ID = 12, "BPF_MAP_GET_NEXT_ID", "map_get_next_id";
        PROG_GET_FD_BY_ID = 13, "BPF_PROG_GET_FD_BY_ID", "prog_get_fd_by_id";
        MAP_GET_FD_BY_ID = 14, "BPF_MAP_GET_FD_BY_ID", "map_get_fd_by_id";
        OBJ_GET_INFO_BY_FD = 15, "BPF_OBJ_GET_INFO_BY_FD", "obj_get_info_by_fd";
        PROG_QUERY = 16, "BPF_PROG_QUERY", "prog_query";
        RAW_TRACEPOINT_OPEN = 17, "BPF_RAW_TRACEPOINT_OPEN", "raw_tracepoint_open";
        BTF_LOAD = 18, "BPF_BTF_LOAD", "btf_load";
        BTF_GET_FD_BY_ID = 19, "BPF_BTF_GET_FD_BY_ID", "btf_get_fd_by_id";
        TASK_FD_QUERY = 20, "BPF_TASK_FD_QUERY", "task_fd_query";
        MAP_LOOKUP_AND_DELETE_ELEM = 21, "BPF_MAP_LOOKUP_AND_DELETE_ELEM", "map_lookup_and_delete_elem";
        MAP_FREEZE = 22, "BPF_MAP_FREEZE", "map_freeze";
        BTF_GET_NEXT_ID = 23, "BPF_BTF_GET_NEXT_ID", "btf_get_next_id";
        MAP_LOOKUP_BATCH = 24, "BPF_MAP_LOOKUP_BATCH", "map_lookup_batch";
        MAP_LOOKUP_AND_DELETE_BATCH = 25, "BPF_MAP_LOOKUP_AND_DELETE_BATCH", "map_lookup_and_delete_batch";
        MAP_UPDATE_BATCH = 26, "BPF_MAP_UPDATE_BATCH", "map_update_batch";
        MAP_DELETE_BATCH = 27, "BPF_MAP_DELETE_BATCH", "map_delete_batch";
        LINK_CREATE = 28, "BPF_LINK_CREATE", "link_create";
        LINK_UPDATE = 29, "BPF_LINK_UPDATE", "link_update";
        LINK_GET_FD_BY_ID = 30, "BPF_LINK_GET_FD_BY_ID", "link_get_fd_by_id";
        LINK_GET_NEXT_ID = 31, "BPF_LINK_GET_NEXT_ID", "link_get_next_id";
        ENABLE_STATS = 32, "BPF_ENABLE_STATS", "enable_stats";
        ITER_CREATE = 33, "BPF_ITER_CREATE", "iter_create";
        LINK_DETACH = 34, "BPF_LINK_DETACH", "link_detach";
        PROG_BIND_MAP = 35, "BPF_PROG_BIND_MAP", "prog_bind_map";
        TOKEN_CREATE = 36, "BPF_TOKEN_CREATE", "token_create";
        PROG_STREAM_READ_BY_FD = 37, "BPF_PROG_STREAM_READ_BY_FD", "prog_stream_read_by_fd";
    }
}
