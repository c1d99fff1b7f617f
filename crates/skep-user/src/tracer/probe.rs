//! Probes: breakpoints in the traced processes, at places of files wherever those are mapped.
//!
//! A [`Site`] is a place in a file. Every address space ([`space::Space`]) has the breakpoints of the sites that it maps: put
//! there when the file is mapped, inherited by forks, gone with an exec. A thread that runs into one stops ([`trap`]); the
//! observer looks; then the thread executes the original instruction from elsewhere ([`step`]) while the breakpoint stays
//! for the others.
//!
//! Return probes leave the stack alone, so that exceptions, longjmp(3) and debuggers find what they know: when a function is
//! entered, a breakpoint is put behind the call, and the thread remembers at which stack pointer it will be back
//! ([`returns`]).
//!
//! When observing ends all original instructions are put back and no thread is left in a copy of one. When the tracer is
//! killed, a command that it started ends with it, and a guard puts back what is in other processes.

mod inject;
mod places;
mod returns;
mod space;
mod step;
mod trap;

use std::path::PathBuf;

pub(super) use places::Places;
pub(super) use returns::Returns;
pub(super) use space::{SpaceId, Spaces};

use crate::sys::ptrace::Registers;

/// A place in a file that programs look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The file; what counts is which file it is, not by which path it is reached.
    pub(crate) path: PathBuf,
    /// Where in the file.
    pub(crate) offset: u64,
    /// Does anybody look when a thread gets there?
    pub(crate) entry: bool,
    /// Does anybody look when the function that begins there returns?
    pub(crate) ret: bool,
    /// Counter in the file that is one higher in every process while somebody looks; 0 for none.
    pub(crate) semaphore: u64,
}

/// The number of a [`Site`] among those of an [`Interest`](super::Interest).
pub(crate) type SiteId = usize;

/// A thread at a probe.
#[derive(Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) site: SiteId,
    /// Back from the function that begins at the site, and not about to execute it?
    pub(crate) ret: bool,
    /// Where the site is in this process.
    pub(crate) address: u64,
    /// Is it the first instruction of a function that is going to set up its frame?
    pub(crate) before_frame: bool,
    pub(crate) regs: &'a mut Registers,
    /// Eight bytes that belong to this run of the function, from its entry to its return.
    pub(crate) session: &'a mut u64,
}

/// What the observer answers to a [`Hit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Nobody wants to see this function return.
    pub(crate) skip_return: bool,
}
