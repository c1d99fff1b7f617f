//! What a program may do with its context: which loads and stores, and what a load gives.
//!
//! One function a context structure, over its offsets in `include/uapi/linux/bpf.h`; the rules are those of the kernel's
//! `*_is_valid_access` functions (Linux 6.12 to 6.18). Contexts described by BTF (`tracing`, LSM, `struct_ops`,
//! netfilter) are the business of [`crate::check`].

use skep_isa::uapi::{AttachType, ProgType};

use crate::reg::{Base, Flags, RegType};

/// An access to the context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CtxAccess {
    /// Offset in bytes.
    pub(crate) off: i32,
    /// Size in bytes.
    pub(crate) size: i32,
    /// A store?
    pub(crate) write: bool,
    /// A sign-extending load?
    pub(crate) signed: bool,
}

/// What a permitted access gives; `None` where it is not permitted.
type Given = Option<RegType>;

const SCALAR: Given = Some(RegType::SCALAR);
const PACKET: Given = Some(RegType::new(Base::Packet));
const PACKET_META: Given = Some(RegType::new(Base::PacketMeta));
const PACKET_END: Given = Some(RegType::new(Base::PacketEnd));
const SOCKET: Given = Some(RegType::new(Base::Socket));
const SOCKET_OR_NULL: Given = Some(RegType::flagged(Base::Socket, Flags::MAYBE_NULL));
const SOCK_COMMON_OR_NULL: Given = Some(RegType::flagged(Base::SockCommon, Flags::MAYBE_NULL));

/// Sizes of `struct pt_regs` on x86-64 and of the largest tracepoint record.
const PT_REGS: i32 = 168;
const MAX_TRACE: i32 = 8192;
/// Arguments of a raw tracepoint, eight bytes each.
const MAX_ARGS: i32 = 12 * 8;

/// The answer for a program of this type; `Err` where its context is described by BTF or not known.
pub(crate) fn access(prog: ProgType, attach: AttachType, a: CtxAccess) -> Result<Given, ()> {
    Ok(match prog {
        ProgType::SOCKET_FILTER => socket_filter(a),
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => sched(a),
        ProgType::CGROUP_SKB => cgroup_skb(a),
        ProgType::LWT_IN | ProgType::LWT_OUT | ProgType::LWT_XMIT | ProgType::LWT_SEG6LOCAL => lwt(a),
        ProgType::SK_SKB => sk_skb(a),
        ProgType::FLOW_DISSECTOR => flow_dissector(a),
        ProgType::XDP => xdp(attach, a),
        ProgType::CGROUP_SOCK => cgroup_sock(attach, a),
        ProgType::CGROUP_SOCK_ADDR => sock_addr(attach, a),
        ProgType::SOCK_OPS => sock_ops(a),
        ProgType::SK_MSG => sk_msg(a),
        ProgType::SK_REUSEPORT => sk_reuseport(a),
        ProgType::SK_LOOKUP => sk_lookup(a),
        ProgType::CGROUP_DEVICE => cgroup_device(a),
        ProgType::CGROUP_SYSCTL => sysctl(a),
        ProgType::CGROUP_SOCKOPT => sockopt(attach, a),
        ProgType::KPROBE => {
            (within(a, PT_REGS) && !a.write && a.off + a.size <= PT_REGS).then_some(RegType::SCALAR)
        }
        ProgType::TRACEPOINT => (within(a, MAX_TRACE) && a.off >= 8 && !a.write).then_some(RegType::SCALAR),
        ProgType::RAW_TRACEPOINT => raw_tracepoint(a),
        ProgType::RAW_TRACEPOINT_WRITABLE => raw_tracepoint_writable(a),
        ProgType::PERF_EVENT => perf_event(a),
        ProgType::SYSCALL => within(a, 0xffff).then_some(RegType::SCALAR),
        ProgType::LIRC_MODE2 => (a.off == 0 && a.size == 4 && !a.write).then_some(RegType::SCALAR),
        _ => return Err(()),
    })
}

/// Inside the structure, and aligned.
fn within(a: CtxAccess, bytes: i32) -> bool {
    a.off >= 0 && a.off < bytes && a.off % a.size == 0
}

fn only_if(ok: bool, given: Given) -> Given {
    if ok { given } else { None }
}

/// A field of `width` bytes that may be read in smaller pieces.
fn narrow(a: CtxAccess, width: i32) -> Given {
    only_if(a.size <= width && a.size.count_ones() == 1, SCALAR)
}

