//! Why a run was ended: what a verified program never does.

use std::fmt;

use crate::env::KERNEL_HALF;

/// A program did something that it must not, and was stopped before it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of the program, which is not the one started after a tail call.
    pub program: String,
    /// The slot of the instruction.
    pub insn: usize,
    /// What it did.
    pub reason: Reason,
    /// What the address is next to, if it did that with an address: a stack frame, the context, a map.
    pub place: Option<String>,
}

/// What a program did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It read what it may not reach.
    Load {
        /// From here.
        addr: u64,
        /// Bytes.
        size: u64,
    },
    /// It wrote what it may not reach, or what is read-only.
    Store {
        /// To here.
        addr: u64,
        /// Bytes.
        size: u64,
    },
    /// It gave a helper something that the helper cannot use.
    Argument {
        /// The helper's name.
        helper: &'static str,
        /// What is wrong.
        message: String,
    },
    /// It ran longer than its budget.
    Budget,
    /// It called deeper than eight functions.
    CallDepth,
    /// It called what is no function.
    CallTarget(u64),
    /// It ran past its end or into the middle of an instruction.
    NoInstruction,
    /// It threw an exception, which ends the run with this result; runs do not answer it as a fault.
    Thrown(u64),
    /// It asked for something that this run does not have.
    Unsupported(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program `{}`: instruction {}: {}", self.program, self.insn, self.reason)?;
        match (&self.place, self.reason.address()) {
            (Some(place), _) => write!(f, ": {place}"),
            (None, Some(0..4096)) => {
                f.write_str(": a null pointer, perhaps of a look-up that was not checked")
            }
            (None, Some(KERNEL_HALF..)) => f.write_str(": kernel memory that cannot be accessed"),
            (None, Some(_)) => f.write_str(": outside of the memory that the program may access"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { addr, size } => write!(f, "reads {size} bytes at {addr:#x}"),
            Self::Store { addr, size } => write!(f, "writes {size} bytes at {addr:#x}"),
            Self::Argument { helper, message } => write!(f, "`{helper}`: {message}"),
            Self::Budget => f.write_str("runs too long: its instruction budget is used up"),
            Self::CallDepth => f.write_str("calls too deep: more than 8 functions are active"),
            Self::CallTarget(addr) => write!(f, "calls {addr:#x}, which is no function"),
            Self::NoInstruction => f.write_str("no instruction begins here"),
            Self::Thrown(result) => write!(f, "throws an exception: {result:#x}"),
            Self::Unsupported(what) => f.write_str(what),
        }
    }
}

impl Reason {
    /// The address of an access.
    pub(crate) fn address(&self) -> Option<u64> {
        match *self {
            Self::Load { addr, .. } | Self::Store { addr, .. } => Some(addr),
            _ => None,
        }
    }
}

impl std::error::Error for Fault {}
