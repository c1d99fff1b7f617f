//! How observations end: with the command, by a signal, by a reader that goes away. The command is never harmed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Scratch, run, skep, tool};

fn opensnoop(argv: &[&str]) -> i32 {
    let object = tool("opensnoop.bpf.o");
    let mut args = vec!["run", object.to_str().expect("a path"), "--"];
    args.extend(argv);
    run(args).status
}

#[test]
fn the_status_is_the_commands_own() {
    assert_eq!(opensnoop(&["true"]), 0);
    assert_eq!(opensnoop(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(opensnoop(&["sh", "-c", "kill -KILL $$"]), 128 + 9);
    assert_eq!(opensnoop(&["sh", "-c", "kill -SEGV $$"]), 128 + 11);
}

/// Starts a command that opens a file after a while and then writes another one.
fn start_slow_command(scratch: &Scratch) -> Child {
    let done = scratch.path("done");
    let script =
        format!("cat /dev/null; sleep 1; cat /etc/passwd > /dev/null && echo fine > {}", done.display());
    skep()
        .arg("run")
        .arg(tool("opensnoop.bpf.o"))
        .args(["--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("skep starts")
}

/// Waits until the file holds the command's last word.
fn finishes(path: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if std::fs::read_to_string(path).is_ok_and(|text| text == "fine\n") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill starts");
    assert!(sent.success());
}

/// Does this process, and so what it starts, ignore a signal?
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask of signals");
    u64::from_str_radix(mask.trim(), 16).expect("a mask in hex") >> (signal - 1) & 1 != 0
}

#[test]
fn signals_end_the_output_and_not_the_command() {
    for (signal, number) in [("-TERM", 15), ("-INT", 2)] {
        let status = 128 + number;
        if is_ignored(number) {
            println!(
                "skipped: signal {number} is ignored here, as in a shell's background jobs, and so by what is started"
            );
            continue;
        }
        let scratch = Scratch::new(&format!("signal{signal}"));
        let mut child = start_slow_command(&scratch);
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let recorded = lines.by_ref().map_while(Result::ok).any(|line| line.contains("/dev/null"));
        assert!(recorded, "what was opened before the signal is printed");
        send(signal, child.id());
        assert_eq!(child.wait().expect("skep ends").code(), Some(status));
        assert!(finishes(&scratch.path("done")), "the command goes on after {signal}");
    }
}

#[test]
fn a_killed_skep_does_not_harm_the_command() {
    let scratch = Scratch::new("killed");
    let mut child = start_slow_command(&scratch);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("/dev/null")));
    send("-KILL", child.id());
    child.wait().expect("skep ends");
    assert!(finishes(&scratch.path("done")));
}

#[test]
fn a_closed_stdout_does_not_harm_the_command() {
    let scratch = Scratch::new("closed");
    let mut child = start_slow_command(&scratch);
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut header = String::new();
    reader.read_line(&mut header).expect("a header");
    drop(reader);
    child.wait().expect("skep ends");
    assert!(finishes(&scratch.path("done")));
}
