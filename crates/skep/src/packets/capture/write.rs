//! Writing captures. Both formats are written in the byte order of this machine, with times in nanoseconds.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use skep_isa::uapi::ProgType;

use super::super::Frame;
use super::super::verdict::Verdict;
use super::{BUFFER, ETH_HLEN, Format, LinkType, pcap, pcapng};
use crate::{Error, Result};

/// An `epb_verdict` option, and its kinds for eBPF: what a program said, as eight bytes behind the kind.
const EPB_VERDICT: u16 = 7;
const VERDICT_TC: u8 = 1;
const VERDICT_XDP: u8 = 2;

/// A capture that is written.
pub struct Writer {
    path: PathBuf,
    file: Box<dyn Write>,
    /// What is still to be written to it.
    out: Vec<u8>,
    format: Format,
    link: LinkType,
    /// A block, put together before it is written.
    block: Vec<u8>,
}

impl Writer {
    /// Creates a file; of the old format unless its name ends in `.pcapng`.
    pub fn create(path: &Path, link: LinkType) -> Result<Self> {
        let pcapng = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pcapng"));
        let out = File::create(path).map_err(|e| Error::file(path, e))?;
        let format = if pcapng { Format::Pcapng } else { Format::Pcap };
        Self::new(path, Box::new(out), format, link)
    }

    /// Writes a capture to anything; `path` is for messages.
    pub fn new(path: &Path, file: Box<dyn Write>, format: Format, link: LinkType) -> Result<Self> {
        let out = Vec::with_capacity(BUFFER);
        let mut writer = Self { path: path.to_owned(), file, out, format, link, block: Vec::new() };
        match format {
            Format::Pcap => writer.pcap_header(),
            Format::Pcapng => writer.pcapng_header(),
        }
        Ok(writer)
    }

    /// Writes a packet; the new format takes down the verdict with it.
    #[inline]
    pub fn write(&mut self, frame: &Frame<'_>, verdict: Option<(ProgType, Verdict)>) -> Result<()> {
        let frame = &match self.link {
            LinkType::Ethernet => *frame,
            LinkType::RawIp => without_header(frame),
        };
        match self.format {
            Format::Pcap => self.pcap_record(frame),
            Format::Pcapng => self.pcapng_packet(frame, verdict),
        }
        if self.out.len() >= BUFFER { self.write_out() } else { Ok(()) }
    }

    /// Writes out what is buffered.
    pub fn finish(&mut self) -> Result<()> {
        self.write_out()?;
        self.file.flush().map_err(|e| Error::file(&self.path, e))
    }

    #[cold]
    fn write_out(&mut self) -> Result<()> {
        let written = self.file.write_all(&self.out);
        // What could not be written is not tried again.
        self.out.clear();
        written.map_err(|e| Error::file(&self.path, e))
    }

    fn pcap_header(&mut self) {
        /// Version 2.4.
        const VERSION: u32 = if cfg!(target_endian = "little") { 4 << 16 | 2 } else { 2 << 16 | 4 };
        const SNAP_LEN: u32 = 1 << 18;
        let words = [pcap::NANOSECONDS, VERSION, 0, 0, SNAP_LEN, self.link.number()];
        self.out.extend_from_slice(words.map(u32::to_ne_bytes).as_flattened());
    }

    #[inline]
    fn pcap_record(&mut self, frame: &Frame<'_>) {
        const SECOND: u64 = 1_000_000_000;
        let stamp = frame.stamp.nanoseconds;
        let len = frame.data.len() as u32;
        let words = [(stamp / SECOND) as u32, (stamp % SECOND) as u32, len, frame.stamp.wire_len.max(len)];
        let mut header = [0; 16];
        for (bytes, word) in header.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_ne_bytes();
        }
        self.out.reserve(header.len() + frame.data.len());
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(frame.data);
    }

    fn pcapng_header(&mut self) {
        /// Version 1.0, and a section of unknown length.
        const VERSION: u32 = if cfg!(target_endian = "little") { 1 } else { 1 << 16 };
        self.block.clear();
        self.words(&[pcapng::BYTE_ORDER, VERSION, u32::MAX, u32::MAX]);
        self.end_block(pcapng::SECTION_BLOCK);
        self.block.extend_from_slice(&(self.link.number() as u16).to_ne_bytes());
        self.block.extend_from_slice(&[0; 2]);
        self.words(&[0]);
        self.option(pcapng::IF_TSRESOL, &[9]);
        self.option(0, &[]);
        self.end_block(pcapng::INTERFACE_BLOCK);
    }

    fn pcapng_packet(&mut self, frame: &Frame<'_>, verdict: Option<(ProgType, Verdict)>) {
        let stamp = frame.stamp.nanoseconds;
        let len = frame.data.len() as u32;
        self.words(&[0, (stamp >> 32) as u32, stamp as u32, len, frame.stamp.wire_len.max(len)]);
        self.block.extend_from_slice(frame.data);
        self.pad();
        let kind = match verdict {
            Some((ProgType::XDP, verdict)) => Some((VERDICT_XDP, verdict)),
            Some((ProgType::SCHED_CLS | ProgType::SCHED_ACT, verdict)) => Some((VERDICT_TC, verdict)),
            _ => None,
        };
        if let Some((kind, verdict)) = kind {
            let mut value = [0; 9];
            value[0] = kind;
            value[1..].copy_from_slice(&i64::from(verdict.number() as i32).to_ne_bytes());
            self.option(EPB_VERDICT, &value);
            self.option(0, &[]);
        }
        self.end_block(pcapng::PACKET_BLOCK);
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.block.extend_from_slice(&word.to_ne_bytes()));
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend_from_slice(&code.to_ne_bytes());
        self.block.extend_from_slice(&(value.len() as u16).to_ne_bytes());
        self.block.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    /// Writes the block that has been put together, and begins the next.
    fn end_block(&mut self, kind: u32) {
        let length = (self.block.len() as u32 + 12).to_ne_bytes();
        self.out.extend_from_slice(&kind.to_ne_bytes());
        self.out.extend_from_slice(&length);
        self.out.extend_from_slice(&self.block);
        self.out.extend_from_slice(&length);
        self.block.clear();
    }
}

impl Drop for Writer {
    /// For whoever forgets to finish.
    fn drop(&mut self) {
        let _ = self.write_out();
    }
}

/// The packet behind its Ethernet header.
fn without_header<'a>(frame: &Frame<'a>) -> Frame<'a> {
    let mut bare = *frame;
    bare.data = frame.data.get(ETH_HLEN..).unwrap_or_default();
    bare.stamp.wire_len = frame.stamp.wire_len.saturating_sub(ETH_HLEN as u32);
    bare
}
