//! What tracing a system call costs the traced program: an eBPF program that counts under `skep run`, and strace that
//! counts.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::{Options, Report, Shown, build_skep, output};
use crate::root;

/// Builds what is measured, and measures.
pub(super) fn run(options: &Options) -> Result<Box<dyn Shown>, String> {
    let program = build_loop()?;
    let skep = build_skep()?;
    let count = options.iterations.to_string();
    let traced = |tracer: &[&str]| {
        let mut command = match tracer.split_first() {
            Some((tracer, args)) => {
                let mut command = Command::new(tracer);
                command.args(args).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.args(["openat", &count]).current_dir(root());
        output(&mut command)
    };
    let skep = skep.to_string_lossy();
    let report = Report::measure(
        format!("{count} × openat and close"),
        options.rounds,
        &[
            ("native", &|| nanoseconds(&traced(&[])?)),
            ("skep", &|| {
                let output = traced(&[&skep, "run", "bench/openat-count.bpf.o", "--"])?;
                check_count(&output, options.iterations)?;
                nanoseconds(&output)
            }),
            ("strace", &|| {
                let output = traced(&["strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=openat"])?;
                check_count(&output, options.iterations)?;
                nanoseconds(&output)
            }),
        ],
    )?;
    Ok(Box::new(report))
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
