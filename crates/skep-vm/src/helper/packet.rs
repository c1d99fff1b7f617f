//! Helpers on packets: those that both kinds of context have, and what all of them need.
//!
//! Which program type may call which helper is the verifier's to say. Here a helper asks the packet, and a program without
//! one, or with one of the other kind, is ended.

pub(super) mod checksum;
pub(super) mod redirect;
pub(super) mod route;
pub(super) mod skb;
pub(super) mod socket;
pub(super) mod syncookie;
pub(crate) mod tunnel;
pub(super) mod xdp;

use super::{Call, HelperResult, Stop, argument};
use crate::Errno;
use crate::packet::{Form, Packet};

/// Stores into a packet of either kind; the flags are those of `bpf_skb_store_bytes`.
pub(super) fn store(call: &mut Call<'_, '_>, off: usize, bytes: &[u8], flags: u64) -> Result<(), Errno> {
    let packet = call.machine.packet.as_deref_mut().ok_or(Errno::EINVAL)?;
    match packet.form() {
        Form::Xdp if flags != 0 => Err(Errno::EINVAL),
        Form::Xdp => packet.xdp_store(off, bytes),
        Form::Skb => skb::store(packet, off, bytes, flags),
    }
}

impl Call<'_, '_> {
    /// The packet of the run, which the first argument is the context of.
    fn packet(&mut self, form: Form) -> Result<&mut Packet, Box<Stop>> {
        match self.machine.packet.as_deref_mut() {
            Some(packet) if packet.form() == form => Ok(packet),
            _ => Err(argument("the program has no packet of this kind")),
        }
    }

    fn skb(&mut self) -> Result<&mut Packet, Box<Stop>> {
        self.packet(Form::Skb)
    }

    fn xdp(&mut self) -> Result<&mut Packet, Box<Stop>> {
        self.packet(Form::Xdp)
    }

    /// Zero or an error number, after the packet may have moved.
    fn moved(&mut self, result: Result<(), Errno>) -> HelperResult {
        let machine = &mut *self.machine;
        if let Some(packet) = machine.packet.as_deref() {
            machine.space.move_packet(&packet.view());
        }
        super::status(result)
    }
}
