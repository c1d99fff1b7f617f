//! What the kernel's errno means for a command, in words, with what to do.

use std::fs;
use std::io;
use std::path::Path;

use skep_isa::uapi::Cmd;
use skep_runtime::Error;

use crate::sys::errno;

/// The error of a command that the kernel refused.
pub(crate) fn command(cmd: Cmd, error: &io::Error) -> Error {
    let errno = errno(error);
    let name = cmd.c_name().unwrap_or("bpf(2)");
    let failed = Error::os(errno, format!("`{name}`: {}", describe(error)));
    match (cmd, errno) {
        (_, libc::EPERM) => failed.hint(privileges()),
        (_, libc::ENOSYS) if is_confined() => failed.hint(CONFINED),
        (_, libc::ENOSYS) => failed.hint("this kernel is built without `CONFIG_BPF_SYSCALL`"),
        (Cmd::MAP_UPDATE_ELEM | Cmd::MAP_UPDATE_BATCH, libc::E2BIG) => {
            Error::os(errno, "the map is full, or the key is beyond its end")
                .hint("`max_entries` says how many elements it has room for")
        }
        _ => failed,
    }
}

/// `BPF_FS_MAGIC`.
const BPF_FS: i64 = 0xcafe_4a11;

/// The error of a command on a path of a BPF file system.
pub(crate) fn pin(cmd: Cmd, path: &Path, error: &io::Error) -> Error {
    let failed = command(cmd, error).context(format_args!("`{}`", path.display()));
    let directory = path.parent().unwrap_or(path);
    match rustix::fs::statfs(directory) {
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

const CONFINED: &str = "a seccomp filter confines this process, and bpf(2) is not among the calls that it lets through: \
    containers allow it by their profile";

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

/// What a caller lacks who may not use bpf(2).
fn privileges() -> String {
    if rustix::process::geteuid().is_root() {
        if is_confined() {
            return CONFINED.to_owned();
        }
        return "root may not either: a container, lockdown or an LSM forbids it; see `CapEff` in \
                `/proc/self/status` and `/sys/kernel/security/lockdown`"
            .to_owned();
    }
    let unprivileged = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap_or_default();
    let disabled = if unprivileged.trim() == "0" { "" } else { " (`unprivileged_bpf_disabled` is set)" };
    format!(
        "bpf(2) needs CAP_BPF, tracing CAP_PERFMON, and packets CAP_NET_ADMIN{disabled}; `--runtime user` needs none"
    )
}
