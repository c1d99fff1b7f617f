//! The host's network, as far as anybody may ask: devices, routes and neighbours by netlink, sockets from /proc.
//!
//! Nothing is kept: the answers are those of the moment, of this process's network namespace.

mod netlink;
mod sockets;

use std::fs;

use skep_vm::env::network::{Address, Device, NoRoute, Route, RouteQuery};

use netlink::{Message, Request};
pub(crate) use sockets::find as socket;

/// Kinds of messages (`include/uapi/linux/rtnetlink.h`).
const RTM_GETLINK: u16 = 18;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;

const AF_INET: u8 = 2;

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An address, padded with zeros.
fn address(bytes: &[u8]) -> Address {
    let mut address = [0; 16];
    let len = bytes.len().min(16);
    address[..len].copy_from_slice(&bytes[..len]);
    address
}

/// A network device by its number.
pub(crate) fn device(ifindex: u32) -> Option<Device> {
    const ADDRESS: u16 = 1;
    const NAME: u16 = 3;
    const MTU: u16 = 4;
    /// Devices with Ethernet headers (`ARPHRD_*`).
    const ETHER: u16 = 1;
    const LOOPBACK: u16 = 772;
    const UP: u32 = 1;
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let link = Request::new(RTM_GETLINK, &header).ask().ok()?;
    let kind = u16::from_ne_bytes(*link.header.get(2..4)?.first_chunk()?);
    let name = link.attribute(NAME)?.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    let mut mac = [0; 6];
    if let Some(bytes) = link.attribute(ADDRESS).filter(|bytes| bytes.len() == mac.len()) {
        mac.copy_from_slice(bytes);
    }
    Some(Device {
        mtu: number(link.attribute(MTU)?)?,
        header_bytes: if [ETHER, LOOPBACK].contains(&kind) { 14 } else { 0 },
        address: mac,
        is_up: number(link.header.get(8..)?)? & UP != 0,
        forwards: ["ipv4", "ipv6"].map(|family| forwards(family, name)),
    })
}

/// Does a device forward packets of a family?
fn forwards(family: &str, name: &str) -> bool {
    let setting = fs::read_to_string(format!("/proc/sys/net/{family}/conf/{name}/forwarding"));
    setting.is_ok_and(|setting| setting.trim() != "0")
}

/// Attributes of routes.
mod rta {
    pub(super) const DST: u16 = 1;
    pub(super) const OIF: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const PREFSRC: u16 = 7;
    pub(super) const METRICS: u16 = 8;
    pub(super) const MULTIPATH: u16 = 9;
    pub(super) const TABLE: u16 = 15;
    pub(super) const MARK: u16 = 16;
    pub(super) const VIA: u16 = 18;
    pub(super) const ENCAP: u16 = 22;
    /// In the metrics.
    pub(super) const LOCK: u16 = 1;
    pub(super) const MTU: u16 = 2;
}

fn address_bytes(family: u8) -> usize {
    if family == AF_INET { 4 } else { 16 }
}

/// The route that a packet would take.
pub(crate) fn route(query: &RouteQuery) -> Result<Route, NoRoute> {
    let found = match query.table {
        Some(table) => by_table(query, table),
        None => by_rules(query)?,
    };
    let found = found.ok_or(NoRoute::NotForwarded)?;
    match found.header.get(7) {
        Some(1) => read(&found, query.family).ok_or(NoRoute::NotForwarded),
        Some(6) => Err(NoRoute::Blackhole),
        Some(7) => Err(NoRoute::Unreachable),
        Some(8) => Err(NoRoute::Prohibit),
        _ => Err(NoRoute::NotForwarded),
    }
}

