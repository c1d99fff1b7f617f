//! `verify [-j] [--program P] OBJECT…`: verdicts on objects for the kernel of this machine, as a JSON array.
//!
//! Stands in for `skep verify` where only this crate is at hand; a first argument `verify` is taken as the command.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use skep_btf::Btf;
use skep_isa::uapi::ProgType;
use skep_obj::{Linked, Object, Target};
use skep_verifier::{Outcome, Subject};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut only, mut files) = (None, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "verify" | "-j" => {}
            "--program" => only = args.next(),
            _ => files.push(arg),
        }
    }
    let kernel = Arc::new(Btf::parse(Arc::new(std::fs::read("/sys/kernel/btf/vmlinux")?))?);
    let mut rows = Vec::new();
    for file in files {
        let (linked, target) = link(&file, &kernel)?;
        let subject = Subject::new(&linked, &target);
        for (i, program) in linked.programs.iter().enumerate() {
            if only.as_ref().is_none_or(|name| *name == program.name) {
                rows.push(row(&linked, &subject, i));
            }
        }
    }
    println!("{}", Value::Array(rows));
    Ok(())
}

/// Reads and links an object; programs of unknown sections are socket filters, the kernel's least demanding type.
fn link(file: &str, kernel: &Arc<Btf>) -> Result<(Linked, Target), Box<dyn Error>> {
    let mut object = Object::read(&std::fs::read(file)?, file)?;
    for program in &mut object.programs {
        program.autoload = true;
        if program.prog_type == ProgType::UNSPEC {
            program.prog_type = ProgType::SOCKET_FILTER;
            program.section_error = None;
        }
    }
    let wanted: Vec<&str> = object.wanted_ksyms().collect();
    let symbols = if wanted.is_empty() { String::new() } else { std::fs::read_to_string("/proc/kallsyms")? };
    let ksyms = symbols.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (address, name) = (words.next()?, words.nth(1)?);
        let address = u64::from_str_radix(address, 16).ok()?;
        wanted.contains(&name).then(|| (name.to_owned(), address))
    });
    let target = Target {
        btf: Some(Arc::clone(kernel)),
        kernel_version: 0x0006_1200,
        ksyms: ksyms.collect(),
        cpus: 2,
        ..Target::default()
    };
    let linked = object.link(&target)?;
    Ok((linked, target))
}

fn row(linked: &Linked, subject: &Subject<'_>, i: usize) -> Value {
    let program = &linked.programs[i];
    let started = Instant::now();
    let report = subject.verify(i);
    let verify_us = started.elapsed().as_micros() as u64;
    let error = |insn: u32, message: &str| {
        let source = program.source_line(insn as usize).map(|line| line.to_string());
        json!({"insn": insn, "message": message, "source": source})
    };
    let (verdict, error) = match &report.outcome {
        Outcome::Accept(_) => ("accept", Value::Null),
        Outcome::Reject(r) => ("reject", error(r.insn, &r.message)),
        Outcome::Unsupported(u) => ("unsupported", error(u.insn, &u.what)),
    };
    json!({
        "program": program.name,
        "section": program.section,
        "type": program.prog_type.to_string(),
        "verdict": verdict,
        "insns_processed": report.stats.insns_processed,
        "states_total": report.stats.total_states,
        "states_peak": report.stats.peak_states,
        "verify_us": verify_us,
        "error": error,
    })
}
