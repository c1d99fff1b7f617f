//! What a run of tests says, read from its text, and runs side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::guest::VERDICT;

/// What the kernel prints when it finds itself in trouble.
const TROUBLE: &[&str] = &["Call Trace:", "BUG: ", "WARNING: ", "Oops: ", "Kernel panic", "rcu: INFO"];

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// It could not run here, or a part of it could not: the reasons.
    Skipped(Vec<String>),
    Failed,
}

/// The tests of one kernel.
pub(super) struct Run {
    kernel: String,
    outcomes: BTreeMap<String, Outcome>,
    /// Did the tests end as they should?
    ended_well: bool,
    /// What the kernel complains about.
    complaint: Option<String>,
}

impl Run {
    pub(super) fn read(kernel: &str, text: &str) -> Self {
        let mut outcomes = BTreeMap::new();
        let mut section: Option<&str> = None;
        for line in text.lines().map(str::trim_end) {
            if let Some((test, outcome)) = result_of(line) {
                outcomes.entry(test.to_owned()).or_insert(outcome);
            } else if let Some(rest) = line.strip_prefix("---- ") {
                section = rest.strip_suffix(" stdout ----");
            } else if let (Some(test), Some(reason)) = (section, line.strip_prefix("skipped: ")) {
                note(&mut outcomes, test, reason);
            }
        }
        let complaint = text.lines().find(|line| TROUBLE.iter().any(|sign| line.contains(sign)));
        Self {
            kernel: kernel.to_owned(),
            outcomes,
            ended_well: ended_well(text),
            complaint: complaint.map(|line| line.trim().to_owned()),
        }
    }

    pub(super) fn kernel(&self) -> &str {
        &self.kernel
    }

    pub(super) fn passed(&self) -> bool {
        self.ended_well && self.complaint.is_none()
    }

    pub(super) fn summary(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| self.outcomes.values().filter(|o| wanted(o)).count();
        let mut text = format!(
            "{} passed, {} skipped, {} failed",
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
            count(|outcome| *outcome == Outcome::Failed)
        );
        if !self.ended_well && !self.outcomes.values().any(|outcome| *outcome == Outcome::Failed) {
            text.push_str(", and the tests did not come to their end");
        }
        if let Some(complaint) = &self.complaint {
            let _ = write!(text, "; the kernel complains: `{complaint}`");
        }
        text
    }
}

/// Did what a guest ran end without an error?
pub(super) fn ended_well(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == format!("{VERDICT}0"))
}

/// A line such as `test hooks::raw_tracepoints_are_named ... ok`. The kernel may have written into it.
fn result_of(line: &str) -> Option<(&str, Outcome)> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = if rest.ends_with("ok") { Outcome::Passed } else { Outcome::Failed };
    Some((test, outcome))
}

fn note(outcomes: &mut BTreeMap<String, Outcome>, test: &str, reason: &str) {
    match outcomes.get_mut(test) {
        Some(Outcome::Skipped(reasons)) => reasons.push(reason.to_owned()),
        Some(outcome @ Outcome::Passed) => *outcome = Outcome::Skipped(vec![reason.to_owned()]),
        _ => {}
    }
}

/// A row for each test, a column for each kernel, and the reasons of those that could not run.
pub(super) fn table(runs: &[Run]) -> String {
    let mut tests: Vec<&str> = runs.iter().flat_map(|run| run.outcomes.keys().map(String::as_str)).collect();
    tests.sort_unstable();
    tests.dedup();
    let width = tests.iter().map(|test| test.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut row = |name: &str, cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("  {cell:<7}")).collect();
        let _ = writeln!(text, "{}", format!("{name:<width$}{cells}").trim_end());
    };
    row("test", runs.iter().map(|run| run.kernel.as_str()).collect());
    for test in &tests {
        row(test, runs.iter().map(|run| cell(run.outcomes.get(*test))).collect());
    }
    for run in runs {
        for (test, outcome) in &run.outcomes {
            let Outcome::Skipped(reasons) = outcome else { continue };
            for reason in reasons {
                let _ = writeln!(text, "skipped on {}: {test}: {reason}", run.kernel);
            }
        }
    }
    text
}

fn cell(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        None => "-",
        Some(Outcome::Passed) => "ok",
        Some(Outcome::Skipped(_)) => "skipped",
        Some(Outcome::Failed) => "FAILED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "test a::x ... ok\r\ntest a::y ... ok\r\ntest b ... FAILED\r\n\r\nsuccesses:\r\n\r\n\
        ---- a::y stdout ----\r\nskipped: no such hook\r\n\r\nfailures:\r\n---- b stdout ----\r\nno\r\n\
        skep-vm: exit 101\r\n";

    #[test]
    fn runs_are_read() {
        let run = Run::read("6.1", TEXT);
        assert!(!run.passed());
        assert_eq!(run.summary(), "1 passed, 1 skipped, 1 failed");
        let expected =
            "test  6.1\na::x  ok\na::y  skipped\nb     FAILED\nskipped on 6.1: a::y: no such hook\n";
        assert_eq!(table(&[run]), expected);
    }

    #[test]
    fn a_kernel_in_trouble_is_no_success() {
        let run = Run::read("6.1", "test x ... ok\n[ 1.0] BUG: unable to handle\nskep-vm: exit 0\n");
        assert!(!run.passed());
        assert!(run.summary().ends_with("the kernel complains: `[ 1.0] BUG: unable to handle`"));
        assert!(Run::read("6.1", "test x ... ok\nskep-vm: exit 0\n").passed());
        assert!(Run::read("6.1", "test x ... ok\n").summary().contains("did not come to their end"));
    }
}
