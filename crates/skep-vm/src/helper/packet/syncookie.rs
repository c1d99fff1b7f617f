//! SYN cookies (`net/ipv4/syncookies.c`, `net/ipv6/syncookies.c`): sequence numbers that prove, when they come back, that
//! we sent them, so that nothing need be kept of a half-open connection.
//!
//! With `h` a secret hash of addresses and ports, `c` the minutes of a clock, `s` the peer's sequence number and `m` the
//! place of the segment size in a table, a cookie is `h(0) + s + (c << 24) + ((h'(c) + m) mod 2^24)`. The secret is this
//! process's own: cookies of the kernel's are strangers here, as ours are there.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use super::super::{Call, HelperResult, errno};
use crate::Errno;

/// Bytes of a header of TCP without options.
const TCP_HEADER: usize = 20;
/// Low bits, which carry the place of the segment size.
const LOW: u32 = (1 << 24) - 1;
/// Minutes for which a cookie is good.
const MAX_AGE: u32 = 2;

/// What differs between the versions of IP.
struct Version {
    /// Where the header has source and destination address, one behind the other, and their bytes.
    addresses: (usize, usize),
    header_bytes: usize,
    /// Segment sizes that a cookie can say.
    sizes: [u16; 4],
    /// The size of those who do not say theirs.
    default_size: u16,
}

const IPV4: Version =
    Version { addresses: (12, 8), header_bytes: 20, sizes: [536, 1300, 1440, 1460], default_size: 536 };
const IPV6: Version =
    Version { addresses: (8, 32), header_bytes: 40, sizes: [1220, 1420, 1440, 8940], default_size: 1220 };

/// `bpf_tcp_raw_gen_syncookie_ipv4(iph, th, th_len)`.
pub(in crate::helper) fn generate_ipv4(call: &mut Call<'_, '_>) -> HelperResult {
    generate(call, &IPV4)
}

/// `bpf_tcp_raw_gen_syncookie_ipv6(iph, th, th_len)`.
pub(in crate::helper) fn generate_ipv6(call: &mut Call<'_, '_>) -> HelperResult {
    generate(call, &IPV6)
}

/// `bpf_tcp_raw_check_syncookie_ipv4(iph, th)`.
pub(in crate::helper) fn check_ipv4(call: &mut Call<'_, '_>) -> HelperResult {
    check(call, &IPV4)
}

/// `bpf_tcp_raw_check_syncookie_ipv6(iph, th)`.
pub(in crate::helper) fn check_ipv6(call: &mut Call<'_, '_>) -> HelperResult {
    check(call, &IPV6)
}

/// The cookie, and above it the segment size that it stands for.
fn generate(call: &mut Call<'_, '_>, version: &Version) -> HelperResult {
    let len = call.u32(2) as usize;
    let ip = call.bytes(0, version.header_bytes)?;
    let tcp = call.bytes(1, len)?;
    if len < TCP_HEADER || len != header_len(&tcp) {
        return errno(Errno::EINVAL);
    }
    let size = segment_size(&tcp[TCP_HEADER..]).unwrap_or(version.default_size);
    let place = version.sizes.iter().rposition(|known| size >= *known).unwrap_or(0);
    let flow = Flow::of(version, &ip, &tcp);
    let cookie = flow.cookie(word(&tcp, 4), minutes(call), place as u32);
    Ok(u64::from(cookie) | u64::from(version.sizes[place]) << 32)
}

/// Zero when what is acknowledged is a cookie of ours, and fresh.
fn check(call: &mut Call<'_, '_>, version: &Version) -> HelperResult {
    let ip = call.bytes(0, version.header_bytes)?;
    let tcp = call.bytes(1, TCP_HEADER)?;
    let (sequence, cookie) = (word(&tcp, 4).wrapping_sub(1), word(&tcp, 8).wrapping_sub(1));
    let place = Flow::of(version, &ip, &tcp).place(cookie, sequence, minutes(call));
    let known = place.is_some_and(|place| (place as usize) < version.sizes.len());
    if known { Ok(0) } else { errno(Errno::EACCES) }
}

/// The clock of cookies, which goes by minutes.
fn minutes(call: &mut Call<'_, '_>) -> u32 {
    const MINUTE_NS: u64 = 60_000_000_000;
    (call.machine.env.ktime_ns() / MINUTE_NS) as u32
}

/// What a cookie is bound to: addresses and ports.
struct Flow<'a> {
    addresses: &'a [u8],
    ports: &'a [u8],
}

impl<'a> Flow<'a> {
    fn of(version: &Version, ip: &'a [u8], tcp: &'a [u8]) -> Self {
        let (at, len) = version.addresses;
        Self { addresses: &ip[at..at + len], ports: &tcp[..4] }
    }

    /// The secret hash: one of two, at a time.
    fn hash(&self, time: u32, which: u8) -> u32 {
        static SECRET: OnceLock<RandomState> = OnceLock::new();
        SECRET.get_or_init(RandomState::new).hash_one((self.addresses, self.ports, time, which)) as u32
    }

    fn cookie(&self, sequence: u32, now: u32, place: u32) -> u32 {
        let low = self.hash(now, 1).wrapping_add(place) & LOW;
        self.hash(0, 0).wrapping_add(sequence).wrapping_add(now << 24).wrapping_add(low)
    }

    /// What a cookie says, unless it is too old, or of the future.
    fn place(&self, cookie: u32, sequence: u32, now: u32) -> Option<u32> {
        let rest = cookie.wrapping_sub(self.hash(0, 0).wrapping_add(sequence));
        let age = now.wrapping_sub(rest >> 24) & (u32::MAX >> 24);
        (age < MAX_AGE).then(|| rest.wrapping_sub(self.hash(now.wrapping_sub(age), 1)) & LOW)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Bytes of a header of TCP, as it says itself.
fn header_len(tcp: &[u8]) -> usize {
    usize::from(tcp[12] >> 4) * 4
}

/// The segment size among a header's options; zero is none.
fn segment_size(mut options: &[u8]) -> Option<u16> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const SEGMENT_SIZE: u8 = 2;
    let mut size = None;
    loop {
        match *options {
            [NOTHING, ref rest @ ..] => options = rest,
            [END, ..] | [] | [_] => return size,
            [kind, len, ref rest @ ..] => {
                let data = usize::from(len).checked_sub(2).and_then(|len| rest.split_at_checked(len));
                let Some((data, rest)) = data else { return size };
                if kind == SEGMENT_SIZE
                    && let [high, low] = *data
                    && [high, low] != [0, 0]
                {
                    size = Some(u16::from_be_bytes([high, low]));
                }
                options = rest;
            }
        }
    }
}
