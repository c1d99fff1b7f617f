//! Hooks that belong to a device, a cgroup, a network namespace, a map, a socket, or a route.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;

use skep_isa::uapi::{AttachType as A, ProgType};
use skep_runtime::codec::Attr;
use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, AttachTarget, Command, Error, Fd, Result};

use super::{Attachment, Companion, device, duplicate, filter, link, order, route};
use crate::explain::{self, describe};
use crate::info;
use crate::sys::undo::{Guard, OnDrop, Step};
use crate::sys::{bpf, errno, socket};

/// `BPF_F_ALLOW_OVERRIDE`: groups below may replace the program. Links have no such thing.
const F_ALLOW_OVERRIDE: u32 = 1;
/// `BPF_F_ALLOW_MULTI`, which is what links do anyway and do not want to be told.
const F_ALLOW_MULTI: u32 = 2;

/// Attaches by type to what the options name.
pub(super) fn attach(prog: Fd, attach_type: A, options: &AttachOptions) -> Result<Attachment> {
    let Some(target) = &options.target else {
        return Err(nowhere(attach_type));
    };
    match (target, needs(attach_type)) {
        (AttachTarget::Device(name), Needs::Device) => device::attach(prog, name, attach_type, options),
        (AttachTarget::Device(path), Needs::Receiver) => to_receiver(prog, Path::new(path), attach_type),
        (AttachTarget::Cgroup(path), Needs::Cgroup) => to_cgroup(prog, path, attach_type, options),
        (AttachTarget::NetNs(path), Needs::NetNs) => {
            let namespace = open(path)?;
            let namespace = Fd(namespace.as_raw_fd());
            link(prog, namespace, attach_type, options.flags, LinkData::None).map(Attachment::from)
        }
        (AttachTarget::Netfilter { family, hook, priority }, Needs::Netfilter) => {
            let (family, hook, priority) = (*family, *hook, *priority);
            let data = LinkData::Netfilter { family, hook, priority, flags: options.flags };
            let attached = link(prog, Fd(0), A::NETFILTER, 0, data).map(Attachment::from);
            attached.map_err(|e| match e.errno() {
                libc::EBUSY => {
                    e.hint(format!("the hook has a program of priority {priority}; choose another"))
                }
                libc::EINVAL | libc::ERANGE => {
                    e.hint(
                    "it takes a program of type `netfilter`, and a priority that is neither the lowest nor the highest number",
                )
                }
                _ => e,
            })
        }
        (AttachTarget::Map(map), Needs::SocketMap) => to_sockets_of(prog, *map, attach_type, options.flags),
        (AttachTarget::Socket(socket), Needs::Socket) => to_socket(prog, *socket, true),
        (AttachTarget::Filter { device, egress, priority }, Needs::Device) => {
            let place = filter::Place { device, egress: *egress, priority: *priority };
            filter::attach(prog, ProgType::SCHED_CLS, &place)
        }
        _ => Err(nowhere(attach_type)),
    }
}

/// Attaches a program whose section does not say to what kind of thing: the program's type does.
pub(super) fn attach_by_program(prog: Fd, options: &AttachOptions) -> Result<Attachment> {
    let prog_type = info::prog_type(prog)?;
    match (prog_type, &options.target) {
        (ProgType::SOCKET_FILTER, Some(AttachTarget::Socket(socket))) => to_socket(prog, *socket, false),
        (ProgType::SK_REUSEPORT, Some(AttachTarget::Socket(socket))) => to_socket(prog, *socket, true),
        (
            ProgType::SCHED_CLS | ProgType::SCHED_ACT,
            Some(AttachTarget::Filter { device, egress, priority }),
        ) => {
            let place = filter::Place { device, egress: *egress, priority: *priority };
            filter::attach(prog, prog_type, &place)
        }
        (
            ProgType::LWT_IN | ProgType::LWT_OUT | ProgType::LWT_XMIT | ProgType::LWT_SEG6LOCAL,
            Some(AttachTarget::Route { to, device, via }),
        ) => route::attach(prog, prog_type, &route::Route { to: *to, device, via: *via }),
        _ => Err(unsaid(prog_type)),
    }
}

