//! `gen skeleton -L`: C programs that load objects by light skeletons, on the kernel.

use std::path::Path;
use std::process::Command;

use skep::btf::Kind;
use skep::host;

use crate::harness::{Scratch, has_clang, installed, skip};
use crate::objects::{BpfFs, fails, ok};
use crate::tools;

/// What the kernel has to have for what is compiled here.
const NEEDED: &[(&str, Kind)] = &[
    ("bpf_rcu_read_lock", Kind::Func),
    // Of Linux 6.4, which takes addresses of such functions, too.
    ("bpf_iter_num_new", Kind::Func),
    ("bpf_iter_bpf_map", Kind::Func),
    ("btf_trace_sys_enter", Kind::Typedef),
];

/// Can programs with skeletons be made and run here? If not, why is printed.
fn is_possible() -> bool {
    let Some(_fs) = BpfFs::new("light") else { return false };
    let reason = if !Path::new("/usr/include/bpf/skel_internal.h").exists() || !installed("cc") {
        "a light skeleton needs libbpf-dev and cc".to_owned()
    } else if !has_clang() {
        "clang is not installed".to_owned()
    } else {
        let Some(btf) = host::kernel_btf() else {
            skip("the kernel does not show its types");
            return false;
        };
        match NEEDED.iter().find(|(name, kind)| btf.find(name, *kind).is_none()) {
            Some((name, _)) => format!("the kernel has no `{name}`"),
            None => return true,
        }
    };
    skip(&reason);
    false
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}: {stdout}{stderr}", output.status);
    stdout.into_owned()
}

fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/light").join(name)
}

/// Compiles an object.
fn compiled(name: &str, scratch: &Scratch) -> std::path::PathBuf {
    let object = scratch.path(&format!("{name}.bpf.o"));
    scratch.write("vmlinux.h", ok("btf dump file /sys/kernel/btf/vmlinux format c"));
    let clang = ["clang", "clang-19", "clang-14"].into_iter().find(|clang| installed(clang));
    run(Command::new(clang.expect("looked for before"))
        .args(["-target", "bpf", "-g", "-O2", "-c", "-o"])
        .args([&object, &source(&format!("{name}.bpf.c"))])
        .arg("-I")
        .arg(scratch.path("")));
    object
}

/// Compiles a program with the skeleton of an object; gives what the program says.
fn said(name: &str) -> String {
    let scratch = Scratch::new(&format!("light-{name}"));
    let (object, program) = (compiled(name, &scratch), scratch.path("program"));
    scratch.write(&format!("{name}.h"), ok(&format!("gen skeleton -L {} name {name}", object.display())));
    run(Command::new("cc")
        .args(["-Wall", "-Werror", "-include", "fcntl.h", "-o"])
        .args([&program, &source(&format!("{name}.c"))])
        .arg("-I")
        .arg(scratch.path("")));
    run(&mut Command::new(&program))
}

/// Does the object load by this header?
fn loads(header: &str, scratch: &Scratch) -> bool {
    scratch.write("any.h", header);
    let program = scratch.path("program");
    run(Command::new("cc")
        .args(["-w", "-o"])
        .args([&program, &source("any.c")])
        .arg("-I")
        .arg(scratch.path("")));
    Command::new(&program).status().expect("it starts").success()
}

/// The address of `schedule`, or 0 where the kernel does not tell.
fn schedule() -> u64 {
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let line = text.lines().find(|line| line.ends_with(" schedule"));
    line.and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok()).unwrap_or(0)
}

/// The first namespace of process numbers, which are those that programs see (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

#[test]
fn everything_is_loaded_and_attached() {
    if !is_possible() {
        return;
    }
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    if namespace.is_ok_and(|namespace| namespace != Path::new(FIRST_NAMESPACE)) {
        return skip("programs see other process numbers than this namespace has");
    }
    let symbol = schedule();
    let expected = format!(
        "seen 1 tailed 1 outer 1\n\
         parent 1 version 1 symbol {symbol:x}\n\
         entries 16 frozen 1 0 optional 0\n\
         iterated\nfunction 1\n\
         left 0\n"
    );
    assert_eq!(said("all"), expected);
}

#[test]
fn a_refusal_leaves_nothing() {
    if !is_possible() {
        return;
    }
    let expected = "error -13, left 0\nerror -13, left 0, said 1\ngiven 0 0\nagain 1\n";
    assert_eq!(said("refused"), expected);
}

/// Tools whose objects are loaded by our header wherever they are by bpftool's.
const TOOLS: &[&str] = &[
    "biolatency",
    "biosnoop",
    "drsnoop",
    "execsnoop",
    "exitsnoop",
    "filelife",
    "filetop",
    "funclatency",
    "hardirqs",
    "ksnoop",
    "mountsnoop",
    "opensnoop",
    "runqlat",
    "runqslower",
    "statsnoop",
    "syscount",
    "tcpconnect",
    "tcplife",
    "tcpstates",
    "vfsstat",
];

#[test]
fn tools_load_wherever_they_do_by_bpftools_skeletons() {
    if !is_possible() {
        return;
    }
    let mut compared = 0;
    for tool in TOOLS {
        let scratch = Scratch::new(&format!("light-{tool}"));
        let Some(object) = tools::object(tool, &scratch) else { continue };
        let theirs = Command::new("bpftool")
            .args(["gen", "skeleton", "-L"])
            .arg(&object)
            .args(["name", "any"])
            .output();
        let Ok(theirs) = theirs.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else {
            return skip("bpftool is not installed");
        };
        if theirs.contains("any__open") && loads(&theirs, &scratch) {
            compared += 1;
            let ours = ok(&format!("gen skeleton -L {} name any", object.display()));
            assert!(loads(&ours, &scratch), "{tool}");
        }
    }
    match compared {
        0 => skip(
            "no object of libbpf-tools loads by bpftool's skeleton, or there is none (package libbpf-tools)",
        ),
        _ => println!("{compared} objects of {}", TOOLS.len()),
    }
}

#[test]
fn a_loader_is_tried_without_a_program() {
    if !is_possible() {
        return;
    }
    let scratch = Scratch::new("light-tried");
    ok(&format!("prog load -L {}", compiled("all", &scratch).display()));
    let refused = compiled("refused", &scratch);
    let said = fails(&format!("prog load -L {}", refused.display()), 256 - 13);
    assert!(said["error"].as_str().is_some_and(|error| error.contains("loader")), "{said}");
    fails(&format!("prog loadall -L {} /nowhere", refused.display()), 255);
}

#[test]
fn what_cannot_be_in_one_is_named() {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../skep-obj/tests/data/ops.bpf.o");
    let said = fails(&format!("gen skeleton -L {}", object.display()), 255);
    let error = said["error"].as_str().expect("a message");
    assert!(error.contains("struct_ops") && error.contains("light skeleton"), "{error}");
}
