//! What network devices have attached outside of links, as rtnetlink tells it: XDP programs, and filters of traffic
//! control; and putting XDP programs there.
//!
//! Everything is of the network namespace that the caller is in.

use skep_runtime::{Error, Fd, Result};

use crate::netlink::{self, Request, Socket};

const RTM_SETLINK: u16 = 19;
const RTM_GETLINK: u16 = 18;
const RTM_GETQDISC: u16 = 38;
const RTM_GETTCLASS: u16 = 42;
const RTM_GETTFILTER: u16 = 46;

/// Bytes of `struct ifinfomsg` and of `struct tcmsg`, the fixed parts of these messages.
const IFINFOMSG: usize = 16;
const TCMSG: usize = 20;
/// `AF_PACKET`: devices, not those of one protocol.
const AF_PACKET: u8 = 17;

const IFLA_IFNAME: u16 = 3;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_FLAGS: u16 = 3;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ACT: u16 = 1;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_ACT_BPF_NAME: u16 = 6;
const TCA_ACT_BPF_ID: u16 = 9;

/// Where filters hang that belong to no queueing discipline or class of their own: `TC_H_ROOT`, and the ends of
/// `clsact`.
const PLACES: [(&str, u32); 3] =
    [("root", 0xffff_ffff), ("clsact/ingress", 0xffff_fff2), ("clsact/egress", 0xffff_fff3)];

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its XDP programs; several only where modes are mixed.
    pub xdp: Vec<Xdp>,
    /// Does the device say that it has programs in several modes?
    pub mixed: bool,
}

/// An XDP program of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xdp {
    /// Who runs it.
    pub mode: XdpMode,
    /// Its id.
    pub prog_id: u32,
}

/// Who runs an XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// The kernel, behind the driver (`XDP_FLAGS_SKB_MODE`).
    Generic,
    /// The driver.
    Driver,
    /// The device itself.
    Offload,
}

impl XdpMode {
    /// The name that bpftool has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Driver => "driver",
            Self::Offload => "offload",
        }
    }
}

/// A filter of traffic control that runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What it hangs at: `clsact/ingress`, or the kind of a queueing discipline or class.
    pub place: String,
    /// Its name.
    pub name: Option<String>,
    /// The program's id.
    pub prog_id: Option<u32>,
    /// Programs that run behind it, as actions.
    pub actions: Vec<Action>,
}

/// An action that runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: Option<String>,
    /// The program's id.
    pub prog_id: Option<u32>,
}

/// All devices, or the one with that number.
pub fn devices(only: Option<u32>) -> Result<Vec<Device>> {
    let mut fixed = [0; IFINFOMSG];
    fixed[0] = AF_PACKET;
    let mut devices = Vec::new();
    Socket::open()?.dump(RTM_GETLINK, &fixed, &mut |message| devices.extend(device(message)))?;
    devices.retain(|device| only.is_none_or(|index| index == device.index));
    Ok(devices)
}

/// The filters of a device that run programs: those of its classes and queueing disciplines first.
pub fn filters(device: u32) -> Result<Vec<Filter>> {
    let socket = Socket::open()?;
    let mut places = parents(&socket, device, RTM_GETTCLASS)?;
    places.extend(parents(&socket, device, RTM_GETQDISC)?);
    places.extend(PLACES.map(|(name, handle)| (name.to_owned(), handle)));
    let mut filters = Vec::new();
    for (place, handle) in places {
        socket.dump(RTM_GETTFILTER, &tcmsg(device, handle), &mut |message| {
            filters.extend(filter(message, &place));
        })?;
    }
    Ok(filters)
}

/// Puts an XDP program on a device, or takes the one there away. `flags` are `XDP_FLAGS_UPDATE_IF_NOEXIST` and its
/// like.
pub fn set_xdp(device: u32, prog: Option<Fd>, flags: u32) -> Result<()> {
    let mut fixed = [0; IFINFOMSG];
    fixed[4..8].copy_from_slice(&device.to_ne_bytes());
    let fd = prog.map_or(-1, |prog| prog.0);
    let request = Request::new(RTM_SETLINK, 0, &fixed).with_nested(IFLA_XDP, |xdp| {
        let xdp = xdp.with(IFLA_XDP_FD, &fd.to_ne_bytes());
        if flags == 0 { xdp } else { xdp.with(IFLA_XDP_FLAGS, &flags.to_ne_bytes()) }
    });
    Socket::open()?.request(request).map_err(|e| match e.errno() {
        libc::EBUSY => {
            e.hint("the device has an XDP program: `overwrite` replaces it, unless a link holds it")
        }
        libc::EEXIST => e.hint("the device has an XDP program in another mode"),
        libc::EOPNOTSUPP => {
            e.hint("its driver has no XDP of this mode; `xdpgeneric` works with every device")
        }
        _ => e,
    })
}

