//! The kernel's answers on paper: one target writes them, on a line for each program that the kernel accepts; the other
//! compares what the user runtime does with them.
//!
//! An emulated guest is fifty times slower at verifying and compiling in user space, which the kernel's part needs none of.
//! Before it, a third target can say which programs are worth asking about, so that the guest makes no others.
//!
//! ```text
//! cargo xtask fuzz kernel_questions -n 100000 --seed 7 > asked
//! cargo xtask vm 6.12 --fuzz kernel_answers -n 100000 --seed 7 asked
//! cargo xtask fuzz vm_vs_kernel -n 100000 --seed 7 target/vm/6.12.fuzz.log
//! ```
//!
//! A program whose result depends on bits of an address that are always the same here (those below a page, or the highest)
//! looks wrong: read what is told.
//!
//! A line of answers is two numbers in hexadecimal: that of the program with its inputs, and that of all that its runs leave.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::PathBuf;

use skep_runtime::{Error, SharedRuntime};
use skep_verifier::{self as verifier, MapInfo, Outcome, prove};

use super::{Input, RUNS, Ready, clears_frames, elsewhere, kernel, stay_on, user};
use crate::campaign::{Run, Target};
use crate::generate::{self, Made};
use crate::rng::Rng;
use crate::target::made::{self, Verdict};

/// The processor that both runtimes are asked on.
const FIRST: usize = 0;

/// The target that says which programs are worth asking about: their numbers, each on a line.
pub struct KernelQuestions {
    maps: Vec<MapInfo>,
    target: verifier::Target,
}

impl Default for KernelQuestions {
    fn default() -> Self {
        let target = verifier::Target { cpus: skep_vm::possible_cpus(), ..Default::default() };
        Self { maps: generate::steady_maps(), target }
    }
}

impl KernelQuestions {
    /// What is rejected here, nobody will ask for; nor can frames be compared that nobody has written.
    fn refuses(&self, made: &Made) -> Option<&'static str> {
        if !clears_frames(made) {
            return Some("reads what nobody has written");
        }
        let input = verifier::Input::new("made", made.prog_type, &made.insns, &self.maps, &self.target);
        let input = verifier::Input { attach_type: made.attach_type, ..input };
        (!matches!(prove(&input).outcome, Outcome::Accept(_))).then_some("rejected")
    }
}

impl Target for KernelQuestions {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        for case in cases {
            run.case(case, |rng| {
                Ok(self.refuses(&generate::steady_program(rng)).unwrap_or_else(|| {
                    println!("{case}");
                    "asked"
                }))
            });
        }
    }
}

/// The target that writes.
pub struct KernelAnswers {
    kernel: SharedRuntime,
    /// Numbers of the programs to ask about, if they are known.
    asked: Option<HashSet<u64>>,
    questions: KernelQuestions,
}

impl KernelAnswers {
    /// Asks about the programs that [`KernelQuestions`] has named in files, of the same seed; without files about all that it
    /// would name. An error says why programs cannot be loaded.
    pub fn new(files: &[PathBuf]) -> Result<Self, String> {
        let asked = match files {
            [] => None,
            files => Some(read(files, |line| line.trim().parse::<u64>().ok(), "numbers of programs")?),
        };
        Ok(Self { kernel: kernel()?, asked, questions: KernelQuestions::default() })
    }

    fn answer(&self, made: &Made, rng: &mut Rng) -> Verdict {
        // Our verifier is quicker than the kernel's.
        if self.asked.is_none()
            && let Some(reason) = self.questions.refuses(made)
        {
            return Verdict::Other(reason);
        }
        let question = question(made, rng);
        rng.below(2);
        match answer(&self.kernel, made, rng) {
            Ok(answer) => {
                println!("{question:016x} {answer:016x}");
                Verdict::Other("answered")
            }
            Err(_) => Verdict::Other("only the kernel rejects it"),
        }
    }
}

impl Target for KernelAnswers {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        stay_on(FIRST);
        let asked = cases.filter(|case| self.asked.as_ref().is_none_or(|asked| asked.contains(case)));
        made::batch_of(asked, run, generate::steady_program, &mut |_, made, rng| self.answer(made, rng));
    }
}

