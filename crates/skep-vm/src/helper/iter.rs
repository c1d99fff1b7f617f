//! Kernel functions that iterate: over numbers, and over the bits that are set.

use super::{Call, HelperResult, errno, probe, status};
use crate::Errno;

/// A `struct bpf_iter_num`: the number before the next, and the end.
struct Numbers {
    current: i32,
    end: i32,
}

impl Numbers {
    const NONE: Self = Self { current: 0, end: 0 };

    fn to_bytes(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.current.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.end.to_ne_bytes());
        bytes
    }
}

/// `bpf_iter_num_new(it, start, end)`.
pub(super) fn num_new(call: &mut Call<'_, '_>) -> HelperResult {
    const MAX_LOOPS: i64 = 8 << 20;
    let (start, end) = (call.u32(1) as i32, call.u32(2) as i32);
    let result = match i64::from(end) - i64::from(start) {
        ..0 => Err(Errno::EINVAL),
        0..=MAX_LOOPS => Ok(Numbers { current: start.wrapping_sub(1), end }),
        _ => Err(Errno::E2BIG),
    };
    call.store(0, &result.as_ref().unwrap_or(&Numbers::NONE).to_bytes())?;
    status(result.map(drop))
}

/// `bpf_iter_num_next(it)`: where the number is, or null at the end.
pub(super) fn num_next(call: &mut Call<'_, '_>) -> HelperResult {
    let at = call.args[0];
    let mut bytes = [0; 8];
    call.machine.read(at, &mut bytes)?;
    let [a, b, c, d, e, f, g, h] = bytes;
    let numbers =
        Numbers { current: i32::from_ne_bytes([a, b, c, d]), end: i32::from_ne_bytes([e, f, g, h]) };
    let next = i64::from(numbers.current) + 1;
    if next >= i64::from(numbers.end) {
        call.store(0, &Numbers::NONE.to_bytes())?;
        return Ok(0);
    }
    call.store(0, &Numbers { current: next as i32, ..numbers }.to_bytes())?;
    Ok(at)
}

/// A `struct bpf_iter_bits`: one word of bits, or where more of them are, how many there are, and the bit that it is at.
struct Bits {
    /// The bits, or their address.
    bits: u64,
    count: i32,
    at: i32,
}

/// From the iterator to the bit that it is at.
const BIT_OFFSET: u64 = 12;
const WORD_BITS: i32 = u64::BITS as i32;

impl Bits {
    const NONE: Self = Self { bits: 0, count: 0, at: -1 };

    fn load(call: &mut Call<'_, '_>) -> Result<Self, Box<super::Stop>> {
        let (mut bits, mut count, mut at) = ([0; 8], [0; 4], [0; 4]);
        let start = call.args[0];
        call.machine.read(start, &mut bits)?;
        call.machine.read(start + 8, &mut count)?;
        call.machine.read(start + BIT_OFFSET, &mut at)?;
        let [count, at] = [count, at].map(i32::from_ne_bytes);
        Ok(Self { bits: u64::from_ne_bytes(bits), count, at })
    }

    fn store(&self, call: &mut Call<'_, '_>) -> Result<(), Box<super::Stop>> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.at.to_ne_bytes());
        call.store(0, &bytes)
    }

    /// The bits of one word.
    fn word(&self, call: &mut Call<'_, '_>, index: i32) -> Result<u64, Box<super::Stop>> {
        if self.count == WORD_BITS {
            return Ok(self.bits);
        }
        let mut word = [0; 8];
        call.machine.read(self.bits.wrapping_add(8 * index as u64), &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// The first bit that is set from here on, or how many there are.
    fn next_set(&self, call: &mut Call<'_, '_>, from: i32) -> Result<i32, Box<super::Stop>> {
        let mut from = from;
        while from < self.count {
            let word = self.word(call, from / WORD_BITS)? >> (from % WORD_BITS);
            if word != 0 {
                return Ok(from + word.trailing_zeros() as i32);
            }
            from = (from / WORD_BITS + 1) * WORD_BITS;
        }
        Ok(self.count)
    }
}

/// `bpf_iter_bits_new(it, words, count)`.
pub(super) fn bits_new(call: &mut Call<'_, '_>) -> HelperResult {
    const MAX_WORDS: u32 = 511;
    let (source, count) = (call.args[1], call.u32(2));
    Bits::NONE.store(call)?;
    if source == 0 || count == 0 {
        return errno(Errno::EINVAL);
    }
    if count > MAX_WORDS {
        return errno(Errno::E2BIG);
    }
    let mut bytes = vec![0; count as usize * 8];
    if let Err(e) = probe::kernel_bytes(call.machine, source, &mut bytes) {
        return errno(if count == 1 { Errno::EFAULT } else { e });
    }
    let bits = match bytes.as_chunks::<8>().0 {
        [word] => u64::from_ne_bytes(*word),
        _ => call.machine.lend_record(&bytes)?,
    };
    Bits { bits, count: count as i32 * WORD_BITS, at: -1 }.store(call)?;
    Ok(0)
}

/// `bpf_iter_bits_next(it)`: where the number of the bit is, or null at the end.
pub(super) fn bits_next(call: &mut Call<'_, '_>) -> HelperResult {
    let mut bits = Bits::load(call)?;
    if bits.count <= 0 || bits.at < -1 || bits.at >= bits.count {
        return Ok(0);
    }
    bits.at = bits.next_set(call, bits.at + 1)?;
    bits.store(call)?;
    Ok(if bits.at < bits.count { call.args[0] + BIT_OFFSET } else { 0 })
}

pub(super) fn bits_destroy(call: &mut Call<'_, '_>) -> HelperResult {
    let bits = Bits::load(call)?;
    if bits.count > WORD_BITS {
        call.machine.return_record(bits.bits);
    }
    status(Ok(()))
}
