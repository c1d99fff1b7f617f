//! Where a program's machine code is put when there is some, and the short way into code that needs no run.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::{Entry, Native};
use crate::jit::Declined;
use crate::packet::Packet;
use crate::program::Input;

/// What became of compiling a program, once that is known; it does not change any more.
pub(crate) struct Home {
    native: OnceLock<Result<Native, Declined>>,
    /// Bytes of context that let the code at `entry` run as it is, without a packet and with one. No context has as many as
    /// there are until there is such code.
    context_bytes: AtomicU64,
    context_bytes_of_packet: AtomicU64,
    entry: AtomicPtr<u8>,
}

impl Default for Home {
    fn default() -> Self {
        let [context_bytes, context_bytes_of_packet] = [const { AtomicU64::new(u64::MAX) }; 2];
        Self { native: OnceLock::new(), context_bytes, context_bytes_of_packet, entry: AtomicPtr::default() }
    }
}

impl Home {
    /// Puts the code in. What comes later changes nothing.
    pub(crate) fn put(&self, compiled: Result<Native, Declined>) {
        if self.native.set(compiled).is_err() {
            return;
        }
        let Some(native) = self.native().filter(|native| !native.needs_run) else { return };
        self.entry.store(native.pages.at(native.first).cast_mut(), Ordering::Relaxed);
        self.context_bytes_of_packet.store(native.context_bytes, Ordering::Release);
        if !native.needs_packet {
            self.context_bytes.store(native.context_bytes, Ordering::Release);
        }
    }

    /// The outcome, if there is one yet.
    pub(crate) fn outcome(&self) -> Option<&Result<Native, Declined>> {
        self.native.get()
    }

    /// The code.
    #[inline]
    pub(crate) fn native(&self) -> Option<&Native> {
        self.native.get()?.as_ref().ok()
    }

    /// Runs a program that needs no run on what it takes for granted; `None` when it needs one, or has no code.
    #[inline]
    pub(crate) fn run_plain(&self, input: &mut Input<'_>) -> Option<u64> {
        match &mut input.packet {
            Some(packet) if input.ctx.is_empty() => self.run_plain_packet(packet, input.args),
            packet => {
                let has_packet = packet.is_some();
                let least = if has_packet { &self.context_bytes_of_packet } else { &self.context_bytes };
                let at = input.ctx.as_mut_ptr().expose_provenance() as u64;
                self.enter(at, input.ctx.len(), least, input.args)
            }
        }
    }

    /// The same with nothing but a context.
    #[inline(always)]
    pub(crate) fn run_plain_context(&self, ctx: &mut [u8]) -> Option<u64> {
        let at = ctx.as_mut_ptr().expose_provenance() as u64;
        self.enter(at, ctx.len(), &self.context_bytes, [0; 4])
    }

    /// The same with a packet and its own context.
    #[inline(always)]
    pub(crate) fn run_plain_packet(&self, packet: &mut Packet, args: [u64; 4]) -> Option<u64> {
        self.enter(packet.context_addr(), packet.context_bytes(), &self.context_bytes_of_packet, args)
    }

    #[inline(always)]
    fn enter(&self, context: u64, bytes: usize, least: &AtomicU64, args: [u64; 4]) -> Option<u64> {
        if (bytes as u64) < least.load(Ordering::Acquire) {
            return None;
        }
        let at: *const u8 = self.entry.load(Ordering::Relaxed);
        let [r2, r3, r4, r5] = args;
        // SAFETY: there is code here, which was put in before its needs were: its first function, which has this signature.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(at) };
        // SAFETY: it finds what it accesses, does not use the run, and stays as long as this.
        Some(unsafe { entry(std::ptr::null_mut(), context, r2, r3, r4, r5) }.value)
    }
}
