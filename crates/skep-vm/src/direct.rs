//! A verified program as the interpreter runs it: what the proof says lies in memory of this process is accessed by its
//! address, as compiled code does it, and everything else is checked.
//!
//! What makes this sound is what makes compiled code sound: [`Direct`] is made of what the verifier has accepted, with facts,
//! and its steps are given out only for runs with a context (and a packet) as large as the program was seen to
//! access.
#![expect(unsafe_code, reason = "the proof says where accesses go")]

use std::sync::Arc;

use skep_verifier::Verified;

use crate::code::Code;
use crate::interp::steps::Steps;
use crate::jit::{Place, Source};
use crate::map::Map;
use crate::memory::Word;

/// Stands where accesses are proved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proved(());

impl Proved {
    /// Loads from where the instruction goes.
    #[inline(always)]
    pub(crate) fn load<T: Word>(self, addr: u64) -> T {
        // SAFETY: the verifier has proved the access, and the run was admitted.
        unsafe { T::load(addr) }
    }

    /// Stores to where the instruction goes.
    #[inline(always)]
    pub(crate) fn store<T: Word>(self, addr: u64, value: T) {
        // SAFETY: as for `load`.
        unsafe { value.store(addr) }
    }

    /// Clears so many bytes below an address, of the frame of a function that is entered.
    #[inline(always)]
    pub(crate) fn clear_below(self, frame: u64, bytes: u64) {
        for addr in (frame - bytes..frame).step_by(8) {
            self.store(addr, 0u64);
        }
    }
}

/// A program with direct accesses, and what they take for granted.
pub(crate) struct Direct {
    steps: Steps,
    context_bytes: u64,
    needs_packet: bool,
}

impl Direct {
    /// Of a program that was verified with facts.
    pub(crate) fn new(verified: &Verified, code: &[Code], maps: &[Arc<Map>]) -> Option<Self> {
        let source = Source::new(verified, code, maps).ok()?;
        let (context_bytes, needs_packet) = (source.context_bytes().ok()?, source.needs_packet());
        let is_direct = |slot| matches!(source.place(slot), Place::Direct);
        let frame_bytes = |slot| source.frame_bytes(slot);
        let function = verified.exception_callback().map(|slot| slot as usize);
        let steps = Steps::new(code, is_direct, frame_bytes, function, Proved(()));
        Some(Self { steps, context_bytes, needs_packet })
    }

    /// The program, for a run with what it accesses.
    #[inline]
    pub(crate) fn steps(&self, context_bytes: u64, packet: bool) -> Option<&Steps> {
        let admitted = context_bytes >= self.context_bytes && (packet || !self.needs_packet);
        admitted.then_some(&self.steps)
    }
}
