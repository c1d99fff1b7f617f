//! What it costs to open, load and attach an object, and to read what it gives: programs that use Skep, and the same ones in
//! C, with a skeleton of libbpf.
//!
//! Loading is measured over whole processes: their processor time until they are gone, and the most memory that was
//! resident. Reading is measured by the programs themselves, as processor time of the loop that reads.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

use super::{Options, Shown, median};
use crate::root;

/// Records that are drained, and entries of the hash.
const RECORDS: &str = "200000";
const ENTRIES: &str = "100000";

/// What is compared: the program of ours and its argument, the C source and the object of its skeleton, what is measured
/// and the ratio that is wanted.
const COMPARED: &[Compared] = &[
    Compared {
        name: "load",
        program: &["load", "plain"],
        source: "libbpf-load.c",
        object: "load.bpf.o",
        measures: &[("cpu_us", 1.0), ("peak_kib", 1.2)],
    },
    Compared {
        name: "load, CO-RE",
        program: &["load", "core"],
        source: "libbpf-load.c",
        object: "load-core.bpf.o",
        measures: &[("cpu_us", 1.0), ("peak_kib", 1.2)],
    },
    Compared {
        name: "read",
        program: &["read", RECORDS, ENTRIES],
        source: "libbpf-read.c",
        object: "produce.bpf.o",
        measures: &[("record_ns", 1.0), ("entry_ns", 1.05)],
    },
];

struct Compared {
    name: &'static str,
    program: &'static [&'static str],
    source: &'static str,
    object: &'static str,
    measures: &'static [(&'static str, f64)],
}

/// Builds both sides, and measures them in turns.
pub(super) fn run(options: &Options) -> Result<Box<dyn Shown>, String> {
    build_ours()?;
    let mut rows = Vec::new();
    for compared in COMPARED {
        let theirs = compared.build_c()?;
        rows.extend(compared.measure(&theirs, options.rounds)?);
    }
    Ok(Box::new(Comparison { rounds: options.rounds.max(1), rows }))
}

/// Builds our side as what is taken to other machines is built: one file, with its C library.
fn build_ours() -> Result<(), String> {
    for program in ["load", "read"] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["rustc", "--quiet", "--profile", "dist", "--package", "bench-load", "--bin", program]);
        output(cargo.args(["--", "-C", "target-feature=+crt-static"]).current_dir(root()))?;
    }
    Ok(())
}

impl Compared {
    /// The command of our side.
    fn ours(&self) -> Command {
        let mut command = Command::new(root().join("target/dist").join(self.program[0]));
        command.args(&self.program[1..]);
        command
    }

    /// Makes the skeleton and compiles the C program against it.
    fn build_c(&self) -> Result<PathBuf, String> {
        let directory = root().join("target/bench");
        fs::create_dir_all(&directory).map_err(|e| format!("cannot make `{}`: {e}", directory.display()))?;
        let bench = root().join("bench");
        let skeleton = directory.join(self.object).with_extension("skel.h");
        let header = output(
            Command::new(tool("bpftool")?)
                .args(["gen", "skeleton"])
                .arg(bench.join(self.object))
                .args(["name", "bench"]),
        )?;
        fs::write(&skeleton, header).map_err(|e| format!("`{}`: {e}", skeleton.display()))?;
        let program = directory.join(self.object).with_extension("libbpf");
        let option = format!("-DSKELETON=\"{}\"", skeleton.display());
        let mut cc = Command::new(tool("cc")?);
        cc.args(["-O2", &option, "-o"]).arg(&program).arg(bench.join(self.source)).arg("-lbpf");
        output(&mut cc)
            .map_err(|e| format!("{e}\nhint: libbpf's headers are in the package `libbpf-dev`"))?;
        Ok(program)
    }

