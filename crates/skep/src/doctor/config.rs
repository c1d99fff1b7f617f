//! The kernel's version and the options it was built with.

use std::collections::HashMap;

use super::{Area, Finding, State};

/// Options, and what does not work without them.
const OPTIONS: &[(&str, &str)] = &[
    ("CONFIG_BPF_SYSCALL", "the kernel runtime"),
    ("CONFIG_BPF_JIT", "programs as machine code"),
    ("CONFIG_DEBUG_INFO_BTF", "kernel types: CO-RE, `fentry`, `tp_btf`, LSM, `struct_ops`"),
    ("CONFIG_DEBUG_INFO_BTF_MODULES", "types of kernel modules"),
    ("CONFIG_PERF_EVENTS", "perf events, and perf buffers"),
    ("CONFIG_BPF_EVENTS", "programs at probes and tracepoints"),
    ("CONFIG_KPROBES", "`kprobe`, `kretprobe`"),
    ("CONFIG_KPROBE_EVENTS", "`kprobe` where there is no perf PMU for it"),
    ("CONFIG_FPROBE", "`kprobe.multi`"),
    ("CONFIG_UPROBE_EVENTS", "`uprobe`, `usdt`"),
    ("CONFIG_FTRACE_SYSCALLS", "tracepoints of system calls"),
    ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "`fentry`, `fexit`"),
    ("CONFIG_BPF_LSM", "`lsm`"),
    ("CONFIG_CGROUP_BPF", "programs of control groups"),
    ("CONFIG_NET_CLS_BPF", "filters of traffic control"),
    ("CONFIG_NET_SCH_INGRESS", "`clsact`"),
    ("CONFIG_XDP_SOCKETS", "`xskmap`"),
    ("CONFIG_LWTUNNEL_BPF", "programs of routes"),
    ("CONFIG_NETFILTER_BPF_LINK", "`netfilter`"),
    ("CONFIG_BPF_STREAM_PARSER", "`sk_skb`, `sk_msg`"),
];

/// One finding for the kernel, and one for each option.
pub(super) fn findings(config: Option<&HashMap<String, String>>) -> Vec<Finding> {
    let uname = rustix::system::uname();
    let release = format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
    let machine = uname.machine().to_string_lossy().into_owned();
    let mut findings = vec![Finding::new(Area::Kernel, release, State::Good, machine)];
    let Some(config) = config else {
        let missing = Finding::new(
            Area::Kernel,
            "configuration",
            State::Unknown,
            "neither in /boot nor in /proc/config.gz",
        );
        findings.push(missing.hint("what follows was tried instead"));
        return findings;
    };
    findings.extend(OPTIONS.iter().map(|(option, purpose)| {
        let is_set = config.get(*option).is_some_and(|value| value == "y" || value == "m");
        Finding::new(Area::Kernel, *option, State::when(is_set), *purpose)
    }));
    findings
}