/// Groups have links since Linux 5.7, which are for several programs; what groups below may override has none.
fn to_cgroup(prog: Fd, path: &Path, attach_type: A, options: &AttachOptions) -> Result<Attachment> {
    let group = open(path)?;
    let target = Fd(group.as_raw_fd());
    let in_group = |e: Error| e.context(format_args!("cgroup `{}`", path.display()));
    if options.flags & F_ALLOW_OVERRIDE != 0 {
        return guarded(prog, target, attach_type, options.flags).map_err(in_group);
    }
    let (order, data) = order::of(options);
    let flags = options.flags & !F_ALLOW_MULTI | order;
    link(prog, target, attach_type, flags, data).map(Attachment::from).map_err(|e| {
        let e = in_group(e);
        match e.errno() {
            libc::EBADF => e.hint("it has to be a directory of a cgroup2 file system"),
            libc::EINVAL | libc::E2BIG if order != 0 => {
                e.hint("programs of cgroups have an order since Linux 6.17, and links go beside links")
            }
            libc::EINVAL => {
                e.hint(format!("is the program loaded for `{attach_type}`? `skep prog show` says its type"))
            }
            libc::EPERM => {
                e.hint("a group above may have a program that does not allow others (`bpftool cgroup tree`)")
            }
            _ => e,
        }
    })
}

/// Receivers of infrared have no links.
fn to_receiver(prog: Fd, path: &Path, attach_type: A) -> Result<Attachment> {
    let receiver = open(path)?;
    guarded(prog, Fd(receiver.as_raw_fd()), attach_type, 0)
        .map_err(|e| e.context(format_args!("`{}`", path.display())))
}

/// Attaches where the kernel has no link that would end with us.
fn guarded(prog: Fd, target: Fd, attach_type: A, flags: u32) -> Result<Attachment> {
    let mut attach = Command::ProgAttach { prog, target, attach_type, flags };
    let cmd = attach.cmd();
    let undo = detach_step(prog, target, attach_type)?;
    let (guard, answer) = Guard::start(&step(&mut attach)?, &undo, &[prog.0, target.0]).map_err(|e| {
        Error::os(errno(&e), format!("no process can be started to guard it: {}", describe(&e)))
    })?;
    match answer.try_into().map(i32::from_ne_bytes) {
        Ok(0) => Attachment::without_link(prog, guard),
        Ok(errno) => Err(explain::command(cmd, &std::io::Error::from_raw_os_error(errno))),
        Err(_) => Err(Error::os(libc::ECHILD, "the process that was to guard it has ended")),
    }
}

fn detach_step(prog: Fd, target: Fd, attach_type: A) -> Result<Step> {
    step(&mut Command::ProgDetach { prog: Some(prog), target, attach_type })
}

/// A command without addresses in it, ready to be given to the kernel.
fn step(command: &mut Command<'_>) -> Result<Step> {
    let mut attr = Attr::encode(command, None)?;
    Ok(Step::Bpf { cmd: attr.cmd().0, attr: attr.bytes_mut().to_vec() })
}

/// Socket maps have links since Linux 6.10; before, a program stays until it is detached, or the map is gone.
fn to_sockets_of(prog: Fd, map: Fd, attach_type: A, flags: u32) -> Result<Attachment> {
    match link(prog, map, attach_type, flags, LinkData::None) {
        Err(e) if e.errno() == libc::EINVAL => {
            crate::load::command(Command::ProgAttach { prog, target: map, attach_type, flags })?;
            let (own_prog, own_map) = (duplicate(prog)?, duplicate(map)?);
            let undo = detach_step(super::fd(&own_prog), super::fd(&own_map), attach_type)?;
            let companion = Companion::OnDrop(OnDrop { undo, fds: vec![own_prog, own_map] });
            Ok(Attachment { link: duplicate(prog)?, rest: vec![companion], has_link: false })
        }
        result => result.map(Attachment::from),
    }
}

/// A socket holds its program itself, until it is taken off or the socket is gone.
fn to_socket(prog: Fd, number: RawFd, is_reuseport: bool) -> Result<Attachment> {
    let failed = |e: std::io::Error| {
        Error::os(errno(&e), format!("cannot set the program of socket `{number}`: {}", describe(&e)))
    };
    let own: OwnedFd = bpf::duplicate(number).map_err(failed)?;
    let option = if is_reuseport { libc::SO_ATTACH_REUSEPORT_EBPF } else { libc::SO_ATTACH_BPF };
    socket::set_number(&own, libc::SOL_SOCKET, option, prog.0).map_err(|e| {
        let error = failed(e);
        match error.errno() {
            libc::EINVAL if is_reuseport => {
                error.hint("`SO_REUSEPORT` comes first, then `bind`, then the program")
            }
            _ => error,
        }
    })?;
    let option = if is_reuseport { libc::SO_DETACH_REUSEPORT_BPF } else { libc::SO_DETACH_FILTER };
    let undo = Step::SocketOption { socket: own.as_raw_fd(), option };
    let companion = Companion::OnDrop(OnDrop { undo, fds: vec![own] });
    Ok(Attachment { link: duplicate(prog)?, rest: vec![companion], has_link: false })
}

