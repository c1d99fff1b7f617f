//! Probes in executables and libraries.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use skep_binary::Binary;
use skep_isa::uapi::AttachType;
use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, Error, Fd, Result};

use super::event::{self, WHOLE_MACHINE};
use super::{Attachment, link};
use crate::sys::perf;

/// `BPF_F_UPROBE_MULTI_RETURN`.
const F_RETURN: u32 = 1;
/// Where the semaphore's offset begins in the event's configuration (the event source's `format`).
const SEMAPHORE_SHIFT: u32 = 32;

/// Attaches to a function or an offset of a file.
pub(super) fn attach(
    prog: Fd,
    path: &str,
    symbol: Option<&str>,
    offset: u64,
    ret: bool,
    options: &AttachOptions,
) -> Result<OwnedFd> {
    let path = skep_binary::find(path)?;
    let start = match symbol {
        Some(symbol) => Binary::read(&path)?.function(symbol)?,
        None => 0,
    };
    let place = Place { offset: start.wrapping_add(offset), semaphore: 0 };
    event::attach(prog, open(&path, place, ret, options.process)?, options.cookie)
}

/// Attaches to every function of a file that matches: by one link, or, before Linux 6.6, by a probe for each.
pub(super) fn attach_many(
    prog: Fd,
    path: &str,
    pattern: &str,
    ret: bool,
    session: bool,
    options: &AttachOptions,
) -> Result<Attachment> {
    let path = skep_binary::find(path)?;
    let offsets = Binary::read(&path)?.functions(pattern)?;
    let cookies = if options.cookie == 0 { Vec::new() } else { vec![options.cookie; offsets.len()] };
    let data = LinkData::UprobeMulti {
        path: &path,
        flags: if ret { F_RETURN } else { 0 },
        offsets: &offsets,
        semaphores: &[],
        cookies: &cookies,
        pid: options.process.unwrap_or(0),
    };
    let attach_type = if session { AttachType::TRACE_UPROBE_SESSION } else { AttachType::TRACE_UPROBE_MULTI };
    match link(prog, Fd(0), attach_type, 0, data) {
        Err(e) if e.errno() == libc::EINVAL && !session => {
            let probe = |offset: &u64| {
                let place = Place { offset: *offset, semaphore: 0 };
                event::attach(prog, open(&path, place, ret, options.process)?, options.cookie)
            };
            Attachment::of(offsets.iter().map(probe).collect::<Result<_>>()?, || e)
        }
        result => result.map(Attachment::from),
    }
}

/// A place in a file, and the counter that says to the program that somebody is looking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) semaphore: u64,
}

/// Opens a probe, in one process or all.
pub(super) fn open(path: &Path, place: Place, ret: bool, process: Option<u32>) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::os(libc::EINVAL, "a path contains a zero byte"))?;
    let attr = perf::PerfAttr {
        kind: event::pmu("uprobe")?,
        config: u64::from(ret) | place.semaphore << SEMAPHORE_SHIFT,
        config1: name.as_ptr().expose_provenance() as u64,
        config2: place.offset,
        ..perf::PerfAttr::default()
    };
    let at = match process {
        Some(pid) => (i32::try_from(pid).unwrap_or(i32::MAX), -1),
        None => WHOLE_MACHINE,
    };
    event::open(&attr, at, &format!("uprobe `{}+{:#x}`", path.display(), place.offset))
}