/// Fields of `struct __sk_buff` as every program type that has it sees them.
fn sk_buff(a: CtxAccess) -> Given {
    if !within(a, 192) {
        return None;
    }
    match a.off {
        48..68 => only_if(a.off + a.size <= 68, SCALAR), // cb
        76..84 | 140..144 => only_if(!a.signed && a.size == 4, SCALAR), // data, data_end, data_meta
        92..132 => only_if(a.size == 4, SCALAR),         // remote and local addresses
        144..152 => None,                                // flow_keys
        152..160 => only_if(a.size == 8, SCALAR),        // tstamp
        168..176 => only_if(!a.write && a.size == 8, SOCK_COMMON_OR_NULL), // sk
        180..184 => None,                                // tstamp_type and padding
        184..192 => only_if(!a.write && a.size == 8, SCALAR), // hwtstamp
        _ if a.write => only_if(a.size == 4, SCALAR),
        _ => narrow(a, 4),
    }
}

/// The packet's start and end as pointers, the rest as [`sk_buff`] says.
fn sk_buff_packet(a: CtxAccess) -> Given {
    let given = sk_buff(a)?;
    match a.off {
        76..80 => PACKET,
        80..84 => PACKET_END,
        _ => Some(given),
    }
}

fn socket_filter(a: CtxAccess) -> Given {
    let hidden = matches!(a.off, 72..84 | 140..144 | 88..140 | 152..164 | 184..192);
    let writable = matches!(a.off, 48..68);
    only_if(!hidden && (!a.write || writable), SCALAR).and_then(|_| sk_buff(a))
}

fn cgroup_skb(a: CtxAccess) -> Given {
    let hidden = matches!(a.off, 72..76 | 140..144 | 160..164);
    let writable = matches!(a.off, 8..12 | 32..36 | 48..68 | 152..160);
    only_if(!hidden && (!a.write || writable), SCALAR).and_then(|_| sk_buff_packet(a))
}

fn lwt(a: CtxAccess) -> Given {
    let hidden = matches!(a.off, 72..76 | 88..144 | 152..164 | 184..192);
    let writable = matches!(a.off, 8..12 | 32..36 | 48..68);
    only_if(!hidden && (!a.write || writable), SCALAR).and_then(|_| sk_buff_packet(a))
}

fn sched(a: CtxAccess) -> Given {
    let writable = matches!(a.off, 8..16 | 32..36 | 44..68 | 72..76 | 152..160);
    if a.write && !writable {
        return None;
    }
    match a.off {
        140..144 => sk_buff(a).and(PACKET_META),
        88..140 => None, // family to local_port
        180 => only_if(a.size == 1, SCALAR),
        _ => sk_buff_packet(a),
    }
}

fn sk_skb(a: CtxAccess) -> Given {
    let hidden = matches!(a.off, 72..76 | 140..144 | 152..164 | 184..192 | 8..12);
    let writable = matches!(a.off, 44..48 | 32..36);
    only_if(!hidden && (!a.write || writable), SCALAR).and_then(|_| sk_buff_packet(a))
}

fn flow_dissector(a: CtxAccess) -> Given {
    if !within(a, 192) || a.write {
        return None;
    }
    match a.off {
        76..80 => only_if(!a.signed && a.size == 4, PACKET),
        80..84 => only_if(!a.signed && a.size == 4, PACKET_END),
        144..152 => only_if(a.size == 8, Some(RegType::new(Base::FlowKeys))),
        _ => None,
    }
}

fn xdp(attach: AttachType, a: CtxAccess) -> Given {
    if a.write || (a.off == 20 && attach != AttachType::XDP_DEVMAP) || !within(a, 24) || a.size != 4 {
        return None;
    }
    match a.off {
        0 | 4 | 8 if a.signed => None,
        0 => PACKET,
        4 => PACKET_END,
        8 => PACKET_META,
        _ => SCALAR,
    }
}

/// Fields of `struct bpf_sock`.
pub(crate) fn sock(off: i32, size: i32) -> bool {
    let a = CtxAccess { off, size, write: false, signed: false };
    if !within(a, 80) {
        return false;
    }
    match off {
        4 | 8 | 12 | 44 | 72 | 76 | 24..44 | 52..72 => narrow(a, 4).is_some(),
        48..50 => narrow(a, if size == 4 { 4 } else { 2 }).is_some(),
        50..52 => false,
        _ => size == 4,
    }
}

