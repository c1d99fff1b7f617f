//! A verified program as the interpreter runs it: what the proof says lies in memory of this process is accessed by its
//! address, as compiled code does it, and everything else is checked.
//!
//! What makes this sound is what makes compiled code sound: [`Direct`] is made of what the verifier has accepted, with facts,
//! and its instructions are given out only for runs with a context (and a packet) as large as the program was seen to
//! access.
#![expect(unsafe_code, reason = "the proof says where accesses go")]

use std::sync::Arc;

use skep_verifier::Verified;

use crate::code::Code;
use crate::jit::{Place, Source};
use crate::map::Map;
use crate::memory::Word;
use crate::program::function_at;

/// Stands in an instruction whose access is proved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proved(());

impl Proved {
    /// Loads from where the instruction goes.
    #[inline(always)]
    pub(crate) fn load<T: Word>(self, addr: u64) -> T {
        // SAFETY: the verifier has proved the access of the instruction that this stands in, and the run was admitted.
        unsafe { T::load(addr) }
    }

    /// Stores to where the instruction goes.
    #[inline(always)]
    pub(crate) fn store<T: Word>(self, addr: u64, value: T) {
        // SAFETY: as for `load`.
        unsafe { value.store(addr) }
    }
}

/// Instructions with direct accesses, and what they take for granted.
pub(crate) struct Direct {
    code: Box<[Code]>,
    context_bytes: u64,
    needs_packet: bool,
}

impl Direct {
    /// Of a program that was verified with facts.
    pub(crate) fn new(verified: &Verified, code: &[Code], maps: &[Arc<Map>]) -> Option<Self> {
        let source = Source::new(verified, code, maps).ok()?;
        let (context_bytes, needs_packet) = (source.context_bytes().ok()?, source.needs_packet());
        let each = code.iter().enumerate().map(|(slot, code)| match source.place(slot) {
            Place::Direct => code.without_check(Proved(())),
            Place::Asked => *code,
        });
        let mut code: Box<[Code]> = each.collect();
        let function = verified.exception_callback().map(|slot| slot as usize);
        keep_values(&mut code, function);
        Some(Self { code, context_bytes, needs_packet })
    }

    /// The instructions, for a run with what they access.
    #[inline]
    pub(crate) fn code(&self, context_bytes: u64, packet: bool) -> Option<&[Code]> {
        let admitted = context_bytes >= self.context_bytes && (packet || !self.needs_packet);
        admitted.then_some(&*self.code)
    }
}

/// Has instructions take the value of the register that was written last from where it is kept, which spares them memory.
/// Where control may come from elsewhere, nothing is known to be kept; `function` is one that no instruction names.
fn keep_values(code: &mut [Code], function: Option<usize>) {
    let mut entered = vec![false; code.len()];
    let named = code.iter().filter_map(|code| match *code {
        Code::LoadImm64 { imm, .. } => function_at(imm),
        other => other.target().map(|target| target as usize),
    });
    for slot in named.chain(function) {
        if let Some(entered) = entered.get_mut(slot) {
            *entered = true;
        }
    }
    let mut kept = None;
    for (at, entered) in code.iter_mut().zip(entered) {
        let plain = *at;
        kept = kept.filter(|_| !entered);
        if let Some(kept) = kept {
            *at = plain.with_kept(kept);
        }
        kept = plain.keeps(kept);
    }
}
