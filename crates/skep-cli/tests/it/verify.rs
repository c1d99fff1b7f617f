//! Verdicts without loading.

use crate::harness::{Scratch, run, tool};

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
