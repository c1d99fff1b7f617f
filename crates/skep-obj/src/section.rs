//! What a section's name says: one table of names, and how the rest of a name is read.
//!
//! Source of the rows: libbpf 1.8, `section_defs` in `src/libbpf.c`. Everything about names is derived from
//! [`SECTIONS`].

use skep_isa::uapi::{AttachType as A, ProgType as P};

use crate::attach::{self, AttachPoint};
use crate::error::{Error, Result};

/// What all programs of a section have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionDef {
    /// The name; a `+` at its end says that `/…` may follow.
    pub pattern: &'static str,
    /// What kind of program.
    pub prog_type: P,
    /// What the verifier is told about the hook, where the program type has several.
    pub attach_type: Option<A>,
    /// How the rest of the name says where to attach.
    pub hook: Hook,
    /// May the program sleep (`BPF_F_SLEEPABLE`)?
    pub sleepable: bool,
    /// Does the program take packets in several fragments (`BPF_F_XDP_HAS_FRAGS`)?
    pub frags: bool,
}

/// How a section's name says where to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hook {
    /// It does not.
    None,
    /// `CATEGORY/NAME`.
    Tracepoint,
    /// `NAME`.
    RawTracepoint,
    /// `NAME`.
    BtfTracepoint,
    /// `FUNCTION[+OFFSET]`.
    Kprobe,
    /// `PATTERN`.
    KprobeMulti,
    /// `NAME`.
    Ksyscall,
    /// `PATH:SYMBOL[+OFFSET]`.
    Uprobe,
    /// `PATH:PATTERN`.
    UprobeMulti,
    /// `PATH:PROVIDER:NAME`.
    Usdt,
    /// `[EVENT:]RATE`, which only callers say: libbpf takes no such section.
    PerfEvent,
    /// `NAME`, of a function, hook or iterator.
    Btf,
    /// By its attach type.
    Target,
    /// Through a `struct_ops` map.
    StructOps,
}

/// Attach types of Linux 7: known to libbpf, not to Linux 6.18.
const TRACE_FSESSION: A = A(58);
const TRACE_FENTRY_MULTI: A = A(59);
const TRACE_FEXIT_MULTI: A = A(60);
const TRACE_FSESSION_MULTI: A = A(61);

const NO_TYPE: Option<A> = None;

const fn of(attach_type: A) -> Option<A> {
    Some(attach_type)
}

const fn def(pattern: &'static str, prog_type: P, attach_type: Option<A>, hook: Hook) -> SectionDef {
    SectionDef { pattern, prog_type, attach_type, hook, sleepable: false, frags: false }
}

