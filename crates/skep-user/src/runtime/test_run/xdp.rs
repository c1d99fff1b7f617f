//! XDP test runs.

use skep_isa::uapi::AttachType;
use skep_runtime::command::TestRun;
use skep_runtime::{Error, Reply, Result};
use skep_vm::Errno;
use skep_vm::packet::xdp::{
    CONTEXT_BYTES, EGRESS_IFINDEX, FRAME_BYTES, HEADROOM, INGRESS_IFINDEX, MAX_META, PAGE_BYTES,
    RX_QUEUE_INDEX, TAILROOM,
};
use skep_vm::packet::{ETH_HLEN, Packet};

use super::{World, context_in, finish, invalid, no_memory, repeated, word};
use crate::objects::Prog;
use crate::runtime::of_errno;

/// Offsets of `struct xdp_md`.
const DATA: usize = 0;
const DATA_END: usize = 4;
const DATA_META: usize = 8;

/// Frames that would go through the stack (`BPF_F_TEST_XDP_LIVE_FRAMES`).
const LIVE_FRAMES: u32 = 1 << 1;

/// How the caller's data is laid out.
struct Layout {
    meta: usize,
    /// Bytes in one piece, metadata included; the rest comes in fragments.
    linear: usize,
}

pub(super) fn run(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    if matches!(prog.spec.attach_type, Some(AttachType::XDP_DEVMAP | AttachType::XDP_CPUMAP)) {
        return Err(invalid(prog, "programs of maps have no test run"));
    }
    if run.flags == LIVE_FRAMES && run.data_out.is_empty() && run.ctx_out.is_empty() {
        return Err(Error::unsupported("the user runtime has no network stack to send live frames through")
            .hint("run a capture through the program: `skep run FILE --in a.pcap`"));
    }
    if run.flags != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "XDP test runs take no flags here"));
    }
    let mut context = context_in(&run, CONTEXT_BYTES)?;
    let layout = layout(prog, context.as_deref(), run.data_in.len())?;
    let mut packet = Packet::xdp(PAGE_BYTES).map_err(no_memory)?;
    packet.fill(&run.data_in[..layout.linear], layout.meta).map_err(of_errno)?;
    if let Some(context) = &context {
        apply(prog, &mut packet, context, world)?;
    } else {
        packet.set_field(INGRESS_IFINDEX, World::LOOPBACK);
    }
    packet.add_frags(&run.data_in[layout.linear..]).map_err(of_errno)?;
    let outcome = repeated(run.repeat, || prog.code.run_packet(&mut packet, world))?;
    let mut data = Vec::new();
    packet.append_all(&mut data);
    if let Some(context) = &mut context {
        let linear = packet.linear_len() + packet.meta_len();
        context[DATA..DATA_END].copy_from_slice(&(packet.meta_len() as u32).to_ne_bytes());
        context[DATA_END..DATA_META].copy_from_slice(&(linear as u32).to_ne_bytes());
    }
    finish(run, &data, context.as_deref(), &outcome)
}

/// The context's `data` says where metadata ends, its `data_end` where the linear part does.
fn layout(prog: &Prog, context: Option<&[u8]>, len: usize) -> Result<Layout> {
    let (mut meta, mut linear) = (0, len);
    if let Some(context) = context {
        let [data, end, data_meta] = [DATA, DATA_END, DATA_META].map(|at| word(context, at) as usize);
        if data_meta != 0 || end > len || data > end {
            return Err(invalid(prog, "the context's bounds do not fit the data"));
        }
        if !data.is_multiple_of(4) || data > MAX_META || data > HEADROOM - FRAME_BYTES {
            return Err(invalid(prog, "the context's metadata has no valid length"));
        }
        (meta, linear) = (data, end);
    }
    if len < meta + ETH_HLEN {
        return Err(invalid(prog, "the data is shorter than an Ethernet header"));
    }
    let linear = linear.min(PAGE_BYTES - (HEADROOM - meta) - TAILROOM);
    // Data begins behind the metadata even where the linear part has been cut shorter than that.
    if linear < meta {
        Err(invalid(prog, "the context's bounds do not fit the data"))
    } else {
        Ok(Layout { meta, linear })
    }
}

/// Takes over the fields of the context that a device fills.
fn apply(prog: &Prog, packet: &mut Packet, context: &[u8], world: &mut World) -> Result<()> {
    let [ingress, queue, egress] =
        [INGRESS_IFINDEX, RX_QUEUE_INDEX, EGRESS_IFINDEX].map(|at| word(context, at));
    if egress != 0 || (ingress == 0 && queue != 0) {
        return Err(invalid(prog, "the context names a device to send to, or a queue of none"));
    }
    if ingress != 0 && !world.knows_device(ingress) {
        return Err(Error::os(Errno::ENODEV.0, format!("there is no network device {ingress}")));
    }
    if queue != 0 {
        return Err(invalid(prog, "the device has no such queue"));
    }
    packet.set_field(INGRESS_IFINDEX, if ingress == 0 { World::LOOPBACK } else { ingress });
    Ok(())
}
