//! The records of the type section: their heads, and how long they are.
//!
//! A record is three words (name, info, size or type), followed by what its kind says: a fixed part, and one for each of
//! its elements. BTF of newer kernels may tell these sizes itself, in a layout section, so that kinds unknown to a reader
//! can be skipped.

use crate::{ByteOrder, Error, Result};

/// Bytes that every record has.
pub(crate) const RECORD_BYTES: usize = 12;

/// The head of a record, decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Offset in the type section.
    pub(crate) off: usize,
    pub(crate) name_off: u32,
    info: u32,
    /// Size or type id, as the kind says.
    pub(crate) word: u32,
}

impl Record {
    #[inline]
    pub(crate) fn kind_code(self) -> u8 {
        (self.info >> 24) as u8 & 0x7f
    }

    #[inline]
    pub(crate) fn vlen(self) -> usize {
        (self.info & 0xff_ffff) as usize
    }

    pub(crate) fn flag(self) -> bool {
        self.info >> 31 != 0
    }
}

/// Bytes after the head of a record: a fixed part, and one for each element.
#[derive(Clone, Copy)]
struct Tail {
    fixed: u8,
    each: u8,
}

impl Tail {
    /// Of a kind about which nothing is known. Real sizes are multiples of four.
    const UNKNOWN: Self = Self { fixed: 1, each: 0 };
}

/// The tails of all kinds that there may be, by number.
#[derive(Clone)]
pub(crate) struct Tails([Tail; 128]);

impl Tails {
    /// The kinds that this crate knows. Kind 0 is `void`, which has no record.
    const KNOWN: Self = {
        const SIZES: [(u8, u8); 19] = [
            (4, 0),  // int
            (0, 0),  // ptr
            (12, 0), // array
            (0, 12), // struct
            (0, 12), // union
            (0, 8),  // enum
            (0, 0),  // fwd
            (0, 0),  // typedef
            (0, 0),  // volatile
            (0, 0),  // const
            (0, 0),  // restrict
            (0, 0),  // func
            (0, 8),  // func_proto
            (4, 0),  // var
            (0, 12), // datasec
            (0, 0),  // float
            (4, 0),  // decl_tag
            (0, 0),  // type_tag
            (0, 12), // enum64
        ];
        let mut tails = [Tail::UNKNOWN; 128];
        let mut nth = 0;
        while nth < SIZES.len() {
            tails[nth + 1] = Tail { fixed: SIZES[nth].0, each: SIZES[nth].1 };
            nth += 1;
        }
        Self(tails)
    };

    /// The known kinds, and others as a layout section describes them: four bytes a kind, the first two of which are sizes.
    pub(crate) fn with_layout(layout: &[u8]) -> Self {
        let mut tails = Self::KNOWN;
        for (tail, sizes) in tails.0.iter_mut().zip(layout.chunks_exact(4)).skip(20) {
            if sizes[0].is_multiple_of(4) && sizes[1].is_multiple_of(4) {
                *tail = Tail { fixed: sizes[0], each: sizes[1] };
            }
        }
        tails
    }
}

/// The bytes of the type section, and what it takes to read them.
#[derive(Clone, Copy)]
pub(crate) struct TypeBytes<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) order: ByteOrder,
    pub(crate) tails: &'a Tails,
}

impl<'a> TypeBytes<'a> {
    /// The record at an offset and the offset after it, which lies within the section.
    #[inline]
    pub(crate) fn record(self, off: usize) -> Result<(Record, usize)> {
        self.try_record(off).ok_or_else(|| self.diagnose(off))
    }

    #[inline]
    pub(crate) fn try_record(self, off: usize) -> Option<(Record, usize)> {
        let head: &[u8; RECORD_BYTES] = self.bytes.get(off..)?.first_chunk()?;
        let word = |at| self.order.u32(head, at);
        let record = Record { off, name_off: word(0)?, info: word(4)?, word: word(8)? };
        self.end(off, record.info).map(|end| (record, end))
    }

    /// The offset after the record at an offset.
    #[inline]
    pub(crate) fn skip(self, off: usize) -> Option<usize> {
        self.end(off, self.order.u32(self.bytes, off + 4)?)
    }

    /// What follows the head of a record, up to the offset after it.
    pub(crate) fn tail(self, record: Record, end: usize) -> &'a [u8] {
        self.bytes.get(record.off + RECORD_BYTES..end).unwrap_or_default()
    }

    #[inline]
    fn end(self, off: usize, info: u32) -> Option<usize> {
        let tail = self.tails.0[(info >> 24 & 0x7f) as usize];
        if tail.fixed == Tail::UNKNOWN.fixed {
            return None;
        }
        let tail_bytes = u64::from(tail.fixed) + u64::from(tail.each) * u64::from(info & 0xff_ffff);
        let end = (off + RECORD_BYTES) as u64 + tail_bytes;
        (end <= self.bytes.len() as u64).then_some(end as usize)
    }

    /// Why there is no record at an offset.
    #[cold]
    pub(crate) fn diagnose(self, off: usize) -> Error {
        let head = self.bytes.get(off..).and_then(|rest| rest.get(..RECORD_BYTES));
        let Some(info) = head.and_then(|head| self.order.u32(head, 4)) else {
            return Error::malformed(format!("the type section ends within the record at offset {off}"));
        };
        let record = Record { off, name_off: 0, info, word: 0 };
        let (code, elements) = (record.kind_code(), record.vlen());
        match self.tails.0[usize::from(code)].fixed {
            fixed if fixed == Tail::UNKNOWN.fixed => {
                Error::unsupported(format!("the record at offset {off} has unknown kind {code}"))
            }
            _ => Error::malformed(format!(
                "the record at offset {off} has {elements} elements, which do not fit the type section"
            )),
        }
    }
}
