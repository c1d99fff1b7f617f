//! Hooks: what Linux wants for each, beside or instead of `BPF_LINK_CREATE`.

mod event;
mod tracefs;

use std::os::fd::{IntoRawFd as _, OwnedFd};

use skep_isa::uapi::AttachType;
use skep_obj::AttachPoint;
use skep_runtime::{AttachOptions, Command, Error, Fd, Reply, Result};

use crate::sys::{bpf, errno};
use crate::{explain, load};

/// Attaches a program; the descriptor answered holds the attachment.
pub(crate) fn attach(prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd> {
    link_for(prog, point, options).map(|link| Fd(link.into_raw_fd()))
}

fn link_for(prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<OwnedFd> {
    let cookie = options.cookie;
    match point {
        AttachPoint::Tracepoint { category, name } => {
            event::attach(prog, event::tracepoint(category, name)?, cookie)
        }
        AttachPoint::RawTracepoint { name, .. } => raw_tracepoint(prog, Some(name), cookie),
        AttachPoint::BtfTracepoint { .. } => raw_tracepoint(prog, None, cookie),
        AttachPoint::Btf { attach_type: Some(AttachType::TRACE_ITER), .. } => {
            link(prog, Fd(0), AttachType::TRACE_ITER, 0)
        }
        AttachPoint::Btf { .. } => raw_tracepoint(prog, None, cookie),
        AttachPoint::Kprobe { function: Some(function), offset, ret } => {
            event::attach(prog, event::kprobe(function, *offset, *ret)?, cookie)
        }
        other => Err(Error::unsupported(format!("the kernel runtime does not attach to `{other:?}` yet"))),
    }
}

/// Attaches one of our own programs to a tracepoint.
pub(crate) fn tracepoint_link(prog: Fd, category: &str, name: &str) -> Result<OwnedFd> {
    event::attach(prog, event::tracepoint(category, name)?, 0)
}

pub(crate) use tracefs::{ROOTS as TRACEFS, field as tracepoint_field};

fn raw_tracepoint(prog: Fd, name: Option<&str>, cookie: u64) -> Result<OwnedFd> {
    owned(load::command(Command::RawTracepointOpen { prog, name, cookie })?)
}

fn link(prog: Fd, target: Fd, attach_type: AttachType, cookie: u64) -> Result<OwnedFd> {
    owned(load::command(Command::LinkCreate { prog, target, attach_type, flags: 0, cookie })?)
}

/// Owns the descriptor that a command answered.
pub(crate) fn owned(reply: Reply) -> Result<OwnedFd> {
    let Reply::Fd(fd) = reply else {
        return Err(Error::os(libc::EINVAL, format!("expected a descriptor, got {reply:?}")));
    };
    bpf::adopt(fd.0).map_err(|e| Error::os(errno(&e), explain::describe(&e)))
}
