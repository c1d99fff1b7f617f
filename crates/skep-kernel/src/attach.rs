//! Hooks: what Linux wants for each, beside or instead of `BPF_LINK_CREATE`.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, IntoRawFd as _, OwnedFd};

use skep_isa::uapi::AttachType;
use skep_obj::AttachPoint;
use skep_runtime::{AttachOptions, Command, Error, Fd, Reply, Result, Runtime as _};

use crate::explain::describe;
use crate::printk::TRACEFS;
use crate::runtime::KernelRuntime;
use crate::sys::{errno, perf};

/// Attaches a program; the descriptor answered holds the attachment.
pub(crate) fn attach(
    runtime: &KernelRuntime,
    prog: Fd,
    point: &AttachPoint,
    options: &AttachOptions,
) -> Result<Fd> {
    match point {
        AttachPoint::Tracepoint { category, name } => {
            let event = tracepoint(category, name)?;
            on_perf_event(runtime, prog, event, options)
        }
        AttachPoint::RawTracepoint { name, .. } => raw_tracepoint(runtime, prog, Some(name), options),
        AttachPoint::BtfTracepoint { .. } => raw_tracepoint(runtime, prog, None, options),
        AttachPoint::Btf { attach_type: Some(AttachType::TRACE_ITER), .. } => {
            link(runtime, prog, Fd(0), AttachType::TRACE_ITER, 0)
        }
        AttachPoint::Btf { .. } => raw_tracepoint(runtime, prog, None, options),
        AttachPoint::Kprobe { function: Some(function), offset, ret } => {
            let event = kprobe(function, *offset, *ret)?;
            on_perf_event(runtime, prog, event, options)
        }
        other => Err(Error::unsupported(format!("the kernel runtime does not attach to `{other:?}` yet"))),
    }
}

fn fd_of(reply: Reply) -> Result<Fd> {
    match reply {
        Reply::Fd(fd) => Ok(fd),
        other => Err(Error::os(libc::EINVAL, format!("expected a descriptor, got {other:?}"))),
    }
}

fn raw_tracepoint(
    runtime: &KernelRuntime,
    prog: Fd,
    name: Option<&str>,
    options: &AttachOptions,
) -> Result<Fd> {
    fd_of(runtime.bpf(Command::RawTracepointOpen { prog, name, cookie: options.cookie })?)
}

fn link(runtime: &KernelRuntime, prog: Fd, target: Fd, attach_type: AttachType, cookie: u64) -> Result<Fd> {
    fd_of(runtime.bpf(Command::LinkCreate { prog, target, attach_type, flags: 0, cookie })?)
}

/// Ties a program to a perf event by a link, or, before Linux 5.15, to the event's own life.
fn on_perf_event(runtime: &KernelRuntime, prog: Fd, event: OwnedFd, options: &AttachOptions) -> Result<Fd> {
    let failed =
        |e: std::io::Error| Error::os(errno(&e), format!("cannot enable the event: {}", describe(&e)));
    match link(runtime, prog, Fd(event.as_raw_fd()), AttachType::PERF_EVENT, options.cookie) {
        Ok(link) => {
            perf::enable(event.as_fd()).map_err(failed)?;
            Ok(link)
        }
        Err(e) if e.errno() == libc::EINVAL && options.cookie == 0 => {
            perf::set_program(event.as_fd(), prog.0).map_err(failed)?;
            perf::enable(event.as_fd()).map_err(failed)?;
            Ok(Fd(event.into_raw_fd()))
        }
        Err(e) => Err(e),
    }
}

/// Opens a tracepoint as a perf event; programs on it see all processors whichever it is opened on.
fn tracepoint(category: &str, name: &str) -> Result<OwnedFd> {
    let attr = perf::PerfAttr {
        kind: perf::TYPE_TRACEPOINT,
        config: tracepoint_id(category, name)?,
        ..perf::PerfAttr::default()
    };
    open_event(&attr, &format!("tracepoint `{category}/{name}`"))
}

fn tracepoint_id(category: &str, name: &str) -> Result<u64> {
    let read = |root: &str| fs::read_to_string(format!("{root}/events/{category}/{name}/id"));
    let text = read(TRACEFS[0]).or_else(|_| read(TRACEFS[1])).map_err(|e| {
        let error = Error::os(errno(&e), format!("no tracepoint `{category}/{name}`: {}", describe(&e)));
        let mounted = TRACEFS.iter().any(|root| fs::metadata(format!("{root}/events")).is_ok());
        if mounted {
            error.hint(format!("`ls {}/events/{category}` lists those there are", TRACEFS[0]))
        } else {
            error.hint("tracefs is not mounted: `mount -t tracefs nodev /sys/kernel/tracing`")
        }
    })?;
    text.trim()
        .parse()
        .map_err(|_| Error::os(libc::EINVAL, format!("tracepoint `{category}/{name}` has no number")))
}

fn kprobe(function: &str, offset: u64, ret: bool) -> Result<OwnedFd> {
    let name = CString::new(function)
        .map_err(|_| Error::os(libc::EINVAL, "a function's name contains a zero byte"))?;
    let attr = perf::PerfAttr {
        kind: pmu("kprobe")?,
        config: u64::from(ret), // bit 0 of `retprobe`, see the event source's `format`
        config1: name.as_ptr().addr() as u64,
        config2: offset,
        ..perf::PerfAttr::default()
    };
    open_event(&attr, &format!("kprobe `{function}`"))
}

/// The number of a dynamic event source.
fn pmu(name: &str) -> Result<u32> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let text = fs::read_to_string(&path).map_err(|_| {
        Error::unsupported(format!("this kernel has no {name} events (`{path}` is not there)"))
    })?;
    text.trim().parse().map_err(|_| Error::os(libc::EINVAL, format!("`{path}` holds no number")))
}

fn open_event(attr: &perf::PerfAttr, what: &str) -> Result<OwnedFd> {
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
