//! Runs the clang of this machine, where there is one.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs clang with a text on its standard input: its standard output, or what it complains about. `None` without a
/// clang that knows BPF.
pub(crate) fn run(arguments: &[&str], text: &str) -> Option<Result<Vec<u8>, String>> {
    let targets = Command::new("clang").arg("-print-targets").output().ok()?;
    String::from_utf8_lossy(&targets.stdout).contains("bpf").then_some(())?;
    let mut child = Command::new("clang")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().ok()?;
    writer.join().ok()?.ok()?;
    Some(match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}
