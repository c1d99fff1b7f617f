//! What the verifier accepts does nothing that the checked interpreter would refuse, whatever it is fed.
//!
//! Programs are made up, some with a change or two, and run a few times each.

use std::ops::Range;

use skep_verifier::{Outcome, verify};
use skep_vm::Engine;

use super::made::{self, Verdict};
use crate::campaign::{Run, Target};
use crate::execute::Ground;
use crate::generate::Made;
use crate::rng::Rng;

/// Runs of each accepted program.
const RUNS: usize = 6;

/// The target.
pub struct VerifiedNeverFaults;

impl Target for VerifiedNeverFaults {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        made::batch(cases, run, &mut fault);
    }
}

fn fault(ground: &mut Ground, made: &Made, rng: &mut Rng) -> Verdict {
    let report = verify(&ground.input(made));
    let verified = match report.outcome {
        Outcome::Accept(verified) => verified,
        Outcome::Reject(_) => return Verdict::Other("rejected"),
        Outcome::Unsupported(_) => return Verdict::Other("unsupported"),
    };
    let Ok(program) = ground.prepare(&verified, Engine::Interpreter) else {
        return Verdict::Other("not served");
    };
    for _ in 0..RUNS {
        if let Err(fault) = ground.run(&program, rng, None) {
            return Verdict::Wrong(fault_text(&fault.to_string()));
        }
    }
    Verdict::Other("accepted")
}

/// A fault's text without its addresses, so that like faults look alike.
fn fault_text(text: &str) -> String {
    let words = text.split(' ').map(|word| if word.starts_with("0x") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
