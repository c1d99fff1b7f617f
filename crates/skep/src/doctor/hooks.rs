//! What programs can be attached to in the kernel runtime.

use skep_isa::uapi::ProgType;

use super::machine::{exists, function, read};
use super::{Area, Finding};
use crate::features::{Prober, Support};
use crate::host;

/// Asks about hooks: the program's type must be supported, and what it is attached to be there.
pub(super) fn findings(prober: &Prober) -> Vec<Finding> {
    let with = |prog_type, place: Support| match prober.prog_type(prog_type) {
        Support::Yes => place,
        other => other,
    };
    let btf = host::kernel_btf();
    let built = |name| function(btf.as_deref(), name);
    let pmu = |name: &str| {
        exists(&format!("/sys/bus/event_source/devices/{name}/type"), "the kernel has no such probes")
    };
    let rows: [(&str, Support, &str); 20] = [
        ("tracepoint", with(ProgType::TRACEPOINT, Support::Yes), "`SEC(\"tp/…\")`"),
        ("raw tracepoint", with(ProgType::RAW_TRACEPOINT, Support::Yes), "`SEC(\"raw_tp/…\")`"),
        ("kprobe", with(ProgType::KPROBE, pmu("kprobe")), "`SEC(\"kprobe/…\")`"),
        ("kprobe.multi", with(ProgType::KPROBE, built("register_fprobe_syms")), "`SEC(\"kprobe.multi/…\")`"),
        ("uprobe, usdt", with(ProgType::KPROBE, pmu("uprobe")), "`SEC(\"uprobe/…\")`, `SEC(\"usdt/…\")`"),
        (
            "uprobe.multi",
            with(ProgType::KPROBE, built("bpf_uprobe_multi_link_attach")),
            "`SEC(\"uprobe.multi/…\")`",
        ),
        ("fentry, fexit", with(ProgType::TRACING, Support::Yes), "`SEC(\"fentry/…\")`, `SEC(\"fexit/…\")`"),
        ("lsm", with(ProgType::LSM, lsm()), "`SEC(\"lsm/…\")`"),
        ("iterator", with(ProgType::SOCKET_FILTER, built("bpf_iter_link_attach")), "`SEC(\"iter/…\")`"),
        ("perf event", with(ProgType::PERF_EVENT, Support::Yes), "`SEC(\"perf_event\")`"),
        ("xdp", with(ProgType::XDP, Support::Yes), "`SEC(\"xdp\")`"),
        ("tc", with(ProgType::SCHED_CLS, Support::Yes), "`SEC(\"tc\")`, by `clsact`"),
        ("tcx", with(ProgType::SCHED_CLS, built("tcx_link_attach")), "`SEC(\"tcx/ingress\")`, by links"),
        ("netkit", with(ProgType::SCHED_CLS, built("netkit_prog_attach")), "`SEC(\"netkit/primary\")`"),
        ("netfilter", with(ProgType::NETFILTER, built("bpf_nf_link_attach")), "`SEC(\"netfilter\")`"),
        ("control group", with(ProgType::CGROUP_SKB, Support::Yes), "`SEC(\"cgroup_skb/…\")` and its like"),
        ("socket map", with(ProgType::SK_SKB, Support::Yes), "`SEC(\"sk_skb/…\")`, `SEC(\"sk_msg\")`"),
        ("socket look-up", with(ProgType::SK_LOOKUP, Support::Yes), "`SEC(\"sk_lookup\")`"),
        ("struct_ops", with(ProgType::STRUCT_OPS, Support::Yes), "`SEC(\".struct_ops\")`"),
        ("extension", with(ProgType::EXT, Support::Yes), "`SEC(\"freplace/…\")`"),
    ];
    rows.into_iter()
        .map(|(name, support, detail)| Finding::of_support(Area::Hooks, name, support, detail))
        .collect()
}

/// LSM programs load where the kernel has been told to ask them.
fn lsm() -> Support {
    match read("/sys/kernel/security/lsm") {
        list if list.is_empty() => Support::Unknown("securityfs cannot be read".to_owned()),
        list if list.split(',').any(|name| name.trim() == "bpf") => Support::Yes,
        list => Support::No(format!("the kernel asks {}; boot with `lsm=…,bpf`", list.trim())),
    }
}