/// Asks the kernel, which goes by its rules.
fn by_rules(query: &RouteQuery) -> Result<Option<Message>, NoRoute> {
    /// The route as it is in its table (`RTM_F_FIB_MATCH`).
    const FIB_MATCH: u32 = 0x2000;
    let bytes = address_bytes(query.family);
    let mut header = [0; 12];
    (header[0], header[1]) = (query.family, (bytes * 8) as u8);
    header[8..].copy_from_slice(&FIB_MATCH.to_ne_bytes());
    let mut request = Request::new(RTM_GETROUTE, &header);
    request.attribute(rta::DST, &query.destination[..bytes]);
    if query.device != 0 {
        request.attribute(rta::OIF, &query.device.to_ne_bytes());
    }
    if query.mark != 0 {
        request.attribute(rta::MARK, &query.mark.to_ne_bytes());
    }
    match request.ask() {
        Ok(found) => Ok(Some(found)),
        Err(e) => Err(match e.raw_os_error() {
            Some(libc::EINVAL) => NoRoute::Blackhole,
            // For a given device that also says that nothing was found.
            Some(libc::EHOSTUNREACH) if query.device == 0 => NoRoute::Unreachable,
            Some(libc::EACCES) => NoRoute::Prohibit,
            _ => NoRoute::NotForwarded,
        }),
    }
}

/// The longest prefix in one table; of equals the lowest metric.
fn by_table(query: &RouteQuery, table: u32) -> Option<Message> {
    let mut header = [0; 12];
    header[0] = query.family;
    let all = Request::new(RTM_GETROUTE, &header).ask_all().ok()?;
    let fits = |route: &Message| {
        let of_table = route.attribute(rta::TABLE).and_then(number) == Some(table);
        let by_device = || route.attribute(rta::OIF).and_then(number) == Some(query.device);
        of_table && covers(route, &query.destination) && (query.device == 0 || by_device())
    };
    let rank = |route: &Message| {
        let metric = route.attribute(rta::PRIORITY).and_then(number).unwrap_or(0);
        (route.header[1], std::cmp::Reverse(metric))
    };
    all.into_iter().filter(|route| route.header.len() == 12 && fits(route)).max_by_key(rank)
}

/// Is an address in the network of a route?
fn covers(route: &Message, destination: &Address) -> bool {
    let network = address(route.attribute(rta::DST).unwrap_or_default());
    let bits = usize::from(route.header[1]).min(128);
    (0..bits).all(|bit| (network[bit / 8] ^ destination[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}

/// What of a route matters here. Of several ways the first is taken.
fn read(route: &Message, family: u8) -> Option<Route> {
    let hop = route.attribute(rta::MULTIPATH).and_then(|hops| {
        let device = number(hops.get(4..)?)?;
        let len = usize::from(u16::from_ne_bytes(*hops.first_chunk()?));
        Some((device, Message::of_attributes(hops.get(8..len)?)))
    });
    let (device, way) = match &hop {
        Some((device, way)) => (*device, way),
        None => (number(route.attribute(rta::OIF)?)?, route),
    };
    let direct = way.attribute(rta::GATEWAY).map(|bytes| (family, address(bytes)));
    let via = way.attribute(rta::VIA).and_then(|bytes| Some((*bytes.first()?, address(bytes.get(2..)?))));
    let metrics = route.attribute(rta::METRICS).map(Message::of_attributes);
    let metric = |kind| number(metrics.as_ref()?.attribute(kind)?);
    // IPv4 goes by the device's, unless the route's is locked (`ip_mtu_from_fib_result`).
    let counts = family != AF_INET || metric(rta::LOCK).is_some_and(|locks| locks & 1 << rta::MTU != 0);
    Some(Route {
        device,
        gateway: direct.or(via),
        metric: route.attribute(rta::PRIORITY).and_then(number).unwrap_or(0),
        mtu: metric(rta::MTU).filter(|_| counts),
        source: route.attribute(rta::PREFSRC).map(address),
        is_encapsulated: way.attribute(rta::ENCAP).is_some(),
    })
}

/// The link-layer address of a neighbour, where it is known.
pub(crate) fn neighbour(device: u32, family: u8, of: &Address) -> Option<[u8; 6]> {
    const DESTINATION: u16 = 1;
    const LINK_ADDRESS: u16 = 2;
    /// States in which the address may be used (`NUD_VALID`).
    const VALID: u16 = 0x80 | 0x40 | 0x02 | 0x10 | 0x04 | 0x08;
    let mut header = [0; 12];
    header[0] = family;
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    let mut request = Request::new(RTM_GETNEIGH, &header);
    request.attribute(DESTINATION, &of[..address_bytes(family)]);
    let found = request.ask().ok()?;
    let state = u16::from_ne_bytes(*found.header.get(8..)?.first_chunk()?);
    let known = found.attribute(LINK_ADDRESS).filter(|_| state & VALID != 0)?;
    known.first_chunk().copied()
}
