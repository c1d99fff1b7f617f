//! The header of `.BTF`: which bytes are types, which are strings, in which order their bytes are.

use std::ops::Range;

use crate::{ByteOrder, Error, Result};

/// The magic number of `.BTF` and `.BTF.ext`.
pub(crate) const MAGIC: u16 = 0xeb9f;
/// The bytes of the header that every version has.
pub(crate) const HEADER_BYTES: u32 = 24;
/// Where the header says how long the layout section is, if it is long enough to say it.
const LAYOUT_END: u32 = 32;

/// A checked header; the ranges lie within the bytes it was read from.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) order: ByteOrder,
    pub(crate) types: Range<usize>,
    pub(crate) strings: Range<usize>,
    /// Sizes of records by kind, four bytes each, so that kinds of newer kernels can be skipped; may be empty.
    pub(crate) layout: Range<usize>,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let (order, header_len) = preamble(bytes, ".BTF")?;
        if header_len < HEADER_BYTES {
            return Err(Error::malformed(format!(
                "the header says it has {header_len} bytes, fewer than {HEADER_BYTES}"
            )));
        }
        if bytes.len() < header_len as usize {
            return Err(truncated(bytes, header_len));
        }
        let field = |off| order.u32(bytes, off).ok_or_else(|| truncated(bytes, header_len));
        let section = |name, off: u32, len: u32| section(bytes, header_len, name, off, len);
        let types = section("type", field(8)?, field(12)?)?;
        let strings = section("string", field(16)?, field(20)?)?;
        let layout = match header_len {
            LAYOUT_END.. => section("layout", field(24)?, field(28)?)?,
            _ => 0..0,
        };
        if types.start < strings.end && strings.start < types.end {
            return Err(Error::malformed("the type section and the string section overlap"));
        }
        Ok(Self { order, types, strings, layout })
    }
}

/// Byte order and header length from the eight bytes that `.BTF` and `.BTF.ext` begin with.
pub(crate) fn preamble(bytes: &[u8], what: &str) -> Result<(ByteOrder, u32)> {
    let magic = ByteOrder::Little.u16(bytes, 0).ok_or_else(|| truncated(bytes, 8))?;
    let order = match magic {
        MAGIC => ByteOrder::Little,
        _ if magic.swap_bytes() == MAGIC => ByteOrder::Big,
        _ => {
            return Err(Error::malformed(format!(
                "not {what}: magic `{magic:#06x}` instead of `{MAGIC:#06x}`"
            )));
        }
    };
    let version = bytes.get(2).copied().unwrap_or_default();
    if version != 1 {
        return Err(Error::unsupported(format!("{what} version {version}: only version 1 is known")));
    }
    let header_len = order.u32(bytes, 4).ok_or_else(|| truncated(bytes, 8))?;
    Ok((order, header_len))
}

/// The range of a section that the header places `off` bytes after its end.
pub(crate) fn section(bytes: &[u8], header_len: u32, name: &str, off: u32, len: u32) -> Result<Range<usize>> {
    let start = u64::from(header_len) + u64::from(off);
    let end = start + u64::from(len);
    if end > bytes.len() as u64 {
        return Err(Error::malformed(format!(
            "the {name} section ends at offset {end}, but there are {} bytes",
            bytes.len()
        )));
    }
    Ok(start as usize..end as usize)
}

fn truncated(bytes: &[u8], need: u32) -> Error {
    Error::malformed(format!("the header needs {need} bytes, but there are {}", bytes.len()))
}