/// Fields of `struct bpf_sock` that every socket has.
pub(crate) fn sock_common(off: i32, size: i32) -> bool {
    !(8..24).contains(&off) && sock(off, size)
}

/// Fields of `struct bpf_tcp_sock`.
pub(crate) fn tcp_sock(off: i32, size: i32) -> bool {
    // The upper half of a wide field passes Linux's first check, but not the conversion of accesses after it.
    let size_of_field = match off {
        80 | 88 => 8,
        84 | 92 => return false,
        _ => 4,
    };
    within(CtxAccess { off, size, write: false, signed: false }, 112) && size == size_of_field
}

/// Fields of `struct bpf_xdp_sock`.
pub(crate) fn xdp_sock(off: i32, size: i32) -> bool {
    (0..4).contains(&off) && off % size == 0 && size == 4
}

fn cgroup_sock(attach: AttachType, a: CtxAccess) -> Given {
    let lifecycle =
        matches!(attach, AttachType::CGROUP_INET_SOCK_CREATE | AttachType::CGROUP_INET_SOCK_RELEASE);
    let (bind4, bind6) =
        (attach == AttachType::CGROUP_INET4_POST_BIND, attach == AttachType::CGROUP_INET6_POST_BIND);
    let ok = match a.off {
        0 | 16 | 20 => lifecycle,
        24..28 => bind4 && !a.write,
        28..44 => bind6 && !a.write,
        44..48 => (bind4 || bind6) && !a.write,
        _ => !a.write,
    };
    only_if(ok && sock(a.off, a.size), SCALAR)
}

fn sock_addr(attach: AttachType, a: CtxAccess) -> Given {
    if !within(a, 72) {
        return None;
    }
    let v4 = matches!(
        attach,
        AttachType::CGROUP_INET4_BIND
            | AttachType::CGROUP_INET4_CONNECT
            | AttachType::CGROUP_INET4_GETPEERNAME
            | AttachType::CGROUP_INET4_GETSOCKNAME
            | AttachType::CGROUP_UDP4_SENDMSG
            | AttachType::CGROUP_UDP4_RECVMSG
    );
    let v6 = matches!(
        attach,
        AttachType::CGROUP_INET6_BIND
            | AttachType::CGROUP_INET6_CONNECT
            | AttachType::CGROUP_INET6_GETPEERNAME
            | AttachType::CGROUP_INET6_GETSOCKNAME
            | AttachType::CGROUP_UDP6_SENDMSG
            | AttachType::CGROUP_UDP6_RECVMSG
    );
    let offered = match a.off {
        4..8 => v4,
        8..24 => v6,
        40..44 => attach == AttachType::CGROUP_UDP4_SENDMSG,
        44..60 => attach == AttachType::CGROUP_UDP6_SENDMSG,
        _ => true,
    };
    if !offered {
        return None;
    }
    let wide = |field: i32| a.size == 8 && a.off >= field && a.off + 8 <= field + 16 && a.off % 8 == 0;
    match a.off {
        4..28 | 40..60 if wide(8) || wide(44) => SCALAR,
        4..28 | 40..60 if a.write => only_if(a.size == 4, SCALAR),
        4..28 | 40..60 => narrow(a, 4),
        64..72 => only_if(!a.write && a.size == 8, SOCKET),
        0..4 | 28..40 => only_if(!a.write && a.size == 4, SCALAR),
        _ => None,
    }
}

fn sock_ops(a: CtxAccess) -> Given {
    if !within(a, 224) {
        return None;
    }
    if a.write {
        return only_if(matches!(a.off, 4 | 164) && a.size == 4, SCALAR);
    }
    match a.off {
        168..184 | 216..224 => only_if(a.size == 8, SCALAR),
        184..192 => only_if(a.size == 8, SOCKET_OR_NULL),
        192..200 => only_if(a.size == 8, PACKET),
        200..208 => only_if(a.size == 8, PACKET_END),
        212 => narrow(a, 4),
        _ => only_if(a.size == 4, SCALAR),
    }
}

fn sk_msg(a: CtxAccess) -> Given {
    if a.write || a.off < 0 || a.off % a.size != 0 {
        return None;
    }
    match a.off {
        0..8 => only_if(a.size == 8, PACKET),
        8..16 => only_if(a.size == 8, PACKET_END),
        72..80 => only_if(a.size == 8, SOCKET),
        16..72 => only_if(a.size == 4, SCALAR),
        _ => None,
    }
}