/// All section names, in libbpf's order: the first that fits counts.
pub const SECTIONS: &[SectionDef] = &[
    def("socket", P::SOCKET_FILTER, NO_TYPE, Hook::None),
    def("sk_reuseport/migrate", P::SK_REUSEPORT, of(A::SK_REUSEPORT_SELECT_OR_MIGRATE), Hook::Target),
    def("sk_reuseport", P::SK_REUSEPORT, of(A::SK_REUSEPORT_SELECT), Hook::Target),
    def("kprobe+", P::KPROBE, NO_TYPE, Hook::Kprobe),
    def("uprobe+", P::KPROBE, NO_TYPE, Hook::Uprobe),
    def("uprobe.s+", P::KPROBE, NO_TYPE, Hook::Uprobe).sleepable(),
    def("kretprobe+", P::KPROBE, NO_TYPE, Hook::Kprobe),
    def("uretprobe+", P::KPROBE, NO_TYPE, Hook::Uprobe),
    def("uretprobe.s+", P::KPROBE, NO_TYPE, Hook::Uprobe).sleepable(),
    def("kprobe.multi+", P::KPROBE, of(A::TRACE_KPROBE_MULTI), Hook::KprobeMulti),
    def("kretprobe.multi+", P::KPROBE, of(A::TRACE_KPROBE_MULTI), Hook::KprobeMulti),
    def("kprobe.session+", P::KPROBE, of(A::TRACE_KPROBE_SESSION), Hook::KprobeMulti),
    def("uprobe.multi+", P::KPROBE, of(A::TRACE_UPROBE_MULTI), Hook::UprobeMulti),
    def("uretprobe.multi+", P::KPROBE, of(A::TRACE_UPROBE_MULTI), Hook::UprobeMulti),
    def("uprobe.session+", P::KPROBE, of(A::TRACE_UPROBE_SESSION), Hook::UprobeMulti),
    def("uprobe.multi.s+", P::KPROBE, of(A::TRACE_UPROBE_MULTI), Hook::UprobeMulti).sleepable(),
    def("uretprobe.multi.s+", P::KPROBE, of(A::TRACE_UPROBE_MULTI), Hook::UprobeMulti).sleepable(),
    def("uprobe.session.s+", P::KPROBE, of(A::TRACE_UPROBE_SESSION), Hook::UprobeMulti).sleepable(),
    def("ksyscall+", P::KPROBE, NO_TYPE, Hook::Ksyscall),
    def("kretsyscall+", P::KPROBE, NO_TYPE, Hook::Ksyscall),
    def("usdt+", P::KPROBE, NO_TYPE, Hook::Usdt),
    def("usdt.s+", P::KPROBE, NO_TYPE, Hook::Usdt).sleepable(),
    def("tc/ingress", P::SCHED_CLS, of(A::TCX_INGRESS), Hook::Target),
    def("tc/egress", P::SCHED_CLS, of(A::TCX_EGRESS), Hook::Target),
    def("tcx/ingress", P::SCHED_CLS, of(A::TCX_INGRESS), Hook::Target),
    def("tcx/egress", P::SCHED_CLS, of(A::TCX_EGRESS), Hook::Target),
    def("tc", P::SCHED_CLS, NO_TYPE, Hook::None),
    def("classifier", P::SCHED_CLS, NO_TYPE, Hook::None),
    def("action", P::SCHED_ACT, NO_TYPE, Hook::None),
    def("netkit/primary", P::SCHED_CLS, of(A::NETKIT_PRIMARY), Hook::Target),
    def("netkit/peer", P::SCHED_CLS, of(A::NETKIT_PEER), Hook::Target),
    def("tracepoint+", P::TRACEPOINT, NO_TYPE, Hook::Tracepoint),
    def("tp+", P::TRACEPOINT, NO_TYPE, Hook::Tracepoint),
    def("tracepoint.s+", P::TRACEPOINT, NO_TYPE, Hook::Tracepoint).sleepable(),
    def("tp.s+", P::TRACEPOINT, NO_TYPE, Hook::Tracepoint).sleepable(),
    def("raw_tracepoint+", P::RAW_TRACEPOINT, NO_TYPE, Hook::RawTracepoint),
    def("raw_tp+", P::RAW_TRACEPOINT, NO_TYPE, Hook::RawTracepoint),
    def("raw_tracepoint.s+", P::RAW_TRACEPOINT, NO_TYPE, Hook::RawTracepoint).sleepable(),
    def("raw_tp.s+", P::RAW_TRACEPOINT, NO_TYPE, Hook::RawTracepoint).sleepable(),
    def("raw_tracepoint.w+", P::RAW_TRACEPOINT_WRITABLE, NO_TYPE, Hook::RawTracepoint),
    def("raw_tp.w+", P::RAW_TRACEPOINT_WRITABLE, NO_TYPE, Hook::RawTracepoint),
    def("tp_btf+", P::TRACING, of(A::TRACE_RAW_TP), Hook::BtfTracepoint),
    def("tp_btf.s+", P::TRACING, of(A::TRACE_RAW_TP), Hook::BtfTracepoint).sleepable(),
    def("fentry+", P::TRACING, of(A::TRACE_FENTRY), Hook::Btf),
    def("fmod_ret+", P::TRACING, of(A::MODIFY_RETURN), Hook::Btf),
    def("fexit+", P::TRACING, of(A::TRACE_FEXIT), Hook::Btf),
    def("fentry.s+", P::TRACING, of(A::TRACE_FENTRY), Hook::Btf).sleepable(),
    def("fmod_ret.s+", P::TRACING, of(A::MODIFY_RETURN), Hook::Btf).sleepable(),
    def("fexit.s+", P::TRACING, of(A::TRACE_FEXIT), Hook::Btf).sleepable(),
    def("fsession+", P::TRACING, of(TRACE_FSESSION), Hook::Btf),
    def("fsession.s+", P::TRACING, of(TRACE_FSESSION), Hook::Btf).sleepable(),
    def("fsession.multi+", P::TRACING, of(TRACE_FSESSION_MULTI), Hook::Btf),
    def("fsession.multi.s+", P::TRACING, of(TRACE_FSESSION_MULTI), Hook::Btf).sleepable(),
    def("fentry.multi+", P::TRACING, of(TRACE_FENTRY_MULTI), Hook::Btf),
    def("fexit.multi+", P::TRACING, of(TRACE_FEXIT_MULTI), Hook::Btf),
    def("fentry.multi.s+", P::TRACING, of(TRACE_FENTRY_MULTI), Hook::Btf).sleepable(),
    def("fexit.multi.s+", P::TRACING, of(TRACE_FEXIT_MULTI), Hook::Btf).sleepable(),
    def("freplace+", P::EXT, NO_TYPE, Hook::Btf),
    def("lsm+", P::LSM, of(A::LSM_MAC), Hook::Btf),
    def("lsm.s+", P::LSM, of(A::LSM_MAC), Hook::Btf).sleepable(),
    def("lsm_cgroup+", P::LSM, of(A::LSM_CGROUP), Hook::Btf),
    def("iter+", P::TRACING, of(A::TRACE_ITER), Hook::Btf),
    def("iter.s+", P::TRACING, of(A::TRACE_ITER), Hook::Btf).sleepable(),
    def("syscall", P::SYSCALL, NO_TYPE, Hook::None).sleepable(),
    def("xdp.frags/devmap", P::XDP, of(A::XDP_DEVMAP), Hook::Target).frags(),
    def("xdp/devmap", P::XDP, of(A::XDP_DEVMAP), Hook::Target),
    def("xdp.frags/cpumap", P::XDP, of(A::XDP_CPUMAP), Hook::Target).frags(),
    def("xdp/cpumap", P::XDP, of(A::XDP_CPUMAP), Hook::Target),
    def("xdp.frags", P::XDP, of(A::XDP), Hook::Target).frags(),
    def("xdp", P::XDP, of(A::XDP), Hook::Target),
    def("perf_event+", P::PERF_EVENT, NO_TYPE, Hook::PerfEvent),
    def("lwt_in", P::LWT_IN, NO_TYPE, Hook::None),
    def("lwt_out", P::LWT_OUT, NO_TYPE, Hook::None),
    def("lwt_xmit", P::LWT_XMIT, NO_TYPE, Hook::None),
    def("lwt_seg6local", P::LWT_SEG6LOCAL, NO_TYPE, Hook::None),
    def("sockops", P::SOCK_OPS, of(A::CGROUP_SOCK_OPS), Hook::Target),
    def("sk_skb/stream_parser", P::SK_SKB, of(A::SK_SKB_STREAM_PARSER), Hook::Target),
    def("sk_skb/stream_verdict", P::SK_SKB, of(A::SK_SKB_STREAM_VERDICT), Hook::Target),
    def("sk_skb/verdict", P::SK_SKB, of(A::SK_SKB_VERDICT), Hook::Target),
    def("sk_skb", P::SK_SKB, NO_TYPE, Hook::None),
    def("sk_msg", P::SK_MSG, of(A::SK_MSG_VERDICT), Hook::Target),
    def("lirc_mode2", P::LIRC_MODE2, of(A::LIRC_MODE2), Hook::Target),
    def("flow_dissector", P::FLOW_DISSECTOR, of(A::FLOW_DISSECTOR), Hook::Target),
    def("cgroup_skb/ingress", P::CGROUP_SKB, of(A::CGROUP_INET_INGRESS), Hook::Target),
    def("cgroup_skb/egress", P::CGROUP_SKB, of(A::CGROUP_INET_EGRESS), Hook::Target),
    def("cgroup/skb", P::CGROUP_SKB, NO_TYPE, Hook::None),
    def("cgroup/sock_create", P::CGROUP_SOCK, of(A::CGROUP_INET_SOCK_CREATE), Hook::Target),
    def("cgroup/sock_release", P::CGROUP_SOCK, of(A::CGROUP_INET_SOCK_RELEASE), Hook::Target),
    def("cgroup/sock", P::CGROUP_SOCK, of(A::CGROUP_INET_SOCK_CREATE), Hook::Target),
    def("cgroup/post_bind4", P::CGROUP_SOCK, of(A::CGROUP_INET4_POST_BIND), Hook::Target),
    def("cgroup/post_bind6", P::CGROUP_SOCK, of(A::CGROUP_INET6_POST_BIND), Hook::Target),
    def("cgroup/bind4", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET4_BIND), Hook::Target),
    def("cgroup/bind6", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET6_BIND), Hook::Target),
    def("cgroup/connect4", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET4_CONNECT), Hook::Target),
    def("cgroup/connect6", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET6_CONNECT), Hook::Target),
    def("cgroup/connect_unix", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UNIX_CONNECT), Hook::Target),
    def("cgroup/sendmsg4", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UDP4_SENDMSG), Hook::Target),
    def("cgroup/sendmsg6", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UDP6_SENDMSG), Hook::Target),
    def("cgroup/sendmsg_unix", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UNIX_SENDMSG), Hook::Target),
    def("cgroup/recvmsg4", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UDP4_RECVMSG), Hook::Target),
    def("cgroup/recvmsg6", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UDP6_RECVMSG), Hook::Target),
    def("cgroup/recvmsg_unix", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UNIX_RECVMSG), Hook::Target),
    def("cgroup/getpeername4", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET4_GETPEERNAME), Hook::Target),
    def("cgroup/getpeername6", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET6_GETPEERNAME), Hook::Target),
    def("cgroup/getpeername_unix", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UNIX_GETPEERNAME), Hook::Target),
    def("cgroup/getsockname4", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET4_GETSOCKNAME), Hook::Target),
    def("cgroup/getsockname6", P::CGROUP_SOCK_ADDR, of(A::CGROUP_INET6_GETSOCKNAME), Hook::Target),
    def("cgroup/getsockname_unix", P::CGROUP_SOCK_ADDR, of(A::CGROUP_UNIX_GETSOCKNAME), Hook::Target),
    def("cgroup/sysctl", P::CGROUP_SYSCTL, of(A::CGROUP_SYSCTL), Hook::Target),
    def("cgroup/getsockopt", P::CGROUP_SOCKOPT, of(A::CGROUP_GETSOCKOPT), Hook::Target),
    def("cgroup/setsockopt", P::CGROUP_SOCKOPT, of(A::CGROUP_SETSOCKOPT), Hook::Target),
    def("cgroup/dev", P::CGROUP_DEVICE, of(A::CGROUP_DEVICE), Hook::Target),
    def("struct_ops+", P::STRUCT_OPS, NO_TYPE, Hook::StructOps),
    def("struct_ops.s+", P::STRUCT_OPS, NO_TYPE, Hook::StructOps).sleepable(),
    def("sk_lookup", P::SK_LOOKUP, of(A::SK_LOOKUP), Hook::Target),
    def("netfilter", P::NETFILTER, of(A::NETFILTER), Hook::Target),
];

