//! What the verifier accepts does nothing that the checked interpreter would refuse, whatever it is fed.
//!
//! Programs are made up, some with a change or two, and run a few times each.

use std::ops::Range;

use skep_isa::{Style, disasm};
use skep_verifier::{Outcome, verify};

use crate::campaign::{Failure, Run, Target};
use crate::execute::Ground;
use crate::generate::{self, Made};
use crate::minimise::minimise;
use crate::mutate::change_code;
use crate::rng::Rng;

/// Runs of each accepted program.
const RUNS: usize = 6;

/// The target.
pub struct VerifiedNeverFaults;

impl Target for VerifiedNeverFaults {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        let mut ground = Ground::new(generate::maps());
        for case in cases {
            run.case(case, |rng| {
                let made = make(rng);
                if run.is_single() {
                    println!("{}", listing(&made));
                }
                let inputs = rng.clone();
                match fault(&mut ground, &made, &mut rng.clone()) {
                    Verdict::Fault(what) => {
                        let small = minimise(&made, &mut |smaller| {
                            matches!(fault(&mut ground, smaller, &mut inputs.clone()), Verdict::Fault(_))
                        });
                        Err(Failure { what, details: listing(&small) })
                    }
                    Verdict::Other(what) => Ok(what),
                }
            });
        }
    }
}

/// What a program came to.
enum Verdict {
    Fault(String),
    Other(&'static str),
}

/// A program, one time in six with changes.
pub(super) fn make(rng: &mut Rng) -> Made {
    let mut made = generate::program(rng);
    if rng.one_in(6) {
        for _ in 0..1 + rng.below(3) * rng.below(2) {
            change_code(&mut made.insns, rng);
        }
    }
    made
}

pub(super) fn listing(made: &Made) -> String {
    let text = disasm::listing(&made.insns, Style::Kernel, &());
    format!("type {}\n{text}", made.prog_type)
}

fn fault(ground: &mut Ground, made: &Made, rng: &mut Rng) -> Verdict {
    let report = verify(&ground.input(made));
    let verified = match report.outcome {
        Outcome::Accept(verified) => verified,
        Outcome::Reject(_) => return Verdict::Other("rejected"),
        Outcome::Unsupported(_) => return Verdict::Other("unsupported"),
    };
    let Ok(program) = ground.prepare(&verified) else { return Verdict::Other("not served") };
    for _ in 0..RUNS {
        if let Err(fault) = ground.run(&program, rng, None) {
            return Verdict::Fault(fault_text(&fault.to_string()));
        }
    }
    Verdict::Other("accepted")
}

/// A fault's text without its addresses, so that like faults look alike.
fn fault_text(text: &str) -> String {
    let words = text.split(' ').map(|word| if word.starts_with("0x") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
