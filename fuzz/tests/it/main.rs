//! Short campaigns, always the same: what `cargo xtask fuzz` does for long.

use std::path::PathBuf;

use skep_fuzz::campaign::{self, Plan, Summary, Target};
use skep_fuzz::corpus::Corpus;
use skep_fuzz::target::{AbstractContainsConcrete, InterpVsJit, VerifiedNeverFaults, VerifyAlwaysAnswers};

fn own_objects() -> Corpus {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let places = [root.join("tools"), root.join("bench"), root.join("crates/skep-obj/tests/data")];
    Corpus::find(&places).expect("the repository has objects")
}

fn run(name: &str, cases: u64, target: &dyn Target) -> Summary {
    let plan =
        Plan { target: name.to_owned(), seed: 1, cases: 0..cases, threads: 2, time: None, progress_s: 0 };
    let summary = campaign::run(&plan, target);
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    summary
}

#[test]
fn verify_always_answers() {
    let summary = run("verify_always_answers", 4000, &VerifyAlwaysAnswers { corpus: own_objects() });
    println!("{:?}", summary.counts);
    assert!(summary.count("accepted") > 100 && summary.count("rejected") > 1000, "{summary:?}");
}

#[test]
fn compiled_code_does_what_the_interpreter_does() {
    let summary = run("interp_vs_jit", 1000, &InterpVsJit);
    assert!(summary.count("the same") > 50, "{summary:?}");
}

#[test]
fn verified_never_faults() {
    let summary = run("verified_never_faults", 3000, &VerifiedNeverFaults);
    assert!(summary.count("accepted") > 1000, "the programs test too little: {:?}", summary.counts);
}

#[test]
fn abstract_contains_concrete() {
    let summary = run("abstract_contains_concrete", 2000, &AbstractContainsConcrete);
    assert!(summary.count("accepted") > 600, "the programs test too little: {:?}", summary.counts);
}
