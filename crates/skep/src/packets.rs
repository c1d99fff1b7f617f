//! Packets through a program: from a capture or a device, by verdict into captures, counted.
//!
//! [`capture`] reads and writes files, [`verdict`] says what a program's number means for its hook. [`run`] takes packets from a
//! [`Source`] until it ends or fails, and hands each to [`Sinks`].

pub mod capture;
pub mod verdict;

use std::time::{Duration, Instant};

use skep_isa::uapi::ProgType;
use skep_runtime::{PacketIn, PacketRan, PacketRunner};

use crate::Result;
use capture::Stamp;
use verdict::{Fate, Verdict};

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// An Ethernet frame.
    pub data: &'a [u8],
    /// When it was captured.
    pub stamp: Stamp,
    /// The device that it comes from, 0 when that is not known.
    pub ifindex: u32,
}

impl<'a> Frame<'a> {
    /// The same with other data, on the wire longer by what the capture has cut.
    fn changed(&self, data: &'a [u8]) -> Self {
        let cut = self.stamp.wire_len.saturating_sub(self.data.len() as u32);
        Self { data, stamp: Stamp { wire_len: data.len() as u32 + cut, ..self.stamp }, ..*self }
    }
}

/// Where packets come from.
pub trait Source {
    /// The next packet; `None` at the end.
    fn next(&mut self) -> Result<Option<Frame<'_>>>;
}

/// Where packets go.
pub trait Sinks {
    /// Does anybody want packets that go on? If not, they are counted only.
    fn wants_forwarded(&self) -> bool {
        true
    }

    /// A packet that goes on, as the program left it.
    fn forward(&mut self, verdict: Verdict, frame: &Frame<'_>) -> Result<()>;

    /// A packet that does not, as it came.
    fn drop(&mut self, verdict: Verdict, frame: &Frame<'_>) -> Result<()>;

    /// A copy that the program sent off.
    fn copy(&mut self, ifindex: u32, frame: &Frame<'_>) -> Result<()>;

    /// A chance to do something else between packets; `false` ends the run.
    fn between(&mut self) -> Result<bool> {
        Ok(true)
    }
}

/// Packets and bytes, as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By verdict, in the order they came up first.
    pub verdicts: Vec<(Verdict, Count)>,
    /// Copies sent off.
    pub copies: u64,
    /// Time of the whole run, reading and writing included.
    pub elapsed: Duration,
    /// Time in the program, measured on the first packets and then on every [`SAMPLE`]th, which stands for as many.
    sampled: Duration,
    samples: u32,
}

/// One packet in so many is timed, because looking at the clock takes as long as a small program.
const SAMPLE: u32 = 16;
/// The first so many are timed all, because the very first takes longest.
const TIMED: u64 = 64;

impl Summary {
    /// Packets in all.
    pub fn packets(&self) -> u64 {
        self.verdicts.iter().map(|(_, count)| count.packets).sum()
    }

    /// There are few verdicts, so a list is searched faster than a tree.
    fn count(&mut self, verdict: Verdict, bytes: usize) {
        let known = self.verdicts.iter().position(|(known, _)| *known == verdict);
        let at = known.unwrap_or_else(|| {
            self.verdicts.push((verdict, Count::default()));
            self.verdicts.len() - 1
        });
        let count = &mut self.verdicts[at].1;
        count.packets += 1;
        count.bytes += bytes as u64;
    }

    /// Nanoseconds that the program takes for one packet, on average.
    pub fn program_ns(&self) -> u64 {
        match self.samples {
            0 => 0,
            samples => (self.sampled / samples).as_nanos() as u64,
        }
    }

    /// Nanoseconds for one packet, reading and writing included.
    pub fn packet_ns(&self) -> u64 {
        match self.packets() {
            0 => 0,
            packets => (self.elapsed.as_nanos() / u128::from(packets)) as u64,
        }
    }
}

/// Runs packets through a program. The summary is of all packets that were run, also when the run failed.
pub fn run(
    runner: &mut dyn PacketRunner,
    prog_type: ProgType,
    source: &mut dyn Source,
    sinks: &mut dyn Sinks,
) -> (Summary, Result<()>) {
    let mut summary = Summary::default();
    let start = Instant::now();
    let result = run_all(runner, prog_type, source, sinks, &mut summary);
    summary.elapsed = start.elapsed();
    (summary, result)
}

fn run_all(
    runner: &mut dyn PacketRunner,
    prog_type: ProgType,
    source: &mut dyn Source,
    sinks: &mut dyn Sinks,
    summary: &mut Summary,
) -> Result<()> {
    let mut out = Vec::new();
    let mut number = 0;
    while let Some(frame) = source.next()? {
        let packet = PacketIn { data: frame.data, ifindex: frame.ifindex };
        let stands_for = if number < TIMED { 1 } else { SAMPLE };
        let timed = (number % u64::from(stands_for) == 0).then(Instant::now);
        let ran = runner.run(&packet).map_err(|e| e.context(format_args!("packet {}", number + 1)))?;
        if let Some(begun) = timed {
            summary.sampled += begun.elapsed() * stands_for;
            summary.samples += stands_for;
        }
        number += 1;
        let verdict = Verdict::of(prog_type, ran.retval);
        summary.count(verdict, frame.data.len());
        summary.copies += ran.copies.len() as u64;
        if verdict.fate() != Fate::Dropped && sinks.wants_forwarded() {
            runner.take_packet(&packet, &mut out);
        }
        deliver(verdict, &ran, &frame, &out, sinks)?;
        if !sinks.between()? {
            break;
        }
    }
    Ok(())
}

fn deliver(
    verdict: Verdict,
    ran: &PacketRan,
    frame: &Frame<'_>,
    out: &[u8],
    sinks: &mut dyn Sinks,
) -> Result<()> {
    for (ifindex, data) in &ran.copies {
        sinks.copy(*ifindex, &frame.changed(data))?;
    }
    match verdict.fate() {
        Fate::Forwarded | Fate::Cut(_) if !sinks.wants_forwarded() => Ok(()),
        Fate::Forwarded => sinks.forward(verdict, &frame.changed(out)),
        Fate::Cut(len) => sinks.forward(verdict, &Frame { data: &out[..out.len().min(len)], ..*frame }),
        Fate::Dropped => sinks.drop(verdict, frame),
    }
}
