//! Helpers on what a tunnel device would do with a packet: the key and options that go with it.

use super::super::{Call, HelperResult, errno};
use crate::Errno;

/// Bytes of `struct bpf_tunnel_key`, and of its older forms.
const BYTES: usize = 44;
const OLDER: [usize; 4] = [28, 24, 22, 8];
const OLDEST: usize = 8;

/// Where its fields are.
const REMOTE: usize = 4;
const TOS: usize = 20;
const EXT: usize = 22;
const LABEL: usize = 24;
const LOCAL: usize = 28;

/// Flags of the helpers.
const IPV6: u64 = 1 << 0;
const ZERO_CSUM: u64 = 1 << 1;
const DONT_FRAGMENT: u64 = 1 << 2;
const SEQUENCE: u64 = 1 << 3;
const NO_KEY: u64 = 1 << 4;
const FLAGS: u64 = 1 << 4;

/// Longest options (`IP_TUNNEL_OPTS_MAX`).
const MAX_OPTIONS: usize = 255;

/// What goes with a packet.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    /// The key as it was set.
    key: [u8; BYTES],
    ipv6: bool,
    /// The flags on the wire (`TUNNEL_*`).
    flags: u16,
    options: Option<Vec<u8>>,
}

/// `bpf_skb_set_tunnel_key(skb, key, size, flags)`.
pub(in crate::helper) fn set_key(call: &mut Call<'_, '_>) -> HelperResult {
    let (size, flags) = (call.u32(2) as usize, call.args[3]);
    let given = call.bytes(1, size)?;
    let known = flags & !(IPV6 | ZERO_CSUM | DONT_FRAGMENT | SEQUENCE | NO_KEY) == 0;
    if !known || !(size == BYTES || OLDER.contains(&size)) {
        return errno(Errno::EINVAL);
    }
    let mut key = [0; BYTES];
    key[..size].copy_from_slice(&given);
    let ipv6 = flags & IPV6 != 0;
    if (!ipv6 && key[LABEL..LOCAL] != [0; 4]) || key[EXT..LABEL] != [0; 2] {
        return errno(Errno::EINVAL);
    }
    call.skb()?.tunnel = Some(Box::new(Tunnel { key, ipv6, flags: wire_flags(flags), options: None }));
    Ok(0)
}

/// The flags of a tunnel's header that the helper's mean.
fn wire_flags(flags: u64) -> u16 {
    const CSUM: u16 = 0x01;
    const KEY: u16 = 0x04;
    const SEQ: u16 = 0x08;
    const NO_CACHE: u16 = 0x2000;
    const DF: u16 = 0x100;
    let when = |set: bool, bit: u16| if set { bit } else { 0 };
    NO_CACHE
        | when(flags & ZERO_CSUM == 0, CSUM)
        | when(flags & NO_KEY == 0, KEY)
        | when(flags & SEQUENCE != 0, SEQ)
        | when(flags & DONT_FRAGMENT != 0, DF)
}

/// `bpf_skb_get_tunnel_key(skb, key, size, flags)`; what was set is read from the other side.
pub(in crate::helper) fn key(call: &mut Call<'_, '_>) -> HelperResult {
    let (size, flags) = (call.u32(2) as usize, call.args[3]);
    call.machine.writable(call.args[1], size as u64)?;
    let tunnel = call.skb()?.tunnel.clone();
    let answer = seen(tunnel.as_deref(), size, flags);
    let bytes = answer.as_ref().map_or_else(|_| vec![0; size], |key| key[..size].to_vec());
    call.store(1, &bytes)?;
    Ok(answer.map_or_else(Errno::to_reg, |_| 0))
}

fn seen(tunnel: Option<&Tunnel>, size: usize, flags: u64) -> Result<[u8; BYTES], Errno> {
    let tunnel = tunnel.filter(|_| flags & !(IPV6 | FLAGS) == 0).ok_or(Errno::EINVAL)?;
    if tunnel.ipv6 != (flags & IPV6 != 0) {
        return Err(Errno::EPROTO);
    }
    let fits = size == BYTES || (OLDER.contains(&size) && !(size == OLDEST && tunnel.ipv6));
    if !fits {
        return Err(Errno::EINVAL);
    }
    let mut key = tunnel.key;
    key[REMOTE..TOS].copy_from_slice(&tunnel.key[LOCAL..]);
    key[LOCAL..].copy_from_slice(&tunnel.key[REMOTE..TOS]);
    if !tunnel.ipv6 {
        key[REMOTE + 4..TOS].fill(0);
        key[LOCAL + 4..].fill(0);
        key[LABEL..LOCAL].fill(0);
    } else {
        let label = u32::from_ne_bytes([key[LABEL], key[LABEL + 1], key[LABEL + 2], key[LABEL + 3]]);
        key[LABEL..LOCAL].copy_from_slice(&(label & 0xf_ffff).to_ne_bytes());
    }
    let ext = if flags & FLAGS != 0 { tunnel.flags.to_be_bytes() } else { [0; 2] };
    key[EXT..LABEL].copy_from_slice(&ext);
    Ok(key)
}

/// `bpf_skb_set_tunnel_opt(skb, options, size)`, after the key.
pub(in crate::helper) fn set_options(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(2) as usize;
    let options = call.bytes(1, size)?;
    match &mut call.skb()?.tunnel {
        Some(tunnel) if size.is_multiple_of(4) => {
            if size > MAX_OPTIONS {
                return errno(Errno::ENOMEM);
            }
            tunnel.options = Some(options);
            Ok(0)
        }
        _ => errno(Errno::EINVAL),
    }
}

/// `bpf_skb_get_tunnel_opt(skb, options, size)`: their length.
pub(in crate::helper) fn options(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(2) as usize;
    call.machine.writable(call.args[1], size as u64)?;
    let options = call.skb()?.tunnel.as_ref().and_then(|tunnel| tunnel.options.clone());
    let answer = options.ok_or(Errno::ENOENT);
    let answer =
        answer.and_then(|options| if options.len() > size { Err(Errno::ENOMEM) } else { Ok(options) });
    let mut bytes = answer.clone().unwrap_or_default();
    bytes.resize(size, 0);
    call.store(1, &bytes)?;
    Ok(answer.map_or_else(Errno::to_reg, |options| options.len() as u64))
}

/// `bpf_skb_get_xfrm_state(skb, index, state, size, flags)`: packets here have come through no IPsec.
pub(in crate::helper) fn xfrm_state(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(3) as usize;
    call.store(2, &vec![0; size])?;
    errno(Errno::EINVAL)
}
