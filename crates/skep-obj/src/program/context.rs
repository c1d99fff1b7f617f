//! What kind of program a function is, by its context: for sections whose names do not say it.
//!
//! Several types share a context; then it is the one that allows least, so that nothing is accepted which a loader that says
//! no more would have refused.

use skep_btf::{Btf, Kind, Shape, TypeId};
use skep_isa::uapi::ProgType;

/// Names of structures or typedefs, and what has them as its context.
const CONTEXTS: &[(&str, ProgType)] = &[
    ("__sk_buff", ProgType::SOCKET_FILTER),
    ("xdp_md", ProgType::XDP),
    ("bpf_sock", ProgType::CGROUP_SOCK),
    ("bpf_sock_addr", ProgType::CGROUP_SOCK_ADDR),
    ("bpf_sock_ops", ProgType::SOCK_OPS),
    ("sk_msg_md", ProgType::SK_MSG),
    ("bpf_cgroup_dev_ctx", ProgType::CGROUP_DEVICE),
    ("bpf_sysctl", ProgType::CGROUP_SYSCTL),
    ("bpf_sockopt", ProgType::CGROUP_SOCKOPT),
    ("sk_reuseport_md", ProgType::SK_REUSEPORT),
    ("bpf_sk_lookup", ProgType::SK_LOOKUP),
    ("bpf_nf_ctx", ProgType::NETFILTER),
    ("pt_regs", ProgType::KPROBE),
    ("user_pt_regs", ProgType::KPROBE),
    ("bpf_user_pt_regs_t", ProgType::KPROBE),
    ("bpf_perf_event_data", ProgType::PERF_EVENT),
    ("bpf_raw_tracepoint_args", ProgType::RAW_TRACEPOINT),
];

/// Qualifiers and typedefs nest no deeper.
const DEPTH_MAX: usize = 16;

/// The type of program that the function of this name looks like.
pub(crate) fn prog_type(btf: &Btf, function: &str) -> Option<ProgType> {
    let Shape::Func { proto, .. } = btf.type_by_id(btf.find(function, Kind::Func)?).ok()?.shape else {
        return None;
    };
    let Shape::FuncProto(proto) = btf.type_by_id(proto).ok()?.shape else { return None };
    let context = proto.params.iter().next()?.ok()?;
    match btf.resolve(context.ty).ok()?.shape {
        Shape::Ptr(to) => of_context(btf, to),
        _ => None,
    }
}

fn of_context(btf: &Btf, mut id: TypeId) -> Option<ProgType> {
    for _ in 0..DEPTH_MAX {
        let ty = btf.type_by_id(id).ok()?;
        if let Some((_, found)) = CONTEXTS.iter().find(|(name, _)| *name == ty.name) {
            return Some(*found);
        }
        match ty.shape {
            Shape::Typedef(next) | Shape::Const(next) | Shape::Volatile(next) | Shape::Restrict(next) => {
                id = next;
            }
            _ => return None,
        }
    }
    None
}
