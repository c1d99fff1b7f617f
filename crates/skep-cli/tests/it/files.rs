//! Commands on object files, and on what the machine supports: they need no privileges.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Said, Scratch, installed, run, said, skep, skip, tool};

/// An object of the linker's tests.
fn half(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep-obj/tests/data/linked").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn json(line: &[&str]) -> Value {
    let said = run(line);
    serde_json::from_str(&said.stdout)
        .unwrap_or_else(|e| panic!("{line:?}: {e}: {}{}", said.stdout, said.stderr))
}

/// Links the two halves into `linked.o` of a directory of the test's own.
fn linked(scratch: &Scratch) -> PathBuf {
    let output = scratch.path("linked.o");
    let said = run(["gen", "object", text(&output), text(&half("first.bpf.o")), text(&half("second.bpf.o"))]);
    assert_eq!((said.status, said.stdout.as_str()), (0, ""), "{}", said.stderr);
    output
}

#[test]
fn linked_objects_are_verified_and_run() {
    let scratch = Scratch::new("linked");
    let output = linked(&scratch);
    let said = run(["verify", "--json", text(&output)]);
    let verdicts: Value = serde_json::from_str(&said.stdout).expect("verdicts");
    let words: Vec<_> =
        verdicts.as_array().expect("a list").iter().map(|row| row["verdict"].clone()).collect();
    assert_eq!(words, ["accept", "accept"], "{}", said.stdout);
}

#[test]
fn objects_that_do_not_go_together_are_refused() {
    let scratch = Scratch::new("conflict");
    let output = scratch.path("never.o");
    let first = half("first.bpf.o");
    let said = run(["gen", "object", text(&output), text(&first), text(&first)]);
    assert_eq!(said.status, 234, "{}", said.stderr);
    assert!(said.stderr.contains("defined here and in"), "{}", said.stderr);
    assert!(!output.exists(), "nothing is written");
    for (line, status) in [("gen object", 255), ("gen object x.o", 255), ("gen object x.o /nope", 254)] {
        let said = run(line.split(' '));
        assert_eq!(said.status, status, "{line}: {}", said.stderr);
    }
}

#[test]
fn an_object_is_shown() {
    let shown = json(&["-j", "obj", text(&tool("execsnoop.bpf.o"))]);
    assert_eq!(shown["license"].as_str().map(|licence| licence.contains("GPL")), Some(true), "{shown}");
    let programs = shown["programs"].as_array().expect("programs");
    assert_eq!(programs[0]["type"], "tracepoint");
    let relocations =
        programs.iter().flat_map(|program| program["relocations"].as_array().into_iter().flatten());
    let kinds: Vec<&str> = relocations.filter_map(|to| to["kind"].as_str()).collect();
    assert!(kinds.contains(&"map"), "{kinds:?}");
    let said = run(["obj", text(&tool("execsnoop.bpf.o"))]);
    for title in ["SECTION", "PROGRAM", "MAP", "RELOCATION IN", " types: "] {
        assert!(said.stdout.contains(title), "{title}: {}", said.stdout);
    }
    let graph = run(["obj", "code", text(&half("first.bpf.o")), "first", "visual"]);
    assert!(
        graph.stdout.starts_with("digraph") && graph.stdout.contains("variable step"),
        "{}",
        graph.stdout
    );
    let missing = run(["obj", "code", text(&half("first.bpf.o")), "nobody"]);
    assert!(missing.status == 255 && missing.stderr.contains("it has"), "{}", missing.stderr);
}