fn sk_reuseport(a: CtxAccess) -> Given {
    if !within(a, 56) || a.write {
        return None;
    }
    match a.off {
        0 => only_if(a.size == 8, PACKET),
        8 => only_if(a.size == 8, PACKET_END),
        32 => only_if(a.size == 4, SCALAR),
        40 => only_if(a.size == 8, SOCKET),
        48 => only_if(a.size == 8, SOCK_COMMON_OR_NULL),
        20..24 if a.size < 2 => None,
        16..32 => narrow(a, 4),
        _ => None,
    }
}

fn sk_lookup(a: CtxAccess) -> Given {
    if !within(a, 72) || a.write {
        return None;
    }
    match a.off {
        0..8 => only_if(a.size == 8, SOCKET_OR_NULL),
        36..38 if a.size == 4 => SCALAR,
        36..40 => narrow(a, 2),
        8..36 | 40..68 => narrow(a, 4),
        _ => None,
    }
}

fn cgroup_device(a: CtxAccess) -> Given {
    if a.write || a.off < 0 || a.off + a.size > 12 || a.off % a.size != 0 {
        return None;
    }
    if a.off < 4 { narrow(a, 4) } else { only_if(a.size == 4, SCALAR) }
}

fn sysctl(a: CtxAccess) -> Given {
    if a.off < 0 || a.off + a.size > 8 || a.off % a.size != 0 {
        return None;
    }
    match (a.off < 4, a.write) {
        (true, true) => None,
        (false, true) => only_if(a.size == 4, SCALAR),
        (_, false) => narrow(a, 4),
    }
}

fn sockopt(attach: AttachType, a: CtxAccess) -> Given {
    if !within(a, 40) {
        return None;
    }
    if a.write {
        let ok = match a.off {
            36 => attach == AttachType::CGROUP_GETSOCKOPT,
            24 | 28 => attach == AttachType::CGROUP_SETSOCKOPT,
            32 => true,
            _ => false,
        };
        return only_if(ok && a.size == 4, SCALAR);
    }
    match a.off {
        0..8 => only_if(a.size == 8, SOCKET),
        8..16 => only_if(a.size == 8, PACKET),
        16..24 => only_if(a.size == 8, PACKET_END),
        36..40 => only_if(a.size == 4 && attach == AttachType::CGROUP_GETSOCKOPT, SCALAR),
        _ => only_if(a.size == 4, SCALAR),
    }
}

/// Arguments of a raw tracepoint: numbers, since nothing says what they are.
pub(crate) fn raw_tracepoint(a: CtxAccess) -> Given {
    only_if(within(a, MAX_ARGS) && !a.write, SCALAR)
}

fn raw_tracepoint_writable(a: CtxAccess) -> Given {
    match a.off {
        0 => only_if(a.size == 8 && !a.write, Some(RegType::new(Base::TpBuffer))),
        _ => raw_tracepoint(a),
    }
}

fn perf_event(a: CtxAccess) -> Given {
    if !within(a, 184) || a.write {
        return None;
    }
    match a.off {
        168..184 => narrow(a, 8),
        _ => only_if(a.size == 8, SCALAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(prog: ProgType, off: i32, size: i32) -> Given {
        access(prog, AttachType(0), CtxAccess { off, size, write: false, signed: false })
            .expect("has a table")
    }

    #[test]
    fn packet_pointers_are_where_the_structures_say() {
        assert_eq!(load(ProgType::XDP, 0, 4), PACKET);
        assert_eq!(load(ProgType::XDP, 4, 4), PACKET_END);
        assert_eq!(load(ProgType::SCHED_CLS, 76, 4), PACKET);
        assert_eq!(load(ProgType::SCHED_CLS, 140, 4), PACKET_META);
        assert_eq!(load(ProgType::SOCKET_FILTER, 76, 4), None);
        assert_eq!(load(ProgType::SK_MSG, 8, 8), PACKET_END);
    }

    #[test]
    fn narrow_and_misaligned_loads() {
        assert_eq!(load(ProgType::SOCKET_FILTER, 16, 2), SCALAR);
        assert_eq!(load(ProgType::SOCKET_FILTER, 17, 2), None);
        assert_eq!(load(ProgType::SOCKET_FILTER, 16, 8), None);
        assert_eq!(load(ProgType::KPROBE, 160, 8), SCALAR);
        assert_eq!(load(ProgType::KPROBE, 168, 8), None);
    }
}
