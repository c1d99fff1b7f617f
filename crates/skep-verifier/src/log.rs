//! The log of an analysis, in the format of Linux's verifier: written as paths are walked, and read back.
//!
//! At level 1 the log has the path that was walked last (of a rejected program, the one that fails); at level 2 every
//! path, and how precision marks travel. Each instruction has its text and the registers it touched
//! (`3: (bf) r2 = r10 ; R2=fp0 R10=fp0`), each source line its place (`; text @ file:line`).
//!
//! | module | is |
//! |---|---|
//! | `print` | registers, slots and frames as text |
//! | `record` | the log while it grows |
//! | [`read`], [`value`] | a log, ours or that of a kernel since 5.0, as a path of steps |
//!
//! What our log cannot have as the kernel's does: addresses of maps and functions (`0x0` stands there), and the
//! kernel's notes on the liveness of stack slots.

pub(crate) mod print;
pub mod read;
pub(crate) mod record;
pub mod value;

/// How much of an analysis is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Level {
    /// The last path (`BPF_LOG_LEVEL1`).
    Path,
    /// All paths, and precision marks (`BPF_LOG_LEVEL2`).
    All,
}

/// The source line that begins at an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The instruction.
    pub insn: u32,
    /// File name, without directories.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when it is not known.
    pub column: u32,
    /// The line's text.
    pub text: String,
}

/// Takes a log, piece by piece.
pub type Sink<'a> = Box<dyn FnMut(&str) + 'a>;

/// What to write down while a program is verified.
#[derive(Default)]
pub struct Recording<'a> {
    /// Writes a log of this level.
    pub level: Option<Level>,
    /// Bytes of a log at level 1 that are kept at most, its end; 0 for all.
    pub keep_bytes: usize,
    /// The program's source lines in the order of its instructions.
    pub lines: Vec<SourceLine>,
    /// Counts how often each instruction is processed.
    pub count: bool,
    /// Takes the log, piece by piece.
    pub sink: Option<Sink<'a>>,
}
