//! `cargo xtask bench NAME`: what things cost, measured beside what others need for the same.
//!
//! Candidates run in turns within one run, so that a machine that gets faster or slower does so for all of them; medians
//! of the rounds are compared.

mod load;
mod maps;
mod packets;
mod trace;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::root;

/// A benchmark: its name, what it compares, and the function that runs it.
type Bench = (&'static str, &'static str, fn(&Options) -> Result<Box<dyn Shown>, String>);

const BENCHES: &[Bench] = &[
    ("load", "to open, load and attach an object and to read what it gives: skep, libbpf in C", load::run),
    ("maps", "operations on maps: Linux's and ours, under the JITs and by the interpreter", maps::run),
    ("packets", "a capture through an XDP filter: copied, by skep run, by tcpdump", packets::run),
    (
        "trace",
        "system calls and functions in a loop: native, looked at by skep run, by strace and by gdb",
        trace::run,
    ),
];

/// What a benchmark has found.
trait Shown {
    /// For people.
    fn to_text(&self) -> String;
    /// For programs, with every round.
    fn to_json(&self) -> Value;
}

/// How a benchmark is run.
struct Options {
    /// Times that every candidate runs.
    rounds: usize,
    /// Iterations in one run.
    iterations: u64,
}

/// Runs the benchmark that the arguments name.
pub(crate) fn bench(args: &[String]) -> Result<(), String> {
    let mut options = Options { rounds: 5, iterations: 100_000 };
    if let Some(("vm", rest)) = args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        return vm(rest);
    }
    let mut name = None;
    let mut as_json = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match &**arg {
            "-j" => as_json = true,
            "-r" => options.rounds = number(arg, args.next())?,
            "-n" => options.iterations = number(arg, args.next())?,
            _ => name = Some(arg),
        }
    }
    let found = name.and_then(|name| BENCHES.iter().find(|(known, ..)| known == name));
    let Some((_, _, run)) = found else { return Err(usage()) };
    let report = run(&options)?;
    if as_json {
        println!("{:#}", report.to_json());
    } else {
        print!("{}", report.to_text());
    }
    Ok(())
}

/// `vm`: computations in virtual machines, natively, and in the kernel; its own program, because it is to be optimised.
fn vm(args: &[String]) -> Result<(), String> {
    let own = ["bench", "--quiet", "--package", "skep-vm", "--bench", "kernels", "--"];
    let status = Command::new(env!("CARGO")).args(own).args(args).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the benchmark failed ({status})")),
        Err(e) => Err(format!("cannot run cargo: {e}")),
    }
}

/// What `vm` compares.
const VM: &str =
    "computations in C: native, our engines, rbpf's, the kernel; `-r ROUNDS`, `-j`, names of some";

fn usage() -> String {
    let benches: String = BENCHES
        .iter()
        .map(|(name, about, _)| (*name, *about))
        .chain([("vm", VM)])
        .map(|(name, about)| format!("\n    {name:<10} {about}"))
        .collect();
    format!("usage: cargo xtask bench NAME [-r ROUNDS] [-n ITERATIONS] [-j]\n\nBenches:{benches}")
}

fn number<T: std::str::FromStr>(option: &str, value: Option<&String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("`{option}` needs a number"))?;
    value.parse().map_err(|_| format!("`{option} {value}`: not a number"))
}

/// Builds the binary as it is released.
fn build_skep() -> Result<PathBuf, String> {
    let args = ["build", "--quiet", "--release", "--package", "skep-cli"];
    output(Command::new(env!("CARGO")).args(args).current_dir(root()))?;
    Ok(root().join(Path::new("target/release/skep")))
}

