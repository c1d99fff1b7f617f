//! What is printed of a command that is observed.

use std::process::Command;

use crate::harness::{Scratch, has_clang, installed, is_root, run, said, skep, skip, tool};

fn observe(tool_name: &str, options: &[&str], argv: &[&str]) -> String {
    let object = tool(tool_name);
    let mut args = vec!["run", object.to_str().expect("a path")];
    args.extend(options);
    args.push("--");
    args.extend(argv);
    let said = run(args);
    assert_eq!(said.status, 0, "{}", said.stderr);
    said.stdout
}

#[test]
fn opensnoop_shows_what_a_command_opens() {
    let stdout = observe("opensnoop.bpf.o", &[], &["cat", "/etc/passwd"]);
    let header = stdout.lines().find(|line| line.contains("COMM")).expect("a header");
    assert!(header.contains("PID") && header.contains("PATH"), "{header}");
    let row = stdout.lines().find(|line| line.contains("/etc/passwd")).expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert!(words.contains(&"cat") && words.contains(&"3") && words.contains(&"0"), "{row}");
}

/// A file that was opened, or not: its path, the descriptor or -1, the errno or 0.
type Opened = (String, i64, i64);

/// What a command opens, in order, as strace says.
fn strace_opens(argv: &[&str]) -> Vec<Opened> {
    let scratch = Scratch::new("strace");
    let log = scratch.path("log");
    let status = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=open,openat,openat2,creat", "-o"])
        .arg(&log)
        .args(argv)
        .output()
        .expect("strace starts");
    assert!(status.status.success());
    let text = std::fs::read_to_string(&log).expect("a log");
    text.lines().filter(|line| line.contains("open")).map(strace_open).collect()
}

/// `PID openat(AT_FDCWD, "PATH", FLAGS) = 3`, or `= -1 ENOENT (No such file or directory)`.
fn strace_open(line: &str) -> Opened {
    let path = line.split('"').nth(1).expect("a path").to_owned();
    let (_, result) = line.rsplit_once(") = ").or_else(|| line.split_once(") = ")).expect("a result");
    let result = line.rsplit_once("= -1 ").map_or(result, |(_, error)| error);
    match result.split_whitespace().next() {
        Some("ENOENT") => (path, -1, 2),
        Some("EACCES") => (path, -1, 13),
        fd => (path, fd.and_then(|fd| fd.parse().ok()).expect("a descriptor or a known error"), 0),
    }
}

#[test]
fn opensnoop_agrees_with_strace() {
    if !installed("strace") {
        return skip("strace is not installed");
    }
    let argv = ["sh", "-c", "{ cat /etc/passwd /no/such/file /etc/hostname; ls /; } > /dev/null 2>&1; true"];
    let stdout = observe("opensnoop.bpf.o", &["-o", "json"], &argv);
    let ours: Vec<Opened> = stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["type"] == "event")
        .map(|line| {
            let data = &line["data"];
            let number = |name: &str| data[name].as_i64().expect("a number");
            (data["path"].as_str().expect("a path").to_owned(), number("fd"), number("errno"))
        })
        .collect();
    assert_eq!(ours, strace_opens(&argv));
}

#[test]
fn settings_are_told_when_nothing_comes() {
    let said = run([
        "run".as_ref(),
        tool("opensnoop.bpf.o").as_os_str(),
        "--set=targ_pid=1".as_ref(),
        "--".as_ref(),
        "cat".as_ref(),
        "/etc/passwd".as_ref(),
    ]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.contains("no records") && said.stderr.contains("targ_pid = 1"), "{}", said.stderr);
}

#[test]
fn execsnoop_shows_programs_and_their_arguments() {
    let stdout = observe("execsnoop.bpf.o", &[], &["sh", "-c", "env true one two; true"]);
    let row = stdout.lines().find(|line| line.contains("true one two")).expect("a row");
    assert!(row.split_whitespace().any(|word| word == "true"), "{row}");
}

#[test]
fn nobody_may_run_it() {
    if !is_root() || !installed("setpriv") {
        return skip("becoming `nobody` needs root and setpriv");
    }
    let scratch = Scratch::new("nobody");
    let binary = scratch.copy(env!("CARGO_BIN_EXE_skep").as_ref());
    let object = scratch.copy(&tool("opensnoop.bpf.o"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).arg("run").arg(&object);
    command
        .args(["--", "cat", "/etc/passwd"])
        .current_dir("/")
        .env("NO_COLOR", "1")
        .env_remove("SKEP_RUNTIME");
    let said = said(command.output().expect("setpriv starts"));
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.contains("user runtime") && said.stderr.contains("BPF_PROG_LOAD"), "{}", said.stderr);
    assert!(
        said.stdout.lines().any(|line| line.contains("cat") && line.contains("/etc/passwd")),
        "{}",
        said.stdout
    );
}

#[test]
fn a_running_process_can_be_observed() {
    let mut child = Command::new("sh")
        .args(["-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; : < /etc/passwd; done"])
        .spawn()
        .expect("sh starts");
    let pid = child.id().to_string();
    let output =
        skep().arg("run").arg(tool("opensnoop.bpf.o")).args(["-p", &pid]).output().expect("skep starts");
    child.wait().expect("sh ends");
    let said = said(output);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stdout.contains("/etc/passwd"), "{}", said.stdout);
}

