//! Captures in files: pcap and pcapng, read and written as streams.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Frames come out as Ethernet; packets of captures without link
//! layer (raw IP) get a header of zeros and their protocol, which is taken off again when they are written.

mod pcap;
mod pcapng;
mod read;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Frame, Source};
use crate::{Error, Result};

pub use write::Writer;

/// When a packet was captured: nanoseconds of the epoch, and its length on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since 1970.
    pub nanoseconds: u64,
    /// Bytes that it had on the wire; a capture may hold fewer.
    pub wire_len: u32,
}

/// Which file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The old one, with times in microseconds or nanoseconds.
    Pcap,
    /// The new one.
    Pcapng,
}

/// The kinds of link layer understood (`LINKTYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet.
    Ethernet,
    /// IP of either version, without a header before it.
    RawIp,
}

impl LinkType {
    const ETHERNET: u32 = 1;
    const RAW: [u32; 4] = [101, 228, 229, 12];

    fn of(number: u32) -> Result<Self, Bad> {
        match number {
            Self::ETHERNET => Ok(Self::Ethernet),
            _ if Self::RAW.contains(&number) => Ok(Self::RawIp),
            _ => Err(Bad::LinkType(number)),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Ethernet => Self::ETHERNET,
            Self::RawIp => Self::RAW[0],
        }
    }
}

/// What can be wrong with a capture.
#[derive(Debug)]
enum Bad {
    /// It is no capture.
    Magic,
    /// It ends in the middle of something.
    Truncated,
    /// A record or block says something impossible.
    Damaged(&'static str),
    /// A link layer that is not understood.
    LinkType(u32),
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Bad {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(e) }
    }
}

/// Bytes that are read ahead.
const BUFFER: usize = 1 << 18;

/// Longest record believed: a damaged length must not cost memory.
const MAX_RECORD: usize = 1 << 24;

/// Bytes of an Ethernet header.
const ETH_HLEN: usize = 14;

/// One record of a capture that is not lent.
#[derive(Debug, Default)]
struct Record {
    data: Vec<u8>,
    stamp: Stamp,
    link: Option<LinkType>,
}

/// A capture that is read.
pub struct Reader {
    path: PathBuf,
    records: Records,
    record: Record,
    count: u64,
}

enum Records {
    Pcap(pcap::Records),
    Pcapng(pcapng::Records),
}

/// What a capture is read from.
type Input = read::Input<Box<dyn Read>>;

impl Reader {
    /// Opens a file, or standard input when it is called `-`.
    pub fn open(path: &Path) -> Result<Self> {
        let input: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(|e| Error::file(path, e))?)
        };
        Self::new(path, input)
    }

    /// Reads a capture from anything; `path` is for messages.
    pub fn new(path: &Path, input: Box<dyn Read>) -> Result<Self> {
        let mut input = read::Input::new(input);
        let records = Records::begin(&mut input);
        let records = records.map_err(|bad| complaint(path, 0, 0, bad))?;
        let records = match records {
            Format::Pcap => pcap::Records::new(input).map(Records::Pcap),
            Format::Pcapng => pcapng::Records::new(input).map(Records::Pcapng),
        };
        let records = records.map_err(|bad| complaint(path, 0, 0, bad))?;
        Ok(Self { path: path.to_owned(), records, record: Record::default(), count: 0 })
    }

    /// Its format.
    pub fn format(&self) -> Format {
        match self.records {
            Records::Pcap(_) => Format::Pcap,
            Records::Pcapng(_) => Format::Pcapng,
        }
    }

    /// The link layer of its first packets, when that is known by now.
    pub fn link_type(&self) -> Option<LinkType> {
        match &self.records {
            Records::Pcap(records) => Some(records.link()),
            Records::Pcapng(records) => records.first_link(),
        }
    }
}