impl SectionDef {
    const fn sleepable(self) -> Self {
        Self { sleepable: true, ..self }
    }

    const fn frags(self) -> Self {
        Self { frags: true, ..self }
    }

    /// The name without the mark that more may follow.
    pub fn prefix(&self) -> &'static str {
        self.pattern.trim_end_matches('+')
    }

    /// Finds the row for a section's name (without a leading `?`).
    pub fn find(section: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|def| def.matches(section))
    }

    fn matches(&self, section: &str) -> bool {
        match self.pattern.strip_suffix('+') {
            None => section == self.pattern,
            Some(prefix) => {
                section.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// Reads where to attach from the name of a section that this row fits.
    ///
    /// A name that leaves the place open (`SEC("kprobe")`) gives an attach point with `None` in it; a
    /// malformed rest is an error that says the expected form.
    pub fn attach_point(&self, section: &str) -> Result<AttachPoint> {
        let rest = section.get(self.prefix().len() + 1..).filter(|rest| !rest.is_empty());
        attach::parse(self, rest).map_err(|message| Error::invalid(message).section(section))
    }
}

/// Says that no row fits, and which name was probably meant.
pub(crate) fn unknown(section: &str) -> Error {
    let error =
        Error::unsupported(format!("unknown section `{section}`, so the program's type is not known"));
    let otherwise = "set the program's type before linking (`skep verify --type`)";
    match nearest(section) {
        Some(name) => error.hint(format!("did you mean `SEC(\"{name}\")`? or {otherwise}")),
        None => error.hint(format!("use one of libbpf's section names, or {otherwise}")),
    }
}

/// The known name that a mistyped one resembles most, with what followed the mistyped one.
fn nearest(section: &str) -> Option<String> {
    let (word, rest) = section.split_once('/').map_or((section, None), |(word, rest)| (word, Some(rest)));
    let score = |def: &&SectionDef| {
        let (subject, whole) = (def.prefix(), def.prefix().contains('/') || rest.is_none());
        edit_distance(subject, if whole { section } else { word })
    };
    let best = SECTIONS.iter().min_by_key(score).filter(|def| score(def) <= 1 + word.len() / 4);
    // Names such as `xdp_prog1`, which libbpf took before 1.0.
    let by_prefix =
        || SECTIONS.iter().filter(|d| section.starts_with(d.prefix())).max_by_key(|d| d.prefix().len());
    let def = best.or_else(by_prefix)?;
    Some(match rest {
        Some(rest) if def.pattern.ends_with('+') => format!("{}/{rest}", def.prefix()),
        _ => def.prefix().to_owned(),
    })
}

/// Insertions, deletions and replacements that make one word out of the other (Levenshtein's distance).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
