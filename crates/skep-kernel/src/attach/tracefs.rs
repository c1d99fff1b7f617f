//! tracefs: where it is, and what it says about tracepoints.
//!
//! Nothing needs to be mounted. Where tracefs is not, and the caller may, this opens one that hangs nowhere in the tree of
//! files and ends with the process.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use skep_runtime::{Error, Result};

use crate::explain::describe;
use crate::sys::errno;

/// Where tracefs is mounted, if it is.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Our own tracefs, once it has been wanted.
static DETACHED: OnceLock<OwnedFd> = OnceLock::new();

/// Opens a file of tracefs, by its path in there.
pub(crate) fn open(path: &str, flags: OFlags) -> Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    let opened = match mounted() {
        Some(root) => openat(CWD, Path::new(root).join(path), flags, Mode::empty()),
        None => openat(detached()?, path, flags, Mode::empty()),
    };
    opened.map(File::from).map_err(|e| {
        let error = Error::os(e.raw_os_error(), format!("`{path}` of tracefs: {}", describe(&e.into())));
        match e.raw_os_error() {
            libc::EACCES | libc::EPERM => error.hint("tracefs is for root; `--runtime user` does without it"),
            _ => error,
        }
    })
}

/// The first place where tracefs is mounted. A place that we may not look into is one: the refusal is what to report.
fn mounted() -> Option<&'static str> {
    let is_there = |root: &&str| match fs::metadata(format!("{root}/events")) {
        Ok(_) => true,
        Err(e) => e.kind() == io::ErrorKind::PermissionDenied && is_tracefs(root),
    };
    ROOTS.into_iter().find(is_there)
}

/// Is the directory itself one of tracefs, and not of what it would be mounted on?
fn is_tracefs(root: &str) -> bool {
    const TRACEFS_MAGIC: u64 = 0x7472_6163;
    rustix::fs::statfs(root).is_ok_and(|found| found.f_type.cast_unsigned() == TRACEFS_MAGIC)
}

/// A tracefs that is mounted nowhere (fsopen(2), Linux 5.2), the same for all of this process.
fn detached() -> Result<&'static OwnedFd> {
    if let Some(root) = DETACHED.get() {
        return Ok(root);
    }
    let root = open_detached().map_err(|e| not_available(e.into()))?;
    // Another thread may have been faster; its stays, and ours is closed.
    Ok(DETACHED.get_or_init(|| root))
}

fn open_detached() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn not_available(error: io::Error) -> Error {
    let said = format!("tracefs is not mounted, and cannot be opened without: {}", describe(&error));
    match errno(&error) {
        libc::ENODEV => Error::unsupported("this kernel has no tracefs").hint("it takes `CONFIG_FTRACE`"),
        libc::ENOSYS => Error::unsupported(said).hint("`mount -t tracefs nodev /sys/kernel/tracing`"),
        errno => Error::os(errno, said)
            .hint("have root `mount -t tracefs nodev /sys/kernel/tracing`; `--runtime user` does without it"),
    }
}

/// What a file of tracefs holds.
pub(super) fn read(path: &str) -> Result<String> {
    let mut text = String::new();
    open(path, OFlags::RDONLY)?
        .read_to_string(&mut text)
        .map_err(|e| Error::os(errno(&e), format!("`{path}` of tracefs: {}", describe(&e))))?;
    Ok(text)
}

/// The number that perf_event_open(2) knows a tracepoint by.
pub(super) fn id(category: &str, name: &str) -> Result<u64> {
    let text = of_event(category, name, "id")?;
    text.trim()
        .parse()
        .map_err(|_| Error::os(libc::EINVAL, format!("tracepoint `{category}/{name}` has no number")))
}

/// The offset of a field in a tracepoint's record, which differs between kernels.
pub(crate) fn field(category: &str, name: &str, field: &str) -> Result<i16> {
    let format = of_event(category, name, "format")?;
    offset_of(&format, field)
        .ok_or_else(|| Error::unsupported(format!("tracepoint `{category}/{name}` has no field `{field}`")))
}

/// Finds a line such as `field:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;`.
fn offset_of(format: &str, field: &str) -> Option<i16> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
        let is_it = parts.next()?.rsplit(' ').next() == Some(field);
        let offset = parts.next()?.strip_prefix("offset:")?;
        is_it.then(|| offset.parse().ok())?
    })
}

fn of_event(category: &str, name: &str, file: &str) -> Result<String> {
    read(&format!("events/{category}/{name}/{file}")).map_err(|e| match e.errno() {
        libc::ENOENT => Error::os(libc::ENOENT, format!("no tracepoint `{category}/{name}`")).hint(format!(
            "those there are have directories below `events/{category}` of tracefs, in `/sys/kernel/tracing` where it \
             is mounted"
        )),
        _ => e.context(format_args!("tracepoint `{category}/{name}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let format = "name: sched_process_fork\nformat:\n\
            \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
            \tfield:__data_loc char[] comm;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;\n";
        assert_eq!(offset_of(format, "pid"), Some(12));
        assert_eq!(offset_of(format, "comm"), Some(8));
        assert_eq!(offset_of(format, "tid"), None);
    }
}
