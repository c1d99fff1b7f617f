//! What came out for one program.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use skep::Result;
use skep::object::{Linked, LinkedProgram};
use skep_verifier::explain::{Explanation, Stop};
use skep_verifier::log::{Level, Recording};
use skep_verifier::{Outcome, Report, Subject};

use super::kernel::Answer;
use super::log;

/// Source lines shown where the work was spent.
const HOTTEST: usize = 10;

/// What is asked beside the verdict.
pub(super) struct Asked {
    pub(super) log: Option<Level>,
    pub(super) json: bool,
    pub(super) explain: bool,
    pub(super) stats: bool,
    /// Of one program only.
    pub(super) only: bool,
}

/// A verdict and what was asked beside it.
pub(super) struct Verdict {
    file: String,
    pub(super) program: String,
    section: String,
    prog_type: String,
    pub(super) report: Report,
    /// What the verification took of a processor; what others ran meanwhile is left out.
    pub(super) time: Duration,
    log: Option<String>,
    /// The source line of the instruction that the verdict is about.
    pub(super) source: Option<String>,
    pub(super) explanation: Option<Explanation>,
    /// The source lines that were walked most often, with the number of instructions.
    pub(super) hottest: Vec<(String, u64)>,
    pub(super) kernel: Option<Answer>,
}

impl Verdict {
    /// Verifies a program.
    pub(super) fn of(
        file: &Path,
        linked: &Linked,
        subject: &Subject<'_>,
        index: usize,
        asked: &Asked,
    ) -> Result<Self> {
        let program = &linked.programs[index];
        let (report, time) = timed(|| subject.verify(index));
        let is_rejected = matches!(report.outcome, Outcome::Reject(_));
        let mut verdict = Self {
            file: file.display().to_string(),
            program: program.name.clone(),
            section: program.section.clone(),
            prog_type: program.prog_type.to_string(),
            report,
            time,
            log: None,
            source: None,
            explanation: if asked.explain && is_rejected { subject.explain(index) } else { None },
            hottest: if asked.stats { hottest(program, subject, index) } else { Vec::new() },
            kernel: None,
        };
        let insn = verdict.complaint().map(|(insn, _)| insn);
        verdict.source = insn.and_then(|insn| source_at(program, insn as usize));
        verdict.write_log(program, subject, index, asked)?;
        Ok(verdict)
    }

    /// The log, at once to stdout or kept for the row. It is written in a run of its own, which the time leaves out.
    fn write_log(
        &mut self,
        program: &LinkedProgram,
        subject: &Subject<'_>,
        index: usize,
        asked: &Asked,
    ) -> Result<()> {
        match (asked.log, asked.json) {
            (None, _) => {}
            (Some(level), true) => self.log = Some(log::to_text(subject, index, level)),
            (Some(level), false) => {
                let title = format!("Program {} in section {}:", program.name, program.section);
                log::to_stdout((!asked.only).then_some(title.as_str()), subject, index, level)?;
            }
        }
        Ok(())
    }

    pub(super) fn word(&self) -> &'static str {
        match self.report.outcome {
            Outcome::Accept(_) => "accept",
            Outcome::Reject(_) => "reject",
            Outcome::Unsupported(_) => "unsupported",
        }
    }

    pub(super) fn is_rejected(&self) -> bool {
        matches!(self.report.outcome, Outcome::Reject(_))
    }

    /// The instruction and what is wrong with it.
    pub(super) fn complaint(&self) -> Option<(u32, &str)> {
        match &self.report.outcome {
            Outcome::Accept(_) => None,
            Outcome::Reject(rejection) => Some((rejection.insn, &rejection.message)),
            Outcome::Unsupported(unsupported) => Some((unsupported.insn, &unsupported.what)),
        }
    }

    /// The JSON row; what was not asked is not in it.
    pub(super) fn row(&self) -> Value {
        let stats = &self.report.stats;
        let error = self
            .complaint()
            .map(|(insn, message)| json!({ "insn": insn, "message": message, "source": self.source }));
        let mut row = json!({
            "object": self.file,
            "program": self.program,
            "section": self.section,
            "type": self.prog_type,
            "verdict": self.word(),
            "insns_processed": stats.insns_processed,
            "states_total": stats.total_states,
            "states_peak": stats.peak_states,
            "verify_us": u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX),
            "error": error,
        });
        if let Some(explanation) = &self.explanation {
            row["explanation"] = explained(explanation);
        }
        if !self.hottest.is_empty() {
            let hot = |(source, insns): &(String, u64)| json!({ "source": source, "insns_processed": insns });
            row["hottest"] = self.hottest.iter().map(hot).collect();
        }
        if let Some(log) = &self.log {
            row["log"] = json!(log);
        }
        if let Some(kernel) = &self.kernel {
            row["kernel"] = kernel.row();
        }
        row
    }
}

fn explained(explanation: &Explanation) -> Value {
    let stop = |stop: &Stop| {
        let source = stop.location.as_ref().map(ToString::to_string);
        json!({ "insn": stop.insn, "source": source, "what": stop.what })
    };
    json!({
        "summary": explanation.summary,
        "function": explanation.function,
        "notes": explanation.notes,
        "path": explanation.path.iter().map(stop).collect::<Vec<_>>(),
        "help": explanation.remedy,
    })
}

/// What comes out, and the processor time it took; of short work the time that passed, which is less because asking for
/// the processor time takes a third of a microsecond itself.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let (started, begun) = (cpu_time(), Instant::now());
    let out = work();
    let passed = begun.elapsed();
    (out, cpu_time().saturating_sub(started).min(passed))
}

/// Processor time of this thread since some point.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn source_at(program: &LinkedProgram, insn: usize) -> Option<String> {
    // Line 0 is code that the compiler made up.
    program.source_line(insn).filter(|line| line.line > 0).map(|line| line.to_string())
}

/// Verifies once more, counting: the source lines on which most instructions were walked.
fn hottest(program: &LinkedProgram, subject: &Subject<'_>, index: usize) -> Vec<(String, u64)> {
    let (_, counts) = subject.verify_recorded(index, Recording { count: true, ..Recording::default() });
    let mut lines: Vec<(String, u64)> = Vec::new();
    for (insn, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let source = source_at(program, insn).unwrap_or_else(|| "code without a source line".to_owned());
        match lines.iter_mut().find(|(known, _)| *known == source) {
            Some((_, sum)) => *sum += u64::from(*count),
            None => lines.push((source, u64::from(*count))),
        }
    }
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    lines.truncate(HOTTEST);
    lines
}
