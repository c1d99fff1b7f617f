//! Logs read back: the path that ends in the rejection, step by step, and what the verifier said at its end.
//!
//! Takes logs of ours and of kernels since 5.0, at level 1 or 2. A log of all paths is cut down to the last one: where
//! it says `from A to B`, what followed A is taken back. Lines that are not understood are kept as what the verifier
//! said when they stand after the last instruction, and else skipped.

use super::value::{Value, items};
use crate::state::MAX_FRAMES;

/// Steps of a path that are kept: of an endless one, its end.
const MAX_STEPS: usize = 1 << 16;

/// A register or a stack slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A register.
    Reg(u8),
    /// Eight bytes of stack at this offset from the frame's end.
    Slot(i32),
}

/// A source line, as the log gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The text.
    pub text: String,
    /// File and line; kernels before 6.6 do not tell.
    pub place: Option<(String, u32)>,
}

/// An instruction of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which one.
    pub insn: u32,
    /// Its text: `r2 = *(u32 *)(r1 +0)`.
    pub text: String,
    /// How many calls deep.
    pub frame: u32,
    /// The source line it belongs to, as an index into [`Path::sources`].
    pub source: Option<usize>,
    /// What the log shows of the state after it: frame, place, value.
    pub after: Vec<(u32, Place, Value)>,
    /// Another path left from here and was walked before this one.
    resumed: bool,
}

/// A path that ends in a rejection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// The state before the first instruction.
    pub entry: Vec<(u32, Place, Value)>,
    /// The instructions in the order they were walked; the last one failed.
    pub steps: Vec<Step>,
    /// Source lines.
    pub sources: Vec<Source>,
    /// What the verifier said after the last instruction, line by line.
    pub messages: Vec<String>,
    /// The global function that was verified on its own, if it was not the main program.
    pub function: Option<String>,
    /// Instructions processed in all.
    pub processed: Option<u64>,
    /// Steps dropped at the start of a very long path.
    pub dropped: usize,
}

impl Path {
    /// Reads a log.
    pub fn read(log: &str) -> Self {
        let mut reader = Reader::default();
        for line in log.lines() {
            reader.line(line);
        }
        reader.path
    }

    /// What a place of a frame holds before a step, as far as the log shows it.
    pub fn before(&self, step: usize, frame: u32, place: Place) -> Option<&Value> {
        let shown = |after: &'_ Vec<(u32, Place, Value)>| {
            after.iter().rposition(|(f, p, _)| *f == frame && *p == place)
        };
        for step in self.steps[..step.min(self.steps.len())].iter().rev() {
            if let Some(at) = shown(&step.after) {
                return Some(&step.after[at].2);
            }
        }
        shown(&self.entry).map(|at| &self.entry[at].2)
    }

    /// What it holds after a step.
    pub fn after(&self, step: usize, frame: u32, place: Place) -> Option<&Value> {
        self.before(step + 1, frame, place)
    }

    /// The source line of a step.
    pub fn source(&self, step: usize) -> Option<&Source> {
        self.sources.get(self.steps.get(step)?.source?)
    }
}

