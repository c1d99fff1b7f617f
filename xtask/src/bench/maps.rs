//! Operations on maps, ours beside Linux's: runs `crates/skep-vm/benches/maps` and makes a table of what that says.

use std::process::Command;

use serde_json::{Value, json};

use super::{Options, Shown, median, output};
use crate::root;

/// Measures; the kernel's maps are only there as root.
pub(super) fn run(options: &Options) -> Result<Box<dyn Shown>, String> {
    let args = ["bench", "--quiet", "--package", "skep-vm", "--bench", "maps", "--"];
    let mut command = Command::new(env!("CARGO"));
    let said = output(command.args(args).arg(options.rounds.to_string()).current_dir(root()))?;
    eprint!("{}", String::from_utf8_lossy(&said.stderr));
    Ok(Box::new(Table::read(&String::from_utf8_lossy(&said.stdout))?))
}

/// The benchmark's columns, as it calls them.
const CANDIDATES: [&str; 3] = ["kernel", "jit", "interpreter"];
/// The same with two threads: how many times the operations of one.
const SCALES: [&str; 2] = ["two threads, kernel", "two threads, jit"];

/// Rounds of every candidate of every case.
#[derive(Default)]
struct Table(Vec<Row>);

struct Row {
    case: String,
    rounds: Vec<(String, Vec<f64>)>,
}

impl Row {
    fn median(&self, candidate: &str) -> Option<f64> {
        self.rounds.iter().find(|(name, _)| name == candidate).map(|(_, rounds)| median(rounds))
    }
}

impl Table {
    /// Reads lines of case, candidate and number.
    fn read(text: &str) -> Result<Self, String> {
        let mut table = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [case, candidate, number] = fields[..] else { return Err(format!("no result: `{line}`")) };
            let number: f64 = number.parse().map_err(|_| format!("no number: `{line}`"))?;
            table.add(case, candidate, number);
        }
        if table.0.is_empty() { Err("the benchmark said nothing".into()) } else { Ok(table) }
    }

    fn add(&mut self, case: &str, candidate: &str, number: f64) {
        let known = self.0.iter().position(|row| row.case == case).unwrap_or_else(|| {
            self.0.push(Row { case: case.to_owned(), rounds: Vec::new() });
            self.0.len() - 1
        });
        let rounds = &mut self.0[known].rounds;
        match rounds.iter_mut().find(|(name, _)| name == candidate) {
            Some((_, numbers)) => numbers.push(number),
            None => rounds.push((candidate.to_owned(), vec![number])),
        }
    }
}

impl Shown for Table {
    fn to_text(&self) -> String {
        let mut text = "nanoseconds of processor time for one operation, medians of rounds in turns: Linux's map under its \
                        JIT, ours under our JIT, ours by the \
                        interpreter\n\n"
            .to_owned();
        text += &format!("{:<30}{:>10}{:>10}{:>12}{:>14}\n", "", "KERNEL", "JIT", "OF KERNEL", "INTERPRETER");
        let cell = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.1}"));
        for row in &self.0 {
            let [kernel, jit, interpreter] = CANDIDATES.map(|candidate| row.median(candidate));
            let part =
                kernel.zip(jit).map_or_else(|| "-".into(), |(kernel, jit)| format!("{:.2}", jit / kernel));
            let (kernel, jit, interpreter) = (cell(kernel), cell(jit), cell(interpreter));
            text += &format!("{:<30}{kernel:>10}{jit:>10}{part:>12}{interpreter:>14}\n", row.case);
        }
        text += &format!("\n{:<30}{:>10}{:>10}\n", "operations of two threads", "KERNEL", "JIT");
        for row in self.0.iter().filter(|row| row.median(SCALES[1]).is_some()) {
            let [kernel, jit] = SCALES
                .map(|name| row.median(name).map_or_else(|| "-".into(), |scale| format!("{scale:.2} ×")));
            text += &format!("{:<30}{kernel:>10}{jit:>10}\n", row.case);
        }
        text
    }

    fn to_json(&self) -> Value {
        let rows = self.0.iter().map(|row| {
            let candidates = row.rounds.iter().map(|(name, rounds)| {
                let unit = if SCALES.contains(&&**name) { "times_one_thread" } else { "ns" };
                json!({ "name": name, "unit": unit, "median": median(rounds), "rounds": rounds })
            });
            json!({ "case": row.case, "candidates": candidates.collect::<Vec<_>>() })
        });
        json!({ "bench": "maps", "cases": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_a_table() {
        let lines = "hash\tkernel\t40\nhash\tjit\t20\nhash\tkernel\t60\nhash\ttwo threads, jit\t1.9\n";
        let table = Table::read(lines).expect("the lines are results");
        let text = table.to_text();
        assert!(text.contains("50.0      20.0        0.40             -"), "{text}");
        assert!(text.contains("1.90 ×"), "{text}");
        assert_eq!(table.to_json()["cases"][0]["candidates"][0]["median"], 50.0);
        assert!(Table::read("hash\tkernel\n").is_err() && Table::read("").is_err());
    }
}
