//! Values of fixed layout: what records, keys, values and variables hold, as Rust values.
//!
//! A [`Plain`] type is read from bytes and written to them member by member at given offsets. So no Rust type needs the
//! layout of C, no bytes need an alignment, and nothing is `unsafe`. Bytes that are missing are zero: a program may send a
//! prefix of a structure. Skeletons implement the trait for the types of an object.

use std::fmt;
use std::ops::Deref;

/// A value that takes a fixed number of bytes, in the byte order of this machine, which is also that of its programs.
pub trait Plain: Sized {
    /// How many bytes.
    const BYTES: usize;

    /// The value that these bytes hold; missing ones count as zero, further ones are not looked at.
    fn read(bytes: &[u8]) -> Self;

    /// Writes the value; what does not fit is left out. Bytes that belong to no member stay as they are.
    fn write(&self, to: &mut [u8]);

    /// The value's bytes; those that belong to no member are zero.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::BYTES];
        self.write(&mut bytes);
        bytes
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Plain for $number {
            const BYTES: usize = size_of::<$number>();

            fn read(bytes: &[u8]) -> Self {
                let mut all = [0; size_of::<$number>()];
                copy(bytes, &mut all);
                Self::from_ne_bytes(all)
            }

            fn write(&self, to: &mut [u8]) {
                copy(&self.to_ne_bytes(), to);
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

/// As many bytes as both have.
fn copy(from: &[u8], to: &mut [u8]) {
    let bytes = from.len().min(to.len());
    to[..bytes].copy_from_slice(&from[..bytes]);
}

impl Plain for bool {
    const BYTES: usize = 1;

    fn read(bytes: &[u8]) -> Self {
        u8::read(bytes) != 0
    }

    fn write(&self, to: &mut [u8]) {
        u8::from(*self).write(to);
    }
}

impl Plain for () {
    const BYTES: usize = 0;

    fn read(_: &[u8]) -> Self {}

    fn write(&self, _: &mut [u8]) {}
}

impl<T: Plain, const N: usize> Plain for [T; N] {
    const BYTES: usize = N * T::BYTES;

    fn read(bytes: &[u8]) -> Self {
        std::array::from_fn(|index| field(bytes, index * T::BYTES))
    }

    fn write(&self, to: &mut [u8]) {
        self.iter().enumerate().for_each(|(index, element)| put(to, index * T::BYTES, element));
    }
}

/// An array of characters: text up to its first zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    /// The bytes in front of the first zero.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        &self.0[..end]
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

/// Takes what fits beside a closing zero.
impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        let mut all = [0; N];
        copy(text.as_bytes(), &mut all[..N.saturating_sub(1)]);
        Self(all)
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl<const N: usize> Plain for Text<N> {
    const BYTES: usize = N;

    fn read(bytes: &[u8]) -> Self {
        let mut text = Self::default();
        copy(bytes, &mut text.0);
        text
    }

    fn write(&self, to: &mut [u8]) {
        copy(&self.0, to);
    }
}

/// The member that begins at byte `at`.
pub fn field<T: Plain>(bytes: &[u8], at: usize) -> T {
    T::read(bytes.get(at..).unwrap_or_default())
}

/// Writes the member that begins at byte `at`.
pub fn put<T: Plain>(to: &mut [u8], at: usize, value: &T) {
    if let Some(to) = to.get_mut(at..) {
        value.write(to);
    }
}

/// A bit field of at most 64 bits that begins at bit `at`, counted from the lowest bit of the first byte.
pub fn bits(bytes: &[u8], at: usize, width: u32) -> u64 {
    let bit = |index: usize| {
        let position = at + index;
        u64::from(bytes.get(position / 8).copied().unwrap_or(0) >> (position % 8) & 1) << index
    };
    (0..width.min(64) as usize).map(bit).sum()
}

/// The same, the highest bit being the sign.
pub fn signed_bits(bytes: &[u8], at: usize, width: u32) -> i64 {
    let unused = 64 - width.clamp(1, 64);
    (bits(bytes, at, width) << unused) as i64 >> unused
}

/// Writes a bit field; the bits beside it stay.
pub fn put_bits(to: &mut [u8], at: usize, width: u32, value: u64) {
    for index in 0..width.min(64) as usize {
        let position = at + index;
        if let Some(byte) = to.get_mut(position / 8) {
            let mask = 1 << (position % 8);
            *byte = if value >> index & 1 == 1 { *byte | mask } else { *byte & !mask };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_arrays_go_there_and_back() {
        assert_eq!(u32::read(&0x1234_5678_u32.to_ne_bytes()), 0x1234_5678);
        let values = [[1_i16, -2], [3, -4]];
        assert_eq!(<[[i16; 2]; 2]>::BYTES, 8);
        assert_eq!(<[[i16; 2]; 2]>::read(&values.to_bytes()), values);
    }

    #[test]
    fn missing_bytes_are_zero() {
        assert_eq!(u64::read(&[7]), u64::from_ne_bytes([7, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(field::<u32>(&[1, 2], 9), 0);
        let mut short = [0; 2];
        put(&mut short, 1, &0xffff_u16);
        assert_eq!(short, [0, 0xff]);
    }

    #[test]
    fn text_ends_at_its_zero() {
        let text = Text::<8>::read(b"cat\0junk");
        assert_eq!(text.to_string(), "cat");
        assert_eq!(text, "cat");
        assert_eq!(format!("{text:>5}|{text:?}"), "  cat|\"cat\"");
        assert_eq!(Text::<4>::from("longer").to_string(), "lon");
    }

    #[test]
    fn bit_fields_leave_their_neighbours() {
        let mut bytes = [0xff; 4];
        put_bits(&mut bytes, 5, 7, 0b010_1010);
        assert_eq!(bits(&bytes, 5, 7), 0b010_1010);
        assert_eq!(bits(&bytes, 0, 5), 0b11111);
        assert_eq!(bits(&bytes, 12, 20), 0xfffff);
        put_bits(&mut bytes, 5, 7, -3_i64 as u64);
        assert_eq!(signed_bits(&bytes, 5, 7), -3);
    }
}
