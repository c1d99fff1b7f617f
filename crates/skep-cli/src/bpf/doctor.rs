//! `skep doctor`: what this machine can run, and why not.

use skep::doctor::{self, Finding, Report, State};

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;
use crate::table::{Align, Column, Table};
use crate::term;

/// Prints what was found. Status 1 where neither runtime runs.
pub(crate) fn examine(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.end()?;
    let report = doctor::examine();
    if shell.is_json() {
        json(shell, &report);
    } else {
        shell.json.bytes(&text(&report));
    }
    match report.kernel || report.user {
        true => Ok(()),
        false => Err(Failure::new("neither runtime can run programs here").with_status(1).told()),
    }
}

fn json(shell: &mut Shell, report: &Report) {
    let json = &mut shell.json;
    json.begin_object();
    json.bool_field("kernel", report.kernel);
    json.bool_field("user", report.user);
    json.name("findings");
    json.begin_array();
    for finding in &report.findings {
        json.begin_object();
        json.string_field("area", finding.area.name());
        json.string_field("name", &finding.name);
        json.string_field("state", finding.state.name());
        json.string_field("detail", &finding.detail);
        if let Some(hint) = &finding.hint {
            json.string_field("hint", hint);
        }
        json.end_object();
    }
    json.end_array();
    json.end_object();
}

/// One table for each area, then what to do, then the verdict.
fn text(report: &Report) -> Vec<u8> {
    let mut out = Vec::new();
    for area in report.findings.chunk_by(|a, b| a.area == b.area) {
        let width = area.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        let column = |title: String, width| Column { title, width, align: Align::Left };
        let columns = vec![
            column(area[0].area.name().to_uppercase(), width),
            column(String::new(), "unknown".len()),
            column(String::new(), 0),
        ];
        let mut table = Table::new(columns, term::stdout_coloured());
        for finding in area {
            let cells = [finding.name.clone(), finding.state.name().to_owned(), finding.detail.clone()];
            table.row(&mut out, &cells).expect("invariant: memory takes any text");
        }
        out.push(b'\n');
    }
    let remedies: Vec<&Finding> = report.findings.iter().filter(|finding| finding.hint.is_some()).collect();
    for finding in &remedies {
        let hint = finding.hint.as_deref().unwrap_or_default();
        let without = if finding.state == State::Unknown { "unknown" } else { "missing" };
        out.extend(format!("{} is {without}: {hint}\n", finding.name).bytes());
    }
    let can = |runs| if runs { "can run programs" } else { "cannot run programs" };
    let gap = if remedies.is_empty() { "" } else { "\n" };
    out.extend(
        format!("{gap}kernel runtime: {}\nuser runtime:   {}\n", can(report.kernel), can(report.user))
            .bytes(),
    );
    out
}
