//! What tracing costs the traced program. A system call: an eBPF program that counts under `skep run`, and strace that
//! counts. A function: a uprobe that looks at an argument, and gdb's silent breakpoint with the same condition.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::{Options, Report, Shown, build_skep, output};
use crate::root;

/// Builds what is measured, and measures.
pub(super) fn run(options: &Options) -> Result<Box<dyn Shown>, String> {
    let program = build_loop()?;
    let skep = build_skep()?;
    let skep = skep.to_string_lossy();
    let functions = FUNCTIONS.into_iter().map(|begun| function(options, &program, &skep, begun));
    let reports = [calls(options, &program, &skep)].into_iter().chain(functions);
    Ok(Box::new(Reports(reports.collect::<Result<_, _>>()?)))
}

/// Runs the traced program under a tracer.
fn traced(tracer: &[&str], program: &Path, what: &str, count: u64) -> Result<Output, String> {
    let mut command = match tracer.split_first() {
        Some((tracer, args)) => {
            let mut command = Command::new(tracer);
            command.args(args).arg(program);
            command
        }
        None => Command::new(program),
    };
    output(command.args([what, &count.to_string()]).current_dir(root()))
}

/// System calls.
fn calls(options: &Options, program: &Path, skep: &str) -> Result<Report, String> {
    let count = options.iterations;
    let openat = |tracer: &[&str]| traced(tracer, program, "openat", count);
    Report::measure(
        format!("{count} × openat and close"),
        options.rounds,
        &[
            ("native", &|| nanoseconds(&openat(&[])?)),
            ("skep", &|| {
                let output = openat(&[skep, "--runtime", "user", "run", "bench/openat-count.bpf.o", "--"])?;
                check_count(&output, count)?;
                nanoseconds(&output)
            }),
            ("strace", &|| {
                let output = openat(&["strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=openat"])?;
                check_count(&output, count)?;
                nanoseconds(&output)
            }),
        ],
    )
}

/// What both look for in the function's argument; that they have seen it once is checked.
const CONDITION: &str = "$rdi == 471";

/// Functions by how they begin, because what stands under a breakpoint says how it is got past: what is done on registers, and
/// what runs from a copy.
const FUNCTIONS: [(&str, &str); 3] =
    [("returns", "ret"), ("pushes", "push %rbp"), ("enters", "endbr64, sub $8, %rsp")];

/// A function that begins so. A debugger takes so long that fewer calls will do.
fn function(
    options: &Options,
    program: &Path,
    skep: &str,
    (name, begin): (&str, &str),
) -> Result<Report, String> {
    let count = (options.iterations / 10).max(1000);
    let function = |tracer: &[&str]| traced(tracer, program, name, count);
    let place = format!("count=uprobe:{}:{name}_at_once", program.display());
    let breakpoint = format!("break *{name}_at_once if {CONDITION}");
    Report::measure(
        format!("{count} × a probed function (`{begin}`)"),
        options.rounds,
        &[
            ("native", &|| nanoseconds(&function(&[])?)),
            ("skep", &|| {
                let run = ["--runtime", "user", "run", "bench/probe-count.bpf.o", "--attach", &place, "--"];
                let output = function(&[&[skep], &run[..]].concat())?;
                check_said(&output, "hits = 1")?;
                nanoseconds(&output)
            }),
            ("gdb", &|| {
                let commands = "commands\nsilent\ncontinue\nend";
                let file = root().join("target/bench/breakpoint.gdb");
                fs::write(&file, format!("{breakpoint}\n{commands}\nrun\ninfo breakpoints\n"))
                    .map_err(|e| format!("cannot write `{}`: {e}", file.display()))?;
                let file = file.to_string_lossy();
                let output = function(&["gdb", "-nx", "-batch", "-x", &file, "--args"])?;
                check_said(&output, "already hit 1 time")?;
                nanoseconds(&output)
            }),
        ],
    )
}

/// Several measurements as one.
struct Reports(Vec<Report>);

impl Shown for Reports {
    fn to_text(&self) -> String {
        self.0.iter().map(Report::to_text).collect::<Vec<_>>().join("\n")
    }

    fn to_json(&self) -> Value {
        self.0.iter().map(Report::to_json).collect()
    }
}

/// Compiles the traced program.
fn build_loop() -> Result<PathBuf, String> {
    let directory = root().join("target/bench");
    fs::create_dir_all(&directory).map_err(|e| format!("cannot make `{}`: {e}", directory.display()))?;
    let program = directory.join("syscall-loop");
    let source = root().join("bench/syscall-loop.c");
    output(Command::new("cc").arg("-O2").arg("-o").arg(&program).arg(&source))?;
    Ok(program)
}

/// The traced program's own measurement: `NSITER 123.4`.
fn nanoseconds(output: &Output) -> Result<f64, String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let value = text.lines().find_map(|line| line.trim().strip_prefix("NSITER ")).map(str::trim);
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("the loop did not say its time:\n{text}"))
}

/// A tracer that does not see what it looks for is no competitor either.
fn check_said(output: &Output, text: &str) -> Result<(), String> {
    let said = [&*output.stdout, b"\n", &*output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains(text) { Ok(()) } else { Err(format!("it did not say `{text}`:\n{said}")) }
}

/// A tracer that does not count every call is no competitor: somewhere in its output there is the number of iterations,
/// or a few more for what the dynamic linker opens.
fn check_count(output: &Output, iterations: u64) -> Result<(), String> {
    let text = [&*output.stdout, b"\n", &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u64>().ok());
    let counted = numbers.into_iter().any(|number| (iterations..iterations + 100).contains(&number));
    if counted { Ok(()) } else { Err(format!("it did not count {iterations} calls:\n{text}")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn saying(stdout: &str, stderr: &str) -> Output {
        Output { status: ExitStatus::from_raw(0), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn outputs_are_read() {
        assert_eq!(nanoseconds(&saying("", "x\nNSITER 123.4\n")), Ok(123.4));
        assert!(nanoseconds(&saying("NSITER 1", "")).is_err());
        assert!(check_count(&saying("syscall-loop  1002\n", ""), 1000).is_ok());
        assert!(check_count(&saying("syscall-loop  999\n", "NSITER 2000"), 1000).is_err());
    }
}
