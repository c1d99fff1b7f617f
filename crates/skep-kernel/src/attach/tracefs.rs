//! What tracefs says about tracepoints.

use std::fs;
use std::io;

use skep_runtime::{Error, Result};

use crate::explain::describe;
use crate::sys::errno;

/// Where tracefs is looked for.
pub(crate) const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The number that perf_event_open(2) knows a tracepoint by.
pub(super) fn id(category: &str, name: &str) -> Result<u64> {
    let text = read(category, name, "id")?;
    text.trim()
        .parse()
        .map_err(|_| Error::os(libc::EINVAL, format!("tracepoint `{category}/{name}` has no number")))
}

/// The offset of a field in a tracepoint's record, which differs between kernels.
pub(crate) fn field(category: &str, name: &str, field: &str) -> Result<i16> {
    let format = read(category, name, "format")?;
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

fn read(category: &str, name: &str, file: &str) -> Result<String> {
    read_file(&format!("events/{category}/{name}/{file}")).map_err(|e| {
        let error = Error::os(errno(&e), format!("no tracepoint `{category}/{name}`: {}", describe(&e)));
        let mounted = ROOTS.iter().any(|root| fs::metadata(format!("{root}/events")).is_ok());
        match errno(&e) {
            libc::EACCES | libc::EPERM => error.hint("tracefs is for root; `--runtime user` does without it"),
            _ if mounted => error.hint(format!("`ls {}/events/{category}` lists those there are", ROOTS[0])),
            _ => error.hint("tracefs is not mounted: `mount -t tracefs nodev /sys/kernel/tracing`"),
        }
    })
}

/// A file of tracefs, wherever that is mounted; a refusal counts more than an absence.
pub(super) fn read_file(path: &str) -> io::Result<String> {
    let read = |root: &str| fs::read_to_string(format!("{root}/{path}"));
    match read(ROOTS[0]) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => read(ROOTS[1]),
        result => result,
    }
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
