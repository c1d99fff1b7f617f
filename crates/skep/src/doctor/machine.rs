//! Privileges, mounts, kernel types and other programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use skep_btf::{Btf, Kind};

use super::{Area, Finding, State};
use crate::features::{Prober, Support};
use crate::host;

/// Capabilities by their bits, and what they allow.
const CAPABILITIES: [(u32, &str, &str); 4] = [
    (21, "CAP_SYS_ADMIN", "everything, also ids of objects and filters of traffic control"),
    (39, "CAP_BPF", "loading programs, and creating maps"),
    (38, "CAP_PERFMON", "tracing, and reading kernel memory"),
    (12, "CAP_NET_ADMIN", "programs that handle packets"),
];

/// What the caller may do.
pub(super) fn privileges(prober: &Prober) -> Vec<Finding> {
    let status = read("/proc/self/status");
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let mut findings: Vec<Finding> = CAPABILITIES
        .iter()
        .map(|(bit, name, purpose)| {
            let has = set >> bit & 1 != 0;
            Finding::new(Area::Privileges, *name, State::when(has), *purpose)
                .hint("run as root, or `setcap` it for the program; the user runtime needs none")
        })
        .collect();
    findings.push(Finding::of_support(Area::Privileges, "bpf(2)", prober.bpf(), "the system call answers"));
    let (state, detail) = match read("/proc/sys/kernel/unprivileged_bpf_disabled").trim() {
        "0" => (State::Good, "socket filters and programs of control groups without privileges"),
        "" => (State::Unknown, "the setting cannot be read"),
        _ => (State::Missing, "`kernel.unprivileged_bpf_disabled` is set"),
    };
    findings.push(Finding::new(Area::Privileges, "unprivileged bpf(2)", state, detail));
    let lockdown = read("/sys/kernel/security/lockdown");
    let is_locked = !lockdown.is_empty() && !lockdown.contains("[none]");
    let detail = if is_locked { "kernel memory is not read" } else { "it is off" };
    findings.push(Finding::new(Area::Privileges, "no lockdown", State::when(!is_locked), detail));
    findings
}

/// The file systems that the kernel runtime uses.
pub(super) fn mounts() -> Vec<Finding> {
    let mounts = read("/proc/self/mounts");
    let find = |kind: &str| {
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines
            .find(|fields| fields.get(2) == Some(&kind))
            .and_then(|fields| fields.get(1).map(|at| (*at).to_owned()))
    };
    [
        ("bpf", "pins", "`mount -t bpf bpf /sys/fs/bpf`; `skep` does it when something is pinned"),
        ("cgroup2", "programs of control groups", "`mount -t cgroup2 none /sys/fs/cgroup/unified`"),
    ]
    .into_iter()
    .map(|(kind, purpose, hint)| match find(kind) {
        Some(at) => Finding::new(Area::Mounts, kind, State::Good, format!("{at}: {purpose}")),
        None => Finding::new(Area::Mounts, kind, State::Missing, purpose).hint(hint),
    })
    .chain([Finding::new(
        Area::Mounts,
        "tracefs",
        State::Good,
        match find("tracefs") {
            Some(at) => format!("{at}: tracepoints and printk"),
            None => "not mounted; it is opened all the same".to_owned(),
        },
    )])
    .collect()
}

/// The types that the kernel shows.
pub(super) fn types() -> Vec<Finding> {
    let Some(btf) = host::kernel_btf() else {
        let missing = Finding::new(Area::Types, "kernel", State::Missing, "no /sys/kernel/btf/vmlinux");
        return vec![missing.hint("`skep gen min_core_btf` makes types for such kernels, from another file")];
    };
    let names = fs::read_dir("/sys/kernel/btf").map_or(0, |entries| entries.count().saturating_sub(1));
    vec![
        Finding::new(Area::Types, "kernel", State::Good, format!("{} types", btf.len().saturating_sub(1))),
        Finding::new(Area::Types, "modules", State::Good, format!("types of {names} modules")),
    ]
}

/// What is called.
pub(super) fn tools() -> Vec<Finding> {
    let clang = ["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
    let found = clang.into_iter().find(|name| {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    });
    let detail = found.map_or("compiling `.bpf.c` sources".to_owned(), |name| {
        format!("`{name}`: compiling `.bpf.c` sources")
    });
    vec![
        Finding::new(Area::Tools, "clang", State::when(found.is_some()), detail)
            .hint("install the package `clang`; objects that are compiled need none"),
    ]
}

/// A file's text; nothing where it cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Does the kernel have a function? It is there only if what it belongs to was built.
pub(super) fn function(btf: Option<&Btf>, name: &str) -> Support {
    match btf {
        None => Support::Unknown("the kernel does not show its types".to_owned()),
        Some(btf) if btf.find(name, Kind::Func).is_some() => Support::Yes,
        Some(_) => Support::No("the kernel was built without it".to_owned()),
    }
}

/// Does a file exist? Then what it stands for is supported.
pub(super) fn exists(path: &str, otherwise: &str) -> Support {
    if Path::new(path).exists() { Support::Yes } else { Support::No(otherwise.to_owned()) }
}
