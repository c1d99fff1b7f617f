//! Hooks of network devices: XDP, TCX, netkit.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use skep_isa::uapi::{AttachType as A, ProgType};
use skep_runtime::{AttachOptions, Command, Error, Fd, Order, Result};

use super::{Attachment, filter, link, order};
use crate::explain::describe;
use crate::load;

/// Attaches to a device by its name.
pub(super) fn attach(prog: Fd, name: &str, attach_type: A, options: &AttachOptions) -> Result<Attachment> {
    let device = Fd(index(name)?);
    let (order, data) = order::of(options);
    match link(prog, device, attach_type, options.flags | order, data) {
        Err(e) if e.errno() == libc::EINVAL && is_tcx(attach_type) && !has_order(device, attach_type) => {
            as_filter(prog, name, attach_type, options)
        }
        result => result
            .map(Attachment::from)
            .map_err(|e| refused(e, attach_type).context(format_args!("network device `{name}`"))),
    }
}

/// The number of a network device in our network namespace; `/sys` shows the one that it was mounted in.
pub(crate) fn index(name: &str) -> Result<i32> {
    let found = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .and_then(|socket| rustix::net::netdevice::name_to_index(&socket, name));
    let index = found.map_err(|e| {
        Error::os(e.raw_os_error(), format!("network device `{name}`: {}", describe(&e.into())))
    })?;
    i32::try_from(index)
        .map_err(|_| Error::os(libc::ENODEV, format!("network device `{name}` has no number")))
}

fn is_tcx(attach_type: A) -> bool {
    matches!(attach_type, A::TCX_INGRESS | A::TCX_EGRESS)
}

/// Does the kernel know the hook (Linux 6.6)? Then a refusal has another reason.
fn has_order(device: Fd, attach_type: A) -> bool {
    let (mut prog_ids, mut link_ids) = ([], []);
    let (prog_ids, link_ids) = (&mut prog_ids[..], &mut link_ids[..]);
    let asked =
        load::command(Command::ProgQuery { target: device, attach_type, flags: 0, prog_ids, link_ids });
    !asked.is_err_and(|e| e.errno() == libc::EINVAL)
}

/// What TCX does, as far as filters can: a program among others has a place by its priority alone.
fn as_filter(prog: Fd, name: &str, attach_type: A, options: &AttachOptions) -> Result<Attachment> {
    let priority = match options.order {
        Order::Any | Order::Last => 0,
        Order::First => 1,
        _ => {
            return Err(Error::unsupported("this kernel orders programs of a device by priority alone")
                .hint(
                    "Linux 6.6 puts them before or after each other; or attach to a filter with a priority",
                ));
        }
    };
    let place = filter::Place { device: name, egress: attach_type == A::TCX_EGRESS, priority };
    filter::attach(prog, ProgType::SCHED_CLS, &place)
}

fn refused(error: Error, attach_type: A) -> Error {
    match (attach_type, error.errno()) {
        (A::XDP, libc::EBUSY) => error
            .hint("it has an XDP program already: `ip link show` names it; a link's program can be updated"),
        (A::XDP, libc::EEXIST) => error.hint("a program is there in another mode (generic, native, offload)"),
        (A::XDP, libc::EOPNOTSUPP) => {
            error.hint("its driver has no XDP of this mode; `XDP_FLAGS_SKB_MODE` works with every device")
        }
        (A::XDP, libc::EINVAL) => {
            error.hint("it takes a program of type `xdp` that was loaded for no other place: a device (offload), `devmap`, `cpumap`")
        }
        (A::NETKIT_PRIMARY | A::NETKIT_PEER, libc::EINVAL) => error.hint("netkit takes Linux 6.7"),
        (A::NETKIT_PRIMARY | A::NETKIT_PEER, _) => {
            error.hint("it has to be the primary device of a netkit pair, for both ends")
        }
        (A::TCX_INGRESS | A::TCX_EGRESS, libc::EEXIST) => error.hint("the same program is there already"),
        (_, libc::ESTALE) => error.hint("the hook's programs have changed since its revision was read"),
        _ => error,
    }
}
