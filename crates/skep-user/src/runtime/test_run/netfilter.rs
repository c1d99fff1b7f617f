//! Test runs of netfilter programs: the context points to structures of the kernel's, and the packet is reached through a
//! dynptr (`bpf_prog_test_run_nf`).

use skep_runtime::command::TestRun;
use skep_runtime::{Error, Reply, Result};
use skep_vm::packet::{DataAccess, ETH_HLEN, Packet};
use skep_vm::{Errno, Input};

use super::{PAGE_BYTES, World, context_in, finish, invalid, is_zero, no_memory, repeated};
use crate::objects::Prog;
use crate::runtime::of_errno;

/// What the kernel keeps around a test's data (`NET_SKB_PAD`, `struct skb_shared_info`).
const AROUND: usize = 64 + 320;

/// `struct nf_hook_state`: the hook, the family, and five pointers.
const STATE_BYTES: usize = 48;
const POINTERS: usize = 8;

/// Families (`NFPROTO_IPV4`, `NFPROTO_IPV6`), with the number and the header's length of each protocol.
const FAMILIES: [(u8, u16, usize); 2] = [(2, 0x0800, 20), (10, 0x86dd, 40)];
const IPV4: u8 = 2;

/// `enum nf_inet_hooks`: a packet is sent by this host.
const LOCAL_OUT: u8 = 3;

/// Where in its way a packet is.
struct State {
    hook: u8,
    family: u8,
    /// Is it the caller's? Only then is there a device.
    given: bool,
}

pub(super) fn run(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    if run.flags != 0 || run.cpu != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "netfilter programs take no flags in test runs"));
    }
    if !(ETH_HLEN..=PAGE_BYTES - AROUND).contains(&run.data_in.len()) {
        return Err(invalid(prog, "the data is shorter than an Ethernet header or longer than a page holds"));
    }
    let given = context_in(&run, STATE_BYTES)?;
    let state = given
        .map_or(Ok(State { hook: LOCAL_OUT, family: IPV4, given: false }), |given| state(prog, &given))?;
    let (protocol, data) = packet_of(prog, &state, run.data_in)?;
    let mut packet = Packet::skb(DataAccess::Read).map_err(no_memory)?;
    packet.fill(data, 0).map_err(of_errno)?;
    let received = state.hook != LOCAL_OUT;
    let mut context = context(world, &state, protocol, data.len(), received);
    let outcome = repeated(run.repeat, || {
        let input = Input { ctx: &mut context, packet: Some(&mut packet), ..Input::default() };
        prog.code.run_with(input, world)
    })?;
    finish(run, &[], None, &outcome)
}

fn state(prog: &Prog, given: &[u8]) -> Result<State> {
    let state = State { hook: given[0], family: given[1], given: true };
    if !is_zero(&given[POINTERS..]) {
        return Err(invalid(prog, "the context has pointers"));
    }
    if !FAMILIES.iter().any(|(family, ..)| *family == state.family) {
        return Err(invalid(prog, "the context's family is neither IPv4 nor IPv6"));
    }
    Ok(state)
}

/// The packet without its link-layer header, which one that is sent out does not have yet, and its protocol.
fn packet_of<'a>(prog: &Prog, state: &State, data: &'a [u8]) -> Result<(u16, &'a [u8])> {
    let of_family = |family: u8| FAMILIES.iter().find(|known| known.0 == family);
    let &(_, protocol, _) = of_family(state.family).expect("invariant: the family was looked at");
    if state.hook == LOCAL_OUT {
        return Ok((protocol, data));
    }
    let said = u16::from_be_bytes([data[ETH_HLEN - 2], data[ETH_HLEN - 1]]);
    let short = || invalid(prog, "the data is shorter than its headers");
    let at_least = |header: usize| data.len() >= ETH_HLEN + header;
    if !at_least(FAMILIES[0].2) {
        return Err(short());
    }
    let Some(&(family, protocol, header)) = FAMILIES.iter().find(|(_, protocol, _)| *protocol == said) else {
        return Err(Error::os(Errno::EPROTO.0, "the data is neither IPv4 nor IPv6"));
    };
    if !at_least(header) {
        return Err(short());
    }
    if family != state.family {
        return Err(invalid(prog, "the data is of another family than the context"));
    }
    Ok((protocol, &data[ETH_HLEN..]))
}

/// `struct bpf_nf_ctx`: where the structures are that it points to.
fn context(world: &mut World, state: &State, protocol: u16, len: usize, received: bool) -> Vec<u8> {
    let device = world.lend("net_device", &[("ifindex", World::LOOPBACK.into())]);
    let at = |there: bool| if there { device } else { 0 };
    // Linux chooses the device before it takes over the caller's hook, so it is that of packets that are sent.
    let fields = [("hook", state.hook.into()), ("pf", state.family.into()), ("out", at(state.given))];
    let state = world.lend("nf_hook_state", &fields);
    let fields = [("len", len as u64), ("protocol", protocol.to_be().into()), ("dev", at(received))];
    let buffer = world.lend("sk_buff", &fields);
    [state, buffer].into_iter().flat_map(u64::to_ne_bytes).collect()
}