impl Reader {
    /// Reads the next record, as an Ethernet frame; `false` at the end.
    #[inline(never)]
    fn read_record(&mut self) -> Result<bool> {
        let record = &mut self.record;
        let more = self.records.next(record);
        if !more.map_err(|bad| complaint(&self.path, self.count, self.records.position(), bad))? {
            return Ok(false);
        }
        self.count += 1;
        if record.link == Some(LinkType::RawIp) {
            prepend_header(&mut record.data);
            record.stamp.wire_len += ETH_HLEN as u32;
        }
        Ok(true)
    }
}

impl Records {
    /// Looks at the first bytes without taking them.
    fn begin(input: &mut Input) -> Result<Format, Bad> {
        let magic = input.peek4()?;
        if magic == pcapng::SECTION {
            return Ok(Format::Pcapng);
        }
        pcap::is_magic(magic).then_some(Format::Pcap).ok_or(Bad::Magic)
    }

    /// The next record if all of it is read ahead, lent until the next call; answers its stamp.
    #[inline]
    fn lend(&mut self) -> Option<Stamp> {
        match self {
            Self::Pcap(records) => records.lend(),
            Self::Pcapng(_) => None,
        }
    }

    fn next(&mut self, record: &mut Record) -> Result<bool, Bad> {
        match self {
            Self::Pcap(records) => records.next(record),
            Self::Pcapng(records) => records.next(record),
        }
    }

    /// The data of the record that is lent.
    #[inline]
    fn lent(&self) -> &[u8] {
        match self {
            Self::Pcap(records) => records.lent(),
            Self::Pcapng(_) => &[],
        }
    }

    fn position(&self) -> u64 {
        match self {
            Self::Pcap(records) => records.position(),
            Self::Pcapng(records) => records.position(),
        }
    }
}

impl Source for Reader {
    #[inline]
    fn next(&mut self) -> Result<Option<Frame<'_>>> {
        if let Some(stamp) = self.records.lend() {
            self.count += 1;
            return Ok(Some(Frame { data: self.records.lent(), stamp, ifindex: 1 }));
        }
        if !self.read_record()? {
            return Ok(None);
        }
        Ok(Some(Frame { data: &self.record.data, stamp: self.record.stamp, ifindex: 1 }))
    }
}

/// An Ethernet header that says nothing but which version of IP follows.
fn prepend_header(data: &mut Vec<u8>) {
    let proto: [u8; 2] = match data.first().map(|byte| byte >> 4) {
        Some(6) => [0x86, 0xdd],
        _ => [0x08, 0x00],
    };
    let mut header = [0; ETH_HLEN];
    header[12..].copy_from_slice(&proto);
    data.splice(..0, header);
}

/// What is wrong with a capture, for a person.
#[cold]
fn complaint(path: &Path, packets: u64, position: u64, bad: Bad) -> Error {
    let name = path.display();
    let plural = if packets == 1 { "" } else { "s" };
    match bad {
        Bad::Io(e) => Error::file(path, e),
        Bad::Magic => Error::usage(
            format!("`{name}` is no capture"),
            "pcap and pcapng files are understood; `tcpdump -w FILE` writes one",
        ),
        Bad::Truncated if packets == 0 && position == 0 => Error::usage(
            format!("`{name}` is no capture: it ends before its header does"),
            "pcap and pcapng files are understood; `tcpdump -w FILE` writes one",
        ),
        Bad::Truncated => Error::usage(
            format!(
                "`{name}` is cut off: it ends inside the record behind packet {packets}, at byte {position}"
            ),
            format!("the {packets} packet{plural} before have been run"),
        ),
        Bad::Damaged(what) => Error::usage(
            format!("`{name}` is damaged at byte {position}, behind packet {packets}: {what}"),
            format!("the {packets} packet{plural} before have been run"),
        ),
        Bad::LinkType(number) => Error::usage(
            format!("`{name}` has packets of link type {number}, which is not understood"),
            "Ethernet (1) and raw IP (101, 228, 229) are",
        ),
    }
}
