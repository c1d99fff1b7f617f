//! Programs on packets that come one after another: from a capture, or from a device.
//!
//! The packet's memory is made once for all of them. Frames that fit a page get the frame that drivers have, so a program
//! meets the kernel's limits; longer ones get one of their own size.

mod world;

use std::sync::Arc;

use skep_isa::uapi::ProgType;
use skep_runtime::{Error, PacketIn, PacketRan, PacketRunner, Result};
use skep_vm::packet::skb::{self, Layer, LinkAddresses};
use skep_vm::packet::{ETH_HLEN, Form, KEYS_BYTES, Packet, xdp};
use skep_vm::{Errno, Fault};

use crate::objects::Prog;

pub(crate) use world::{World, device_exists};

/// Runs a program of this runtime on packets.
pub(crate) struct Runner {
    prog: Arc<Prog>,
    prog_type: ProgType,
    layer: Layer,
    world: World,
    packet: Packet,
    /// Bytes that the packet's memory takes.
    room: usize,
}

/// Bytes of a frame that hold data.
const PAGE_ROOM: usize = xdp::PAGE_BYTES - xdp::HEADROOM - xdp::TAILROOM;

impl Runner {
    pub(crate) fn new(prog: Arc<Prog>, world: World) -> Result<Self> {
        let prog_type = prog.spec.prog_type;
        let packet = memory(prog_type, xdp::PAGE_BYTES)?;
        Ok(Self { prog, prog_type, layer: layer(prog_type), world, packet, room: PAGE_ROOM })
    }

    /// Puts a packet in, as its hook shows it.
    #[inline]
    fn receive(&mut self, packet: &PacketIn<'_>) -> Result<()> {
        if packet.data.len() > self.room {
            self.make_room(packet.data.len())?;
        }
        self.packet.fill(packet.data, 0).map_err(|e| too_long(packet, e))?;
        match self.packet.form() {
            Form::Xdp => self.packet.set_field(xdp::INGRESS_IFINDEX, packet.ifindex),
            Form::Skb => self.receive_buffer(packet),
        }
        Ok(())
    }

    #[cold]
    fn make_room(&mut self, len: usize) -> Result<()> {
        self.room = len.next_power_of_two();
        self.packet = memory(self.prog_type, self.room + xdp::HEADROOM + xdp::TAILROOM)?;
        Ok(())
    }

    /// What is in the context of a socket buffer that has been received.
    fn receive_buffer(&mut self, packet: &PacketIn<'_>) {
        let frame = &mut self.packet;
        // Frames too short for their headers come from the wire, too; they have no socket then.
        let _ = frame.receive(self.layer, &LinkAddresses::ethernet([0; 6]));
        frame.set_field(skb::IFINDEX, packet.ifindex);
        frame.set_field(skb::INGRESS_IFINDEX, packet.ifindex);
        if self.layer == Layer::Link {
            frame.untag();
        }
        if self.prog_type == ProgType::FLOW_DISSECTOR {
            let is_whole = packet.data.len() >= ETH_HLEN;
            frame.set_flow_keys(&if is_whole { first_keys(packet.data, &[0; 4]) } else { [0; KEYS_BYTES] });
        }
    }
}

impl PacketRunner for Runner {
    fn run(&mut self, packet: &PacketIn<'_>) -> Result<PacketRan> {
        self.receive(packet)?;
        match self.prog.code.run_packet(&mut self.packet, &mut self.world) {
            Ok(value) => Ok(PacketRan { retval: value as u32, has_copies: self.packet.has_clones() }),
            Err(fault) => Err(failed(&fault)),
        }
    }

    fn left<'a>(&'a mut self, packet: &PacketIn<'_>, room: &'a mut Vec<u8>) -> &'a [u8] {
        // A program above the link layer has not seen its header.
        if self.packet.form() == Form::Skb {
            // Without room for the tag, the packet is left as the program sees it.
            let _ = self.packet.retag();
        }
        let hidden = if self.layer == Layer::Network { packet.data.get(..ETH_HLEN) } else { None };
        if hidden.is_none() && self.packet.is_linear() {
            return self.packet.linear();
        }
        room.clear();
        room.extend_from_slice(hidden.unwrap_or_default());
        self.packet.append_data(room);
        room
    }

    fn take_copies(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.packet.take_clones().into_iter().map(|copy| (copy.ifindex, copy.data)).collect()
    }
}

#[cold]
fn failed(fault: &Fault) -> Error {
    Error::os(libc::EFAULT, fault.to_string())
}

#[cold]
fn too_long(packet: &PacketIn<'_>, e: Errno) -> Error {
    Error::os(e.0, format!("a packet of {} bytes: {e}", packet.data.len()))
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
