//! The old format: a header of 24 bytes, then records of 16 bytes and data.

use super::{Bad, Input, LinkType, MAX_RECORD, Record, Stamp};

/// Times are microseconds, or nanoseconds; in the writer's byte order.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Bytes of a record's header.
const HEADER: usize = 16;

pub(super) fn is_magic(bytes: [u8; 4]) -> bool {
    order(bytes).is_some()
}

/// Is the file big-endian, and are its times nanoseconds?
fn order(bytes: [u8; 4]) -> Option<(bool, bool)> {
    match (u32::from_le_bytes(bytes), u32::from_be_bytes(bytes)) {
        (MICROSECONDS, _) => Some((false, false)),
        (NANOSECONDS, _) => Some((false, true)),
        (_, MICROSECONDS) => Some((true, false)),
        (_, NANOSECONDS) => Some((true, true)),
        _ => None,
    }
}

/// A file's records.
pub(super) struct Records {
    input: Input,
    big_endian: bool,
    nanoseconds: bool,
    link: LinkType,
}

impl Records {
    /// Reads the header.
    pub(super) fn new(mut input: Input) -> Result<Self, Bad> {
        let (big_endian, nanoseconds) = order(input.take()?).ok_or(Bad::Magic)?;
        let header: [u8; 20] = input.take()?;
        // The upper bits say whether frames end in a checksum.
        let link = word(big_endian, &header, 16) & 0xffff;
        Ok(Self { input, big_endian, nanoseconds, link: LinkType::of(link)? })
    }

    pub(super) fn link(&self) -> LinkType {
        self.link
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// The next record, if it is read ahead as a whole and needs no change: it is lent until the next call.
    #[inline]
    pub(super) fn lend(&mut self) -> Option<Stamp> {
        let (header, rest) = self.input.ahead().split_first_chunk()?;
        let (stamp, len) = head(self.big_endian, self.nanoseconds, header);
        if self.link != LinkType::Ethernet || len > rest.len().min(MAX_RECORD) {
            return None;
        }
        self.input.lend_behind(HEADER, len);
        Some(stamp)
    }

    /// Reads the next record; `false` at the end.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, Bad> {
        if self.input.at_end()? {
            return Ok(false);
        }
        let (stamp, len) = head(self.big_endian, self.nanoseconds, &self.input.take()?);
        if len > MAX_RECORD {
            return Err(Bad::Damaged("a record claims to be longer than 16 MiB"));
        }
        (record.stamp, record.link) = (stamp, Some(self.link));
        self.input.take_into(&mut record.data, len)?;
        Ok(true)
    }

    /// The data of the last record, if that was lent.
    #[inline]
    pub(super) fn lent(&self) -> &[u8] {
        self.input.lent()
    }
}

/// What a record's header says: when it was captured, and how many bytes there are.
#[inline]
fn head(big_endian: bool, nanoseconds: bool, header: &[u8; HEADER]) -> (Stamp, usize) {
    let word = |at| word(big_endian, header, at);
    let (seconds, fraction, len, wire_len) = (word(0), word(4), word(8), word(12));
    let fraction = u64::from(fraction) * if nanoseconds { 1 } else { 1000 };
    (Stamp { nanoseconds: u64::from(seconds) * 1_000_000_000 + fraction, wire_len }, len as usize)
}

#[inline]
fn word(big_endian: bool, bytes: &[u8], at: usize) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}
