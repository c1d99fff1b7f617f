//! Tools that show system calls and ends of processes: record for record what strace's log has.

use serde_json::Value;

use super::{events, ground, observe_with, strace};
use crate::harness::skip;

/// A tool, a command, and what is the same in a record and in a line of strace's log.
struct Tool {
    name: &'static str,
    /// The record's type, where the object's types do not say it.
    event: &'static str,
    /// Other options of `skep run`.
    options: &'static [&'static str],
    /// Which system calls strace is to show.
    trace: &'static str,
    argv: &'static [&'static str],
    shown: fn(&Value) -> String,
    expected: fn(&str) -> Option<String>,
    /// Fewer records than this would show nothing.
    at_least: usize,
}

fn check(tool: &Tool) {
    let Some((scratch, object)) = ground(tool.name) else { return };
    let mut options = tool.options.to_vec();
    if !tool.event.is_empty() {
        options.extend(["--event", tool.event]);
    }
    let log = strace(&scratch, &["-f", "-q", "-s", "4096", "-e", tool.trace], tool.argv);
    let expected: Vec<String> = log.lines().filter_map(tool.expected).collect();
    let shown: Vec<String> =
        events(observe_with(&object, &options, tool.argv)).map(|data| (tool.shown)(&data)).collect();
    assert!(expected.len() >= tool.at_least, "{expected:?}");
    assert_eq!(shown, expected, "{}: ours is left, strace's right", tool.name);
}

/// Name, arguments and result of `PID NAME(ARGUMENTS) = RESULT`.
fn call(line: &str) -> Option<(&str, Vec<&str>, i64)> {
    let (head, result) = line.rsplit_once(" = ")?;
    let (name, arguments) = head.trim_end().strip_suffix(')')?.split_once('(')?;
    let name = name.rsplit(' ').next()?;
    Some((name, arguments.split(", ").collect(), number(result)))
}

/// A result as a program sees it.
fn number(result: &str) -> i64 {
    const ERRORS: [(&str, i64); 5] =
        [("EPERM", 1), ("ENOENT", 2), ("ESRCH", 3), ("EACCES", 13), ("EINVAL", 22)];
    let mut words = result.split(' ');
    match (words.next(), words.next()) {
        (Some("-1"), Some(name)) => {
            let known = ERRORS.iter().find(|(known, _)| *known == name);
            -known.unwrap_or_else(|| panic!("an error without a number: {result}")).1
        }
        (Some(number), _) => number.parse().unwrap_or_else(|e| panic!("{result}: {e}")),
        _ => panic!("no result"),
    }
}

