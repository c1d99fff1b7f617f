//! Programs on perf events: tracepoints and probes.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};

use skep_isa::uapi::AttachType;
use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, Error, Fd, Result, Sampling, SamplingRate};

use super::{Attachment, fd, link, tracefs};
use crate::explain::{self, describe};
use crate::runtime::online_cpus;
use crate::sys::{errno, perf};

/// Ties a program to an event by a link, or, before Linux 5.15, to the event's own life.
pub(super) fn attach(prog: Fd, event: OwnedFd, cookie: u64) -> Result<OwnedFd> {
    let failed =
        |e: std::io::Error| Error::os(errno(&e), format!("cannot enable the event: {}", describe(&e)));
    match link(prog, fd(&event), AttachType::PERF_EVENT, 0, LinkData::PerfEvent { cookie }) {
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
    open(&attr, WHOLE_MACHINE, &format!("tracepoint `{category}/{name}`"))
}

/// Runs a program whenever an event overflows: on every processor, or in one process.
pub(super) fn sample(prog: Fd, said: Option<Sampling>, options: &AttachOptions) -> Result<Attachment> {
    let sampling = said.or(options.sampling).unwrap_or(Sampling::PROFILE);
    let process = options.process.map(|pid| i32::try_from(pid).unwrap_or(i32::MAX));
    let places: Vec<(i32, i32)> = match process {
        Some(pid) => vec![(pid, ANY)],
        None => online_cpus().into_iter().map(|cpu| (ANY, i32::try_from(cpu).unwrap_or(ANY))).collect(),
    };
    let attr = sampled(sampling);
    let links: Vec<OwnedFd> = places
        .into_iter()
        .map(|place| attach(prog, open(&attr, place, "sampled event")?, options.cookie))
        .collect::<Result<_>>()?;
    Attachment::of(links, || Error::os(libc::ENODEV, "no processor is online"))
}

fn sampled(sampling: Sampling) -> perf::PerfAttr {
    let (sample_period, flags) = match sampling.rate {
        SamplingRate::Period(events) => (events, 0),
        SamplingRate::FrequencyHz(hz) => (hz, perf::FLAG_FREQUENCY),
    };
    // Children and new threads of the process are counted with it.
    let flags = flags | perf::FLAG_INHERIT;
    perf::PerfAttr {
        kind: sampling.kind,
        config: sampling.config,
        sample_period,
        flags,
        ..perf::PerfAttr::default()
    }
}

/// All processes, or all processors.
const ANY: i32 = -1;
/// Process and processor of an event that is everywhere, whichever processor it is opened on.
pub(super) const WHOLE_MACHINE: (i32, i32) = (ANY, 0);

/// Opens a probe at a kernel function.
pub(super) fn kprobe(function: &str, offset: u64, ret: bool) -> Result<OwnedFd> {
    let name = CString::new(function)
        .map_err(|_| Error::os(libc::EINVAL, "a function's name contains a zero byte"))?;
    let attr = perf::PerfAttr {
        kind: pmu("kprobe")?,
        config: u64::from(ret), // bit 0 of `retprobe`, see the event source's `format`
        config1: name.as_ptr().expose_provenance() as u64,
        config2: offset,
        ..perf::PerfAttr::default()
    };
    open(&attr, WHOLE_MACHINE, &format!("kprobe `{function}`"))
}

/// The number of a dynamic event source.
pub(super) fn pmu(name: &str) -> Result<u32> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let text = fs::read_to_string(&path).map_err(|_| {
        Error::unsupported(format!("this kernel has no {name} events (`{path}` is not there)"))
    })?;
    text.trim().parse().map_err(|_| Error::os(libc::EINVAL, format!("`{path}` holds no number")))
}

pub(super) fn open(attr: &perf::PerfAttr, (pid, cpu): (i32, i32), what: &str) -> Result<OwnedFd> {
    perf::open(attr, pid, cpu).map_err(|e| {
        let error = Error::os(errno(&e), format!("{what}: {}", describe(&e)));
        match errno(&e) {
            libc::EPERM | libc::EACCES => error.hint(explain::event_privileges()),
            libc::ENOSYS => match explain::confined("perf_event_open(2)") {
                Some(filter) => error.hint(filter),
                None => error.hint("this kernel is built without `CONFIG_PERF_EVENTS`"),
            },
            libc::ENOENT | libc::EOPNOTSUPP if perf::COUNTED.contains(&attr.kind) => error
                .hint("this machine does not count that: virtual machines often have no hardware counters"),
            libc::ENOENT => error.hint("the kernel has no such function, or does not let it be probed"),
            _ => error,
        }
    })
}