#[test]
fn sources_are_compiled() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let scratch = Scratch::new("sources");
    let source = scratch.write(
        "count.bpf.c",
        r#"
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, char[16]); __type(value, u64); } counts SEC(".maps");
const volatile u64 step = 1;
int total;

SEC("tracepoint/syscalls/sys_enter_openat")
int count(struct trace_event_raw_sys_enter *ctx)
{
	char comm[16] = {};
	u64 zero = 0, *count;
	bpf_get_current_comm(comm, sizeof(comm));
	bpf_map_update_elem(&counts, comm, &zero, BPF_NOEXIST);
	count = bpf_map_lookup_elem(&counts, comm);
	if (count)
		__sync_fetch_and_add(count, step);
	total++;
	bpf_printk("openat by %s", comm);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
"#,
    );
    let said =
        run(["run", source.to_str().expect("a path"), "--set", "step=100", "--", "cat", "/etc/passwd"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.contains("openat by cat"), "{}", said.stderr);
    let row = said.stdout.lines().find(|line| line.starts_with("cat")).expect("a row of the map");
    let count: u64 = row.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    assert!(count >= 200 && count.is_multiple_of(100), "{row}");
    assert!(said.stdout.contains(&format!("total = {}", count / 100)), "{}", said.stdout);
}

#[test]
fn the_kernel_serves_those_who_may_use_it() {
    let object = tool("opensnoop.bpf.o");
    let mut command = skep();
    command.arg("run").arg(&object).args(["--", "cat", "/etc/passwd"]).env_remove("SKEP_RUNTIME");
    let said = said(command.output().expect("skep starts"));
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stdout.contains("/etc/passwd"), "{}", said.stdout);
    let choice = said.stderr.lines().find(|line| line.starts_with("skep: ")).expect("the choice is said");
    match choice {
        "skep: kernel runtime" => {}
        _ => {
            assert!(choice.starts_with("skep: user runtime (") && choice.ends_with(')'), "{choice}");
            skip(choice);
        }
    }
}

#[test]
fn the_whole_machine_is_the_kernels_to_show() {
    let object = tool("opensnoop.bpf.o");
    let object = object.to_str().expect("a path");
    let refused = run(["run", object, "-a", "--", "true"]);
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("--runtime kernel"), "{}", refused.stderr);

    let scratch = Scratch::new("machine");
    let other = scratch.write("opened-by-another-process", "");
    let mut child = Command::new("sh")
        .args(["-c", "while sleep 0.05; do cat \"$0\"; done"])
        .arg(&other)
        .spawn()
        .expect("sh starts");
    let mut command = skep();
    command.args(["--runtime", "kernel", "run", "-a", object, "--", "sleep", "1"]);
    let said = said(command.output().expect("skep starts"));
    child.kill().and_then(|()| child.wait()).expect("it was running");
    if said.stderr.contains("CAP_") || said.stderr.contains("tracefs") {
        return skip(said.stderr.trim());
    }
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stdout.contains("opened-by-another-process"), "{}", said.stdout);
}

#[test]
fn what_a_full_ring_buffer_lost_is_told() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let scratch = Scratch::new("lost");
    let source = scratch.write(
        "lost.bpf.c",
        r#"
        #include "vmlinux.h"
        #include <bpf/bpf_helpers.h>
        struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } narrow SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } roomy SEC(".maps");
        SEC("tp/sched/sched_process_exec") int executed(void *ctx) {
            for (__u64 i = 0; i < 1000; i++) {
                __u64 *record = bpf_ringbuf_reserve(&narrow, sizeof(i), 0);
                if (record) {
                    *record = i;
                    bpf_ringbuf_submit(record, 0);
                }
                bpf_ringbuf_output(&roomy, &i, sizeof(i), 0);
            }
            return 0;
        }
        char LICENSE[] SEC("license") = "GPL";
        "#,
    );
    for runtime in ["user", "kernel"] {
        let mut command = skep();
        command.args(["--runtime", runtime, "run", "-o", "raw"]).arg(&source).args(["--", "true"]);
        let run = said(command.output().expect("skep starts"));
        if run.status != 0 && runtime == "kernel" {
            skip(&run.stderr);
            continue;
        }
        assert_eq!(run.status, 0, "{}", run.stderr);
        // How much is read while the program still writes is a matter of time; that nothing is missing is not.
        let told = run
            .stderr
            .lines()
            .find(|line| line.contains("of `narrow` were lost because the buffer was full"));
        let lost: usize = told
            .and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok()))
            .unwrap_or_else(|| panic!("{runtime}: {}", run.stderr));
        let read = |map: &str| run.stdout.lines().filter(|line| line.starts_with(map)).count();
        assert_eq!((lost + read("narrow "), read("roomy ")), (1000, 1000), "{runtime}: {}", run.stderr);
        assert!(!run.stderr.contains("`roomy`"), "{runtime}: {}", run.stderr);
    }
}