/// The path among a call's arguments, and the result.
fn path_and_result(line: &str) -> Option<String> {
    let (_, arguments, result) = call(line)?;
    let path = arguments.iter().find_map(|argument| argument.strip_prefix('"')?.strip_suffix('"'))?;
    Some(format!("{path} {result}"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[test]
fn opensnoop_shows_what_strace_shows() {
    check(&Tool {
        name: "opensnoop",
        event: "struct event { __u64 ts; int pid; __u32 uid; int ret; int flags; __u64 callers[2]; char comm[16]; \
                char fname[255]; };",
        // Its setting says whose calls; this number is everybody.
        options: &["--set", "targ_uid=4294967295"],
        trace: "trace=open,openat",
        argv: &["sh", "-c", "cat /etc/hostname /no/such 2> /dev/null; (cat /etc/passwd) > /dev/null"],
        shown: |data| format!("{} {}", text(&data["fname"]), data["ret"]),
        expected: path_and_result,
        at_least: 8,
    });
}

#[test]
fn statsnoop_shows_what_strace_shows() {
    check(&Tool {
        name: "statsnoop",
        event: "struct event { __u64 ts; int pid; int ret; char comm[16]; char pathname[255]; };",
        options: &[],
        trace: "trace=stat,lstat,statx,statfs,newfstatat",
        argv: &[
            "sh",
            "-c",
            "stat /etc/hostname /no/such > /dev/null 2>&1; test -e /etc; stat -f / > /dev/null",
        ],
        shown: |data| format!("{} {}", text(&data["pathname"]), data["ret"]),
        expected: path_and_result,
        at_least: 4,
    });
}

#[test]
fn sigsnoop_shows_what_strace_shows() {
    check(&Tool {
        name: "sigsnoop",
        event: "",
        options: &["--without", "sig_trace"],
        trace: "trace=kill",
        argv: &[
            "sh",
            "-c",
            "kill -0 $$; sleep 9 & kill -TERM $!; kill -WINCH $$; kill -0 4194305 2> /dev/null; true",
        ],
        shown: |data| format!("{} {}", data["sig"], data["ret"]),
        expected: |line| {
            const SIGNALS: [(&str, u32); 3] = [("0", 0), ("SIGTERM", 15), ("SIGWINCH", 28)];
            let (_, arguments, result) = call(line)?;
            let (_, signal) = SIGNALS.iter().find(|(name, _)| arguments.last() == Some(name))?;
            Some(format!("{signal} {result}"))
        },
        at_least: 4,
    });
}

#[test]
fn mountsnoop_shows_what_strace_shows() {
    let namespaces = std::process::Command::new("unshare").args(["-Urm", "true"]).output();
    if !namespaces.is_ok_and(|done| done.status.success()) {
        return skip("a namespace to mount in cannot be made");
    }
    check(&Tool {
        name: "mountsnoop",
        event: "struct event { __u64 delta, flags; __u32 pid, tid, ns; int ret; char comm[16], fs[8], src[4096], \
                dest[4096], data[512]; int op; };",
        options: &[],
        trace: "trace=mount,umount2",
        argv: &["unshare", "-Urm", "sh", "-c", "mount -t tmpfs here /mnt; umount /mnt"],
        shown: |data| {
            let [src, dest, fs] = ["src", "dest", "fs"].map(|name| text(&data[name]));
            format!("{src}:{dest}:{fs} {}", data["ret"])
        },
        expected: |line| {
            let (name, arguments, result) = call(line)?;
            let word =
                |n: usize| arguments.get(n).map_or("", |word| word.trim_matches('"')).replace("NULL", "");
            Some(match name {
                "umount2" => format!(":{}: {result}", word(0)),
                _ => format!("{}:{}:{} {result}", word(0), word(1), word(2)),
            })
        },
        at_least: 3,
    });
}

#[test]
fn exitsnoop_shows_what_strace_shows() {
    check(&Tool {
        name: "exitsnoop",
        event: "struct event { __u64 start_time, exit_time; __u32 pid, tid, ppid, sig; int exit_code; char comm[16]; };",
        options: &[],
        trace: "trace=none",
        argv: &["sh", "-c", "(exit 3); /bin/false; sh -c 'kill -9 $$' > /dev/null 2>&1; true"],
        shown: |data| format!("{} {}", data["exit_code"], data["sig"]),
        expected: |line| {
            let (_, end) = line.split_once("+++ ")?;
            match end.strip_prefix("exited with ") {
                Some(code) => Some(format!("{} 0", code.trim_end_matches(" +++"))),
                None => end.starts_with("killed by SIGKILL").then(|| "0 9".to_owned()),
            }
        },
        at_least: 4,
    });
}

#[test]
fn syncsnoop_shows_what_strace_shows() {
    const NAMES: [(&str, u32); 4] = [("sync", 1), ("fsync", 2), ("fdatasync", 3), ("syncfs", 8)];
    check(&Tool {
        name: "syncsnoop",
        event: "struct event { char comm[16]; __u64 ts_us; int sys; };",
        // Calls of other processors.
        options: &["--without", "*sync_file_range2", "--without", "*arm_sync_file_range"],
        trace: "trace=sync,fsync,fdatasync,syncfs",
        argv: &[
            "sh",
            "-c",
            "f=$(mktemp); sync $f; sync -d $f; sync -f $f; dd if=/dev/zero of=$f count=1 conv=fsync 2> /dev/null; rm $f",
        ],
        shown: |data| format!("{} {}", data["sys"], text(&data["comm"])),
        expected: |line| {
            let (name, ..) = call(line)?;
            let (_, number) = NAMES.iter().find(|(known, _)| *known == name)?;
            Some(format!("{number} {}", if line.contains("fsync(1") { "dd" } else { "sync" }))
        },
        at_least: 4,
    });
}
