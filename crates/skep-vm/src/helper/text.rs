//! Helpers on strings and checksums.

use super::{Call, HelperResult};
use crate::Errno;

/// Longest number read, with the NUL that the kernel appends.
const MAX_DIGITS: usize = 63;

/// A number at the beginning of a text: its magnitude, its sign, and the bytes it took.
struct Number {
    magnitude: u64,
    negative: bool,
    taken: usize,
}

/// Reads blanks, a sign, a prefix of the base, and digits (`__bpf_strtoull`, `kernel/bpf/helpers.c`).
fn parse(text: &[u8], flags: u64) -> Result<Number, Errno> {
    const BASE: u64 = 0x1f;
    let base = (flags & BASE) as u32;
    if flags & !BASE != 0 || !matches!(base, 0 | 8 | 10 | 16) || text.is_empty() {
        return Err(Errno::EINVAL);
    }
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0xb).count();
    let negative = text.get(blanks) == Some(&b'-');
    let start = blanks + usize::from(negative);
    let rest = &text[start..];
    if rest.is_empty() {
        return Err(Errno::EINVAL);
    }
    let rest = &rest[..rest.len().min(MAX_DIGITS)];
    let (base, prefix) = radix(rest, base);
    let digits = rest[prefix..].iter().map_while(|byte| (*byte as char).to_digit(base));
    let (mut magnitude, mut count) = (0u64, 0);
    for digit in digits {
        let more = magnitude.checked_mul(base.into()).and_then(|m| m.checked_add(digit.into()));
        magnitude = more.ok_or(Errno::ERANGE)?;
        count += 1;
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Number { magnitude, negative, taken: start + prefix + count })
}

/// The base that a text says by itself, and the bytes of `0x` before it (`_parse_integer_fixup_radix`, `lib/kstrtox.c`).
fn radix(text: &[u8], base: u32) -> (u32, usize) {
    let hex = matches!(text, [b'0', b'x' | b'X', ..]);
    let base = match (base, text) {
        (0, [b'0', b'x' | b'X', digit, ..]) if digit.is_ascii_hexdigit() => 16,
        (0, [b'0', ..]) => 8,
        (0, _) => 10,
        (known, _) => known,
    };
    (base, if base == 16 && hex { 2 } else { 0 })
}

/// Stores a number; answers the bytes it took.
fn store(call: &mut Call<'_, '_>, number: Result<(u64, usize), Errno>) -> HelperResult {
    let value = number.map_or(0, |(value, _)| value);
    call.store(3, &value.to_ne_bytes())?;
    Ok(number.map_or_else(Errno::to_reg, |(_, taken)| taken as u64))
}

/// `bpf_strtol(buf, len, flags, res)`.
pub(super) fn strtol(call: &mut Call<'_, '_>) -> HelperResult {
    let text = call.bytes(0, call.args[1] as usize)?;
    let signed = |n: Number| {
        let value = if n.negative { n.magnitude.wrapping_neg() } else { n.magnitude };
        let wrong = if n.negative { value as i64 > 0 } else { (value as i64) < 0 };
        if wrong { Err(Errno::ERANGE) } else { Ok((value, n.taken)) }
    };
    let number = parse(&text, call.args[2]).and_then(signed);
    store(call, number)
}

/// `bpf_strtoul(buf, len, flags, res)`.
pub(super) fn strtoul(call: &mut Call<'_, '_>) -> HelperResult {
    let text = call.bytes(0, call.args[1] as usize)?;
    let unsigned = |n: Number| if n.negative { Err(Errno::EINVAL) } else { Ok((n.magnitude, n.taken)) };
    let number = parse(&text, call.args[2]).and_then(unsigned);
    store(call, number)
}

/// `bpf_strncmp(s1, size, s2)`: -1, 0 or 1.
pub(super) fn strncmp(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(1) as usize;
    let first = call.bytes(0, size)?;
    let first = &first[..first.iter().position(|byte| *byte == 0).unwrap_or(size)];
    let second = call.machine.read_str(call.args[2], size)?;
    Ok(first.cmp(&second[..]) as i64 as u64)
}

/// `bpf_csum_diff(from, from_size, to, to_size, seed)`: the one's complement sum with the new words and without the old,
/// folded to 16 bits as Linux does since 6.13.
pub(super) fn csum_diff(call: &mut Call<'_, '_>) -> HelperResult {
    let (from_size, to_size, seed) = (call.u32(1), call.u32(3), call.u32(4));
    let from = call.bytes(0, from_size as usize)?;
    let to = call.bytes(2, to_size as usize)?;
    let sum = match (from_size, to_size) {
        (0, 0) => return Ok(seed.into()),
        (0, _) => sum(&to, seed),
        (_, 0) => !sum(&from, !seed),
        _ => fold(u64::from(sum(&to, seed)) + u64::from(!sum(&from, 0))),
    };
    Ok((sum.wrapping_add(sum.rotate_left(16)) >> 16).into())
}

/// Adds the words of `data` to `seed`, carries included; the last one is filled with zeros.
fn sum(data: &[u8], seed: u32) -> u32 {
    let (words, rest) = data.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word)));
    fold(words.sum::<u64>() + u64::from(seed))
}

/// Adds the carries above 32 bits back in.
fn fold(sum: u64) -> u32 {
    let folded = (sum & 0xffff_ffff) + (sum >> 32);
    (folded + (folded >> 32)) as u32
}