/// The target that compares.
pub struct VmVsAnswers {
    answers: HashMap<u64, u64>,
    user: [[SharedRuntime; 2]; 2],
}

impl VmVsAnswers {
    /// Reads files that [`KernelAnswers`] has written, whatever else is in them.
    pub fn read(files: &[PathBuf]) -> Result<Self, String> {
        Ok(Self { answers: read(files, pair, "answers of the kernel")?, user: user()? })
    }

    fn differ(&self, made: &Made, rng: &mut Rng) -> Verdict {
        let question = question(made, rng);
        let Some(expected) = self.answers.get(&question) else {
            return Verdict::Other("no answer of the kernel");
        };
        let [one, other] = &self.user[rng.below(2)];
        let start = rng.clone();
        let Ok(ours) = answer(one, made, rng) else { return Verdict::Other("only the kernel accepts it") };
        if ours == *expected {
            return Verdict::Other("the same");
        }
        // With everything at other addresses.
        match elsewhere(|| answer(other, made, &mut start.clone())) {
            // Each of them is told, as nothing says whether they are alike.
            Ok(again) if again == ours => {
                Verdict::Wrong(format!("not what the kernel has answered to {question:016x}"))
            }
            _ => Verdict::Other("depends on addresses"),
        }
    }
}

impl Target for VmVsAnswers {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        stay_on(FIRST);
        made::batch_of(cases, run, generate::steady_program, &mut |_, made, rng| self.differ(made, rng));
    }
}

/// What lines of files have; an error when one has nothing.
fn read<T, All>(files: &[PathBuf], one: fn(&str) -> Option<T>, what: &str) -> Result<All, String>
where
    All: Default + Extend<T>,
{
    let mut all = All::default();
    for file in files {
        let text = fs::read(file).map_err(|e| format!("`{}`: {e}", file.display()))?;
        let text = String::from_utf8_lossy(&text);
        let mut found = text.lines().filter_map(one).peekable();
        if found.peek().is_none() {
            return Err(format!("`{}` has no {what}", file.display()));
        }
        all.extend(found);
    }
    Ok(all)
}

/// A line of a file, if it is an answer.
fn pair(line: &str) -> Option<(u64, u64)> {
    let (question, answer) = line.trim().split_once(' ')?;
    let number = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?;
    Some((number(question)?, number(answer)?))
}

/// The number of a program with the random numbers for its inputs.
fn question(made: &Made, rng: &Rng) -> u64 {
    let mut hasher = DefaultHasher::new();
    (made.prog_type.0, made.attach_type.0, rng.clone().next()).hash(&mut hasher);
    made.insns.iter().for_each(|insn| insn.to_le_bytes().hash(&mut hasher));
    hasher.finish()
}

/// The number of what all runs of a program leave; an error when it is not accepted.
fn answer(runtime: &SharedRuntime, made: &Made, rng: &mut Rng) -> Result<u64, Error> {
    let ready = Ready::new(runtime, made)?;
    let mut hasher = DefaultHasher::new();
    for _ in 0..RUNS {
        ready.run(&Input::new(made.prog_type, rng), rng).hash(&mut hasher);
        rng.next();
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_among_other_lines() {
        assert_eq!(pair("00000000000000ff 8000000000000001\r"), Some((255, 1 << 63 | 1)));
        for other in ["10 s: 5 cases (1 a second)", "", "ff 01", "[    2.520472] RSP: 0018:ff59083c00013ba0"]
        {
            assert_eq!(pair(other), None, "{other}");
        }
    }

    #[test]
    fn a_question_is_of_program_and_inputs() {
        let made = |case| generate::steady_program(&mut Rng::new(1, case));
        let [first, second] = [Rng::new(2, 1), Rng::new(2, 2)];
        assert_eq!(question(&made(1), &first), question(&made(1), &first));
        assert_ne!(question(&made(1), &first), question(&made(2), &first));
        assert_ne!(question(&made(1), &first), question(&made(1), &second));
    }
}
