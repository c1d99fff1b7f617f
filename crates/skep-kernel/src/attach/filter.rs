//! Filters of traffic control: the only way to a device's packets before TCX (Linux 6.6), and still there.
//!
//! A filter hangs at the `clsact` queueing discipline of a device, under a priority and a number of its own, and gives the
//! verdict itself (`direct-action`). A guard removes it when we end. The discipline stays: it does
//! nothing, and others may have come to use it.

use skep_isa::uapi::ProgType;
use skep_runtime::{Error, Fd, Result};

use super::{Attachment, device};
use crate::explain::describe;
use crate::netlink::{NEW, Request, Socket};

const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;

/// Bytes of `struct tcmsg`: family, device, handle, parent, priority and protocol.
const TCMSG: usize = 20;
/// `TC_H_CLSACT`, and the ends of it that filters hang at (`TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`).
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// All protocols (`ETH_P_ALL`).
const ALL_PROTOCOLS: u16 = 3;
/// The priority that the kernel gives the first filter that asks for none.
const DEFAULT_PRIORITY: u16 = 0xc000;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`.
const DIRECT_ACTION: u32 = 1;
const TCA_MATCHALL_ACT: u16 = 2;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_ACT_BPF_PARMS: u16 = 2;
const TCA_ACT_BPF_FD: u16 = 5;
const TCA_ACT_BPF_NAME: u16 = 6;
/// `struct tc_act_bpf`: index, capabilities, action, two counts. The program's verdict takes the action's place.
const TC_ACT_BPF: [u8; 20] = [0; 20];

/// What `tc filter show` calls our filters.
const NAME: &str = "skep";

/// Where a filter hangs.
pub(super) struct Place<'a> {
    pub(super) device: &'a str,
    pub(super) egress: bool,
    /// 0 for the default.
    pub(super) priority: u16,
}

/// Attaches a classifier, or an action behind a filter that matches everything.
pub(super) fn attach(prog: Fd, prog_type: ProgType, place: &Place<'_>) -> Result<Attachment> {
    let address = Address {
        device: device::index(place.device)?,
        parent: if place.egress { EGRESS } else { INGRESS },
        priority: if place.priority == 0 { DEFAULT_PRIORITY } else { place.priority },
        handle: random_handle()?,
    };
    let in_device = |e: Error| e.context(format_args!("network device `{}`", place.device));
    let socket = Socket::open()?;
    add_discipline(&socket, address.device).map_err(in_device)?;
    let request = address.to(RTM_NEWTFILTER, NEW);
    let make = match prog_type {
        ProgType::SCHED_ACT => action(request, prog),
        _ => classifier(request, prog),
    };
    let undo = address.to(RTM_DELTFILTER, 0);
    let guard = socket.guarded(make, undo, prog).map_err(|e| in_device(refused(e)))?;
    Attachment::without_link(prog, guard)
}

/// The four numbers that name a filter.
struct Address {
    device: i32,
    parent: u32,
    priority: u16,
    handle: u32,
}

impl Address {
    fn to(&self, kind: u16, flags: u16) -> Request {
        let info = u32::from(self.priority) << 16 | u32::from(ALL_PROTOCOLS.to_be());
        Request::new(kind, flags, &tcmsg(self.device, self.handle, self.parent, info))
    }
}

fn tcmsg(device: i32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut message = [0; TCMSG];
    message[4..8].copy_from_slice(&device.to_ne_bytes());
    message[8..12].copy_from_slice(&handle.to_ne_bytes());
    message[12..16].copy_from_slice(&parent.to_ne_bytes());
    message[16..20].copy_from_slice(&info.to_ne_bytes());
    message
}

/// A number that no other filter has: removing by it removes ours alone.
fn random_handle() -> Result<u32> {
    let mut bytes = [0; 4];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    filled.map_err(|e| Error::os(e.raw_os_error(), format!("no random number: {}", describe(&e.into()))))?;
    Ok(u32::from_ne_bytes(bytes) >> 1 | 1)
}

fn add_discipline(socket: &Socket, device: i32) -> Result<()> {
    let request = Request::new(RTM_NEWQDISC, NEW, &tcmsg(device, CLSACT_HANDLE, CLSACT, 0));
    match socket.request(request.with_text(TCA_KIND, "clsact")) {
        Err(e) if e.errno() == libc::EEXIST => Ok(()),
        Err(e) if e.errno() == libc::ENOENT => Err(Error::unsupported("this kernel has no `clsact`")
            .hint("it takes `CONFIG_NET_SCH_INGRESS`, perhaps as module `sch_ingress`")),
        result => result,
    }
}

fn classifier(request: Request, prog: Fd) -> Request {
    request.with_text(TCA_KIND, "bpf").with_nested(TCA_OPTIONS, |options| {
        options
            .with(TCA_BPF_FD, &prog.0.to_ne_bytes())
            .with_text(TCA_BPF_NAME, NAME)
            .with(TCA_BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes())
    })
}

fn action(request: Request, prog: Fd) -> Request {
    let bpf = |options: Request| {
        options
            .with(TCA_ACT_BPF_PARMS, &TC_ACT_BPF)
            .with(TCA_ACT_BPF_FD, &prog.0.to_ne_bytes())
            .with_text(TCA_ACT_BPF_NAME, NAME)
    };
    let first = |action: Request| action.with_text(TCA_ACT_KIND, "bpf").with_nested(TCA_ACT_OPTIONS, bpf);
    request.with_text(TCA_KIND, "matchall").with_nested(TCA_OPTIONS, |options| {
        options.with_nested(TCA_MATCHALL_ACT, |actions| actions.with_nested(1, first))
    })
}

fn refused(error: Error) -> Error {
    match error.errno() {
        libc::ENOENT => error.hint(
            "it takes `CONFIG_NET_CLS_BPF` (for actions `CONFIG_NET_CLS_MATCHALL` and `CONFIG_NET_ACT_BPF`)",
        ),
        libc::EINVAL => error.hint("filters of another kind may have the priority: choose another"),
        _ => error,
    }
}
