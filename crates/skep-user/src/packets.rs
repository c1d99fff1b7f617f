//! Programs on packets that come one after another: from a capture, or from a device.
//!
//! The packet's memory is made once for all of them. Frames that fit a page get the frame that drivers have, so a program
//! meets the kernel's limits; longer ones get one of their own size.

mod world;

use std::sync::Arc;

use skep_isa::uapi::{MapType, ProgType};
use skep_runtime::{Error, PacketIn, PacketRan, PacketRunner, Result};
use skep_vm::packet::skb::{self, Layer};
use skep_vm::packet::{ETH_HLEN, Form, KEYS_BYTES, Packet, Redirect, xdp};

use crate::objects::Prog;

pub(crate) use world::{World, device_exists};

/// Runs a program of this runtime on packets.
pub(crate) struct Runner {
    prog: Arc<Prog>,
    world: World,
    packet: Packet,
    /// Bytes that the packet's memory takes.
    room: usize,
}

/// Bytes of a frame that hold data.
const PAGE_ROOM: usize = xdp::PAGE_BYTES - xdp::HEADROOM - xdp::TAILROOM;

impl Runner {
    pub(crate) fn new(prog: Arc<Prog>, world: World) -> Result<Self> {
        let packet = memory(prog.spec.prog_type, xdp::PAGE_BYTES)?;
        Ok(Self { prog, world, packet, room: PAGE_ROOM })
    }

    /// Puts a packet in, as its hook shows it.
    fn receive(&mut self, packet: &PacketIn<'_>) -> Result<()> {
        let prog_type = self.prog.spec.prog_type;
        if packet.data.len() > self.room {
            self.room = packet.data.len().next_power_of_two();
            let frame = self.room + xdp::HEADROOM + xdp::TAILROOM;
            self.packet = memory(prog_type, frame)?;
        }
        let frame = &mut self.packet;
        let too_long =
            |e: skep_vm::Errno| Error::os(e.0, format!("a packet of {} bytes: {e}", packet.data.len()));
        frame.fill(packet.data, 0).map_err(too_long)?;
        match frame.form() {
            Form::Xdp => frame.set_field(xdp::INGRESS_IFINDEX, packet.ifindex),
            Form::Skb => {
                // Frames too short for their headers come from the wire, too; they have no socket then.
                let _ = frame.receive(layer(prog_type));
                frame.set_field(skb::IFINDEX, packet.ifindex);
                frame.set_field(skb::INGRESS_IFINDEX, packet.ifindex);
            }
        }
        if prog_type == ProgType::FLOW_DISSECTOR && packet.data.len() >= ETH_HLEN {
            frame.set_flow_keys(&first_keys(packet.data, &[0; 4]));
        }
        Ok(())
    }
}

impl Runner {
    #[cold]
    fn take_copies(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.packet.take_clones().into_iter().map(|copy| (copy.ifindex, copy.data)).collect()
    }
}

impl PacketRunner for Runner {
    fn run(&mut self, packet: &PacketIn<'_>) -> Result<PacketRan> {
        self.receive(packet)?;
        let ran = self.prog.code.run_packet(&mut self.packet, &mut self.world);
        let retval = ran.map_err(|fault| Error::os(libc::EFAULT, fault.to_string()))? as u32;
        let redirect = match self.packet.redirect() {
            Some(Redirect::Device { ifindex, .. }) => Some(*ifindex),
            Some(Redirect::Map { map_type: MapType::DEVMAP | MapType::DEVMAP_HASH, value, .. }) => {
                Some(*value)
            }
            Some(Redirect::Map { .. }) | None => None,
        };
        let copies = if self.packet.has_clones() { self.take_copies() } else { Vec::new() };
        Ok(PacketRan { retval, redirect, copies })
    }

    fn take_packet(&mut self, packet: &PacketIn<'_>, out: &mut Vec<u8>) {
        out.clear();
        // A program above the link layer has not seen its header.
        if self.packet.form() == Form::Skb && layer(self.prog.spec.prog_type) == Layer::Network {
            out.extend_from_slice(&packet.data[..packet.data.len().min(ETH_HLEN)]);
        }
        self.packet.append_data(out);
    }
}

fn memory(prog_type: ProgType, frame_bytes: usize) -> Result<Packet> {
    let Some(packet) = Packet::of_program(prog_type, frame_bytes) else {
        let message = format!("programs of type `{prog_type}` do not run on packets");
        return Err(Error::unsupported(message)
            .hint("XDP, TC, socket filter, cgroup_skb, flow dissector and LWT programs do"));
    };
    packet.map_err(|e| Error::os(e.0, format!("memory for packets: {e}")))
}

/// Where a program's data begins. Socket filters are taken to be those of packet sockets, which see whole frames.
fn layer(prog_type: ProgType) -> Layer {
    match prog_type {
        ProgType::CGROUP_SKB
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL => Layer::Network,
        _ => Layer::Link,
    }
}

/// Offsets of `struct bpf_flow_keys`.
const NHOFF: usize = 0;
const THOFF: usize = 2;
const N_PROTO: usize = 10;
const FLAGS: usize = 48;

/// The keys that a dissector begins with: it is at the network header of an Ethernet frame.
pub(crate) fn first_keys(frame: &[u8], flags: &[u8]) -> [u8; KEYS_BYTES] {
    let mut keys = [0; KEYS_BYTES];
    keys[NHOFF..NHOFF + 2].copy_from_slice(&(ETH_HLEN as u16).to_ne_bytes());
    keys[THOFF..THOFF + 2].copy_from_slice(&(ETH_HLEN as u16).to_ne_bytes());
    keys[N_PROTO..N_PROTO + 2].copy_from_slice(&frame[12..14]);
    keys[FLAGS..FLAGS + 4].copy_from_slice(flags);
    keys
}
