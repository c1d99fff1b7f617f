//! Hooks that belong to a device, a cgroup, a network namespace, a map or a socket.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use skep_isa::uapi::AttachType as A;
use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, AttachTarget, Command, Error, Fd, Result};

use super::link;
use crate::explain::describe;
use crate::load;
use crate::sys::{bpf, errno};

/// Attaches by type to what the options name.
pub(super) fn attach(prog: Fd, attach_type: A, options: &AttachOptions) -> Result<OwnedFd> {
    let Some(target) = &options.target else {
        return Err(nowhere(attach_type));
    };
    match target {
        AttachTarget::Device(name) => {
            let index = Fd(device_index(name)?);
            link(prog, index, attach_type, options.flags, LinkData::None)
        }
        AttachTarget::Cgroup(path) | AttachTarget::NetNs(path) => {
            let file = open(path)?;
            link(prog, Fd(file.as_raw_fd()), attach_type, options.flags, LinkData::None)
        }
        AttachTarget::Netfilter { family, hook, priority } => {
            let (family, hook, priority) = (*family, *hook, *priority);
            let data = LinkData::Netfilter { family, hook, priority, flags: options.flags };
            link(prog, Fd(0), A::NETFILTER, 0, data)
        }
        AttachTarget::Map(map) => to_sockets_of(prog, *map, attach_type, options.flags),
        AttachTarget::Socket(socket) => to_socket(prog, *socket, attach_type),
        _ => Err(nowhere(attach_type)),
    }
}

/// Socket maps have links since Linux 6.10; before, a program stays with the map.
fn to_sockets_of(prog: Fd, map: Fd, attach_type: A, flags: u32) -> Result<OwnedFd> {
    match link(prog, map, attach_type, flags, LinkData::None) {
        Err(e) if e.errno() == libc::EINVAL => {
            load::command(Command::ProgAttach { prog, target: map, attach_type, flags })?;
            duplicate(prog)
        }
        result => result,
    }
}

/// A socket holds its filter itself; what we hold is the program.
fn to_socket(prog: Fd, socket: i32, attach_type: A) -> Result<OwnedFd> {
    let is_reuseport = matches!(attach_type, A::SK_REUSEPORT_SELECT | A::SK_REUSEPORT_SELECT_OR_MIGRATE);
    bpf::set_socket_program(socket, prog.0, is_reuseport)
        .map_err(|e| Error::os(errno(&e), format!("cannot set the socket's program: {}", describe(&e))))?;
    duplicate(prog)
}

fn duplicate(prog: Fd) -> Result<OwnedFd> {
    bpf::duplicate(prog.0).map_err(|e| Error::os(errno(&e), describe(&e)))
}

/// The number of a network device in our network namespace.
fn device_index(name: &str) -> Result<i32> {
    // `/sys` shows the namespace it was mounted in; the call asks ours.
    rustix_index(name).map_err(|e| Error::os(errno(&e), format!("network device `{name}`: {}", describe(&e))))
}

fn rustix_index(name: &str) -> std::io::Result<i32> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").or_else(|_| std::net::UdpSocket::bind("[::]:0"))?;
    let index = rustix::net::netdevice::name_to_index(&socket, name)?;
    i32::try_from(index).map_err(|_| std::io::Error::from_raw_os_error(libc::ENODEV))
}

fn open(path: &Path) -> Result<File> {
    let missing = |e: std::io::Error| Error::os(errno(&e), format!("`{}`: {}", path.display(), describe(&e)));
    fs::metadata(path).and_then(|_| File::open(path)).map_err(missing)
}

fn nowhere(attach_type: A) -> Error {
    let needs = match attach_type {
        A::XDP | A::TCX_INGRESS | A::TCX_EGRESS | A::NETKIT_PRIMARY | A::NETKIT_PEER => "a network device",
        A::SK_LOOKUP | A::FLOW_DISSECTOR => "a network namespace",
        A::NETFILTER => "a netfilter hook",
        A::SK_MSG_VERDICT
        | A::SK_SKB_VERDICT
        | A::SK_SKB_STREAM_PARSER
        | A::SK_SKB_STREAM_VERDICT
        | A::XDP_DEVMAP
        | A::XDP_CPUMAP => "a map",
        A::SK_REUSEPORT_SELECT | A::SK_REUSEPORT_SELECT_OR_MIGRATE => "a socket",
        _ => "a cgroup",
    };
    Error::os(
        libc::EINVAL,
        format!("a program of type `{attach_type}` is attached to {needs}, and none is named"),
    )
}
