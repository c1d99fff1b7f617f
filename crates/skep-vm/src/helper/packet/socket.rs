//! Helpers on sockets of the host: found for a packet, looked at, given back. They cannot be changed from here.

use super::super::{Call, HelperResult, argument, errno};
use crate::Errno;
use crate::env::network::{Address, SocketQuery};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where `struct bpf_sock` has the state, and the state of those that accept connections.
const STATE: u64 = 72;
const LISTEN: u32 = 10;

/// `bpf_sk_lookup_tcp(ctx, tuple, size, netns, flags)`.
pub(in crate::helper) fn lookup_tcp(call: &mut Call<'_, '_>) -> HelperResult {
    lookup(call, TCP)
}

/// `bpf_sk_lookup_udp(ctx, tuple, size, netns, flags)`.
pub(in crate::helper) fn lookup_udp(call: &mut Call<'_, '_>) -> HelperResult {
    lookup(call, UDP)
}

/// A socket as a record that the program may read, or null.
fn lookup(call: &mut Call<'_, '_>, protocol: u8) -> HelperResult {
    let [_, _, _, netns, flags] = call.args;
    let tuple = call.bytes(1, call.u32(2) as usize)?;
    // Other network namespaces have numbers, which only their owner knows.
    let own = (netns as i32) < 0;
    let Some(query) = query(&tuple, protocol).filter(|_| own && flags == 0) else { return Ok(0) };
    let Some(socket) = call.machine.env.socket(&query) else { return Ok(0) };
    Ok(call.machine.lend_record(&socket.image())?)
}

/// `struct bpf_sock_tuple`: source and destination address, then their ports.
fn query(tuple: &[u8], protocol: u8) -> Option<SocketQuery> {
    let (family, len) = match tuple.len() {
        12 => (2, 4),
        36 => (10, 16),
        _ => return None,
    };
    let address = |at: usize| -> Address {
        let mut address = [0; 16];
        address[..len].copy_from_slice(&tuple[at..at + len]);
        address
    };
    let port = |at: usize| u16::from_be_bytes([tuple[at], tuple[at + 1]]);
    let (source, destination) = ((address(0), port(2 * len)), (address(len), port(2 * len + 2)));
    Some(SocketQuery { family, protocol, source, destination })
}

/// `bpf_sk_release(sk)`.
pub(in crate::helper) fn release(call: &mut Call<'_, '_>) -> HelperResult {
    if call.args[0] != 0 && !call.machine.return_record(call.args[0]) {
        return Err(argument("it is no socket that was looked up"));
    }
    Ok(0)
}

/// `bpf_sk_fullsock(sk)`: those that this side knows of are whole.
pub(in crate::helper) fn full(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.args[0])
}

/// `bpf_get_listener_sock(sk)`.
pub(in crate::helper) fn listener(call: &mut Call<'_, '_>) -> HelperResult {
    let mut state = [0; 4];
    call.machine.read(call.args[0].wrapping_add(STATE), &mut state)?;
    Ok(if u32::from_ne_bytes(state) == LISTEN { call.args[0] } else { 0 })
}

/// `bpf_sk_assign(skb, sk, flags)`: packets here are not on their way into the host.
pub(in crate::helper) fn assign(call: &mut Call<'_, '_>) -> HelperResult {
    let [_, socket, flags, ..] = call.args;
    if socket == 0 || flags != 0 { errno(Errno::EINVAL) } else { errno(Errno::EOPNOTSUPP) }
}

/// `bpf_get_netns_cookie(ctx)`: the first namespace's without a context.
pub(in crate::helper) fn netns_cookie(call: &mut Call<'_, '_>) -> HelperResult {
    const FIRST: u64 = 1;
    if call.args[0] == 0 { Ok(FIRST) } else { Ok(call.machine.env.netns_cookie()) }
}

/// `bpf_get_socket_cookie(ctx)`: a number that the packet's socket keeps.
pub(in crate::helper) fn cookie(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.skb()?.socket_cookie())
}
