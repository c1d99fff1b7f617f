//! What the kernel's errno means for a command, in words, with what to do.

mod map;

use std::fs;
use std::io;
use std::path::Path;

use skep_isa::uapi::{Cmd, ProgType};
use skep_runtime::Error;

pub(crate) use self::map::map;
use crate::sys::errno;

/// The error of a command that the kernel refused.
pub(crate) fn command(cmd: Cmd, error: &io::Error) -> Error {
    let errno = errno(error);
    let name = cmd.c_name().unwrap_or("bpf(2)");
    let failed = Error::os(errno, format!("`{name}`: {}", describe(error)));
    match (cmd, errno) {
        (_, libc::EPERM) => failed.hint(privileges(cmd)),
        (Cmd::PROG_TEST_RUN, ENOTSUPP) => {
            Error::os(errno, format!("`{name}`: Linux has no test runs of programs of this type"))
        }
        (_, libc::ENOSYS) => failed.hint(
            confined("bpf(2)")
                .unwrap_or_else(|| "this kernel is built without `CONFIG_BPF_SYSCALL`".to_owned()),
        ),
        (Cmd::MAP_DELETE_ELEM | Cmd::MAP_DELETE_BATCH, libc::EINVAL) => {
            failed.hint("elements of arrays are always there, and cannot be deleted")
        }
        (Cmd::PROG_ATTACH, libc::EINVAL) => {
            failed.hint("the program is attached there already, was loaded for another hook, or the flags are not the hook's")
        }
        (Cmd::MAP_GET_NEXT_KEY, libc::EINVAL) => failed.hint("maps of this type have no keys to go through"),
        (Cmd::MAP_UPDATE_ELEM | Cmd::MAP_UPDATE_BATCH, libc::E2BIG) => {
            Error::os(errno, "the map is full, or the key is beyond its end")
                .hint("`max_entries` says how many elements it has room for")
        }
        _ => failed,
    }
}

/// Why a command is refused to a caller who has all privileges.
fn why_not(cmd: Cmd) -> Option<String> {
    let why = match cmd {
        Cmd::MAP_UPDATE_ELEM
        | Cmd::MAP_DELETE_ELEM
        | Cmd::MAP_LOOKUP_AND_DELETE_ELEM
        | Cmd::MAP_UPDATE_BATCH
        | Cmd::MAP_DELETE_BATCH
        | Cmd::MAP_LOOKUP_AND_DELETE_BATCH
        | Cmd::MAP_FREEZE => {
            "the map is frozen, or user space may not write to it (`BPF_F_RDONLY`, a descriptor for reading)"
        }
        Cmd::MAP_LOOKUP_ELEM | Cmd::MAP_LOOKUP_BATCH | Cmd::MAP_GET_NEXT_KEY => {
            "user space may not read this map (`BPF_F_WRONLY`, a descriptor for writing)"
        }
        Cmd::PROG_ATTACH => {
            "a program of this hook that is attached here, or to a group above, lets no other beside it: attach with \
             `multi` or `override` where that was said, too"
        }
        _ => return None,
    };
    Some(why.to_owned())
}

/// The kernel's own "operation is not supported" (`include/linux/errno.h`).
const ENOTSUPP: i32 = 524;

/// `BPF_FS_MAGIC`.
const BPF_FS: i64 = 0xcafe_4a11;

/// The error of a command on a path of a BPF file system.
pub(crate) fn pin(cmd: Cmd, path: &Path, error: &io::Error) -> Error {
    let failed = command(cmd, error).context(format_args!("`{}`", path.display()));
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    match rustix::fs::statfs(directory) {
        _ if cmd == Cmd::OBJ_GET && path.is_dir() => {
            failed.hint("it is a directory, and nothing that is pinned")
        }
        Err(_) => failed.hint(format!("there is no directory `{}`", directory.display())),
        Ok(stat) if stat.f_type != BPF_FS => failed.hint(format!(
            "`{}` is not on a BPF file system: `mount -t bpf bpf /sys/fs/bpf` makes one",
            directory.display()
        )),
        Ok(_) if errno(error) == libc::EEXIST => {
            failed.hint("something is pinned there; remove it, or choose another name")
        }
        Ok(_)
            if errno(error) == libc::EPERM
                && path.file_name().is_some_and(|name| name.to_string_lossy().contains('.')) =>
        {
            failed.hint("names of pinned objects have no `.`")
        }
        Ok(_) => failed,
    }
}

