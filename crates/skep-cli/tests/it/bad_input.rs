//! Bad input is refused with a message that says what and where, and nothing runs.

use std::fs;

use crate::harness::{Scratch, run, tool};

/// Runs the object on a command that would leave a trace, and gives what was said.
fn refused(args: &[&str], status: i32) -> String {
    let said = run(["run"].iter().chain(args));
    assert_eq!(said.status, status, "{args:?}: {}", said.stderr);
    assert_eq!(said.stdout, "", "{args:?} prints nothing on stdout");
    said.stderr
}

#[test]
fn files_that_are_no_objects() {
    let scratch = Scratch::new("no-objects");
    let good = fs::read(tool("opensnoop.bpf.o")).expect("the object");
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("empty.o", Vec::new(), "empty"),
        ("text.o", b"int main() {}\n".to_vec(), "not an ELF file"),
        ("short.o", good[..40].to_vec(), "ELF header"),
        ("half.o", good[..good.len() / 2].to_vec(), "half.o"),
        ("big-endian.o", big_endian(&good), "big-endian"),
    ];
    for (name, bytes, expected) in cases {
        let path = scratch.write(name, bytes);
        let stderr = refused(&[path.to_str().expect("a path"), "--", "true"], 1);
        assert!(stderr.contains(expected) && stderr.contains(name), "{name}: {stderr}");
    }
    let stderr = refused(&["/no/such/object.o", "--", "true"], 1);
    assert!(stderr.contains("/no/such/object.o"), "{stderr}");
}

fn big_endian(good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    bytes[5] = 2;
    bytes
}

#[test]
fn settings_that_do_not_fit() {
    let object = tool("opensnoop.bpf.o");
    let object = object.to_str().expect("a path");
    let stderr = refused(&[object, "--set", "no_such_variable=1", "--", "true"], 1);
    assert!(stderr.contains("no_such_variable"), "{stderr}");
    let stderr = refused(&[object, "--set", "targ_pid", "--", "true"], 2);
    assert!(stderr.contains("VAR=VALUE"), "{stderr}");
    let stderr = refused(&[object, "--set", "targ_pid=99999999999", "--", "true"], 2);
    assert!(stderr.contains("99999999999"), "{stderr}");
}

#[test]
fn commands_that_cannot_run() {
    let object = tool("opensnoop.bpf.o");
    let object = object.to_str().expect("a path");
    let stderr = refused(&[object, "--", "no-such-command-anywhere"], 127);
    assert!(stderr.contains("no-such-command-anywhere"), "{stderr}");
    let stderr = refused(&[object, "--", "/etc/passwd"], 126);
    assert!(stderr.contains("/etc/passwd"), "{stderr}");
    let stderr = refused(&[object, "--", "/etc"], 126);
    assert!(stderr.contains("directory"), "{stderr}");
    let stderr = refused(&[object], 2);
    assert!(stderr.contains("nothing to observe"), "{stderr}");
    let stderr = refused(&[object, "-p", "4194999"], 1);
    assert!(stderr.contains("4194999"), "{stderr}");
}