/// The number of a device by its name.
pub fn device_index(name: &str) -> Result<u32> {
    crate::attach::device_index(name).and_then(|index| {
        u32::try_from(index).map_err(|_| Error::os(libc::ENODEV, "a device without a number"))
    })
}

fn device(message: &[u8]) -> Option<Device> {
    let index = word(message, 4)?;
    let attributes = message.get(IFINFOMSG..)?;
    let name = netlink::attribute(attributes, IFLA_IFNAME).map(netlink::text).unwrap_or_default();
    let (xdp, mixed) = netlink::attribute(attributes, IFLA_XDP).map(xdp).unwrap_or_default();
    Some(Device { index, name, xdp, mixed })
}

/// What a device says of XDP (`XDP_ATTACHED_DRV` 1, `_SKB` 2, `_HW` 3, `_MULTI` 4).
fn xdp(attributes: &[u8]) -> (Vec<Xdp>, bool) {
    const PROG_ID: u16 = 4;
    const ONE: [(XdpMode, u8); 3] = [(XdpMode::Driver, 1), (XdpMode::Generic, 2), (XdpMode::Offload, 3)];
    const SEVERAL: [(XdpMode, u16); 3] = [(XdpMode::Generic, 6), (XdpMode::Driver, 5), (XdpMode::Offload, 7)];
    let attached = netlink::attribute(attributes, IFLA_XDP_ATTACHED).and_then(|value| value.first().copied());
    let program = |mode, attribute| {
        let prog_id = word(netlink::attribute(attributes, attribute)?, 0)?;
        Some(Xdp { mode, prog_id })
    };
    match attached {
        Some(4) => (SEVERAL.iter().filter_map(|&(mode, attribute)| program(mode, attribute)).collect(), true),
        Some(attached) => {
            let mode = ONE.iter().find(|(_, number)| *number == attached);
            (mode.and_then(|&(mode, _)| program(mode, PROG_ID)).into_iter().collect(), false)
        }
        None => (Vec::new(), false),
    }
}

/// Classes, or queueing disciplines, that filters may hang at.
fn parents(socket: &Socket, device: u32, kind: u16) -> Result<Vec<(String, u32)>> {
    let mut parents = Vec::new();
    socket.dump(kind, &tcmsg(device, 0), &mut |message| {
        let parent = || {
            let handle = word(message, 8)?;
            let name = netlink::attribute(message.get(TCMSG..)?, TCA_KIND).map(netlink::text);
            Some((name.unwrap_or_else(|| "unknown".to_owned()), handle))
        };
        // A dump of disciplines tells those of all devices. `clsact` has its filters at its ends.
        let is_other = |name: &str, handle: u32| kind == RTM_GETQDISC && (name == "clsact" || handle == 0);
        if word(message, 4) == Some(device) {
            parents.extend(parent().filter(|(name, handle)| !is_other(name, *handle)));
        }
    })?;
    Ok(parents)
}

fn tcmsg(device: u32, parent: u32) -> [u8; TCMSG] {
    let mut message = [0; TCMSG];
    message[4..8].copy_from_slice(&device.to_ne_bytes());
    message[12..16].copy_from_slice(&parent.to_ne_bytes());
    message
}

/// A filter of kind `bpf`; one without options stands for all of its priority.
fn filter(message: &[u8], place: &str) -> Option<Filter> {
    let attributes = message.get(TCMSG..)?;
    let options = netlink::attribute(attributes, TCA_OPTIONS)?;
    if netlink::text(netlink::attribute(attributes, TCA_KIND)?) != "bpf" {
        return None;
    }
    let actions = netlink::attribute(options, TCA_BPF_ACT).unwrap_or_default();
    Some(Filter {
        place: place.to_owned(),
        name: netlink::attribute(options, TCA_BPF_NAME).map(netlink::text),
        prog_id: netlink::attribute(options, TCA_BPF_ID).and_then(|value| word(value, 0)),
        actions: netlink::attributes(actions).filter_map(|(_, value)| action(value)).collect(),
    })
}

fn action(attributes: &[u8]) -> Option<Action> {
    if netlink::text(netlink::attribute(attributes, TCA_ACT_KIND)?) != "bpf" {
        return None;
    }
    let options = netlink::attribute(attributes, TCA_ACT_OPTIONS)?;
    Some(Action {
        name: netlink::attribute(options, TCA_ACT_BPF_NAME).map(netlink::text),
        prog_id: netlink::attribute(options, TCA_ACT_BPF_ID).and_then(|value| word(value, 0)),
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}
