//! Helpers on socket buffers.

use skep_isa::uapi::ProgType;

use super::super::{Call, HelperResult, argument, errno, status};
use crate::Errno;
use crate::packet::{Packet, skb};

/// Flags of `bpf_skb_store_bytes`.
const RECOMPUTE_CSUM: u64 = 1;
const INVALIDATE_HASH: u64 = 2;

/// `bpf_skb_store_bytes(skb, offset, from, len, flags)`.
pub(in crate::helper) fn store_bytes(call: &mut Call<'_, '_>) -> HelperResult {
    let (off, len, flags) = (call.u32(1) as usize, call.u32(3) as usize, call.args[4]);
    let bytes = call.bytes(2, len)?;
    let result = store(call.skb()?, off, &bytes, flags);
    call.moved(result)
}

/// Stores bytes, and keeps up what is known of the checksum and of the flow.
pub(super) fn store(packet: &mut Packet, off: usize, bytes: &[u8], flags: u64) -> Result<(), Errno> {
    if flags & !(RECOMPUTE_CSUM | INVALIDATE_HASH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut old = vec![0; bytes.len()];
    packet.read(off, &mut old).ok_or(Errno::EFAULT)?;
    packet.write(off, bytes).ok_or(Errno::EFAULT)?;
    if flags & RECOMPUTE_CSUM != 0 {
        packet.change_sum(off, &old, bytes);
    }
    if flags & INVALIDATE_HASH != 0 {
        packet.clear_hash();
    }
    Ok(())
}

/// Stores what was read, or zeros and `EFAULT`.
fn loaded(call: &mut Call<'_, '_>, to: usize, len: usize, bytes: Option<Vec<u8>>) -> HelperResult {
    let failed = bytes.is_none();
    call.store(to, &bytes.unwrap_or_else(|| vec![0; len]))?;
    if failed { errno(Errno::EFAULT) } else { Ok(0) }
}

/// `bpf_skb_load_bytes(skb, offset, to, len)`.
pub(in crate::helper) fn load_bytes(call: &mut Call<'_, '_>) -> HelperResult {
    let (off, len) = (call.u32(1) as usize, call.u32(3) as usize);
    call.machine.writable(call.args[2], len as u64)?;
    let mut bytes = vec![0; len];
    let read = call.skb()?.read(off, &mut bytes).map(|()| bytes);
    loaded(call, 2, len, read)
}

/// `bpf_skb_load_bytes_relative(skb, offset, to, len, start_header)`.
pub(in crate::helper) fn load_bytes_relative(call: &mut Call<'_, '_>) -> HelperResult {
    let (off, len, start) = (call.u32(1) as usize, call.u32(3) as usize, call.u32(4));
    call.machine.writable(call.args[2], len as u64)?;
    let mut bytes = vec![0; len];
    let read = match start {
        0 | 1 if off <= 0xffff => call.skb()?.read_from_header(start == 1, off, &mut bytes),
        _ => None,
    };
    loaded(call, 2, len, read.map(|()| bytes))
}

/// `bpf_skb_pull_data(skb, len)`: everything is in one piece here already.
pub(in crate::helper) fn pull_data(call: &mut Call<'_, '_>) -> HelperResult {
    let len = call.u32(1) as usize;
    let long_enough = len <= call.skb()?.len();
    call.moved(if long_enough { Ok(()) } else { Err(Errno::ENOMEM) })
}

pub(in crate::helper) fn vlan_push(call: &mut Call<'_, '_>) -> HelperResult {
    let (proto, tci) = (call.u32(1), call.args[2] as u16);
    let result = call.skb()?.vlan_push(proto, tci);
    call.moved(result)
}

pub(in crate::helper) fn vlan_pop(call: &mut Call<'_, '_>) -> HelperResult {
    let result = call.skb()?.vlan_pop();
    call.moved(result)
}

pub(in crate::helper) fn change_proto(call: &mut Call<'_, '_>) -> HelperResult {
    let (proto, flags) = (call.u32(1), call.args[2]);
    let result = call.skb()?.change_proto(proto, flags);
    call.moved(result)
}

pub(in crate::helper) fn change_type(call: &mut Call<'_, '_>) -> HelperResult {
    let to = call.u32(1);
    status(call.skb()?.change_type(to))
}

pub(in crate::helper) fn change_tail(call: &mut Call<'_, '_>) -> HelperResult {
    let (len, flags) = (call.u32(1) as usize, call.args[2]);
    let result = call.skb()?.change_tail(len, flags);
    call.moved(result)
}

pub(in crate::helper) fn change_head(call: &mut Call<'_, '_>) -> HelperResult {
    let (len, flags) = (call.u32(1) as usize, call.args[2]);
    let result = call.skb()?.change_head(len, flags);
    call.moved(result)
}

/// `bpf_skb_adjust_room(skb, len_diff, mode, flags)`.
pub(in crate::helper) fn adjust_room(call: &mut Call<'_, '_>) -> HelperResult {
    let (diff, mode, flags) = (call.u32(1) as i32, call.u32(2), call.args[3]);
    let result = call.skb()?.adjust_room(diff, mode, flags);
    call.moved(result)
}

/// `bpf_lwt_push_encap(skb, type, hdr, len)`. Segment routing needs routes of the kernel, and ends the program when its header
/// is one that the kernel would take.
pub(in crate::helper) fn lwt_push_encap(call: &mut Call<'_, '_>) -> HelperResult {
    const SEG6: u32 = 0;
    const SEG6_INLINE: u32 = 1;
    const IP: u32 = 2;
    let incoming = call.program.info().prog_type == ProgType::LWT_IN;
    let (kind, len) = (call.u32(1), call.u32(3) as usize);
    let header = call.bytes(2, len)?;
    let result = match kind {
        IP => call.skb()?.push_ip(&header, incoming),
        SEG6_INLINE if incoming && is_segment_header(&header) && !call.skb()?.is_ipv6() => {
            Err(Errno::EBADMSG)
        }
        SEG6 | SEG6_INLINE if incoming && is_segment_header(&header) => {
            return Err(argument("encapsulation by segment routing needs the kernel's routes"));
        }
        _ => Err(Errno::EINVAL),
    };
    call.moved(result)
}

/// Can this be a segment routing header (`seg6_validate_srh`)?
fn is_segment_header(header: &[u8]) -> bool {
    const ROUTING_TYPE: u8 = 4;
    matches!(header, [_, words, ROUTING_TYPE, ..] if (usize::from(*words) + 1) * 8 == header.len())
}

/// `bpf_get_hash_recalc(skb)`: the hash that is there, or one of the flow.
pub(in crate::helper) fn hash_recalc(call: &mut Call<'_, '_>) -> HelperResult {
    let packet = call.skb()?;
    if !packet.hash_is_set {
        let hash = packet.flow().hash();
        packet.set_field(skb::HASH, hash);
        packet.hash_is_set = true;
    }
    Ok(packet.field(skb::HASH).into())
}

pub(in crate::helper) fn set_hash(call: &mut Call<'_, '_>) -> HelperResult {
    let hash = call.u32(1);
    let packet = call.skb()?;
    packet.set_field(skb::HASH, hash);
    packet.hash_is_set = true;
    Ok(0)
}

pub(in crate::helper) fn set_hash_invalid(call: &mut Call<'_, '_>) -> HelperResult {
    call.skb()?.clear_hash();
    Ok(0)
}

/// What a packet without a control group, a route or a socket of its own answers.
pub(in crate::helper) fn zero(call: &mut Call<'_, '_>) -> HelperResult {
    call.skb().map(|_| 0)
}

/// `bpf_get_cgroup_classid()`: the network class of the running task, of which there is
/// none here. Programs of any type may ask.
pub(in crate::helper) fn cgroup_classid(_call: &mut Call<'_, '_>) -> HelperResult {
    Ok(0)
}

/// `bpf_get_socket_uid(skb)`: the socket of a packet here is root's, as that of Linux's test runs is.
pub(in crate::helper) fn socket_uid(call: &mut Call<'_, '_>) -> HelperResult {
    zero(call)
}

/// `bpf_skb_ecn_set_ce(skb)`: marks congestion in the IP header; 1 when it is marked now, 0 when it cannot be.
pub(in crate::helper) fn ecn_set_ce(call: &mut Call<'_, '_>) -> HelperResult {
    let marked = call.skb()?.mark_congestion();
    call.moved(Ok(()))?;
    Ok(marked.into())
}

/// `bpf_skb_set_tstamp(skb, tstamp, type)`: the other clocks than the real one have no time 0.
pub(in crate::helper) fn set_tstamp(call: &mut Call<'_, '_>) -> HelperResult {
    const REALTIME: u32 = 0;
    const MONOTONIC: u32 = 1;
    const TAI: u32 = 2;
    let (tstamp, kind) = (call.args[1], call.u32(2));
    let packet = call.skb()?;
    if ![skb::ETH_P_IP, skb::ETH_P_IPV6].contains(&packet.field(skb::PROTOCOL)) {
        return errno(Errno::EOPNOTSUPP);
    }
    match (kind, tstamp) {
        (REALTIME, _) | (MONOTONIC | TAI, 1..) => {
            packet.set_context(skb::TSTAMP, &tstamp.to_ne_bytes());
            packet.set_context(skb::TSTAMP_TYPE, &[kind as u8]);
            Ok(0)
        }
        _ => errno(Errno::EINVAL),
    }
}

/// `bpf_skb_cgroup_id(skb)`: the group of the packet's socket, which is that of who runs the program.
pub(in crate::helper) fn cgroup_id(call: &mut Call<'_, '_>) -> HelperResult {
    call.skb()?;
    Ok(call.machine.env.cgroup_id())
}

/// `bpf_skb_ancestor_cgroup_id(skb, level)`.
pub(in crate::helper) fn ancestor_cgroup_id(call: &mut Call<'_, '_>) -> HelperResult {
    call.skb()?;
    Ok(call.machine.env.ancestor_cgroup_id(call.u32(1) as i32))
}

/// `bpf_skb_under_cgroup(skb, map, index)`: 1 when that socket is in the group of a map, or below it.
pub(in crate::helper) fn under_cgroup(call: &mut Call<'_, '_>) -> HelperResult {
    call.skb()?;
    let map = call.map(1)?;
    let cgroups = map.cgroups().ok_or_else(|| argument("the map is no cgroup array"))?;
    match cgroups.get(call.u32(2)) {
        Ok(id) => Ok(call.machine.env.under_cgroup(id).into()),
        Err(e) => errno(e),
    }
}
