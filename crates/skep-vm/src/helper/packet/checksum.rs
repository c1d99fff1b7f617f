//! Checksums of packets: one's complement sums of 16 bits, in the byte order of the packet (RFC 1071, RFC 1624).

use super::super::{Call, HelperResult, errno};
use crate::Errno;
use crate::packet::checksum::{add16, add32, fold};
use crate::packet::{Checksum, Packet};

const FIELD_MASK: u64 = 0xf;
const PSEUDO_HDR: u64 = 1 << 4;
const MARK_MANGLED_0: u64 = 1 << 5;
const MARK_ENFORCE: u64 = 1 << 6;
const IPV6: u64 = 1 << 7;

/// The difference that a change makes: what to add to the sum.
#[derive(Clone, Copy)]
enum Change {
    /// Given as a sum.
    Sum(u32),
    /// Of two bytes.
    Two(u16, u16),
    /// Of four bytes.
    Four(u32, u32),
}

impl Change {
    fn of(size: u64, from: u64, to: u64) -> Result<Self, Errno> {
        match size {
            0 if from == 0 => Ok(Self::Sum(to as u32)),
            2 => Ok(Self::Two(from as u16, to as u16)),
            4 => Ok(Self::Four(from as u32, to as u32)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Applied to a checksum as it stands in the packet.
    fn apply(self, checksum: u16) -> u16 {
        match self {
            Self::Sum(sum) => fold(add32(sum, !u32::from(checksum))),
            // The kernel's `csum16_add`: in 16 bits, not in 32 and folded.
            Self::Two(from, to) => !add16(add16(!checksum, !from), to),
            Self::Four(from, to) => fold(add32(add32(!u32::from(checksum), !from), to)),
        }
    }

    fn as_sum(self) -> u32 {
        match self {
            Self::Sum(sum) => sum,
            Self::Two(from, to) => add32(!u32::from(from), u32::from(to)),
            Self::Four(from, to) => add32(!from, to),
        }
    }
}

/// The place of a checksum; `EFAULT` for one that cannot be.
fn place(call: &Call<'_, '_>) -> Result<usize, Errno> {
    let off = call.u32(1);
    if off > 0xffff || off & 1 != 0 { Err(Errno::EFAULT) } else { Ok(off as usize) }
}

fn read(packet: &Packet, off: usize) -> Result<u16, Errno> {
    let mut bytes = [0; 2];
    packet.read(off, &mut bytes).ok_or(Errno::EFAULT)?;
    Ok(u16::from_ne_bytes(bytes))
}

/// `bpf_l3_csum_replace(skb, offset, from, to, size)`.
pub(in crate::helper) fn l3_replace(call: &mut Call<'_, '_>) -> HelperResult {
    let [_, _, from, to, flags] = call.args;
    if flags & !FIELD_MASK != 0 {
        return errno(Errno::EINVAL);
    }
    let result = place(call).and_then(|off| {
        let packet = call.skb().map_err(|_| Errno::EFAULT)?;
        let old = read(packet, off)?;
        let new = Change::of(flags, from, to)?.apply(old);
        packet.write(off, &new.to_ne_bytes()).ok_or(Errno::EFAULT)
    });
    call.moved(result)
}

/// `bpf_l4_csum_replace(skb, offset, from, to, flags)`.
pub(in crate::helper) fn l4_replace(call: &mut Call<'_, '_>) -> HelperResult {
    let flags = call.args[4];
    if flags & !(MARK_MANGLED_0 | MARK_ENFORCE | PSEUDO_HDR | IPV6 | FIELD_MASK) != 0 {
        return errno(Errno::EINVAL);
    }
    let result = place(call).and_then(|off| l4_replace_at(call, off));
    call.moved(result)
}

fn l4_replace_at(call: &mut Call<'_, '_>, off: usize) -> Result<(), Errno> {
    let [_, _, from, to, flags] = call.args;
    let packet = call.skb().map_err(|_| Errno::EFAULT)?;
    let old = read(packet, off)?;
    let (mark, enforce) = (flags & MARK_MANGLED_0 != 0, flags & MARK_ENFORCE != 0);
    if mark && !enforce && old == 0 {
        return Ok(());
    }
    let change = Change::of(flags & FIELD_MASK, from, to)?;
    let mut new = change.apply(old);
    if new == 0 && mark {
        new = 0xffff;
    }
    if let Checksum::Complete(sum) = packet.checksum
        && flags & PSEUDO_HDR != 0
        && flags & IPV6 == 0
    {
        packet.checksum = Checksum::Complete(add32(sum, !change.as_sum()));
    }
    packet.write(off, &new.to_ne_bytes()).ok_or(Errno::EFAULT)
}

/// `bpf_csum_update(skb, csum)`: for packets of which the device gave the whole sum.
pub(in crate::helper) fn update(call: &mut Call<'_, '_>) -> HelperResult {
    let csum = call.u32(1);
    let packet = call.skb()?;
    let Checksum::Complete(sum) = packet.checksum else { return errno(Errno::ENOTSUPP) };
    let sum = add32(sum, csum);
    packet.checksum = Checksum::Complete(sum);
    Ok(sum.into())
}

/// `bpf_csum_level(skb, level)`: more, fewer or no levels of which the checksum is right.
pub(in crate::helper) fn level(call: &mut Call<'_, '_>) -> HelperResult {
    const QUERY: u64 = 0;
    const INC: u64 = 1;
    const DEC: u64 = 2;
    const RESET: u64 = 3;
    /// Levels that the kernel counts.
    const MAX: u8 = 3;
    let level = call.args[1];
    let packet = call.skb()?;
    packet.checksum = match (level, packet.checksum) {
        (QUERY, Checksum::Unnecessary(level)) => return Ok(level.into()),
        (QUERY, _) => return errno(Errno::EACCES),
        (INC, Checksum::Unnecessary(level)) => Checksum::Unnecessary((level + 1).min(MAX)),
        (INC, Checksum::None) => Checksum::Unnecessary(0),
        (DEC, Checksum::Unnecessary(0)) | (RESET, Checksum::Unnecessary(_)) => Checksum::None,
        (DEC, Checksum::Unnecessary(level)) => Checksum::Unnecessary(level - 1),
        (INC | DEC | RESET, same) => same,
        _ => return errno(Errno::EINVAL),
    };
    Ok(0)
}
