//! `skep-fuzz TARGET [-n CASES] [--seed S] [--from N] [--case N] [-j THREADS] [--time SECONDS] [OBJECT|DIR|FILE…]`.
//!
//! `cargo xtask fuzz` builds this with overflow checks and runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use skep_fuzz::campaign::{self, Plan, Target};
use skep_fuzz::corpus::Corpus;
use skep_fuzz::target::{
    AbstractContainsConcrete, InterpVsJit, KernelAnswers, KernelQuestions, VerifiedNeverFaults,
    VerifyAlwaysAnswers, VmVsAnswers, VmVsKernel,
};

/// What the command line asks for.
struct Args {
    plan: Plan,
    places: Vec<PathBuf>,
}

/// A target: its name, what it claims, and what makes it.
type Row = (&'static str, &'static str, fn(&Args) -> Result<Box<dyn Target>, String>);

const TARGETS: &[Row] = &[
    ("abstract_contains_concrete", "every register's value is one that the verifier expected there", |_| {
        Ok(Box::new(AbstractContainsConcrete))
    }),
    ("interp_vs_jit", "compiled code does what the interpreter does", |_| Ok(Box::new(InterpVsJit))),
    ("verified_never_faults", "what the verifier accepts runs without a fault, whatever it is fed", |_| {
        Ok(Box::new(VerifiedNeverFaults))
    }),
    ("verify_always_answers", "whatever the program, the verifier answers, and soon", |args| {
        Ok(Box::new(VerifyAlwaysAnswers { corpus: args.corpus()? }))
    }),
    (
        "vm_vs_kernel",
        "the user runtime does what the kernel does, which is asked, or has answered in FILEs",
        |args| {
            Ok(if args.places.is_empty() {
                Box::new(VmVsKernel::new()?)
            } else {
                Box::new(VmVsAnswers::read(&args.places)?)
            })
        },
    ),
    (
        "kernel_questions",
        "writes the numbers of random programs that `kernel_answers` is worth asking about",
        |_| Ok(Box::new(KernelQuestions::default())),
    ),
    (
        "kernel_answers",
        "loads random programs, all or those in FILEs, into the kernel, and writes what it does, for `vm_vs_kernel`",
        |args| Ok(Box::new(KernelAnswers::new(&args.places)?)),
    ),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let target = words.first().and_then(|name| TARGETS.iter().find(|(target, ..)| target == name));
    let Some((name, _, make)) = target else {
        eprintln!(
            "usage: cargo xtask fuzz TARGET [-n CASES] [--seed S] [--from N] [--case N] [-j THREADS] [--time SECONDS] [OBJECT|DIR|FILE…]\n\nTargets:"
        );
        for (name, about, _) in TARGETS {
            eprintln!("    {name:<26} {about}");
        }
        return ExitCode::from(2);
    };
    let run = || {
        let args = parse(name, &words[1..])?;
        let target = make(&args)?;
        Ok::<_, String>(campaign::run(&args.plan, &*target))
    };
    match run() {
        Ok(summary) if summary.failures.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn parse(target: &str, words: &[String]) -> Result<Args, String> {
    let plan = Plan {
        target: target.to_owned(),
        seed: 1,
        cases: 0..100_000,
        threads: 1,
        time: None,
        progress_s: 10,
    };
    let mut args = Args { plan, places: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("`{word}` takes a number"))?;
            text.parse::<u64>().map_err(|_| format!("`{text}` is no number"))
        };
        match word.as_str() {
            "-n" => args.plan.cases.end = args.plan.cases.start.saturating_add(number()?),
            "--from" => {
                let (first, cases) = (number()?, args.plan.cases.end - args.plan.cases.start);
                args.plan.cases = first..first.saturating_add(cases);
            }
            "--seed" => args.plan.seed = number()?,
            "--case" => {
                let case = number()?;
                args.plan.cases = case..case + 1;
            }
            "-j" => args.plan.threads = number()?.clamp(1, 64) as usize,
            "--time" => {
                args.plan.time = Some(Duration::from_secs(number()?));
                args.plan.cases.end = u64::MAX;
            }
            option if option.starts_with('-') => return Err(format!("there is no option `{option}`")),
            place => args.places.push(PathBuf::from(place)),
        }
    }
    Ok(args)
}

impl Args {
    /// The objects named, or those of this repository.
    fn corpus(&self) -> Result<Corpus, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let own = [root.join("tools"), root.join("bench")];
        Corpus::find(if self.places.is_empty() { &own } else { &self.places })
    }
}
