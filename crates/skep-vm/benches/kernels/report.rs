//! The table, and the same for programs.

use serde_json::{Value, json};

use crate::Row;
use crate::engine::{JIT, NAMES, NATIVE};

/// What is too short to count in a mean: of it, entering is most.
const ENTRY: &str = "nop";

/// A line for each computation: what native code takes, and the others in relation to it.
pub(crate) fn to_text(rows: &[Row]) -> String {
    let mut text = format!("{:<12}{:>10}", "", "NATIVE ns");
    let others: Vec<&str> = NAMES.iter().copied().filter(|name| *name != NATIVE).collect();
    for name in &others {
        text += &format!("{name:>16}");
    }
    text += &format!("{:>8}{:>8}{:>12}\n", "INSNS", "BYTES", "COMPILE µs");
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
        text += &format!("{:>8}{:>8}{:>12.0}\n", row.insns, row.code_bytes, row.compile_us);
    }
    text += &format!("{:<22}", "geometric mean");
    for name in &others {
        text += &mean(rows, name).map_or_else(|| format!("{:>16}", "-"), |mean| format!("{mean:>16.3}"));
    }
    text + "\n"
}

pub(crate) fn to_json(rows: &[Row]) -> Value {
    let kernels = rows.iter().map(|row| {
        let times = row.times.iter().filter_map(|(name, time)| Some(((*name).to_owned(), json!((*time)?))));
        json!({
            "name": row.name, "ns": Value::Object(times.collect()), "insns": row.insns,
            "code_bytes": row.code_bytes, "compile_us": row.compile_us,
        })
    });
    let means = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), json!(mean(rows, name)?))));
    json!({
        "kernels": kernels.collect::<Vec<_>>(),
        "geometric_means": Value::Object(means.collect()),
        "jit_geometric_mean": mean(rows, JIT),
    })
}

fn time(row: &Row, name: &str) -> Option<f64> {
    row.times.iter().find(|(engine, _)| *engine == name)?.1
}

/// The geometric mean of what an engine takes in relation to native code, over the computations that it runs.
fn mean(rows: &[Row], name: &str) -> Option<f64> {
    let counted = rows.iter().filter(|row| row.name != ENTRY);
    let ratios: Vec<f64> = counted.filter_map(|row| Some(time(row, name)? / time(row, NATIVE)?)).collect();
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (sum / ratios.len() as f64).exp())
}
