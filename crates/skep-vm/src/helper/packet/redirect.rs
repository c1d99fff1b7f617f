//! Helpers that send a packet, or a copy of it, somewhere else.

use super::super::{Call, HelperResult, argument, errno};
use crate::Errno;
use crate::packet::{Form, Redirect};

/// What programs answer for a redirected packet.
const XDP_ABORTED: u64 = 0;
const XDP_REDIRECT: u64 = 4;
const TC_ACT_SHOT: u64 = 2;
const TC_ACT_REDIRECT: u64 = 7;

const INGRESS: u64 = 1;

/// `bpf_redirect(ifindex, flags)`.
pub(in crate::helper) fn redirect(call: &mut Call<'_, '_>) -> HelperResult {
    let (ifindex, flags) = (call.args[0] as u32, call.args[1]);
    let Some(packet) = call.machine.packet.as_deref_mut() else {
        return Err(argument("the program has no packet"));
    };
    let (allowed, refused, done) = match packet.form() {
        Form::Xdp => (0, XDP_ABORTED, XDP_REDIRECT),
        Form::Skb => (INGRESS, TC_ACT_SHOT, TC_ACT_REDIRECT),
    };
    if flags & !allowed != 0 {
        return Ok(refused);
    }
    packet.redirect = Some(Redirect::Device { ifindex, flags });
    Ok(done)
}

/// `bpf_redirect_map(map, key, flags)`: the lower bits of the flags are the verdict when nothing is there.
pub(in crate::helper) fn redirect_map(call: &mut Call<'_, '_>) -> HelperResult {
    const VERDICT: u64 = 3;
    const BROADCAST: u64 = 1 << 3;
    let map = call.map(0)?;
    let [_, key, flags, ..] = call.args;
    let Some(targets) = map.targets() else {
        return Err(argument("packets cannot be redirected to this map"));
    };
    if flags & !(VERDICT | targets.redirect_flags()) != 0 {
        return Ok(XDP_ABORTED);
    }
    let found = targets.get(key as u32);
    if found.is_none() && flags & BROADCAST == 0 {
        return Ok(flags & VERDICT);
    }
    let target = Redirect::Map {
        map: map.spec().name.clone(),
        map_type: map.map_type(),
        key,
        value: found.unwrap_or(0),
        flags,
    };
    call.xdp()?.redirect = Some(target);
    Ok(XDP_REDIRECT)
}

/// `bpf_redirect_peer(ifindex, flags)` and `bpf_redirect_neigh(ifindex, params, plen, flags)`.
fn redirect_beyond(call: &mut Call<'_, '_>, flags: u64) -> HelperResult {
    let ifindex = call.u32(0);
    if flags != 0 {
        return Ok(TC_ACT_SHOT);
    }
    call.skb()?.redirect = Some(Redirect::Device { ifindex, flags: 0 });
    Ok(TC_ACT_REDIRECT)
}

pub(in crate::helper) fn redirect_peer(call: &mut Call<'_, '_>) -> HelperResult {
    redirect_beyond(call, call.args[1])
}

pub(in crate::helper) fn redirect_neigh(call: &mut Call<'_, '_>) -> HelperResult {
    /// Bytes of `struct bpf_redir_neigh`.
    const PARAMS: u32 = 20;
    match call.u32(2) {
        1..PARAMS => Ok(TC_ACT_SHOT),
        _ => redirect_beyond(call, call.args[3]),
    }
}

/// `bpf_clone_redirect(skb, ifindex, flags)`.
pub(in crate::helper) fn clone_redirect(call: &mut Call<'_, '_>) -> HelperResult {
    let (ifindex, flags) = (call.u32(1), call.args[2]);
    if flags & !INGRESS != 0 {
        return errno(Errno::EINVAL);
    }
    if !call.machine.env.has_device(ifindex) {
        return errno(Errno::EINVAL);
    }
    call.skb()?.add_clone(ifindex, flags & INGRESS != 0);
    call.moved(Ok(()))
}
