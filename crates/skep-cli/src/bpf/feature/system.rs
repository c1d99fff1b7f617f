//! How the system is set up: what procfs says about bpf(2) and the JIT compiler, and the kernel's configuration.

use std::fs;

use skep::host;

use super::print::Printer;

/// A setting, and what its values mean.
struct Setting {
    name: &'static str,
    path: &'static str,
    /// By value from 0.
    meanings: &'static [&'static str],
    /// For values without a meaning, with `{}` in their place.
    other: &'static str,
    unreadable: &'static str,
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "unprivileged_bpf_disabled",
        path: "/proc/sys/kernel/unprivileged_bpf_disabled",
        meanings: &[
            "bpf() syscall for unprivileged users is enabled",
            "bpf() syscall restricted to privileged users (without recovery)",
            "bpf() syscall restricted to privileged users (admin can change)",
        ],
        other: "bpf() syscall restriction has unknown value {}",
        unreadable: "Unable to retrieve required privileges for bpf() syscall",
    },
    Setting {
        name: "bpf_jit_enable",
        path: "/proc/sys/net/core/bpf_jit_enable",
        meanings: &[
            "JIT compiler is disabled",
            "JIT compiler is enabled",
            "JIT compiler is enabled with debugging traces in kernel logs",
        ],
        other: "JIT-compiler status has unknown value {}",
        unreadable: "Unable to retrieve JIT-compiler status",
    },
    Setting {
        name: "bpf_jit_harden",
        path: "/proc/sys/net/core/bpf_jit_harden",
        meanings: &[
            "JIT compiler hardening is disabled",
            "JIT compiler hardening is enabled for unprivileged users",
            "JIT compiler hardening is enabled for all users",
        ],
        other: "JIT hardening status has unknown value {}",
        unreadable: "Unable to retrieve JIT hardening status",
    },
    Setting {
        name: "bpf_jit_kallsyms",
        path: "/proc/sys/net/core/bpf_jit_kallsyms",
        meanings: &[
            "JIT compiler kallsyms exports are disabled",
            "JIT compiler kallsyms exports are enabled for root",
        ],
        other: "JIT kallsyms exports status has unknown value {}",
        unreadable: "Unable to retrieve JIT kallsyms export status",
    },
    Setting {
        name: "bpf_jit_limit",
        path: "/proc/sys/net/core/bpf_jit_limit",
        meanings: &[],
        other: "Global memory limit for JIT compiler for unprivileged users is {} bytes",
        unreadable: "Unable to retrieve global memory limit for JIT compiler for unprivileged users",
    },
];

/// Options of the kernel that BPF depends on, in bpftool's order; the last is a number, which macros have, too.
const OPTIONS: &[&str] = &[
    "CONFIG_BPF",
    "CONFIG_BPF_SYSCALL",
    "CONFIG_HAVE_EBPF_JIT",
    "CONFIG_BPF_JIT",
    "CONFIG_BPF_JIT_ALWAYS_ON",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_DEBUG_INFO_BTF_MODULES",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_BPF",
    "CONFIG_CGROUP_NET_CLASSID",
    "CONFIG_SOCK_CGROUP_DATA",
    "CONFIG_BPF_EVENTS",
    "CONFIG_KPROBE_EVENTS",
    "CONFIG_UPROBE_EVENTS",
    "CONFIG_TRACING",
    "CONFIG_FTRACE_SYSCALLS",
    "CONFIG_FUNCTION_ERROR_INJECTION",
    "CONFIG_BPF_KPROBE_OVERRIDE",
    "CONFIG_NET",
    "CONFIG_XDP_SOCKETS",
    "CONFIG_LWTUNNEL_BPF",
    "CONFIG_NET_ACT_BPF",
    "CONFIG_NET_CLS_BPF",
    "CONFIG_NET_CLS_ACT",
    "CONFIG_NET_SCH_INGRESS",
    "CONFIG_XFRM",
    "CONFIG_IP_ROUTE_CLASSID",
    "CONFIG_IPV6_SEG6_BPF",
    "CONFIG_BPF_LIRC_MODE2",
    "CONFIG_BPF_STREAM_PARSER",
    "CONFIG_NETFILTER_XT_MATCH_BPF",
    "CONFIG_BPFILTER",
    "CONFIG_BPFILTER_UMH",
    "CONFIG_TEST_BPF",
    "CONFIG_HZ",
];
const IN_MACROS: &str = "CONFIG_HZ";

/// Prints the section.
pub(super) fn print(printer: &mut Printer<'_>) {
    printer.section("system_config", "Scanning system configuration...", "Misc kernel config items");
    if !printer.is_macros() {
        SETTINGS.iter().for_each(|setting| print_setting(printer, setting));
    }
    let config = host::kconfig().unwrap_or_default();
    for option in OPTIONS {
        let value = config.get(*option);
        match (printer.is_macros(), printer.is_json(), value) {
            (true, _, Some(value)) if *option == IN_MACROS => printer.define(option, value),
            (true, ..) => {}
            (_, true, Some(value)) => printer.json.string_field(option, value),
            (_, true, None) => {
                printer.json.name(option);
                printer.json.null();
            }
            (_, false, Some(value)) => printer.json.text(format_args!("{option} is set to {value}\n")),
            (_, false, None) => printer.json.text(format_args!("{option} is not set\n")),
        }
    }
    printer.end_section();
}

fn print_setting(printer: &mut Printer<'_>, setting: &Setting) {
    let text = fs::read_to_string(setting.path).unwrap_or_default();
    let value: i64 = text.trim().parse().unwrap_or(-1);
    if printer.is_json() {
        printer.json.name(setting.name);
        printer.json.signed(value);
        return;
    }
    let meaning = usize::try_from(value).ok().and_then(|value| setting.meanings.get(value));
    let line = match (meaning, value) {
        (Some(meaning), _) => (*meaning).to_owned(),
        (None, -1) => setting.unreadable.to_owned(),
        (None, value) => setting.other.replace("{}", &value.to_string()),
    };
    printer.json.text(format_args!("{line}\n"));
}
