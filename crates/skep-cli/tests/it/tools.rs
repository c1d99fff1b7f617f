//! Programs of libbpf-tools, as Debian ships them, say in user space what strace says of the same command, or what the
//! command itself says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Scratch, installed, run, skip};

mod calls;
mod memory;
mod probes;

/// Where objects of tools are that Debian does not ship.
const DIRECTORY: &str = "SKEP_LIBBPF_TOOLS";

/// The object that an installed tool carries, or `TOOL.bpf.o` of the directory that a variable names.
pub(crate) fn object(tool: &str, scratch: &Scratch) -> Option<PathBuf> {
    installed_object(tool, scratch).or_else(|| {
        let path = Path::new(&std::env::var_os(DIRECTORY)?).join(format!("{tool}.bpf.o"));
        path.is_file().then_some(path)
    })
}

/// The ELF file for BPF within a tool's own.
fn installed_object(tool: &str, scratch: &Scratch) -> Option<PathBuf> {
    const MACHINE_BPF: u16 = 247;
    let bytes = fs::read(format!("/usr/sbin/{tool}")).ok()?;
    let half = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"\x7fELF"));
    let start = starts.into_iter().find(|at| half(at + 18) == Some(MACHINE_BPF))?;
    let table = u64::from_le_bytes(*bytes.get(start + 40..)?.first_chunk()?) as usize;
    let end = start + table + usize::from(half(start + 58)?) * usize::from(half(start + 60)?);
    Some(scratch.write(&format!("{tool}.bpf.o"), bytes.get(start..end)?))
}

/// What is compared: the object, and a directory for strace's log.
fn ground(tool: &str) -> Option<(Scratch, PathBuf)> {
    if !installed("strace") {
        skip("strace is not installed");
        return None;
    }
    ground_without_strace(tool)
}

/// The object alone.
fn ground_without_strace(tool: &str) -> Option<(Scratch, PathBuf)> {
    let scratch = Scratch::new(tool);
    let Some(object) = object(tool, &scratch) else {
        skip(&format!(
            "`/usr/sbin/{tool}` is not installed, or carries no object (package libbpf-tools); `{DIRECTORY}` names no \
             directory that has `{tool}.bpf.o` either"
        ));
        return None;
    };
    Some((scratch, object))
}

/// Runs a tool's object without privileges, and reads the JSON that it prints.
fn observe(object: &Path, argv: &[&str]) -> Vec<Value> {
    observe_with(object, &[], argv)
}

/// The same, with options of `skep run`.
fn observe_with(object: &Path, options: &[&str], argv: &[&str]) -> Vec<Value> {
    let said = run(arguments(object, options, argv));
    assert_eq!(said.status, 0, "{}", said.stderr);
    values(&said.stdout)
}

fn arguments<'a>(object: &'a Path, options: &'a [&'a str], argv: &'a [&'a str]) -> Vec<&'a OsStr> {
    let mut args = vec!["run".as_ref(), object.as_os_str(), "-o".as_ref(), "json".as_ref()];
    args.extend(options.iter().map(OsStr::new));
    args.push("--".as_ref());
    args.extend(argv.iter().map(OsStr::new));
    args
}

/// The lines that are JSON; what the command writes comes between.
fn values(stdout: &str) -> Vec<Value> {
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The data of records.
fn events(values: Vec<Value>) -> impl Iterator<Item = Value> {
    values.into_iter().filter(|line| line["type"] == "event").map(|line| line["data"].clone())
}

/// strace's log of a command.
fn strace(scratch: &Scratch, options: &[&str], argv: &[&str]) -> String {
    let log = scratch.path("log");
    let done = Command::new("strace").args(options).arg("-o").arg(&log).args(argv).output();
    assert!(done.expect("strace starts").status.success());
    whole_calls(&fs::read_to_string(log).expect("a log"))
}

/// A log in which a call that another process interrupts is one line, where it returns: `PID NAME(ARGUMENTS <unfinished ...>`
/// and, later, `PID <... NAME resumed>) = RESULT`.
fn whole_calls(log: &str) -> String {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut whole = String::new();
    for line in log.lines() {
        let pid = line.split(' ').next().unwrap_or_default();
        if let Some(head) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, head);
            continue;
        }
        let resumed = line.split_once("<... ").and_then(|(_, rest)| rest.split_once(" resumed>"));
        let (head, tail) = match resumed {
            Some((_, tail)) => (begun.remove(pid).unwrap_or(pid), tail),
            None => ("", line),
        };
        whole.extend([head, tail, "\n"]);
    }
    whole
}

#[test]
fn a_call_is_whole_where_it_returns() {
    let log = [
        "7 kill(7, 0) = 0",
        "7 kill(9, SIGTERM <unfinished ...>",
        "9 +++ killed by SIGTERM +++",
        "7 <... kill resumed>) = 0",
    ];
    let whole = ["7 kill(7, 0) = 0", "9 +++ killed by SIGTERM +++", "7 kill(9, SIGTERM) = 0"];
    assert!(whole_calls(&log.join("\n")).lines().eq(whole));
}

#[test]
fn syscount_counts_what_strace_counts() {
    let Some((scratch, object)) = ground("syscount") else { return };
    let argv = ["cat", "/etc/hostname", "/etc/passwd"];
    let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
    for line in strace(&scratch, &["-f", "-q", "-n"], &argv).lines() {
        // `PID [ NR] name(…) = RESULT`; what does not return is counted by nobody.
        let number = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let returned = |(_, call): &(&str, &str)| call.contains('=') && !call.ends_with('?');
        let Some((number, _)) = number.filter(returned) else { continue };
        *expected.entry(number.trim().parse().expect("a number")).or_default() += 1;
    }
    let mut counted: BTreeMap<u64, u64> = BTreeMap::new();
    for line in observe(&object, &argv).iter().filter(|line| line["map"] == "data") {
        for element in line["data"].as_array().expect("elements") {
            let number = element["key"].as_u64().expect("a number");
            counted.insert(number, element["value"]["count"].as_u64().expect("a count"));
        }
    }
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(counted, expected, "ours is left, strace's right");
}

#[test]
fn execsnoop_shows_what_strace_shows() {
    let Some((scratch, object)) = ground("execsnoop") else { return };
    let argv = ["sh", "-c", "/bin/true; env A=1 /bin/echo a b > /dev/null; /bin/cat /dev/null /dev/null"];
    let mut expected = Vec::new();
    for line in strace(&scratch, &["-f", "-q", "-s", "4096", "-e", "trace=execve"], &argv).lines() {
        // `PID execve("PATH", ["ARG0", "ARG1"], …) = 0`
        let Some((_, call)) = line.split_once("execve(").filter(|_| line.ends_with("= 0")) else { continue };
        let (path, rest) = call.split_once(", [").expect("arguments");
        let (arguments, _) = rest.split_once("], ").expect("their end");
        let arguments = arguments.split(", ").skip(1).map(|argument| argument.trim_matches('"'));
        let words: Vec<&str> = [path.trim_matches('"')].into_iter().chain(arguments).collect();
        expected.push(words.join(" "));
    }
    let shown: Vec<String> = observe(&object, &argv)
        .iter()
        .filter(|line| line["type"] == "event")
        .map(|line| line["data"]["args"].as_str().expect("text").trim_end().to_owned())
        .collect();
    assert!(expected.len() >= 4, "{expected:?}");
    assert_eq!(shown, expected, "ours is left, strace's right");
}