/// What keeps a system call from whom a seccomp filter confines; `None` for others.
pub(crate) fn confined(call: &str) -> Option<String> {
    is_confined().then(|| {
        format!(
            "a seccomp filter confines this process, and {call} is not among the calls that it lets through: containers \
             allow it by their profile"
        )
    })
}

/// What an event may need that the kernel refuses to open.
pub(crate) fn event_privileges() -> String {
    let filter = if is_confined() { ", and so may the seccomp filter of this process" } else { "" };
    format!(
        "tracing needs CAP_PERFMON, or root; `perf_event_paranoid` and lockdown may forbid it too{filter}"
    )
}

/// Does a seccomp filter decide which system calls this thread may make?
fn is_confined() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// An operating system error in lower case, without its number.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// What a caller lacks who may not use a command: capabilities, or what forbids it in spite of them.
fn privileges(cmd: Cmd) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        let unprivileged =
            fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap_or_default();
        let disabled =
            if unprivileged.trim() == "0" { "" } else { ", and `unprivileged_bpf_disabled` is set" };
        return format!(
            "bpf(2) needs CAP_BPF, tracing CAP_PERFMON, and packets CAP_NET_ADMIN; this process lacks {}{disabled}; \
             `--runtime user` needs none",
            missing.join(", ")
        );
    }
    if let Some(filter) = confined("bpf(2)") {
        return filter;
    }
    if let Some(why) = why_not(cmd) {
        return why;
    }
    if in_user_namespace() {
        return "capabilities of a user namespace do not count for bpf(2), unless a BPF file system delegates it (`skep token`); \
                `--runtime user` needs none"
            .to_owned();
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    match lockdown_level(&lockdown) {
        Some(level) => format!("kernel lockdown is on (`{level}`), which forbids programs to read the kernel's memory"),
        None => "the process has CAP_BPF and what else is needed: a container's device rules, an LSM, or the configuration \
                 of the kernel forbids this"
            .to_owned(),
    }
}

/// Does this process have its capabilities in another user namespace than the machine's first one, which has all users?
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let first: Vec<&str> = map.lines().next().unwrap_or_default().split_whitespace().collect();
    !first.is_empty() && first != ["0", "0", "4294967295"]
}

/// The capabilities for bpf(2) that are not in the effective set of `/proc/self/status`; CAP_SYS_ADMIN stands for all.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    const NEEDED: [(u32, &str); 3] = [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN")];
    const SYS_ADMIN: u32 = 21;
    let set =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let Some(set) = set.filter(|set| set >> SYS_ADMIN & 1 == 0) else { return Vec::new() };
    NEEDED.iter().filter(|(bit, _)| set >> bit & 1 == 0).map(|(_, name)| *name).collect()
}

/// The level that is chosen in `none [integrity] confidentiality`, unless it is none.
fn lockdown_level(text: &str) -> Option<&str> {
    let level = text.split_once('[')?.1.split_once(']')?.0;
    (level != "none").then_some(level)
}

/// The error of a program that the kernel refuses without a word: mostly it knows no such programs.
pub(crate) fn without_log(error: Error, prog_type: ProgType) -> Error {
    match error.errno() {
        libc::EINVAL => error.hint(format!(
            "the kernel gave no reason: it may be too old for programs of type `{prog_type}` at this hook, or built without"
        )),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status = |set: &str| format!("Name:\tx\nCapPrm:\t0\nCapEff:\t{set}\n");
        assert!(missing_capabilities(&status("000001ffffffffff")).is_empty());
        assert!(missing_capabilities(&status("0000000000200000")).is_empty(), "CAP_SYS_ADMIN stands for all");
        assert_eq!(missing_capabilities(&status("0000008000001000")), ["CAP_PERFMON"]);
        assert_eq!(missing_capabilities(&status("0")).len(), 3);
        assert!(missing_capabilities("").is_empty());
    }

    #[test]
    fn lockdown_is_on_unless_none_is_chosen() {
        assert_eq!(lockdown_level("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(lockdown_level("[none] integrity confidentiality\n"), None);
        assert_eq!(lockdown_level(""), None);
    }
}
