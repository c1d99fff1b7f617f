//! Whatever the program, the verifier answers, and soon: never a panic, never unbounded time.
//!
//! A quarter of the cases are arbitrary bytes and a quarter of these end properly; the others are programs of the corpus
//! with changes to instructions, maps, types and what they are loaded as.

use std::ops::Range;

use skep_isa::uapi::ProgType;
use skep_isa::{Insn, Reg, Style, disasm};
use skep_verifier::{Input, Outcome, Report, Subject, verify};

use crate::campaign::{BATCH, Failure, Run, Target};
use crate::corpus::Corpus;
use crate::mutate::{Mutant, anything};
use crate::rng::Rng;

/// The target; what it begins with.
pub struct VerifyAlwaysAnswers {
    /// Objects whose programs are changed.
    pub corpus: Corpus,
}

impl Target for VerifyAlwaysAnswers {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        let Some((linked, target)) = self.corpus.object(cases.start / BATCH) else {
            return cases.for_each(|case| run.case(case, |_| Ok("not linked")));
        };
        let subject = Subject::new(&linked, &target);
        let inputs: Vec<Input<'_>> =
            (0..linked.programs.len()).filter_map(|program| subject.input(program).ok()).collect();
        for case in cases {
            run.case(case, |rng| {
                let base = &inputs[rng.below(inputs.len())];
                let mut mutant = Mutant::of(base);
                if rng.one_in(4) {
                    make_arbitrary(&mut mutant, rng);
                } else {
                    mutant.change(rng);
                }
                answer(&mutant.input(base), run.is_single())
            });
        }
    }
}

/// Replaces the instructions with arbitrary ones.
fn make_arbitrary(mutant: &mut Mutant, rng: &mut Rng) {
    let len = 1 + rng.below(24);
    mutant.insns = (0..len).map(|_| anything(rng)).collect();
    if rng.one_in(4) {
        mutant.insns.push(Insn::new(0xb7, Reg::R0, Reg::R0, 0, 0));
        mutant.insns.push(Insn::new(0x95, Reg::R0, Reg::R0, 0, 0));
    }
    mutant.prog_type = ProgType(rng.below(34) as u32);
    mutant.func_info.truncate(rng.below(3));
}

fn answer(input: &Input<'_>, show: bool) -> Result<&'static str, Failure> {
    if show {
        println!("type {}, attach type {}", input.prog_type, input.attach_type);
        println!("{}", disasm::listing(input.insns, Style::Kernel, &()));
    }
    let report = verify(input);
    if show {
        println!("{report:?}");
    }
    check_stats(&report)?;
    Ok(match report.outcome {
        Outcome::Accept(_) => "accepted",
        Outcome::Reject(_) => "rejected",
        Outcome::Unsupported(_) => "unsupported",
    })
}

/// The limits that the kernel has hold here.
fn check_stats(report: &Report) -> Result<(), Failure> {
    let processed = report.stats.insns_processed;
    if processed > 1_000_001 {
        let what = "more instructions are processed than the kernel would".to_owned();
        return Err(Failure { what, details: format!("{processed} instructions\n") });
    }
    Ok(())
}
