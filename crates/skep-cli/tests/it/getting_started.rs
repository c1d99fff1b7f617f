//! Runs what `docs/getting-started.md` tells a newcomer to type.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Scratch, installed, skip};

const GUIDE: &str = include_str!("../../../../docs/getting-started.md");

/// The commands that the guide shows, in order, and the source it tells to write.
fn commands_and_source() -> (Vec<&'static str>, String) {
    let commands = GUIDE.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let source = GUIDE.split("```c\n").nth(1).and_then(|rest| rest.split("```").next());
    (commands, source.expect("the guide has a program").to_owned())
}

#[test]
fn every_command_of_the_guide_works() {
    if !installed("clang") {
        return skip("clang is not installed");
    }
    let (commands, source) = commands_and_source();
    assert!(commands.len() >= 7, "{commands:?}");
    let scratch = Scratch::new("getting-started");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the source tree");
    fs::write(scratch.path("unlinked.bpf.c"), source).expect("the program");
    std::os::unix::fs::symlink(root.join("tools"), scratch.path("tools")).expect("the tools");

    let binary = Path::new(env!("CARGO_BIN_EXE_skep")).parent().expect("a directory");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    // The project has the versions of this tree, so nothing has to be fetched, and its libraries are built once.
    let lock = root.join("Cargo.lock");
    let script: String = commands
        .iter()
        .map(|command| format!("{command}\n"))
        .map(|line| line.replace("cd execmon\n", &format!("cd execmon; cp {} .\n", lock.display())))
        .collect();
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(scratch.path("."))
        .env("PATH", path)
        .env("SKEP_RUNTIME", "user")
        .env("CARGO_NET_OFFLINE", "true")
        // As tests are built, so that what they share is there already.
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_TARGET_DIR", root.join("target"))
        .output()
        .expect("sh starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for wanted in ["/etc/os-release", "unlink some-file", "accept", "/ls", "/wc", "3 programs executed"] {
        assert!(
            stdout.contains(wanted) || stderr.contains(wanted),
            "`{wanted}` is missing:\n{stdout}\n{stderr}"
        );
    }
}