#[derive(Default)]
struct Reader {
    path: Path,
    frame: u32,
    source: Option<usize>,
    /// A function has just returned: `from A to B` then tells that, not that another path goes on.
    returned: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let line = line.strip_prefix("libbpf: ").unwrap_or(line).trim_end();
        if line.is_empty() || is_noise(line) {
            return;
        }
        if let Some(text) = line.strip_prefix("; ") {
            self.source_line(text);
        } else if let Some(rest) = line.strip_prefix("from ") {
            self.from(rest);
        } else if line == "callee:" {
            self.frame = (self.frame + 1).min(MAX_FRAMES as u32);
        } else if line.starts_with("to caller at ") {
            self.frame = self.frame.saturating_sub(1);
            self.returned = true;
        } else if let Some(rest) = line.strip_prefix("Validating ") {
            let function = rest.split("()").next().map(str::to_owned);
            *self = Self { path: Path { function, ..Path::default() }, ..Self::default() };
        } else if let Some(rest) = line.strip_prefix("processed ") {
            self.path.processed = rest.split(' ').next().and_then(|n| n.parse().ok());
        } else if line.starts_with(' ') || line.starts_with("frame") {
            self.state(line);
        } else {
            self.numbered(line);
        }
    }

    /// `text @ file:line`, or the text alone.
    fn source_line(&mut self, text: &str) {
        let place = text.rsplit_once(" @ ").and_then(|(text, place)| {
            let (file, line) = place.rsplit_once(':')?;
            Some((text, (file.to_owned(), line.parse().ok()?)))
        });
        let source = match place {
            Some((text, place)) => Source { text: text.to_owned(), place: Some(place) },
            None => Source { text: text.to_owned(), place: None },
        };
        let known = self.path.sources.iter().position(|s| *s == source);
        self.source = known.or_else(|| {
            self.path.sources.push(source);
            Some(self.path.sources.len() - 1)
        });
    }

    /// `A to B: state`, `A to B: safe`: the path that left at A goes on at B.
    fn from(&mut self, rest: &str) {
        let Some((head, state)) = rest.split_once(':') else { return };
        let numbers: Vec<u32> = head.split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[from, _] = numbers.as_slice() else { return };
        if !std::mem::take(&mut self.returned) {
            let left = self.path.steps.iter().rposition(|step| step.insn == from && !step.resumed);
            if let Some(at) = left {
                self.path.steps.truncate(at + 1);
                let step = &mut self.path.steps[at];
                step.resumed = true;
                (self.frame, self.source) = (step.frame, step.source);
            }
        }
        if state.trim() != "safe" {
            self.frame = frame_of(state);
            self.state(state);
        }
    }

    /// `N: (op) text ; state`, `N: state`, or something the verifier says.
    fn numbered(&mut self, line: &str) {
        let split = line.split_once(':').and_then(|(number, rest)| Some((number.parse::<u32>().ok()?, rest)));
        let Some((insn, rest)) = split else {
            self.path.messages.push(line.to_owned());
            return;
        };
        let rest = rest.trim_start();
        let Some(text) = rest.strip_prefix('(').and_then(|rest| rest.get(2..)?.strip_prefix(") ")) else {
            if rest != "safe" {
                // A state with no word on the frame is of the program's own.
                self.frame =
                    if rest.starts_with("frame") || self.returned { self.frame } else { frame_of(rest) };
                self.state(rest);
            }
            return;
        };
        self.returned = false;
        self.path.messages.clear();
        let (text, state) = text.split_once(';').unwrap_or((text, ""));
        self.step(insn, text.trim());
        if !state.is_empty() {
            self.state(state);
        }
    }

    fn step(&mut self, insn: u32, text: &str) {
        let steps = &mut self.path.steps;
        if steps.len() >= MAX_STEPS {
            steps.drain(..MAX_STEPS / 2);
            self.path.dropped += MAX_STEPS / 2;
        }
        let (frame, source) = (self.frame, self.source);
        steps.push(Step { insn, text: text.to_owned(), frame, source, after: Vec::new(), resumed: false });
    }

    /// `frame1: R0=… fp-8=… refs=2`: belongs to the last step.
    fn state(&mut self, text: &str) {
        let frame = frame_of(text);
        let shown = match self.path.steps.last_mut() {
            Some(step) => &mut step.after,
            None => &mut self.path.entry,
        };
        for item in items(text, ' ') {
            let Some((place, value)) = item.split_once('=') else { continue };
            if let Some(place) = place_of(place) {
                shown.push((frame, place, Value::parse(value)));
            }
        }
    }
}

/// The frame a state is of.
fn frame_of(state: &str) -> u32 {
    let rest = state.trim_start().strip_prefix("frame");
    let frame = rest.and_then(|rest| rest.split(':').next()?.parse().ok());
    frame.filter(|frame| (*frame as usize) < MAX_FRAMES).unwrap_or(0)
}

/// `R3`, `R3_w`, `fp-8`, `fp-8_r`.
fn place_of(text: &str) -> Option<Place> {
    let text = text.split('_').next()?;
    if let Some(reg) = text.strip_prefix('R') {
        return reg.parse().ok().map(Place::Reg);
    }
    text.strip_prefix("fp").and_then(|off| off.parse().ok()).map(Place::Slot)
}

/// Lines that tell how the verifier works rather than what it found.
fn is_noise(line: &str) -> bool {
    let starts = [
        "mark_precise:",
        "force_precise:",
        "func#",
        "Live regs before",
        "caller:",
        "returning from callee:",
        "cur state:",
        "old state:",
        "parent ",
        "last_idx",
        "regs=",
        "frame 0:",
        "frame 1:",
        "-- ",
        "verification time",
        "stack depth",
        "Func#",
        "Processing ",
        "peak_states",
    ];
    let live_registers = || {
        let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        line.starts_with(' ')
            && rest.strip_prefix(": ").is_some_and(|r| r.len() > 10 && r.as_bytes()[10] == b' ')
    };
    let live_slots = || {
        line.starts_with('(') && line.contains(") ") && (line.contains("live") || line.contains("written"))
    };
    starts.iter().any(|start| line.starts_with(start))
        || line.contains("propagating r")
        || line.contains("propagating fp")
        || live_registers()
        || live_slots()
        || (line.starts_with("func '") && line.contains("has btf_id"))
}
