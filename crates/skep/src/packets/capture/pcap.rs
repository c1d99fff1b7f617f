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

    /// Reads the next record; `false` at the end.
    #[inline]
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, Bad> {
        let ahead = self.input.ahead();
        if let Some((header, rest)) = ahead.split_first_chunk()
            && self.link == LinkType::Ethernet
        {
            let (stamp, len) = head(self.big_endian, self.nanoseconds, header);
            if len <= rest.len().min(MAX_RECORD) {
                self.input.lend_behind(HEADER, len);
                (record.stamp, record.link, record.lent) = (stamp, Some(self.link), true);
                return Ok(true);
            }
        }
        self.next_in_parts(record)
    }

    /// The same of a record that is not read ahead as a whole, or that gets a header and is copied anyway.
    fn next_in_parts(&mut self, record: &mut Record) -> Result<bool, Bad> {
        if self.input.at_end()? {
            return Ok(false);
        }
        let (stamp, len) = head(self.big_endian, self.nanoseconds, &self.input.take()?);
        if len > MAX_RECORD {
            return Err(Bad::Damaged("a record claims to be longer than 16 MiB"));
        }
        (record.stamp, record.link, record.lent) = (stamp, Some(self.link), false);
        self.input.take_into(&mut record.data, len)?;
        Ok(true)
    }

    /// The data of the last record, if that was lent.
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