    fn measure(&self, theirs: &Path, rounds: usize) -> Result<Vec<Row>, String> {
        let mut rows: Vec<Row> =
            self.measures.iter().map(|&(what, limit)| Row::new(self.name, what, limit)).collect();
        for _ in 0..rounds.max(1) {
            let ours = whole_process(&mut self.ours())?;
            let theirs = whole_process(Command::new(theirs).args(&self.program[1..]))?;
            for row in &mut rows {
                row.ours.push(ours.number(row.what)?);
                row.theirs.push(theirs.number(row.what)?);
            }
        }
        Ok(rows)
    }
}

/// What a process has said, a name and a number a line.
struct Said(String);

impl Said {
    fn number(&self, name: &str) -> Result<f64, String> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.ok_or_else(|| format!("no `{name}` was said:\n{}", self.0))
    }
}

/// Runs a process to its end; adds the processor time that it took, which its parent can read until it is reaped.
fn whole_process(command: &mut Command) -> Result<Said, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |e: std::io::Error| format!("`{name}`: {e}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut text).map_err(failed)?;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = pid.map(|pid| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
    ended.transpose().map_err(|e| failed(e.into()))?;
    let schedstat = format!("/proc/{}/schedstat", child.id());
    let times = fs::read_to_string(&schedstat).map_err(|e| format!("`{schedstat}`: {e}"))?;
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(format!("`{name}` failed ({status}); loading takes root and a mounted tracefs"));
    }
    let cpu_ns =
        times.split_ascii_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN);
    writeln!(text, "cpu_us {}", cpu_ns / 1000.0).map_err(|e| e.to_string())?;
    Ok(Said(text))
}

/// A tool by its name, also where Debian has those for root.
fn tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("skipped: `{name}` is not installed, with which libbpf's side is built"))
}

/// What a tool writes to stdout; it has to succeed.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("cannot run `{name}`: {e}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("`{name}` failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end())),
    }
}

/// The figures of both sides.
struct Comparison {
    rounds: usize,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    what: &'static str,
    /// The ratio that is wanted.
    limit: f64,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Row {
    fn new(name: &'static str, what: &'static str, limit: f64) -> Self {
        Self { name, what, limit, ours: Vec::new(), theirs: Vec::new() }
    }

    /// The median of what each round says: the two sides of a round run one after the other, while the machine's speed is
    /// the same.
    fn ratio(&self) -> f64 {
        let ratios: Vec<f64> =
            self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect();
        median(&ratios)
    }
}

impl Shown for Comparison {
    fn to_text(&self) -> String {
        let mut text = format!(
            "skep and libbpf in C; {} rounds in turns, medians, also of their ratios\n\n",
            self.rounds
        );
        text += &format!("{:<14}{:<11}{:>10}{:>10}{:>9}{:>9}\n", "", "", "SKEP", "LIBBPF", "RATIO", "WANTED");
        for row in &self.rows {
            let (ours, theirs, ratio) = (median(&row.ours), median(&row.theirs), row.ratio());
            let verdict = if ratio <= row.limit { "" } else { "  missed" };
            text += &format!(
                "{:<14}{:<11}{ours:>10.1}{theirs:>10.1}{ratio:>9.3}{:>9.2}{verdict}\n",
                row.name, row.what, row.limit
            );
        }
        text
    }

    fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "name": row.name, "what": row.what, "ratio": row.ratio(), "wanted": row.limit,
                "skep_rounds": row.ours, "libbpf_rounds": row.theirs,
            })
        });
        json!({ "bench": "load", "rows": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_what_ran_in_one_round() {
        let row = Row {
            ours: vec![9.0, 1.0, 2.0],
            theirs: vec![18.0, 2.0, 90.0],
            ..Row::new("load", "cpu_us", 0.4)
        };
        assert_eq!(row.ratio(), 0.5);
        let text = Comparison { rounds: 3, rows: vec![row] }.to_text();
        assert!(text.contains("0.500") && text.contains("missed"), "{text}");
    }

    #[test]
    fn numbers_are_found_by_name() {
        let said = Said("peak_kib 2048\nentry_ns 1.5\n".into());
        assert_eq!(said.number("entry_ns"), Ok(1.5));
        assert!(said.number("record_ns").is_err());
    }
}
