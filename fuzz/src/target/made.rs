//! What the targets that run made programs share: making, trying, and making smaller what goes wrong.

use std::ops::Range;

use skep_isa::{Style, disasm};

use crate::campaign::{Failure, Run};
use crate::execute::Ground;
use crate::generate::{self, Made};
use crate::minimise::minimise;
use crate::mutate::change_code;
use crate::rng::Rng;

/// What a program came to.
pub(super) enum Verdict {
    /// What is claimed of all programs does not hold of this one; the first line says in which way.
    Wrong(String),
    /// Anything else, for the count.
    Other(&'static str),
}

/// Tries a program; random numbers are for its inputs.
pub(super) type Try<'a> = &'a mut dyn FnMut(&mut Ground, &Made, &mut Rng) -> Verdict;

/// Makes and tries a program for each case.
pub(super) fn batch(cases: Range<u64>, run: &Run<'_>, attempt: Try<'_>) {
    batch_of(cases, run, make, attempt);
}

/// The same of programs made otherwise.
pub(super) fn batch_of(
    cases: impl IntoIterator<Item = u64>,
    run: &Run<'_>,
    make: fn(&mut Rng) -> Made,
    attempt: Try<'_>,
) {
    let mut ground = Ground::new(generate::maps());
    for case in cases {
        run.case(case, |rng| {
            let made = make(rng);
            if run.is_single() {
                println!("{}", listing(&made));
            }
            match attempt(&mut ground, &made, &mut rng.clone()) {
                Verdict::Wrong(what) => Err(failure(&mut ground, &made, rng, &what, attempt)),
                Verdict::Other(what) => Ok(what),
            }
        });
    }
}

/// The smallest program found that goes wrong with the same inputs, and how it does.
fn failure(ground: &mut Ground, made: &Made, inputs: &Rng, what: &str, attempt: Try<'_>) -> Failure {
    let small = minimise(made, &mut |smaller| {
        matches!(attempt(ground, smaller, &mut inputs.clone()), Verdict::Wrong(_))
    });
    let details = match attempt(ground, &small, &mut inputs.clone()) {
        Verdict::Wrong(what) => format!("{what}\n{}", listing(&small)),
        Verdict::Other(_) => listing(&small),
    };
    Failure { what: what.lines().next().unwrap_or_default().to_owned(), details }
}

/// A program, one time in six with changes.
fn make(rng: &mut Rng) -> Made {
    let mut made = generate::program(rng);
    if rng.one_in(6) {
        for _ in 0..1 + rng.below(3) * rng.below(2) {
            change_code(&mut made.insns, rng);
        }
    }
    made
}

fn listing(made: &Made) -> String {
    let text = disasm::listing(&made.insns, Style::Kernel, &());
    format!("type {}\n{text}", made.prog_type)
}
