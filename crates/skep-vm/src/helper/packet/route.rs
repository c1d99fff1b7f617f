//! Helpers that ask where packets go: routes, and the largest packets of devices.

use super::super::{Call, HelperResult, errno};
use crate::Errno;
use crate::env::network::{Address, Device, RouteQuery};
use crate::machine::Machine;
use crate::packet::Form;

/// Flags of `bpf_fib_lookup`.
const DIRECT: u32 = 1 << 0;
const OUTPUT: u32 = 1 << 1;
const SKIP_NEIGHBOUR: u32 = 1 << 2;
const TABLE: u32 = 1 << 3;
const SOURCE: u32 = 1 << 4;
const MARK: u32 = 1 << 5;

/// Answers of `bpf_fib_lookup` (`BPF_FIB_LKUP_RET_*`), beside those of [`NoRoute`](crate::env::network::NoRoute).
const FOUND: u64 = 0;
const NOT_FORWARDED: u64 = 4;
const FORWARDING_DISABLED: u64 = 5;
const UNSUPPORTED_TUNNEL: u64 = 6;
const NO_NEIGHBOUR: u64 = 7;
const TOO_LONG: u64 = 8;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of `struct bpf_fib_lookup`.
const BYTES: usize = 64;

/// `struct bpf_fib_lookup`, by the offsets of its fields.
struct Lookup([u8; BYTES]);

impl Lookup {
    const LEN: usize = 6;
    const IFINDEX: usize = 8;
    const METRIC: usize = 12;
    const SOURCE: usize = 16;
    const DESTINATION: usize = 32;
    const VLAN: usize = 48;
    const MARK: usize = 52;
    const SOURCE_MAC: usize = 52;
    const DESTINATION_MAC: usize = 58;

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn len(&self) -> u16 {
        u16::from_ne_bytes([self.0[Self::LEN], self.0[Self::LEN + 1]])
    }

    fn address(&self, at: usize) -> Address {
        let mut address = [0; 16];
        let bytes = if self.0[0] == AF_INET { 4 } else { 16 };
        address[..bytes].copy_from_slice(&self.0[at..at + bytes]);
        address
    }

    fn put_address(&mut self, at: usize, family: u8, address: &Address) {
        let bytes = if family == AF_INET { 4 } else { 16 };
        self.put(at, &address[..bytes]);
    }
}

/// `bpf_fib_lookup(ctx, params, size, flags)`.
pub(in crate::helper) fn fib_lookup(call: &mut Call<'_, '_>) -> HelperResult {
    const KNOWN: u32 = DIRECT | OUTPUT | SKIP_NEIGHBOUR | TABLE | SOURCE | MARK;
    let (size, flags) = (call.u32(2) as usize, call.u32(3));
    call.machine.writable(call.args[1], size as u64)?;
    if size < BYTES || flags & !KNOWN != 0 {
        return errno(Errno::EINVAL);
    }
    let mut lookup = Lookup([0; BYTES]);
    lookup.0.copy_from_slice(&call.bytes(1, BYTES)?);
    if ![AF_INET, AF_INET6].contains(&lookup.0[0]) {
        return errno(Errno::EAFNOSUPPORT);
    }
    let told_len = lookup.len() != 0;
    let mut answer = look_up(call.machine, &mut lookup, flags);
    let skb = call.machine.packet.as_deref().filter(|packet| packet.form() == Form::Skb);
    if answer == FOUND
        && !told_len
        && let Some(len) = skb.map(|packet| packet.len() as u32)
        && let Some(device) = call.machine.env.device(lookup.word(Lookup::IFINDEX))
    {
        if !carries(&device, len) {
            answer = TOO_LONG;
        }
        lookup.put(Lookup::LEN, &(device.mtu as u16).to_ne_bytes());
    }
    call.store(1, &lookup.0)?;
    Ok(answer)
}

/// Can a device send a frame of this length, a VLAN tag included?
fn carries(device: &Device, len: u32) -> bool {
    const VLAN_HLEN: u32 = 4;
    device.is_up && len <= device.mtu + device.header_bytes + VLAN_HLEN
}

