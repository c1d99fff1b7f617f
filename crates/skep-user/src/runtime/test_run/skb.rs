//! Test runs of programs on socket buffers.

use skep_isa::uapi::ProgType;
use skep_runtime::command::TestRun;
use skep_runtime::{Error, Reply, Result};
use skep_vm::packet::skb::{self, Layer, LinkAddresses};
use skep_vm::packet::{ETH_HLEN, Packet};
use skep_vm::{Env, Errno};

use super::{PAGE_BYTES, World, context_in, finish, invalid, is_zero, no_memory, repeated, word};
use crate::objects::Prog;
use crate::runtime::of_errno;

/// What the kernel keeps around a test's data (`NET_SKB_PAD`, `struct skb_shared_info`).
const HEADROOM: usize = 64;
const TAILROOM: usize = 320;

/// The device has summed up everything behind the link-layer header (`BPF_F_TEST_SKB_CHECKSUM_COMPLETE`).
const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// Parts of the context that a caller may fill: start and end of each.
const GIVEN: [(usize, usize); 9] = [
    (skb::MARK, skb::MARK + 4),
    (skb::PRIORITY, skb::PRIORITY + 4),
    (skb::INGRESS_IFINDEX, skb::INGRESS_IFINDEX + 4),
    (skb::IFINDEX, skb::IFINDEX + 4),
    (skb::CB, skb::CB + skb::CB_BYTES),
    (skb::TSTAMP, skb::TSTAMP + 8),
    (skb::WIRE_LEN, skb::GSO_SEGS + 4),
    (skb::GSO_SIZE, skb::GSO_SIZE + 4),
    (skb::HWTSTAMP, skb::HWTSTAMP + 8),
];

/// Largest `wire_len` and `gso_segs` (`GSO_LEGACY_MAX_SIZE`, `GSO_MAX_SEGS`).
const MAX_WIRE_LEN: u32 = 65536;
const MAX_GSO_SEGS: u32 = 65535;

pub(super) fn run(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    if run.flags & !CHECKSUM_COMPLETE != 0 || run.cpu != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "test runs on socket buffers take neither processor nor batch"));
    }
    let len = run.data_in.len();
    if !(ETH_HLEN..=PAGE_BYTES - HEADROOM - TAILROOM).contains(&len) {
        return Err(invalid(prog, "the data is shorter than an Ethernet header or longer than a page holds"));
    }
    let mut context = context_in(&run, skb::CONTEXT_BYTES)?;
    let layer = match prog.spec.prog_type {
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => Layer::Link,
        _ => Layer::Network,
    };
    let frame =
        Packet::of_program(prog.spec.prog_type, PAGE_BYTES).ok_or_else(|| of_errno(Errno::ENOTSUPP))?;
    let mut packet = frame.map_err(no_memory)?;
    packet.fill(run.data_in, 0).map_err(of_errno)?;
    let device = context.as_ref().map_or(0, |context| word(context, skb::IFINDEX));
    packet.receive(layer, &addresses(device, world)?).map_err(of_errno)?;
    packet.set_field(skb::IFINDEX, World::LOOPBACK);
    if let Some(context) = &context {
        apply(prog, &mut packet, context)?;
    }
    if run.flags & CHECKSUM_COMPLETE != 0 {
        packet.complete_checksum();
    }
    let outcome = repeated(run.repeat, || prog.code.run_packet(&mut packet, world))?;
    if layer == Layer::Network {
        packet.restore_link_header();
    }
    if run.flags & CHECKSUM_COMPLETE != 0 && !packet.checksum_is_complete() {
        return Err(Error::os(Errno::EBADMSG.0, "the program has changed the packet and not its checksum"));
    }
    if let Some(context) = &mut context {
        report(&packet, context);
    }
    let mut data = Vec::new();
    packet.append_data(&mut data);
    finish(run, &data, context.as_deref(), &outcome)
}

/// Those of the device that the packet is said to come by.
fn addresses(ifindex: u32, world: &mut World) -> Result<LinkAddresses> {
    if ifindex <= World::LOOPBACK {
        return Ok(LinkAddresses::LOOPBACK);
    }
    let device = world.device(ifindex).map(|device| LinkAddresses::ethernet(device.address));
    device.ok_or_else(|| Error::os(Errno::ENODEV.0, format!("there is no network device {ifindex}")))
}

/// Takes over what the caller may fill; the rest must be zero.
fn apply(prog: &Prog, packet: &mut Packet, context: &[u8]) -> Result<()> {
    let mut from = 0;
    for (start, end) in GIVEN {
        if !is_zero(&context[from..start]) {
            return Err(invalid(prog, &format!("bytes {from} to {start} of the context are not zero")));
        }
        from = end;
    }
    let [wire_len, segs] = [skb::WIRE_LEN, skb::GSO_SEGS].map(|at| word(context, at));
    let len = packet.len() as u32;
    if wire_len != 0 && !(len..=MAX_WIRE_LEN).contains(&wire_len) || segs > MAX_GSO_SEGS {
        return Err(invalid(prog, "the context's `wire_len` or `gso_segs` is out of range"));
    }
    let ifindex = packet.field(skb::IFINDEX);
    for (start, end) in GIVEN {
        packet.set_context(start, &context[start..end]);
    }
    packet.set_field(skb::IFINDEX, word(context, skb::IFINDEX).max(ifindex));
    packet.set_field(skb::WIRE_LEN, if wire_len == 0 { len } else { wire_len });
    Ok(())
}

/// Writes what the program has changed into the caller's context.
fn report(packet: &Packet, context: &mut [u8]) {
    for (start, end) in GIVEN.into_iter().filter(|(start, _)| *start != skb::GSO_SIZE) {
        packet.context(start, &mut context[start..end]);
    }
}
