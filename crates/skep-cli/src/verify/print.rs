//! Verdicts on stdout: a table with what was asked below it, or JSON.

use std::io::{self, Write};

use serde_json::Value;
use skep_verifier::explain::Paint;

use super::verdict::Verdict;
use crate::table::{Align, Column, Table};
use crate::term;

/// One JSON array, one object a program.
pub(super) fn json(verdicts: &[Verdict]) -> io::Result<()> {
    let rows: Vec<Value> = verdicts.iter().map(Verdict::row).collect();
    writeln!(io::stdout().lock(), "{}", Value::Array(rows))
}

/// A table, then where the work was spent, then why programs are rejected.
pub(super) fn text(verdicts: &[Verdict], against: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    table(&mut out, verdicts, against)?;
    for verdict in verdicts.iter().filter(|verdict| !verdict.hottest.is_empty()) {
        hottest(&mut out, verdict)?;
    }
    let paint = if term::stdout_coloured() { Paint::TERMINAL } else { Paint::PLAIN };
    for verdict in verdicts {
        if let Some(explanation) = &verdict.explanation {
            write!(out, "\n{}: {}", verdict.program, explanation.text(&paint))?;
        }
    }
    if against {
        agreement(&mut out, verdicts)?;
    }
    Ok(())
}

fn table(out: &mut dyn Write, verdicts: &[Verdict], against: bool) -> io::Result<()> {
    let widest = verdicts.iter().map(|verdict| verdict.program.len()).max().unwrap_or(0);
    let column = |title: &str, width, align| Column { title: title.to_owned(), width, align };
    let mut columns = vec![column("PROGRAM", widest, Align::Left), column("VERDICT", 11, Align::Left)];
    if against {
        columns.push(column("KERNEL", 11, Align::Left));
    }
    columns.extend([
        column("INSNS", 8, Align::Right),
        column("STATES", 7, Align::Right),
        column("PEAK", 6, Align::Right),
        column("TIME", 9, Align::Right),
        column("REASON", 0, Align::Left),
    ]);
    let mut table = Table::new(columns, term::stdout_coloured());
    for verdict in verdicts {
        table.row(out, &cells(verdict))?;
    }
    Ok(())
}

fn cells(verdict: &Verdict) -> Vec<String> {
    let stats = &verdict.report.stats;
    let mut cells = vec![verdict.program.clone(), verdict.word().to_owned()];
    cells.extend(verdict.kernel.as_ref().map(|kernel| kernel.word().to_owned()));
    cells.extend([
        stats.insns_processed.to_string(),
        stats.total_states.to_string(),
        stats.peak_states.to_string(),
        format!("{} µs", verdict.time.as_micros()),
        reason(verdict),
    ]);
    cells
}

/// What is wrong: in one line where it is explained below, else with its source.
fn reason(verdict: &Verdict) -> String {
    let Some((insn, message)) = verdict.complaint() else { return String::new() };
    let message = message.replace('\n', " ");
    match (&verdict.source, &verdict.explanation) {
        (Some(source), None) => format!("instruction {insn}: {message} ({source})"),
        _ => format!("instruction {insn}: {message}"),
    }
}

/// Where the work was spent, in parts of the whole.
fn hottest(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let all = u64::from(verdict.report.stats.insns_processed).max(1);
    writeln!(
        out,
        "\n{}: {} instructions walked, {} states at one instruction at most; most on these lines:",
        verdict.program, verdict.report.stats.insns_processed, verdict.report.stats.max_states_per_insn
    )?;
    for (source, count) in &verdict.hottest {
        writeln!(out, "{count:>9} {:>5.1} %  {source}", *count as f64 * 100.0 / all as f64)?;
    }
    Ok(())
}

/// How often both agree, and where they do not.
fn agreement(out: &mut dyn Write, verdicts: &[Verdict]) -> io::Result<()> {
    let answers = verdicts.iter().filter_map(|verdict| Some((verdict, verdict.kernel.as_ref()?)));
    let decided: Vec<_> = answers.filter(|(_, kernel)| kernel.is_verdict()).collect();
    let differing: Vec<_> =
        decided.iter().filter(|(verdict, kernel)| kernel.word() != verdict.word()).collect();
    writeln!(
        out,
        "\n{} of {} verdicts agree with the kernel",
        decided.len() - differing.len(),
        decided.len()
    )?;
    for (verdict, kernel) in differing {
        let ours = verdict.complaint().map_or(String::new(), |(_, message)| format!(": {message}"));
        writeln!(out, "  {}: {}{ours}; the kernel: {kernel}", verdict.program, verdict.word())?;
    }
    Ok(())
}
