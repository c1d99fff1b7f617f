//! Hooks: what Linux wants for each, beside or instead of `BPF_LINK_CREATE`.

mod device;
mod event;
mod filter;
mod iterator;
mod kernel_functions;
mod order;
mod query;
mod route;
mod target;
pub(crate) mod tracefs;
mod uprobe;
mod usdt;

use std::os::fd::{AsRawFd as _, OwnedFd};

use skep_isa::uapi::AttachType;
use skep_obj::AttachPoint;
use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, AttachTarget, Command, Error, Fd, Reply, Result};

use crate::sys::undo::{Guard, OnDrop};
use crate::sys::{bpf, errno};
use crate::{explain, load};

pub(crate) use device::index as device_index;
pub(crate) use query::query;
pub(crate) use tracefs::field as tracepoint_field;

/// What holds a program to its hook: a descriptor that stands for all of it, and what else has to stay.
pub(crate) struct Attachment {
    pub(crate) link: OwnedFd,
    pub(crate) rest: Vec<Companion>,
    /// Is the descriptor a link, or, where there is none, the program?
    pub(crate) has_link: bool,
}

/// What has to stay for as long as a link; dropping it detaches.
#[derive(Debug)]
#[expect(dead_code, reason = "companions are kept, and act when they are dropped")]
pub(crate) enum Companion {
    /// Another link.
    Link(OwnedFd),
    /// A process that detaches.
    Guard(Guard),
    /// A call that detaches.
    OnDrop(OnDrop),
}

impl From<OwnedFd> for Attachment {
    fn from(link: OwnedFd) -> Self {
        Self { link, rest: Vec::new(), has_link: true }
    }
}

impl Attachment {
    /// Several links as one; there has to be one.
    fn of(mut links: Vec<OwnedFd>, nothing: impl FnOnce() -> Error) -> Result<Self> {
        let link = links.pop().ok_or_else(nothing)?;
        Ok(Self { link, rest: links.into_iter().map(Companion::Link).collect(), has_link: true })
    }

    /// A guard in place of a link; the program stands for it.
    fn without_link(prog: Fd, guard: Guard) -> Result<Self> {
        Ok(Self { link: duplicate(prog)?, rest: vec![Companion::Guard(guard)], has_link: false })
    }
}

/// Another descriptor of the same object.
fn duplicate(fd: Fd) -> Result<OwnedFd> {
    bpf::duplicate(fd.0)
        .map_err(|e| Error::os(errno(&e), format!("descriptor `{}`: {}", fd.0, explain::describe(&e))))
}

/// Attaches a program.
pub(crate) fn attach(prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Attachment> {
    let cookie = options.cookie;
    let link = match point {
        AttachPoint::Tracepoint { category, name } => {
            event::attach(prog, event::tracepoint(category, name)?, cookie)
        }
        AttachPoint::RawTracepoint { name, .. } => raw_tracepoint(prog, Some(name), cookie),
        AttachPoint::BtfTracepoint { .. } => raw_tracepoint(prog, None, cookie),
        AttachPoint::Kprobe { function: Some(function), offset, ret } => {
            event::attach(prog, event::kprobe(function, *offset, *ret)?, cookie)
        }
        AttachPoint::Ksyscall { name: Some(name), ret } => {
            let function = kernel_functions::of_system_call(name)?;
            event::attach(prog, event::kprobe(&function, 0, *ret)?, cookie)
        }
        AttachPoint::KprobeMulti { pattern: Some(pattern), ret, session } => {
            return kernel_functions::attach(prog, pattern, *ret, *session, cookie);
        }
        AttachPoint::Uprobe { path: Some(path), symbol, offset, ret } => {
            uprobe::attach(prog, path, symbol.as_deref(), *offset, *ret, options)
        }
        AttachPoint::UprobeMulti { path: Some(path), pattern: Some(pattern), ret, session } => {
            return uprobe::attach_many(prog, path, pattern, *ret, *session, options);
        }
        AttachPoint::Usdt { path: Some(path), provider: Some(provider), name: Some(name) } => {
            return usdt::attach(prog, path, provider, name, options);
        }
        AttachPoint::PerfEvent { sampling } => return event::sample(prog, *sampling, options),
        AttachPoint::Btf { attach_type: Some(AttachType::LSM_CGROUP), .. } => {
            return target::attach(prog, AttachType::LSM_CGROUP, options);
        }
        AttachPoint::Btf { attach_type, .. } => by_type(prog, *attach_type, options),
        AttachPoint::Target { attach_type } => return target::attach(prog, *attach_type, options),
        AttachPoint::None => return target::attach_by_program(prog, options),
        AttachPoint::StructOps => struct_ops(options),
        _ => Err(Error::os(libc::EINVAL, "the section does not say what to attach to")
            .hint("name it in the section, or attach the program with the missing part filled in")),
    };
    link.map(Attachment::from)
}

/// Attaches one of our own programs to a tracepoint.
pub(crate) fn tracepoint_link(prog: Fd, category: &str, name: &str) -> Result<OwnedFd> {
    event::attach(prog, event::tracepoint(category, name)?, 0)
}

/// Attaches what was loaded for a BTF id.
fn by_type(prog: Fd, attach_type: Option<AttachType>, options: &AttachOptions) -> Result<OwnedFd> {
    let cookie = options.cookie;
    match (attach_type, &options.target) {
        (Some(AttachType::TRACE_ITER), _) => iterator::attach(prog, options),
        (_, Some(AttachTarget::Program { program, btf_id })) => {
            let data = LinkData::Tracing { target_btf_id: *btf_id, cookie };
            link(prog, *program, attach_type.unwrap_or(AttachType(0)), 0, data)
        }
        (Some(attach_type), None) if cookie != 0 => {
            link(prog, Fd(0), attach_type, 0, LinkData::Tracing { target_btf_id: 0, cookie })
        }
        _ => raw_tracepoint(prog, None, 0),
    }
}

/// Makes the functions of a `struct_ops` map the kernel's.
fn struct_ops(options: &AttachOptions) -> Result<OwnedFd> {
    match options.target {
        Some(AttachTarget::Map(map)) => link(map, Fd(0), AttachType::STRUCT_OPS, 0, LinkData::None),
        _ => Err(Error::os(libc::EINVAL, "programs of `struct_ops` are attached through their map")
            .hint("attach the map of section `.struct_ops.link`")),
    }
}

fn raw_tracepoint(prog: Fd, name: Option<&str>, cookie: u64) -> Result<OwnedFd> {
    let opened = load::command(Command::RawTracepointOpen { prog, name, cookie });
    opened.and_then(owned).map_err(|e| match name {
        Some(name) if e.errno() == libc::ENOENT => {
            Error::os(libc::ENOENT, format!("no raw tracepoint `{name}`"))
        }
        _ => e,
    })
}

fn link(prog: Fd, target: Fd, attach_type: AttachType, flags: u32, data: LinkData<'_>) -> Result<OwnedFd> {
    owned(load::command(Command::LinkCreate { prog, target, attach_type, flags, data })?)
}

/// Owns the descriptor that a command answered.
pub(crate) fn owned(reply: Reply) -> Result<OwnedFd> {
    let Reply::Fd(fd) = reply else {
        return Err(Error::os(libc::EINVAL, format!("expected a descriptor, got {reply:?}")));
    };
    bpf::adopt(fd.0).map_err(|e| Error::os(errno(&e), explain::describe(&e)))
}

/// The number of an owned descriptor, for commands.
pub(crate) fn fd(owned: &OwnedFd) -> Fd {
    Fd(owned.as_raw_fd())
}
