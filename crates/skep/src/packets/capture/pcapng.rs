//! The new format: blocks, of which each has its type and length before and its length behind.
//!
//! Sections may differ in byte order, and interfaces in link type and resolution of times. Blocks that hold no packets are
//! left out.

use super::{Bad, Input, LinkType, MAX_RECORD, Record, Stamp};

/// The type of a section header; a palindrome, as its byte order is not known yet.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

pub(super) const SECTION_BLOCK: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE_BLOCK: u32 = 1;
const SIMPLE_PACKET_BLOCK: u32 = 3;
pub(super) const PACKET_BLOCK: u32 = 6;
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Options of an interface: resolution of its times, and seconds to add to them.
pub(super) const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// Bytes of a block beside its body.
const FRAME: usize = 12;

/// A device that packets were captured on.
struct Interface {
    link: Result<LinkType, u32>,
    snap_len: u32,
    /// Units of a second.
    resolution: u64,
    offset_s: i64,
}

/// A file's records.
pub(super) struct Records {
    input: Input,
    big_endian: bool,
    interfaces: Vec<Interface>,
    body: Vec<u8>,
}

impl Records {
    pub(super) fn new(input: Input) -> Result<Self, Bad> {
        let mut records = Self { input, big_endian: false, interfaces: Vec::new(), body: Vec::new() };
        records.block()?;
        Ok(records)
    }

    pub(super) fn first_link(&self) -> Option<LinkType> {
        self.interfaces.first()?.link.as_ref().ok().copied()
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Reads on to the next packet; `false` at the end.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, Bad> {
        while !self.input.at_end()? {
            match self.block()? {
                INTERFACE_BLOCK => self.interface()?,
                PACKET_BLOCK => return self.packet(record).map(|()| true),
                SIMPLE_PACKET_BLOCK => return self.simple_packet(record).map(|()| true),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Reads a block's body; answers its type.
    fn block(&mut self) -> Result<u32, Bad> {
        let kind: [u8; 4] = self.input.take()?;
        let length: [u8; 4] = self.input.take()?;
        if kind == SECTION {
            return self.section(length);
        }
        let length = self.number(length) as usize;
        self.read_body(length, 0)?;
        Ok(self.number(kind))
    }

    /// A section begins: its byte order counts from here on, and its interfaces are new.
    fn section(&mut self, length: [u8; 4]) -> Result<u32, Bad> {
        let magic: [u8; 4] = self.input.take()?;
        self.big_endian = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (BYTE_ORDER, _) => false,
            (_, BYTE_ORDER) => true,
            _ => return Err(Bad::Damaged("a section has no byte order")),
        };
        self.interfaces.clear();
        let length = self.number(length) as usize;
        self.read_body(length, 4)?;
        Ok(SECTION_BLOCK)
    }

    /// Reads the rest of a block of this length, of whose body `taken` bytes have been read.
    fn read_body(&mut self, length: usize, taken: usize) -> Result<(), Bad> {
        if length < FRAME + taken || !length.is_multiple_of(4) {
            return Err(Bad::Damaged("a block's length is impossible"));
        }
        if length > MAX_RECORD {
            return Err(Bad::Damaged("a block claims to be longer than 16 MiB"));
        }
        self.input.take_into(&mut self.body, length - FRAME - taken)?;
        self.input.skip(4)
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn word(&self, at: usize) -> Result<u32, Bad> {
        let bytes = self.body.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| self.number(*bytes)).ok_or(Bad::Damaged("a block is too short for its type"))
    }

    fn half(&self, at: usize) -> Option<u16> {
        let bytes = *self.body.get(at..at + 2)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn interface(&mut self) -> Result<(), Bad> {
        let link = u32::from(self.half(0).ok_or(Bad::Damaged("an interface has no link type"))?);
        let mut interface = Interface {
            link: LinkType::of(link).map_err(|_| link),
            snap_len: self.word(4)?,
            resolution: 1_000_000,
            offset_s: 0,
        };
        let mut at = 8;
        while let (Some(code @ 1..), Some(len)) = (self.half(at), self.half(at + 2)) {
            let len = usize::from(len);
            let value = self.body.get(at + 4..at + 4 + len).unwrap_or_default();
            match (code, value) {
                (IF_TSRESOL, [exponent, ..]) => interface.resolution = resolution(*exponent),
                (IF_TSOFFSET, value) => interface.offset_s = self.signed(value).unwrap_or(0),
                _ => {}
            }
            at += 4 + len.next_multiple_of(4);
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn signed(&self, value: &[u8]) -> Option<i64> {
        let bytes = *value.first_chunk()?;
        Some(if self.big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) })
    }

    fn packet(&mut self, record: &mut Record) -> Result<(), Bad> {
        let [number, high, low] = [self.word(0)?, self.word(4)?, self.word(8)?];
        let [len, wire_len] = [self.word(12)?, self.word(16)?];
        let interface = self.known(number)?;
        record.link = Some(interface.link.map_err(Bad::LinkType)?);
        let units = u64::from(high) << 32 | u64::from(low);
        record.stamp = Stamp { nanoseconds: nanoseconds(units, interface), wire_len };
        self.copy_data(20, len as usize, record)
    }

    /// A packet of the first interface, without a time; its data ends where the interface cuts.
    fn simple_packet(&mut self, record: &mut Record) -> Result<(), Bad> {
        let wire_len = self.word(0)?;
        let interface = self.known(0)?;
        record.link = Some(interface.link.map_err(Bad::LinkType)?);
        record.stamp = Stamp { nanoseconds: 0, wire_len };
        let snap = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        self.copy_data(4, wire_len.min(snap) as usize, record)
    }

    fn known(&self, number: u32) -> Result<&Interface, Bad> {
        let interface = self.interfaces.get(number as usize);
        interface.ok_or(Bad::Damaged("a packet is of an interface that is not described"))
    }

    fn copy_data(&self, at: usize, len: usize, record: &mut Record) -> Result<(), Bad> {
        let data = self.body.get(at..).and_then(|body| body.get(..len));
        let data = data.ok_or(Bad::Damaged("a packet is longer than its block"))?;
        record.data.clear();
        record.data.extend_from_slice(data);
        Ok(())
    }
}

/// Units of a second: a power of ten, or of two with the highest bit.
fn resolution(exponent: u8) -> u64 {
    let base: u64 = if exponent & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(u32::from(exponent & 0x7f)).unwrap_or(u64::MAX)
}

fn nanoseconds(units: u64, interface: &Interface) -> u64 {
    let since = u128::from(units) * 1_000_000_000 / u128::from(interface.resolution);
    let offset = i128::from(interface.offset_s) * 1_000_000_000;
    u64::try_from(since as i128 + offset).unwrap_or(0)
}
