//! Verdicts without loading.

use std::path::Path;

use crate::harness::{Scratch, installed, run, said, skep, skip, tool};

#[test]
fn our_tools_are_accepted() {
    let (opensnoop, execsnoop) = (tool("opensnoop.bpf.o"), tool("execsnoop.bpf.o"));
    let said = run(["verify".as_ref(), "-j".as_ref(), opensnoop.as_os_str(), execsnoop.as_os_str()]);
    assert_eq!(said.status, 0, "{}{}", said.stdout, said.stderr);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("a JSON array");
    assert!(rows.len() >= 8);
    assert!(rows.iter().all(|row| row["verdict"] == "accept"), "{}", said.stdout);
}

#[test]
fn bad_use_is_told() {
    let object = tool("opensnoop.bpf.o");
    let said = run(["verify".as_ref(), object.as_os_str(), "--program".as_ref(), "no_such_program".as_ref()]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.contains("no_such_program"), "{}", said.stderr);
    let scratch = Scratch::new("verify");
    let text = scratch.write("text.o", "not an object");
    let said = run(["verify".as_ref(), text.as_os_str()]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("not an ELF file"), "{}", said.stderr);
}

#[test]
fn a_type_that_is_not_said_is_asked_for() {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep-obj/tests/data/programs.bpf.o");
    let verify = |more: &[&str]| {
        let args = ["verify", "-j", "--program", "misspelt"].iter().chain(more).map(std::ffi::OsStr::new);
        let said = run(args.chain([object.as_os_str()]));
        let rows: serde_json::Value = serde_json::from_str(&said.stdout).expect("a JSON array");
        rows[0].clone()
    };
    let row = verify(&[]);
    assert_eq!(row["verdict"], "unsupported", "{row}");
    assert!(row["error"]["message"].to_string().contains("verify --type"), "{row}");
    let row = verify(&["--type", "tracepoint"]);
    assert_eq!(
        (row["verdict"].as_str(), row["type"].as_str()),
        (Some("accept"), Some("tracepoint")),
        "{row}"
    );
}

#[test]
fn a_log_is_the_kernels() {
    let object = tool("opensnoop.bpf.o");
    let program = first_program(&object);
    let args = ["verify".as_ref(), object.as_os_str(), "--program".as_ref(), program.as_ref()];
    let said = run(args.into_iter().chain(["--log".as_ref(), "2".as_ref()]));
    assert_eq!(said.status, 0, "{}", said.stderr);
    let mut lines = said.stdout.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("func#0 @0")), "{}", said.stdout);
    assert!(lines.any(|line| line.starts_with("0: (") && line.contains("; R")), "{}", said.stdout);
    assert!(said.stdout.lines().last().is_some_and(|line| line.starts_with("processed ")), "{}", said.stdout);
    let said = run(["verify".as_ref(), object.as_os_str(), "--log".as_ref(), "3".as_ref()]);
    assert_eq!(said.status, 2);
}

#[test]
fn work_is_counted_by_source_line() {
    let object = tool("opensnoop.bpf.o");
    let said = run(["verify".as_ref(), "-j".as_ref(), "--stats".as_ref(), object.as_os_str()]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("a JSON array");
    for row in rows {
        let hottest = row["hottest"].as_array().expect("lines");
        assert!(hottest.iter().all(|line| line["insns_processed"].as_u64() > Some(0)), "{row}");
        assert!(
            hottest.iter().any(|line| line["source"].as_str().is_some_and(|s| s.contains(".c:"))),
            "{row}"
        );
    }
}

fn first_program(object: &Path) -> String {
    let said = run(["verify".as_ref(), "-j".as_ref(), object.as_os_str()]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("a JSON array");
    rows[0]["program"].as_str().expect("a name").to_owned()
}

#[test]
fn the_kernel_agrees_about_our_tools() {
    let object = tool("execsnoop.bpf.o");
    let args =
        ["verify".as_ref(), "-j".as_ref(), "--against".as_ref(), "kernel".as_ref(), object.as_os_str()];
    let said = run(args);
    if said.stdout.is_empty() {
        return skip(&format!("the kernel cannot be asked: {}", said.stderr.trim()));
    }
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("a JSON array");
    for row in rows {
        if row["kernel"]["verdict"] == "unknown" {
            skip(&format!("the kernel does not say: {}", row["kernel"]["message"]));
        } else {
            assert_eq!(row["kernel"]["verdict"], row["verdict"], "{row}");
        }
    }
}

#[test]
fn rare_things_are_judged_as_the_kernel_judges_them() {
    // Older ones tell nothing of tags on pointers to structures.
    if !installed("clang-19") {
        return skip("clang-19 is not installed");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return skip("this kernel has no types");
    }
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/rare.bpf.c");
    let mut command = skep();
    command.args(["verify", "-j"]).arg(&object).env("CLANG", "clang-19");
    let said = said(command.output().expect("skep starts"));
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", said.stdout, said.stderr));
    let row = |name: &str| {
        rows.iter().find(|row| row["program"] == name).unwrap_or_else(|| panic!("{name}: {}", said.stdout))
    };
    let accepted = [
        "takes_from_eleven",
        "counts_on_this_processor",
        "reads_a_result",
        "passes_a_result_on",
        "names_a_file",
        "answers_for_a_group",
        "acknowledges",
        "undo",
        "avoid",
    ];
    for name in accepted {
        assert_eq!(row(name)["verdict"], "accept", "{}", row(name));
    }
    let rejected = [
        ("takes_from_twelve", "has no valid kptr"),
        ("keeps_a_task_that_goes", "R1 must be a rcu pointer"),
        ("sleeps_where_it_may_not", "bpf_lsm_task_free is not sleepable"),
        ("does_more_than_refuse", "points to disabled hook bpf_lsm_getprocattr"),
    ];
    for (name, why) in rejected {
        let row = row(name);
        assert_eq!(row["verdict"], "reject", "{row}");
        assert!(row["error"]["message"].to_string().contains(why), "{row}");
    }
}