fn look_up(machine: &mut Machine<'_>, lookup: &mut Lookup, flags: u32) -> u64 {
    let family = lookup.0[0];
    let (source, destination) = (lookup.address(Lookup::SOURCE), lookup.address(Lookup::DESTINATION));
    if family == AF_INET6 && (stays_on_link(&source) || stays_on_link(&destination)) {
        return NOT_FORWARDED;
    }
    let from = lookup.word(Lookup::IFINDEX);
    let Some(device) = machine.env.device(from) else { return Errno::ENODEV.to_reg() };
    if !device.forwards[usize::from(family == AF_INET6)] {
        return FORWARDING_DISABLED;
    }
    let query = RouteQuery {
        family,
        destination,
        device: if flags & OUTPUT != 0 { from } else { 0 },
        table: table(lookup, flags),
        mark: if flags & (MARK | DIRECT) == MARK { lookup.word(Lookup::MARK) } else { 0 },
    };
    let route = match machine.env.route(&query) {
        Ok(route) => route,
        Err(why) => return why as u64,
    };
    let mut mtu = None;
    // XDP programs are told the largest packet in any case.
    let is_frame = machine.packet.as_deref().is_some_and(|packet| packet.form() == Form::Xdp);
    if lookup.len() != 0 || is_frame {
        let least = route.mtu.or_else(|| machine.env.device(route.device).map(|device| device.mtu));
        let least = least.unwrap_or(0);
        if u32::from(lookup.len()) > least {
            lookup.put(Lookup::LEN, &(least as u16).to_ne_bytes());
            return TOO_LONG;
        }
        mtu = Some(least);
    }
    if route.is_encapsulated {
        return UNSUPPORTED_TUNNEL;
    }
    lookup.put(Lookup::METRIC, &route.metric.to_ne_bytes());
    lookup.put(Lookup::IFINDEX, &route.device.to_ne_bytes());
    if let Some(source) = route.source.filter(|_| flags & SOURCE != 0) {
        lookup.put_address(Lookup::SOURCE, family, &source);
    }
    let (family, next) = route.gateway.unwrap_or((family, destination));
    if route.gateway.is_some() {
        lookup.0[0] = family;
        lookup.put_address(Lookup::DESTINATION, family, &next);
    }
    if flags & SKIP_NEIGHBOUR == 0 {
        let Some(mac) = machine.env.neighbour(route.device, family, &next) else { return NO_NEIGHBOUR };
        lookup.put(Lookup::DESTINATION_MAC, &mac);
        let own = machine.env.device(route.device).map_or([0; 6], |device| device.address);
        lookup.put(Lookup::SOURCE_MAC, &own);
    }
    lookup.put(Lookup::VLAN, &[0; 4]);
    if let Some(mtu) = mtu.filter(|mtu| *mtu != 0) {
        lookup.put(Lookup::LEN, &(mtu as u16).to_ne_bytes());
    }
    FOUND
}

/// The table that is to be looked at alone; its number is taken out of the parameters.
fn table(lookup: &mut Lookup, flags: u32) -> Option<u32> {
    const MAIN: u32 = 254;
    match flags & (DIRECT | TABLE) {
        DIRECT => Some(MAIN),
        both if both == DIRECT | TABLE => {
            let table = lookup.word(Lookup::VLAN);
            lookup.put(Lookup::VLAN, &[0; 4]);
            Some(table)
        }
        _ => None,
    }
}

/// Multicast and link-local addresses of IPv6 (`rt6_need_strict`), and the loopback address.
fn stays_on_link(address: &Address) -> bool {
    let loopback = address[..15] == [0; 15] && address[15] == 1;
    address[0] == 0xff || (address[0] == 0xfe && address[1] & 0xc0 == 0x80) || loopback
}

/// `bpf_check_mtu(ctx, ifindex, mtu_len, len_diff, flags)`: 0 when the packet is not too long, 1 when it is.
pub(in crate::helper) fn check_mtu(call: &mut Call<'_, '_>) -> HelperResult {
    /// Look at the segments instead of the whole (`BPF_MTU_CHK_SEGS`); packets here have none.
    const SEGMENTS: u64 = 1;
    let [_, ifindex, at, diff, flags] = call.args;
    call.machine.writable(at, 4)?;
    let given = call.bytes(2, 4)?;
    let given = u32::from_ne_bytes([given[0], given[1], given[2], given[3]]);
    let Some(packet) = call.machine.packet.as_deref() else { return errno(Errno::EINVAL) };
    let (form, len, own) = (packet.form(), packet.len() as u32, packet.device());
    let known = if form == Form::Skb { SEGMENTS } else { 0 };
    if flags & !known != 0 || (flags & SEGMENTS != 0 && (diff as i32 != 0 || given != 0)) {
        return errno(Errno::EINVAL);
    }
    let wanted = if ifindex as u32 == 0 { own } else { ifindex as u32 };
    let Some(device) = call.machine.env.device(wanted) else { return errno(Errno::ENODEV) };
    let len = if given == 0 { len } else { given.wrapping_add(device.header_bytes) };
    let len = (len as i32).wrapping_add(diff as i32);
    let fits = len <= (device.mtu + device.header_bytes) as i32;
    call.store(2, &device.mtu.to_ne_bytes())?;
    Ok(u64::from(!fits))
}
