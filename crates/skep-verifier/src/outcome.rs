//! What the verifier answers.

use std::fmt;

use crate::verified::Verified;

/// The answer for one program.
#[derive(Debug)]
pub struct Report {
    /// The verdict.
    pub outcome: Outcome,
    /// What it cost.
    pub stats: Stats,
}

/// The verdict: one of three, never a guess.
#[derive(Debug)]
pub enum Outcome {
    /// Safe; the proof.
    Accept(Verified),
    /// The kernel would reject it.
    Reject(Rejection),
    /// It uses something this verifier has not built.
    Unsupported(Unsupported),
}

/// Why a program is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The instruction at which.
    pub insn: u32,
    /// The kernel's words.
    pub message: String,
}

/// What a program uses that is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The instruction at which.
    pub insn: u32,
    /// The construct.
    pub what: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.insn, self.message)
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {} is not supported by this verifier", self.insn, self.what)
    }
}

/// What an analysis cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions walked, over all paths.
    pub insns_processed: u32,
    /// States remembered.
    pub total_states: u32,
    /// States remembered at once, at most.
    pub peak_states: u32,
    /// States remembered at one instruction, at most.
    pub max_states_per_insn: u32,
}
