//! Test runs of flow dissectors: what comes out is the flow keys.

use skep_runtime::command::TestRun;
use skep_runtime::{Reply, Result};
use skep_vm::packet::DataAccess;
use skep_vm::packet::{ETH_HLEN, KEYS_BYTES, Packet};

use super::{PAGE_BYTES, World, context_in, finish, invalid, is_zero, no_memory, repeated};
use crate::objects::Prog;
use crate::packets::first_keys;
use crate::runtime::of_errno;

/// Offsets of `struct bpf_flow_keys`.
const NHOFF: usize = 0;
const THOFF: usize = 2;
const FLAGS: usize = 48;

pub(super) fn run(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    if run.flags != 0 || run.cpu != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "flow dissectors take no flags in test runs"));
    }
    if !(ETH_HLEN..=PAGE_BYTES).contains(&run.data_in.len()) {
        return Err(invalid(prog, "the data is shorter than an Ethernet header or longer than a page"));
    }
    let context = context_in(&run, KEYS_BYTES)?;
    let given = context.as_deref().unwrap_or(&[0; KEYS_BYTES]);
    if !is_zero(&given[..FLAGS]) || !is_zero(&given[FLAGS + 4..]) {
        return Err(invalid(prog, "only the flags of the flow keys may be given"));
    }
    let mut packet = Packet::skb(DataAccess::Read).map_err(no_memory)?;
    packet.fill(run.data_in, 0).map_err(of_errno)?;
    let start = first_keys(run.data_in, &given[FLAGS..FLAGS + 4]);
    let outcome = repeated(run.repeat, || {
        packet.set_flow_keys(&start);
        prog.code.run_packet(&mut packet, world)
    })?;
    let keys = clamped(packet.flow_keys(), run.data_in.len());
    finish(run, &keys, context.as_deref(), &outcome)
}

/// Offsets stay inside the frame and in order, whatever the program wrote (`bpf_flow_dissect`).
fn clamped(mut keys: [u8; KEYS_BYTES], len: usize) -> [u8; KEYS_BYTES] {
    let get = |keys: &[u8; KEYS_BYTES], at: usize| u16::from_ne_bytes([keys[at], keys[at + 1]]);
    let (least, most) = (ETH_HLEN as u16, len as u16);
    let network = get(&keys, NHOFF).clamp(least, most);
    let transport = get(&keys, THOFF).clamp(network, most);
    keys[NHOFF..NHOFF + 2].copy_from_slice(&network.to_ne_bytes());
    keys[THOFF..THOFF + 2].copy_from_slice(&transport.to_ne_bytes());
    keys
}
