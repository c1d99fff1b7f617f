//! The four ways report the same, on both runtimes.

use std::process::Command;

/// What is executed: a shell and two other programs.
const SCRIPT: &str = "cat /dev/null; uname >/dev/null";

/// Runs one of the ways on the script, and answers what it printed.
fn observed(program: &str, runtime: &str) -> String {
    let output = Command::new(program)
        .args(["sh", "-c", SCRIPT])
        .env("SKEP_RUNTIME", runtime)
        .output()
        .expect("the example starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} on the {runtime} runtime: {stderr}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Each program with its file's name, in order, and the count.
fn assert_reports(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    for (line, (comm, file)) in lines.iter().zip([("sh", "/sh"), ("cat", "/cat"), ("uname", "/uname")]) {
        assert!(line.contains(comm) && line.contains(file), "{text}");
    }
    assert!(lines.last().is_some_and(|line| line.contains('3')), "{text}");
}

fn on_each_runtime(program: &str) {
    assert_reports(&observed(program, "user"));
    if is_root() {
        assert_reports(&observed(program, "kernel"));
    } else {
        println!("skipped: the kernel's runtime needs root");
    }
}

/// May this process load programs?
fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default().contains("Uid:\t0\t0")
}

#[test]
fn skeleton() {
    on_each_runtime(env!("CARGO_BIN_EXE_execmon"));
}

#[test]
fn object() {
    on_each_runtime(env!("CARGO_BIN_EXE_execmon-object"));
}

#[test]
fn raw() {
    on_each_runtime(env!("CARGO_BIN_EXE_execmon-raw"));
}
