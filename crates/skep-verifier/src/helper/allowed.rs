//! Which helpers a program may call, by its type and, where it matters, its attach type.
//!
//! Asked of Linux 6.18 (x86-64) itself: a program of each kind that calls each helper was offered to it. Hooks that the
//! machine asked does not offer (trampolines, LSM) are from the kernel's `*_func_proto` functions.

mod lists;

use skep_isa::helper::id;
use skep_isa::uapi::{AttachType, ProgType};

use super::set::Set;
use lists::*;

/// Which hook of a type a program is for, as far as helpers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook<'a> {
    /// Program type; of the target, for extensions.
    pub(crate) prog: ProgType,
    /// Attach type.
    pub(crate) attach: AttachType,
    /// Kernel structure of a `struct_ops` program.
    pub(crate) ops: &'a str,
    /// Member of it, or iterator.
    pub(crate) member: &'a str,
}

/// May such a program call the helper of this number? `None` where the answer is not known.
pub(crate) fn is_allowed(hook: Hook<'_>, helper: u32) -> Option<bool> {
    let has = |lists: &[Set]| Some(lists.iter().any(|list| list.contains(helper)));
    if BASE.contains(helper) {
        return Some(true);
    }
    match hook.prog {
        ProgType::SOCKET_FILTER => has(&[SOCKET_FILTER, SOCKETS]),
        ProgType::KPROBE
        | ProgType::TRACEPOINT
        | ProgType::RAW_TRACEPOINT
        | ProgType::RAW_TRACEPOINT_WRITABLE => has(&[PROBE]),
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => has(&[SCHED, SOCKETS]),
        ProgType::XDP => has(&[XDP, SOCKETS]),
        ProgType::PERF_EVENT => has(&[PERF_EVENT]),
        ProgType::CGROUP_SKB => has(&[CGROUP_SKB, SOCKETS]),
        ProgType::CGROUP_SOCK => has(&[CGROUP_SOCK]),
        ProgType::LWT_IN => has(&[LWT_IN, SOCKETS]),
        ProgType::LWT_OUT => has(&[LWT_OUT, SOCKETS]),
        ProgType::LWT_XMIT => has(&[LWT_XMIT, SOCKETS]),
        ProgType::LWT_SEG6LOCAL => has(&[LWT_SEG6LOCAL, SOCKETS]),
        ProgType::SOCK_OPS => has(&[SOCK_OPS, SOCKETS]),
        ProgType::SK_SKB => has(&[SK_SKB, SOCKETS]),
        ProgType::CGROUP_DEVICE => has(&[CGROUP_DEVICE]),
        ProgType::SK_MSG => has(&[SK_MSG, SOCKETS]),
        ProgType::SK_REUSEPORT => has(&[SK_REUSEPORT]),
        ProgType::FLOW_DISSECTOR => has(&[FLOW_DISSECTOR, SOCKETS]),
        ProgType::CGROUP_SYSCTL => has(&[SYSCTL]),
        ProgType::SK_LOOKUP => has(&[SK_LOOKUP, SOCKETS]),
        ProgType::SYSCALL => has(&[SYSCALL]),
        ProgType::NETFILTER => Some(false),
        ProgType::LIRC_MODE2 => has(&[LIRC]),
        ProgType::CGROUP_SOCK_ADDR => has(&[SOCK_ADDR, SOCKETS, sock_addr(hook.attach)]).map(|yes| {
            let bind =
                matches!(hook.attach, AttachType::CGROUP_INET4_CONNECT | AttachType::CGROUP_INET6_CONNECT);
            yes || (bind && helper == id::bpf_bind)
        }),
        ProgType::CGROUP_SOCKOPT if hook.attach == AttachType::CGROUP_SETSOCKOPT => has(&[SOCKOPT, SOCKOPTS]),
        ProgType::CGROUP_SOCKOPT => has(&[SOCKOPT]),
        // Iterators over TCP and Unix sockets hold the socket's lock.
        ProgType::TRACING if SOCKOPTS.contains(helper) => Some(matches!(hook.member, "tcp" | "unix")),
        ProgType::TRACING => has(&[TRACING, SOCKETS, tracing(hook.attach)]),
        ProgType::LSM if hook.attach == AttachType::LSM_CGROUP => {
            has(&[TRACING, SOCKETS, LSM, GROUP, RETVAL, SOCKOPTS])
        }
        ProgType::LSM => has(&[TRACING, SOCKETS, LSM, TRAMPOLINE]),
        // A socket being released takes no more options.
        ProgType::STRUCT_OPS if hook.member == "release" && helper == id::bpf_setsockopt => Some(false),
        ProgType::STRUCT_OPS if hook.ops == "tcp_congestion_ops" => has(&[STRUCT_OPS]),
        _ => None,
    }
}

fn sock_addr(attach: AttachType) -> Set {
    match attach {
        AttachType::CGROUP_INET4_BIND
        | AttachType::CGROUP_INET6_BIND
        | AttachType::CGROUP_INET4_CONNECT
        | AttachType::CGROUP_INET6_CONNECT
        | AttachType::CGROUP_UDP4_SENDMSG
        | AttachType::CGROUP_UDP6_SENDMSG
        | AttachType::CGROUP_UNIX_CONNECT
        | AttachType::CGROUP_UNIX_SENDMSG => RETVAL,
        _ => Set::NONE,
    }
}

fn tracing(attach: AttachType) -> Set {
    match attach {
        AttachType::TRACE_ITER => ITER,
        AttachType::TRACE_RAW_TP => Set::NONE,
        _ => TRAMPOLINE,
    }
}
