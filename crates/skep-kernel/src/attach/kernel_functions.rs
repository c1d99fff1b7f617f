//! Kernel functions by pattern, and the functions behind system calls.

use std::fs;

use skep_binary::glob;
use skep_isa::uapi::AttachType;
use skep_runtime::command::LinkData;
use skep_runtime::{Error, Fd, Result};

use super::{Attachment, event, link, tracefs};
use crate::explain::describe;
use crate::sys::errno;

/// `BPF_F_KPROBE_MULTI_RETURN`.
const F_RETURN: u32 = 1;
/// As many probes are made one by one; each takes milliseconds, and more when it is removed.
const PROBES: usize = 256;

/// Attaches a program to every function that matches: by one link, or, where the kernel has none for many (before Linux
/// 5.18, and without `CONFIG_FPROBE`), by a probe for each.
pub(super) fn attach(prog: Fd, pattern: &str, ret: bool, session: bool, cookie: u64) -> Result<Attachment> {
    let is_name = !pattern.contains(['*', '?']);
    let list = if is_name { pattern.to_owned() } else { traceable()? };
    let functions: Vec<&str> = matching(&list, pattern);
    let none = || Error::os(libc::ENOENT, format!("no function that can be probed matches `{pattern}`"));
    if functions.is_empty() {
        return Err(none());
    }
    let cookies = if cookie == 0 { Vec::new() } else { vec![cookie; functions.len()] };
    let attach_type = if session { AttachType::TRACE_KPROBE_SESSION } else { AttachType::TRACE_KPROBE_MULTI };
    let flags = if ret { F_RETURN } else { 0 };
    let data = LinkData::KprobeMulti { flags, symbols: &functions, cookies: &cookies };
    match link(prog, Fd(0), attach_type, 0, data) {
        Err(e) if e.errno() == libc::EOPNOTSUPP && !session && functions.len() <= PROBES => {
            let probe = |function: &&str| event::attach(prog, event::kprobe(function, 0, ret)?, cookie);
            Attachment::of(functions.iter().map(probe).collect::<Result<_>>()?, || e)
        }
        Err(e) if e.errno() == libc::EOPNOTSUPP => {
            Err(e.context(format_args!("{} functions match `{pattern}`", functions.len())).hint(format!(
                "it takes `CONFIG_FPROBE`; without, up to {PROBES} functions are probed one by one"
            )))
        }
        // The kernel looks the names up itself.
        Err(e) if is_name && matches!(e.errno(), libc::ESRCH | libc::ENOENT) => Err(none()),
        result => result.map(Attachment::from),
    }
}

/// The functions that ftrace can trace, one a line, with the module behind those of modules. A kernel that is locked down
/// does not list them, but may attach: then all its functions.
fn traceable() -> Result<String> {
    tracefs::read("available_filter_functions").or_else(|e| match e.errno() {
        libc::ENOENT => Err(Error::unsupported("the kernel has no list of functions that can be probed")
            .hint("it takes `CONFIG_DYNAMIC_FTRACE`")),
        libc::EPERM => Ok(functions_of(&symbols()?)),
        _ => Err(e.context("cannot list the kernel's functions")),
    })
}

/// The functions among the kernel's symbols (address, kind, name, module), as ftrace would list them.
fn functions_of(symbols: &str) -> String {
    let function = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, name) = (words.next()?, words.next()?);
        matches!(kind, "t" | "T" | "w" | "W").then(|| format!("{name}\n"))
    };
    symbols.lines().filter_map(function).collect()
}

fn symbols() -> Result<String> {
    fs::read_to_string("/proc/kallsyms")
        .map_err(|e| Error::os(errno(&e), format!("cannot read the kernel's symbols: {}", describe(&e))))
}

/// The names that match, each once: the kernel refuses names that stand for several functions when given twice.
fn matching<'a>(list: &'a str, pattern: &str) -> Vec<&'a str> {
    let names = list.lines().filter_map(|line| line.split_ascii_whitespace().next());
    // Placeholders of functions that were left out when the kernel was linked.
    let names = names.filter(|name| !name.starts_with("__ftrace_invalid_address__"));
    let mut names: Vec<&str> = names.filter(|name| glob(pattern.as_bytes(), name.as_bytes())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The function that serves a system call: with a prefix that says how it takes its arguments, or without on old kernels.
pub(super) fn of_system_call(name: &str) -> Result<String> {
    let symbols = symbols()?;
    let candidates =
        [format!("__{}_sys_{name}", prefix()), format!("__se_sys_{name}"), format!("sys_{name}")];
    let exists = |function: &String| {
        symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(function))
    };
    candidates
        .into_iter()
        .find(exists)
        .ok_or_else(|| Error::os(libc::ENOENT, format!("the kernel has no system call `{name}`")))
}

/// How Linux calls this architecture in names of system calls.
fn prefix() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "riscv64" => "riscv",
        "s390x" => "s390x",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_listed_once() {
        let list = "tcp_a [tcp]\nudp_b\ntcp_a\n__ftrace_invalid_address___1\ntcp_c\n";
        assert_eq!(matching(list, "tcp*"), ["tcp_a", "tcp_c"]);
    }

    #[test]
    fn symbols_of_data_are_no_functions() {
        let symbols = "0 T tcp_a\n0 d tcp_data\n0 t tcp_b\t[tcp]\n0 W weak\n";
        assert_eq!(functions_of(symbols), "tcp_a\ntcp_b\nweak\n");
    }
}
