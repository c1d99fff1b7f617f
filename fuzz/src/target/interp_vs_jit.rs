//! A program does the same in compiled code as in the interpreter: same `r0`, same context or packet, same maps.
//!
//! Each program runs four times from the same start: twice interpreted with every access checked, with the stack elsewhere,
//! once with the checks that the proof leaves, and once compiled. Where the checked interpreter differs from itself, the
//! program's result depends on addresses, and nothing can be compared.

use std::ops::Range;

use skep_verifier::{Outcome, prove};
use skep_vm::{Engine, Program, Reason};

use super::made::{self, Verdict};
use crate::campaign::{Run, Target};
use crate::execute::{Ground, Left};
use crate::generate::Made;
use crate::rng::Rng;

/// Inputs that each accepted program runs on.
const RUNS: usize = 4;

/// The target.
pub struct InterpVsJit;

impl Target for InterpVsJit {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        made::batch(cases, run, &mut differ);
    }
}

fn differ(ground: &mut Ground, made: &Made, rng: &mut Rng) -> Verdict {
    let verified = match prove(&ground.input(made)).outcome {
        Outcome::Accept(verified) => verified,
        Outcome::Reject(_) => return Verdict::Other("rejected"),
        Outcome::Unsupported(_) => return Verdict::Other("unsupported"),
    };
    let prepare = |engine| ground.prepare(&verified, engine);
    let (Ok(checked), Ok(interpreted), Ok(compiled)) =
        (prepare(Engine::Checked), prepare(Engine::Interpreter), prepare(Engine::Jit))
    else {
        return Verdict::Other("not served");
    };
    if let Some(Err(declined)) = compiled.compiled() {
        return Verdict::Wrong(format!("it is not compiled: {}", declined.reason));
    }
    let mut what = "the same";
    for _ in 0..RUNS {
        let expected = once(ground, &checked, rng);
        if expected
            .result
            .as_ref()
            .is_err_and(|fault| matches!(fault.reason, Reason::Budget | Reason::Unsupported(_)))
        {
            what = "too long";
            continue;
        }
        if deeper(|| once(ground, &checked, rng)) != expected {
            what = "depends on addresses";
            continue;
        }
        for (how, program) in [("interpreted", &interpreted), ("compiled", &compiled)] {
            let left = once(ground, program, rng);
            if left != expected {
                return Verdict::Wrong(difference(how, &expected, &left));
            }
        }
        rng.next();
    }
    Verdict::Other(what)
}

/// One run; the random numbers are as before afterwards, so that all runs see the same.
fn once(ground: &mut Ground, program: &Program, rng: &Rng) -> Left {
    ground.clear();
    ground.run_and_look(program, &mut rng.clone())
}

/// Does it with the stack somewhere else.
#[inline(never)]
fn deeper<T>(f: impl FnOnce() -> T) -> T {
    let room = [0u8; 0x1530];
    std::hint::black_box(&room);
    let result = f();
    std::hint::black_box(&room);
    result
}

/// In which respect a run differs from the checked one.
fn difference(how: &str, expected: &Left, left: &Left) -> String {
    match (&expected.result, &left.result) {
        (Ok(a), Ok(b)) if a != b => format!("{how}, `r0` differs\nchecked {a:#x}, else {b:#x}"),
        (Ok(_), Ok(_)) if expected.bytes != left.bytes => format!("{how}, the context or packet differs"),
        (Ok(_), Ok(_)) => format!("{how}, maps differ"),
        (Ok(_), Err(fault)) => format!("{how}, it stops\n{fault}"),
        (Err(fault), _) => format!("{how}, it does not stop\n{fault}"),
    }
}
