//! Byte order, and reads that answer `None` instead of leaving the slice.

/// The order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    pub(crate) fn u16(self, bytes: &[u8], off: usize) -> Option<u16> {
        let raw = *bytes.get(off..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(raw),
            Self::Big => u16::from_be_bytes(raw),
        })
    }

    #[inline]
    pub(crate) fn u32(self, bytes: &[u8], off: usize) -> Option<u32> {
        let native = u32::from_ne_bytes(*bytes.get(off..)?.first_chunk()?);
        Some(if self == Self::NATIVE { native } else { native.swap_bytes() })
    }

    pub(crate) fn put_u16(self, out: &mut Vec<u8>, value: u16) {
        match self {
            Self::Little => out.extend(value.to_le_bytes()),
            Self::Big => out.extend(value.to_be_bytes()),
        }
    }

    pub(crate) fn put_u32(self, out: &mut Vec<u8>, value: u32) {
        match self {
            Self::Little => out.extend(value.to_le_bytes()),
            Self::Big => out.extend(value.to_be_bytes()),
        }
    }
}