/// Opens what a hook belongs to, as far as bpf(2) wants it open.
pub(crate) fn open(path: &Path) -> Result<File> {
    let missing = |e: std::io::Error| Error::os(errno(&e), format!("`{}`: {}", path.display(), describe(&e)));
    fs::metadata(path).and_then(|_| File::open(path)).map_err(missing)
}

/// What a hook belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Device,
    Cgroup,
    NetNs,
    Netfilter,
    SocketMap,
    /// Not attached: put into an element of a map.
    MapElement,
    Socket,
    Receiver,
}

pub(crate) fn needs(attach_type: A) -> Needs {
    match attach_type {
        A::XDP | A::TCX_INGRESS | A::TCX_EGRESS | A::NETKIT_PRIMARY | A::NETKIT_PEER => Needs::Device,
        A::SK_LOOKUP | A::FLOW_DISSECTOR => Needs::NetNs,
        A::NETFILTER => Needs::Netfilter,
        A::SK_MSG_VERDICT | A::SK_SKB_VERDICT | A::SK_SKB_STREAM_PARSER | A::SK_SKB_STREAM_VERDICT => {
            Needs::SocketMap
        }
        A::XDP_DEVMAP | A::XDP_CPUMAP => Needs::MapElement,
        A::SK_REUSEPORT_SELECT | A::SK_REUSEPORT_SELECT_OR_MIGRATE => Needs::Socket,
        A::LIRC_MODE2 => Needs::Receiver,
        _ => Needs::Cgroup,
    }
}

fn nowhere(attach_type: A) -> Error {
    let what = match needs(attach_type) {
        Needs::Device => "a network device",
        Needs::NetNs => "a network namespace",
        Needs::Netfilter => "a netfilter hook",
        Needs::SocketMap => "a map of sockets",
        Needs::MapElement => {
            return Error::os(
                libc::EINVAL,
                format!("a program of type `{attach_type}` is not attached: an element of a map runs it"),
            )
            .hint("write its descriptor into the element, behind the device's number or the queue's size");
        }
        Needs::Socket => "a socket",
        Needs::Receiver => "the device file of an infrared receiver",
        Needs::Cgroup => "a cgroup",
    };
    Error::os(
        libc::EINVAL,
        format!("a program of type `{attach_type}` is attached to {what}, and none is named"),
    )
    .hint("load it with `skep prog load`, and name that with `skep prog attach`, `skep net attach` or `skep cgroup attach`")
}

/// What a program needs whose section names no hook.
fn unsaid(prog_type: ProgType) -> Error {
    let needs = match prog_type {
        ProgType::SOCKET_FILTER | ProgType::SK_REUSEPORT => "it is attached to a socket, and none is named",
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => {
            "it is attached to a device as a filter, and none is named; `tcx/ingress` and `tcx/egress` say where"
        }
        ProgType::LWT_IN | ProgType::LWT_OUT | ProgType::LWT_XMIT | ProgType::LWT_SEG6LOCAL => {
            "it is attached to a route, and none is named"
        }
        ProgType::SYSCALL => "it is not attached: it runs when it is called (`BPF_PROG_TEST_RUN`)",
        ProgType::CGROUP_SKB => {
            "it is attached to a cgroup; `cgroup_skb/ingress` and `cgroup_skb/egress` say where"
        }
        ProgType::SK_SKB => {
            "it is attached to a map of sockets; `sk_skb/stream_verdict` and its like say as what"
        }
        ProgType::EXT => "it replaces a function of another program, and none is named",
        _ => "the section does not say what to attach to",
    };
    Error::os(libc::EINVAL, format!("a program of type `{prog_type}`: {needs}"))
        .hint("name it in the section, or attach the program with the missing part filled in")
}
