//! One's complement sums (RFC 1071), in the byte order of the host, as the kernel keeps them.

/// Adds, with the carry at the other end.
pub(crate) fn add32(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u32::from(carry)
}

/// As [`add32`], in 16 bits.
pub(crate) fn add16(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// Folds a sum to 16 bits and complements it (`csum_fold`).
pub(crate) fn fold(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}

/// The sum of some bytes; a last odd one counts as the first of a word.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let whole = words.iter().fold(0, |sum, word| add32(sum, u16::from_ne_bytes(*word).into()));
    rest.first().map_or(whole, |last| add32(whole, u16::from_ne_bytes([*last, 0]).into()))
}
