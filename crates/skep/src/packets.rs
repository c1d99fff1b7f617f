//! Packets through a program: from a capture or a device, by verdict into captures, counted.
//!
//! [`capture`] reads and writes files, [`verdict`] says what a program's number means for its hook. [`run`] takes packets from a
//! [`Source`] until it ends or fails, and hands each to [`Sinks`].

pub mod capture;
pub mod verdict;

use std::time::{Duration, Instant};

use skep_isa::uapi::ProgType;
use skep_runtime::{PacketIn, PacketRunner};

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
    #[inline]
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
    sampled_ns: u64,
    samples: u64,
}

/// One packet in so many is timed, because looking at the clock takes as long as a small program.
const SAMPLE: u64 = 64;
/// The first so many are timed all, because the very first takes longest.
const SINGLE: u64 = 64;

impl Summary {
    /// Packets in all.
    pub fn packets(&self) -> u64 {
        self.verdicts.iter().map(|(_, count)| count.packets).sum()
    }

    /// The place of a verdict. There are few, so a list is searched faster than a tree.
    fn place(&mut self, verdict: Verdict) -> usize {
        let known = self.verdicts.iter().position(|(known, _)| *known == verdict);
        known.unwrap_or_else(|| {
            self.verdicts.push((verdict, Count::default()));
            self.verdicts.len() - 1
        })
    }

    #[inline]
    fn count(&mut self, place: usize, bytes: usize) {
        let count = &mut self.verdicts[place].1;
        count.packets += 1;
        count.bytes += bytes as u64;
    }

    /// Nanoseconds that the program takes for one packet, on average.
    pub fn program_ns(&self) -> u64 {
        match self.samples {
            0 => 0,
            samples => self.sampled_ns / samples,
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

/// What the last numbers of a program meant, and where they are counted: most packets fare like one shortly before.
struct Meanings {
    prog_type: ProgType,
    last: [Option<(u32, Verdict, usize)>; 4],
}

impl Meanings {
    #[inline]
    fn of(&mut self, retval: u32, summary: &mut Summary) -> &(u32, Verdict, usize) {
        let slot = &mut self.last[retval as usize % 4];
        if slot.is_none_or(|(known, ..)| known != retval) {
            *slot = None;
        }
        slot.get_or_insert_with(|| {
            let verdict = Verdict::of(self.prog_type, retval);
            (retval, verdict, summary.place(verdict))
        })
    }
}

/// Runs packets through a program. The summary is of all packets that were run, also when the run failed.
pub fn run<S: Source + ?Sized, K: Sinks + ?Sized>(
    runner: &mut dyn PacketRunner,
    prog_type: ProgType,
    source: &mut S,
    sinks: &mut K,
) -> (Summary, Result<()>) {
    let mut summary = Summary::default();
    let start = Instant::now();
    let result = run_all(runner, prog_type, source, sinks, &mut summary);
    summary.elapsed = start.elapsed();
    (summary, result)
}

// By types, not through tables: of a small program, calls that could not be seen through would be a third of the time.
fn run_all<S: Source + ?Sized, K: Sinks + ?Sized>(
    runner: &mut dyn PacketRunner,
    prog_type: ProgType,
    source: &mut S,
    sinks: &mut K,
    summary: &mut Summary,
) -> Result<()> {
    let mut room = Vec::new();
    let mut timer = Timer::default();
    let mut meanings = Meanings { prog_type, last: [None; 4] };
    let wants_forwarded = sinks.wants_forwarded();
    while let Some(frame) = source.next()? {
        let packet = PacketIn { data: frame.data, ifindex: frame.ifindex };
        let ran = match timer.is_due() {
            false => runner.run(&packet),
            true => timer.time(summary, || runner.run(&packet)),
        };
        let ran = ran.map_err(|e| e.context(format_args!("packet {}", summary.packets() + 1)))?;
        let (_, verdict, place) = meanings.of(ran.retval, summary);
        summary.count(*place, frame.data.len());
        if ran.has_copies {
            send_copies(runner, &frame, sinks, summary)?;
        }
        match verdict.fate() {
            Fate::Dropped => sinks.drop(*verdict, &frame)?,
            fate if wants_forwarded => {
                let left = runner.left(&packet, &mut room);
                let frame = match fate {
                    Fate::Cut(len) => Frame { data: &left[..left.len().min(len)], ..frame },
                    _ => frame.changed(left),
                };
                sinks.forward(*verdict, &frame)?;
            }
            _ => {}
        }
        if !sinks.between()? {
            break;
        }
    }
    Ok(())
}

#[cold]
fn send_copies<K: Sinks + ?Sized>(
    runner: &mut dyn PacketRunner,
    frame: &Frame<'_>,
    sinks: &mut K,
    summary: &mut Summary,
) -> Result<()> {
    let copies = runner.take_copies();
    summary.copies += copies.len() as u64;
    copies.iter().try_for_each(|(ifindex, data)| sinks.copy(*ifindex, &frame.changed(data)))
}

/// Says which packets are timed.
struct Timer {
    /// Packets to come before the next that is.
    left: u64,
    /// How many are timed one by one.
    single: u64,
}

impl Default for Timer {
    fn default() -> Self {
        Self { left: 0, single: SINGLE }
    }
}

impl Timer {
    #[inline]
    fn is_due(&mut self) -> bool {
        let due = self.left == 0;
        self.left = self.left.wrapping_sub(1);
        due
    }

    #[cold]
    #[inline(never)]
    fn time<T>(&mut self, summary: &mut Summary, run: impl FnOnce() -> T) -> T {
        let stands_for = if self.single > 0 { 1 } else { SAMPLE };
        self.single = self.single.saturating_sub(1);
        self.left = if self.single > 0 { 0 } else { SAMPLE - 1 };
        let begun = Instant::now();
        let ran = run();
        summary.sampled_ns += begun.elapsed().as_nanos() as u64 * stands_for;
        summary.samples += stands_for;
        ran
    }
}
