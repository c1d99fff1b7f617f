//! `skep verify`: open → link → verdict on each program, without loading anything.

mod log;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep::object::{Linked, Object};
use skep::{Error, Result, host};
use skep_isa::uapi::ProgType;
use skep_verifier::{Outcome, Report, Subject};

use crate::args::VerifyArgs;
use crate::table::{Align, Column, Table};
use crate::term;

/// Says of every program whether this machine's kernel version would accept it. Status 1 when one is not accepted.
pub(crate) fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let mut verdicts = Vec::new();
    for file in &args.files {
        verify_file(file, args, &mut verdicts)?;
    }
    if let (Some(program), true) = (&args.program, verdicts.is_empty()) {
        return Err(Error::usage(
            format!("there is no program `{program}`"),
            "`skep verify FILE` lists them",
        ));
    }
    let printed = match (args.json, args.log) {
        (true, _) => print_json(&verdicts),
        // The log was printed as it was written; it says everything.
        (false, Some(_)) => Ok(()),
        (false, None) => print_table(&verdicts),
    };
    printed.map_err(|e| Error::file("stdout".as_ref(), e))?;
    let refused = verdicts.iter().any(|verdict| matches!(verdict.report.outcome, Outcome::Reject(_)));
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What came out for one program.
struct Verdict {
    file: String,
    program: String,
    section: String,
    prog_type: String,
    report: Report,
    time: Duration,
    log: Option<String>,
    /// The source line of the instruction that the verdict is about.
    source: Option<String>,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self.report.outcome {
            Outcome::Accept(_) => "accept",
            Outcome::Reject(_) => "reject",
            Outcome::Unsupported(_) => "unsupported",
        }
    }

    /// The instruction and what is wrong with it.
    fn complaint(&self) -> Option<(u32, &str)> {
        match &self.report.outcome {
            Outcome::Accept(_) => None,
            Outcome::Reject(rejection) => Some((rejection.insn, &rejection.message)),
            Outcome::Unsupported(unsupported) => Some((unsupported.insn, &unsupported.what)),
        }
    }
}

fn verify_file(file: &Path, args: &VerifyArgs, verdicts: &mut Vec<Verdict>) -> Result<()> {
    let wanted = args.program.as_deref();
    let mut object = skep::open(file)?.object;
    object.require_programs()?;
    load_everything(&mut object);
    let mut target = host::target(&object);
    // Arguments of helpers and contexts have the kernel's types, whether the object names any or not.
    target.btf = target.btf.or_else(host::kernel_btf);
    let linked = object.link(&target)?;
    let subject = Subject::new(&linked, &target);
    for index in 0..linked.programs.len() {
        if wanted.is_none_or(|name| linked.programs[index].name == name) {
            verdicts.push(verify_program(file, args, &linked, &subject, index)?);
        }
    }
    Ok(())
}

/// Every program is of interest, also those that are not loaded by default. One whose section does not say what it is
/// counts as a socket filter, of which the kernel asks least.
fn load_everything(object: &mut Object) {
    for program in &mut object.programs {
        program.autoload = true;
        if program.prog_type == ProgType::UNSPEC {
            program.prog_type = ProgType::SOCKET_FILTER;
            program.section_error = None;
        }
    }
}

fn verify_program(
    file: &Path,
    args: &VerifyArgs,
    linked: &Linked,
    subject: &Subject<'_>,
    index: usize,
) -> Result<Verdict> {
    let program = &linked.programs[index];
    let started = Instant::now();
    let (report, log) = match (args.log, args.json) {
        (None, _) => (subject.verify(index), None),
        (Some(level), false) => {
            if args.program.is_none() {
                println!("Program {} in section {}:", program.name, program.section);
            }
            (log::to_stdout(subject, index, level)?, None)
        }
        (Some(level), true) => {
            let (report, text) = log::to_text(subject, index, level);
            (report, Some(text))
        }
    };
    let time = started.elapsed();
    let mut verdict = Verdict {
        file: file.display().to_string(),
        program: program.name.clone(),
        section: program.section.clone(),
        prog_type: program.prog_type.to_string(),
        report,
        time,
        log,
        source: None,
    };
    let insn = verdict.complaint().map(|(insn, _)| insn);
    verdict.source = insn.and_then(|insn| program.source_line(insn as usize)).map(|line| line.to_string());
    Ok(verdict)
}

/// One JSON array, one object a program.
fn print_json(verdicts: &[Verdict]) -> io::Result<()> {
    let rows: Vec<Value> = verdicts
        .iter()
        .map(|verdict| {
            let stats = &verdict.report.stats;
            let error = verdict
                .complaint()
                .map(|(insn, message)| json!({ "insn": insn, "message": message, "source": verdict.source }));
            let mut row = json!({
                "object": verdict.file,
                "program": verdict.program,
                "section": verdict.section,
                "type": verdict.prog_type,
                "verdict": verdict.word(),
                "insns_processed": stats.insns_processed,
                "states_total": stats.total_states,
                "states_peak": stats.peak_states,
                "verify_us": u64::try_from(verdict.time.as_micros()).unwrap_or(u64::MAX),
                "error": error,
            });
            if let Some(log) = &verdict.log {
                row["log"] = json!(log);
            }
            row
        })
        .collect();
    writeln!(io::stdout().lock(), "{}", Value::Array(rows))
}

fn print_table(verdicts: &[Verdict]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let widest = verdicts.iter().map(|verdict| verdict.program.len()).max().unwrap_or(0);
    let column = |title: &str, width, align| Column { title: title.to_owned(), width, align };
    let columns = vec![
        column("PROGRAM", widest, Align::Left),
        column("VERDICT", 11, Align::Left),
        column("INSNS", 8, Align::Right),
        column("STATES", 7, Align::Right),
        column("TIME", 9, Align::Right),
        column("REASON", 0, Align::Left),
    ];
    let mut table = Table::new(columns, term::stdout_coloured());
    for verdict in verdicts {
        let stats = &verdict.report.stats;
        let reason = verdict.complaint().map(|(insn, message)| {
            let source = verdict.source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
            format!("instruction {insn}: {message}{source}")
        });
        table.row(
            &mut out,
            &[
                verdict.program.clone(),
                verdict.word().to_owned(),
                stats.insns_processed.to_string(),
                stats.total_states.to_string(),
                format!("{} µs", verdict.time.as_micros()),
                reason.unwrap_or_default(),
            ],
        )?;
    }
    Ok(())
}
