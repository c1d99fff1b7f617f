//! Programs that wait in the interpreter until they have run often enough to be worth compiling.
//!
//! The first runs are not to wait for a thread that begins, and a process may be split in two before its first run: there
//! must be one thread until then.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use skep_verifier::Verified;

/// Runs in the interpreter before a program is compiled.
const RUNS: u32 = 8;

/// What is compiled later, and the runs so far.
#[derive(Default)]
pub(crate) struct Waiting {
    runs: AtomicU32,
    verified: Mutex<Option<Verified>>,
}

impl Waiting {
    /// Waits with this.
    pub(crate) fn put(&mut self, verified: Verified) {
        *self.verified.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(verified);
    }

    /// Counts a run; answers what is to be compiled when there were enough. Threads that count at a time may count one
    /// for two, but none is left out.
    #[inline]
    pub(crate) fn count(&self) -> Option<Verified> {
        let runs = self.runs.load(Ordering::Relaxed);
        self.runs.store(runs.wrapping_add(1), Ordering::Relaxed);
        if runs == RUNS { self.take() } else { None }
    }

    #[cold]
    fn take(&self) -> Option<Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
