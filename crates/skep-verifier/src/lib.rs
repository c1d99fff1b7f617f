//! Is an eBPF program safe to run? The verdict of Linux's verifier, without Linux.
//!
//! [`verify`] walks every path of a program with abstract values: numbers as known bits and ranges ([`scalar`]),
//! pointers as what they point to and how far into it ([`reg`]). A path ends where a remembered state covers it. Every
//! instruction, helper call and exit is checked against the kernel's rules; the answer is [`Outcome::Accept`] with a
//! proof, [`Outcome::Reject`] with the kernel's message, or [`Outcome::Unsupported`] naming what is not built. It is
//! never a rejection for what is merely not built, and never an acceptance of what was not checked.
//!
//! | module | is |
//! |---|---|
//! | [`tnum`], [`scalar`] | sets of numbers |
//! | [`arith`], [`compare`] | what instructions and branches make of them |
//! | [`reg`], [`state`] | registers, stack slots, frames, states of paths |
//! | `program`, `flow`, `liveness` | what follows from the instructions alone |
//! | `context`, `helper`, `kfunc`, `lsm` | the kernel's interface as data |
//! | `types`, `record` | BTF: structures, special fields |
//! | `environment` | what the programs of an object share |
//! | `check` | the analysis |
//! | [`facts`] | what a code generator may rely on |
//! | [`log`] | what it did, as the kernel's log shows it; and such logs read |
//! | [`explain`] | why a program was rejected, in terms of its source |
//! | `warm` | a first program, so that times are not of a cold start |
//! | [`linked`] | the programs of a linked object as input |
//!
//! Takes instructions, maps, types and a target kernel as values ([`Input`]); does no I/O; never panics on input, and
//! is bounded by the kernel's own limits.
#![forbid(unsafe_code)]

pub mod arith;
mod check;
pub mod compare;
mod context;
mod convert;
mod environment;
pub mod explain;
pub mod facts;
mod flow;
mod helper;
pub mod input;
mod kfunc;
pub mod linked;
mod liveness;
pub mod log;
mod lsm;
pub mod outcome;
mod program;
mod record;
pub mod reg;
pub mod scalar;
pub mod state;
mod stop;
pub mod tnum;
mod types;
pub mod verified;
mod warm;

use environment::Environment;

pub use input::{Attach, Input, MapInfo, Target};
pub use linked::Subject;
pub use outcome::{Outcome, Rejection, Report, Stats, Unsupported};
pub use record::{SpecialField, special_fields};
pub use verified::Verified;

/// Verifies a program as Linux 6.18 would for a caller with all capabilities.
pub fn verify(input: &Input<'_>) -> Report {
    verify_in(input, &Environment::of(input))
}

/// The same in the environment of the input, which several programs share.
pub(crate) fn verify_in(input: &Input<'_>, environment: &Environment) -> Report {
    report(input, check::run(input, environment, None, None)).0
}

/// The same, written down: a log in the kernel's format, and how often each instruction was processed.
///
/// The second value has one count an instruction, or none where they were not asked for.
pub fn verify_recorded<'a>(input: &'a Input<'a>, recording: log::Recording<'a>) -> (Report, Vec<u32>) {
    report(input, check::run(input, &Environment::of(input), Some(recording), None))
}

/// The same with facts for a code generator in the proof, see [`facts`].
pub fn prove(input: &Input<'_>) -> Report {
    let mut collector = facts::Collector::new(input.insns, input.maps.len());
    let mut report = verify_watched(input, false, &mut |pc, state| collector.see(pc, state));
    if let Outcome::Accept(verified) = report.outcome {
        let entries = verified.subprograms().iter().map(|(start, _)| *start);
        let facts = collector.finish(entries);
        report.outcome = Outcome::Accept(verified.with_facts(facts));
    }
    report
}

/// The same, watched: `see` is called where a path comes to an instruction, with the state before it.
///
/// With `exhaustive`, every path is walked to its end, also where a remembered state covers it; loops of iterators and
/// callbacks still end where they come back to a state. For testing the analysis against what runs do.
pub fn verify_watched<'a>(
    input: &'a Input<'a>,
    exhaustive: bool,
    see: &'a mut dyn FnMut(u32, &state::State),
) -> Report {
    report(input, check::run(input, &Environment::of(input), None, Some(check::Watch { see, exhaustive }))).0
}

fn report(input: &Input<'_>, ended: check::Ended) -> (Report, Vec<u32>) {
    let insn = ended.pc;
    let outcome = match ended.result {
        Ok(()) => {
            let subprogs = ended.code.as_ref().map_or(&[][..], |code| &code.subprogs[..]);
            let callback = subprogs.iter().find(|s| s.is_exception_cb).map(|s| s.start);
            let functions = subprogs.iter().map(|s| (s.start, s.stack_depth.max(0) as u32)).collect();
            Outcome::Accept(Verified::new(input.insns, input.prog_type, functions, ended.reached, callback))
        }
        Err(stop::Stop::Reject(message)) => Outcome::Reject(Rejection { insn, message: message.into() }),
        Err(stop::Stop::Unsupported(what)) => Outcome::Unsupported(Unsupported { insn, what: what.into() }),
    };
    (Report { outcome, stats: ended.stats }, ended.counts)
}