/// Runs a command to its successful end.
fn output(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("cannot run `{name}`: {e}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!("`{name}` failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

/// Candidates that are programs of others, under the names of their commands.
const TOOLS: [&str; 3] = ["gdb", "strace", "tcpdump"];

fn is_installed(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(command).is_file())
}

/// A candidate: its name, and what runs it once and answers nanoseconds per iteration.
type Candidate<'a> = (&'static str, &'a dyn Fn() -> Result<f64, String>);

/// What was measured.
struct Report {
    title: String,
    /// The name of each candidate and what an iteration took in each round, in nanoseconds. The first is what the others
    /// come on top of.
    candidates: Vec<(&'static str, Vec<f64>)>,
    /// Candidates that are not installed.
    missing: Vec<&'static str>,
}

impl Report {
    /// Runs every candidate once a round, but for other projects' tools that are not installed.
    fn measure(title: String, rounds: usize, candidates: &[Candidate<'_>]) -> Result<Self, String> {
        let is_missing = |name: &str| TOOLS.contains(&name) && !is_installed(name);
        let (missing, present): (Vec<Candidate<'_>>, Vec<_>) =
            candidates.iter().partition(|(name, _)| is_missing(name));
        let mut times: Vec<(&str, Vec<f64>)> = present.iter().map(|(name, _)| (*name, Vec::new())).collect();
        for _ in 0..rounds.max(1) {
            for ((name, times), (_, run)) in times.iter_mut().zip(&present) {
                times.push(run().map_err(|e| format!("{name}: {e}"))?);
            }
        }
        let missing = missing.into_iter().map(|(name, _)| name).collect();
        Ok(Self { title, candidates: times, missing })
    }

    /// A row for each candidate: median, what it adds to the first, and that as a part of what the last adds.
    fn rows(&self) -> Vec<Row> {
        let medians: Vec<f64> = self.candidates.iter().map(|(_, times)| median(times)).collect();
        let (first, last) = (medians[0], medians[medians.len() - 1]);
        let row = |((name, times), median): (&(&'static str, Vec<f64>), &f64)| Row {
            name,
            median: *median,
            least: times.iter().copied().fold(f64::INFINITY, f64::min),
            added: median - first,
            part_of_last: (median - first) / (last - first),
        };
        self.candidates.iter().zip(&medians).map(row).collect()
    }
}

impl Shown for Report {
    fn to_text(&self) -> String {
        let rounds = self.candidates[0].1.len();
        let last = self.candidates[self.candidates.len() - 1].0;
        let mut text = format!("{}; {rounds} rounds in turns, times per iteration\n\n", self.title);
        let of_last = format!("OF {}", last.to_uppercase());
        text += &format!("{:<10}{:>12}{:>12}{:>12}{of_last:>14}\n", "", "MEDIAN ns", "LEAST ns", "ADDED ns");
        for row in self.rows() {
            let Row { name, median, least, added, part_of_last } = row;
            text += &format!(
                "{name:<10}{median:>12.0}{least:>12.0}{added:>12.0}{:>13.1}%\n",
                part_of_last * 100.0
            );
        }
        self.missing.iter().for_each(|name| text += &format!("skipped: `{name}` is not installed\n"));
        text
    }

    fn to_json(&self) -> Value {
        let rows = self.rows();
        let candidates = self.candidates.iter().zip(&rows).map(|((name, times), row)| {
            json!({
                "name": name, "median_ns": row.median, "least_ns": row.least, "added_ns": row.added,
                "part_of_last": row.part_of_last, "rounds_ns": times,
            })
        });
        json!({
            "bench": self.title, "candidates": candidates.collect::<Vec<_>>(), "not_installed": self.missing,
        })
    }
}

/// A candidate's line in a report.
struct Row {
    name: &'static str,
    median: f64,
    least: f64,
    added: f64,
    part_of_last: f64,
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_parts_are_taken_over_rounds() {
        let report = Report {
            title: "x".into(),
            candidates: vec![
                ("native", vec![100.0, 90.0, 1000.0]),
                ("ours", vec![200.0, 300.0]),
                ("theirs", vec![500.0]),
            ],
            missing: vec!["gdb"],
        };
        let rows = report.rows();
        assert_eq!(rows[0].median, 100.0);
        assert_eq!((rows[1].median, rows[1].least, rows[1].added), (250.0, 200.0, 150.0));
        assert_eq!(rows[1].part_of_last, 0.375);
        assert!(report.to_text().contains("37.5%"), "{}", report.to_text());
        assert!(report.to_text().contains("skipped: `gdb` is not installed"), "{}", report.to_text());
        assert_eq!(report.to_json()["candidates"][2]["part_of_last"], 1.0);
    }
}
