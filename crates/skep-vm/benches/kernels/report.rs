//! The table, and the same for programs.

use serde_json::{Value, json};

use crate::Row;
use crate::engine::{INTERPRETER, JIT, NAMES, NATIVE};

/// What is too short to count in a mean: of it, entering is most.
const ENTRY: &str = "nop";

/// A line for each computation: what native code takes, and the others in relation to it.
pub(crate) fn to_text(rows: &[Row]) -> String {
    let mut text = format!("{:<12}{:>10}", "", "NATIVE ns");
    let others: Vec<&str> = NAMES.iter().copied().filter(|name| *name != NATIVE).collect();
    for name in &others {
        text += &format!("{name:>16}");
    }
    text +=
        &format!("{:>10}{:>12}{:>8}{:>8}{:>12}", "EXECUTED", "INTERP. ns", "INSNS", "BYTES", "COMPILE µs");
    text += &format!("{:>18}{:>8}{:>8}\n", "FIRST µs: INTERP.", "AUTO", "JIT");
    for row in rows {
        let native = time(row, NATIVE).unwrap_or(f64::NAN);
        text += &format!("{:<12}{native:>10.2}", row.name);
        for name in &others {
            text += &match time(row, name) {
                Some(time) if row.name == ENTRY => format!("{time:>13.2} ns"),
                Some(time) => format!("{:>16.2}", time / native),
                None => format!("{:>16}", "-"),
            };
        }
        let each = interpreted(row).unwrap_or(f64::NAN);
        text += &format!("{:>10}{each:>12.2}", row.executed);
        text += &format!("{:>8}{:>8}{:>12.0}", row.insns, row.code_bytes, row.compile_us);
        let [interpreted, auto, compiled] = row.first_us;
        text += &format!("{interpreted:>18.0}{auto:>8.0}{compiled:>8.0}\n");
    }
    text += &format!("{:<22}", "geometric mean");
    for name in &others {
        text += &mean(rows, name).map_or_else(|| format!("{:>16}", "-"), |mean| format!("{mean:>16.3}"));
    }
    text += &each_interpreted(rows).map_or_else(String::new, |mean| format!("{:>10}{mean:>12.2}", ""));
    text + "\n"
}

/// Nanoseconds of an interpreted instruction, of all that a run executes, entry included.
fn interpreted(row: &Row) -> Option<f64> {
    Some(time(row, INTERPRETER)? / row.executed as f64)
}

/// The geometric mean of that.
fn each_interpreted(rows: &[Row]) -> Option<f64> {
    geometric_mean(rows.iter().filter(|row| row.name != ENTRY).filter_map(interpreted))
}

pub(crate) fn to_json(rows: &[Row]) -> Value {
    let kernels = rows.iter().map(|row| {
        let times = row.times.iter().filter_map(|(name, time)| Some(((*name).to_owned(), json!((*time)?))));
        json!({
            "name": row.name, "ns": Value::Object(times.collect()), "insns": row.insns,
            "executed": row.executed, "interpreter_ns_per_insn": interpreted(row),
            "first_run_us": {"interpreter": row.first_us[0], "auto": row.first_us[1], "jit": row.first_us[2]},
            "code_bytes": row.code_bytes, "compile_us": row.compile_us,
        })
    });
    let means = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), json!(mean(rows, name)?))));
    json!({
        "kernels": kernels.collect::<Vec<_>>(),
        "geometric_means": Value::Object(means.collect()),
        "jit_geometric_mean": mean(rows, JIT),
        "interpreter_ns_per_insn": each_interpreted(rows),
    })
}

fn time(row: &Row, name: &str) -> Option<f64> {
    row.times.iter().find(|(engine, _)| *engine == name)?.1
}

/// The geometric mean of what an engine takes in relation to native code, over the computations that it runs.
fn mean(rows: &[Row], name: &str) -> Option<f64> {
    let counted = rows.iter().filter(|row| row.name != ENTRY);
    geometric_mean(counted.filter_map(|row| Some(time(row, name)? / time(row, NATIVE)?)))
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    let sum: f64 = logarithms.iter().sum();
    (!logarithms.is_empty()).then(|| (sum / logarithms.len() as f64).exp())
}
