//! The log while it grows: lines are added, and taken back where a path turned out fine or a state belongs beside its
//! instruction.

use std::fmt::Arguments;
use std::fmt::Write as _;

use super::print::{self, Names, Touched};
use super::{Level, Recording, Sink, SourceLine};
use crate::state::{Slot, SlotKind, Stack, State};

/// Where states stand beside instructions: from this column on, in steps of the second.
const STATE_COLUMN: usize = 40;
const STATE_STEP: usize = 8;
/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// Writes down what an analysis does. Made only when something is to be written.
pub(crate) struct Recorder<'a> {
    level: Option<Level>,
    keep_bytes: usize,
    sink: Option<Sink<'a>>,
    names: Names<'a>,
    lines: Vec<SourceLine>,
    /// The source line shown last.
    line: Option<usize>,
    /// How often each instruction was processed; empty unless that is asked for.
    pub(crate) counts: Vec<u32>,
    text: String,
    /// Bytes that were before `text`.
    gone: usize,
    /// Where the log ended when each waiting path was put off.
    waiting: Vec<usize>,
    /// End of the instruction's line, and bytes of it.
    insn_end: usize,
    insn_bytes: usize,
    pub(crate) touched: Touched,
    /// The path was left for another one: the next instruction shows the whole state.
    pub(crate) resumed: bool,
    /// The stack before the call that was logged last.
    before_call: Option<Stack>,
    /// The reason of the rejection is in the log already.
    pub(crate) said_why: bool,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(recording: Recording<'a>, names: Names<'a>, insns: usize) -> Self {
        Self {
            level: recording.level,
            keep_bytes: recording.keep_bytes,
            sink: recording.sink,
            names,
            lines: recording.lines,
            line: None,
            counts: if recording.count { vec![0; insns] } else { Vec::new() },
            text: String::new(),
            gone: 0,
            waiting: Vec::new(),
            insn_end: usize::MAX,
            insn_bytes: 0,
            touched: Touched::ALL,
            resumed: false,
            before_call: None,
            said_why: false,
        }
    }

    /// Is there a log?
    pub(crate) fn is_logging(&self) -> bool {
        self.level.is_some()
    }

    /// Does the log have all paths?
    pub(crate) fn logs_all(&self) -> bool {
        self.level == Some(Level::All)
    }

    /// Counts an instruction.
    pub(crate) fn count(&mut self, pc: u32) {
        if let Some(count) = self.counts.get_mut(pc as usize) {
            *count += 1;
        }
    }

    /// Appends to the log.
    pub(crate) fn put(&mut self, text: Arguments<'_>) {
        self.text.write_fmt(text).expect("invariant: a string takes any text");
    }

    fn end(&self) -> usize {
        self.gone + self.text.len()
    }

    /// Takes back what was logged from here on.
    fn rewind(&mut self, to: usize) {
        self.text.truncate(to.saturating_sub(self.gone));
    }

    /// A walk of a function begins; the source line is shown anew.
    pub(crate) fn begin(&mut self) {
        self.line = None;
        (self.touched, self.resumed) = (Touched::ALL, false);
    }

    /// A path is put off.
    pub(crate) fn put_off(&mut self) {
        self.waiting.push(self.end());
    }

    /// A path is over, and the one put off last goes on. Of paths that are fine a log at level 1 tells nothing.
    pub(crate) fn resume(&mut self) {
        let at = self.waiting.pop();
        if let (Some(at), Some(Level::Path)) = (at, self.level) {
            self.rewind(at);
        }
        (self.touched, self.resumed) = (Touched::ALL, true);
    }

    /// All paths of a function are fine.
    pub(crate) fn finish_function(&mut self) {
        self.waiting.clear();
        if self.level == Some(Level::Path) {
            self.rewind(0);
        }
    }

    /// The source line of an instruction, unless it is the one shown last.
    pub(crate) fn source_line(&mut self, pc: u32) {
        let after = self.lines.partition_point(|line| line.insn <= pc);
        let at = after.saturating_sub(1);
        let Some(line) = self.lines.get(at) else { return };
        let shown = self.line.and_then(|at| self.lines.get(at));
        if shown.is_some_and(|shown| shown.file == line.file && shown.line == line.line) {
            return;
        }
        writeln!(self.text, "; {} @ {}:{}", line.text.trim_start(), line.file, line.line)
            .expect("invariant: a string takes any text");
        self.line = Some(at);
    }

    /// The line of an instruction.
    pub(crate) fn instruction(&mut self, pc: u32, text: &str) {
        let start = self.end();
        self.put(format_args!("{pc}: {text}\n"));
        self.insn_end = self.end();
        self.insn_bytes = self.insn_end - start;
        self.hand_on();
    }

    /// What an instruction touched: beside it where nothing was logged since, else in a line of its own.
    pub(crate) fn touched_state(&mut self, state: &State, pc: u32) {
        if self.insn_end == self.end() {
            self.rewind(self.insn_end - 1);
            let column = (self.insn_bytes + STATE_STEP / 2).max(STATE_COLUMN).next_multiple_of(STATE_STEP);
            let blanks = column - self.insn_bytes - 1;
            self.put(format_args!("{:blanks$};", ""));
        } else {
            self.put(format_args!("{pc}:"));
        }
        let touched = std::mem::take(&mut self.touched);
        print::frame(&mut self.text, state, state.curframe(), touched, &self.names);
    }

    /// A call is about to be made, which may write to the stack.
    pub(crate) fn before_call(&mut self, state: &State) {
        self.before_call = Some(state.frame().stack.clone());
    }

    /// The slots that the last call wrote, if it was the last instruction.
    pub(crate) fn written_by_call(&mut self, state: &State) -> u64 {
        let Some(before) = self.before_call.take() else { return 0 };
        // What held data before is read, and only perhaps written; such slots the kernel does not show.
        let fresh = |slot: &Slot| slot.kind.contains(&SlotKind::Invalid) || slot.is_special();
        let differs = |(i, slot): &(usize, &Slot)| match before.get(*i) {
            Some(before) if before.is_spill() => slot.is_special() && !slot.is_spill(),
            Some(before) => before.kind != slot.kind && (fresh(before) || slot.is_special()),
            None => true,
        };
        let written = state.frame().stack.iter().enumerate().take(64).filter(differs);
        written.fold(0, |slots, (i, _)| slots | 1 << i)
    }

    /// The whole of a frame.
    pub(crate) fn whole_frame(&mut self, state: &State, frame: usize) {
        print::frame(&mut self.text, state, frame, Touched::ALL, &self.names);
    }

    /// Gives what will not be taken back to who wants it, and forgets the start of what grows too long.
    fn hand_on(&mut self) {
        let limit = if self.keep_bytes > 0 { self.keep_bytes } else { usize::MAX / 2 };
        let settled = self.logs_all() && self.sink.is_some() && self.text.len() > PIECE_BYTES;
        let end = match settled {
            true => self.text.len() - self.insn_bytes,
            false if self.text.len() > limit * 2 => self.text.len() - limit,
            false => return,
        };
        let end = self.text[..end].rfind('\n').map_or(0, |at| at + 1);
        if let (true, Some(sink)) = (settled, &mut self.sink) {
            sink(&self.text[..end]);
        }
        self.text.drain(..end);
        self.gone += end;
    }

    /// The end: what is left goes to who wants the log.
    pub(crate) fn finish(mut self) -> Vec<u32> {
        if let (Some(sink), Some(_)) = (&mut self.sink, self.level) {
            sink(&self.text);
        }
        self.counts
    }
}