#[test]
fn differences_are_told() {
    let scratch = Scratch::new("diff");
    let (first, both) = (half("first.bpf.o"), linked(&scratch));
    let same = run(["obj", "diff", text(&first), text(&first)]);
    assert_eq!((same.status, same.stdout.as_str(), same.stderr.as_str()), (0, "", ""));
    let differ = run(["obj", "diff", text(&first), text(&both)]);
    assert_eq!((differ.status, differ.stderr.as_str()), (1, ""));
    for line in [
        "+ program second",
        "function scale:",
        "linkage: global → hidden",
        "- extern weight",
        "+ variable state#2",
    ] {
        assert!(differ.stdout.contains(line), "{line}: {}", differ.stdout);
    }
    let list = json(&["-j", "obj", "diff", text(&first), text(&both)]);
    let kinds: Vec<&str> =
        list.as_array().expect("a list").iter().filter_map(|d| d["kind"].as_str()).collect();
    assert!(kinds.contains(&"program") && kinds.contains(&"map"), "{kinds:?}");
}

#[test]
fn features_have_three_forms() {
    let probed = json(&["-j", "feature", "probe"]);
    assert_eq!(probed["program_types"]["have_xdp_prog_type"], true);
    assert_eq!(probed["map_types"]["have_hash_map_type"], true);
    let helpers = &probed["helpers"]["xdp_available_helpers"];
    let has = |name: &str| helpers.as_array().is_some_and(|all| all.iter().any(|helper| helper == name));
    assert!(has("bpf_xdp_adjust_head") && !has("bpf_skb_load_bytes"), "{helpers}");
    let macros = run(["feature", "probe", "macros", "prefix", "X_"]).stdout;
    assert!(macros.contains("#define X_HAVE_XDP_PROG_TYPE\n"), "{macros}");
    assert!(macros.contains("#define X_BPF__PROG_TYPE_xdp__HELPER_bpf_xdp_adjust_head 1\n"));
    for line in [
        "feature probe prefix X",
        "feature probe dev nowhere",
        "feature probe kernel kernel",
        "feature list_builtins x",
    ] {
        assert_eq!(run(line.split(' ')).status, 255, "{line}");
    }
    let builtins = run(["feature", "list_builtins", "helpers"]).stdout;
    assert!(builtins.starts_with("bpf_unspec\nbpf_map_lookup_elem\n"));
}

#[test]
fn the_doctor_reports() {
    let report = json(&["-j", "doctor"]);
    assert_eq!(report["user"], true, "{report}");
    assert!(report["findings"].as_array().is_some_and(|all| all.len() > 40));
    let said = run(["doctor"]);
    assert!(said.status == 0 && said.stdout.contains("user runtime:   can run programs"), "{}", said.stdout);
}

#[test]
fn completion_scripts_are_read_by_their_shells() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = run(["completion", shell]).stdout;
        assert!(script.contains("list_builtins") && script.contains("min_core_btf"), "{shell}");
        if !installed(shell) {
            skip(&format!("`{shell}` is not installed"));
            continue;
        }
        let scratch = Scratch::new(shell);
        let file = scratch.path("skep");
        fs::write(&file, script).expect("a file");
        let status = std::process::Command::new(shell).arg(check).arg(&file).status();
        assert!(status.is_ok_and(|status| status.success()), "{shell}");
    }
}

#[test]
fn there_are_manual_pages_and_help() {
    let scratch = Scratch::new("man");
    assert_eq!(run(["man", text(&scratch.path(""))]).status, 0);
    for page in ["skep.1", "skep-run.1", "skep-map.1", "skep-map-update.1", "skep-feature-probe.1"] {
        let text = fs::read_to_string(scratch.path(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(".SH NAME"), "{page}");
    }
    let help = |line: &[&str]| -> Said { said(skep().args(line).output().expect("skep starts")) };
    for line in [&["help"][..], &["run", "help"], &["help", "map"], &["map", "help"], &["obj", "help"]] {
        let said = help(line);
        assert_eq!(said.status, 0, "{line:?}: {}", said.stderr);
    }
    let all = help(&["help"]).stdout;
    for name in ["run", "verify", "prog", "map", "btf", "feature", "obj", "doctor", "batch"] {
        assert!(all.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {all}");
    }
}
