//! Programs on perf events: tracepoints and probes.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use skep_isa::uapi::AttachType;
use skep_runtime::{Error, Fd, Result};

use super::{link, tracefs};
use crate::explain::describe;
use crate::sys::{errno, perf};

/// Ties a program to an event by a link, or, before Linux 5.15, to the event's own life.
pub(super) fn attach(prog: Fd, event: OwnedFd, cookie: u64) -> Result<OwnedFd> {
    let failed =
        |e: std::io::Error| Error::os(errno(&e), format!("cannot enable the event: {}", describe(&e)));
    match link(prog, Fd(event.as_raw_fd()), AttachType::PERF_EVENT, cookie) {
        Ok(link) => {
            perf::enable(event.as_fd()).map_err(failed)?;
            Ok(link)
        }
        Err(e) if e.errno() == libc::EINVAL && cookie == 0 => {
            perf::set_program(event.as_fd(), prog.0).map_err(failed)?;
            perf::enable(event.as_fd()).map_err(failed)?;
            Ok(event)
        }
        Err(e) => Err(e),
    }
}

/// Opens a tracepoint; programs on it see all processors, whichever it is opened on.
pub(super) fn tracepoint(category: &str, name: &str) -> Result<OwnedFd> {
    let attr = perf::PerfAttr {
        kind: perf::TYPE_TRACEPOINT,
        config: tracefs::id(category, name)?,
        ..perf::PerfAttr::default()
    };
    open(&attr, &format!("tracepoint `{category}/{name}`"))
}

/// Opens a probe at a kernel function.
pub(super) fn kprobe(function: &str, offset: u64, ret: bool) -> Result<OwnedFd> {
    let name = CString::new(function)
        .map_err(|_| Error::os(libc::EINVAL, "a function's name contains a zero byte"))?;
    let attr = perf::PerfAttr {
        kind: pmu("kprobe")?,
        config: u64::from(ret), // bit 0 of `retprobe`, see the event source's `format`
        config1: name.as_ptr().addr() as u64,
        config2: offset,
        ..perf::PerfAttr::default()
    };
    open(&attr, &format!("kprobe `{function}`"))
}

/// The number of a dynamic event source.
fn pmu(name: &str) -> Result<u32> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let text = fs::read_to_string(&path).map_err(|_| {
        Error::unsupported(format!("this kernel has no {name} events (`{path}` is not there)"))
    })?;
    text.trim().parse().map_err(|_| Error::os(libc::EINVAL, format!("`{path}` holds no number")))
}

fn open(attr: &perf::PerfAttr, what: &str) -> Result<OwnedFd> {
    perf::open(attr, -1, 0).map_err(|e| {
        let error = Error::os(errno(&e), format!("{what}: {}", describe(&e)));
        match errno(&e) {
            libc::EPERM | libc::EACCES => error.hint(
                "tracing needs CAP_PERFMON, or root; `perf_event_paranoid` and lockdown may forbid it too",
            ),
            libc::ENOENT => error.hint("the kernel has no such function, or does not let it be probed"),
            _ => error,
        }
    })
}
