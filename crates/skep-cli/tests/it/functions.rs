//! Kernel functions in user space: those that are system calls, and those that test runs call.

use std::path::{Path, PathBuf};

use skep::runtime::SharedRuntime;
use skep::runtime::command::TestRun;
use skep::{Loaded, host, variables};

use crate::harness::{has_clang, run, skip};

fn source(name: &str) -> Option<PathBuf> {
    if !has_clang() {
        skip("clang is not installed");
        return None;
    }
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/functions").join(name))
}

#[test]
fn system_calls_are_functions() {
    let Some(source) = source("calls.bpf.c") else { return };
    let argv = ["run", source.to_str().expect("an ASCII path"), "--", "cat", "/no/such"];
    let said = run(argv);
    assert!(said.stderr.contains("No such file"), "{}", said.stderr);
    let value = |name: &str| {
        let line = said.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.unwrap_or_else(|| panic!("no `{name}` in {}", said.stdout)).to_owned()
    };
    assert!(value("entries").parse::<u64>().expect("a number") >= 3, "{}", said.stdout);
    assert_eq!(value("entries"), value("returns"));
    assert_eq!(value("entries"), value("wrapped"));
    assert!(value("failed").parse::<u64>().expect("a number") >= 1, "{}", said.stdout);
    // Messages of other languages are looked for behind it.
    assert!(value("last").starts_with("\"/"), "{}", said.stdout);
}

#[test]
fn functions_that_are_no_system_call_are_refused() {
    let Some(source) = source("calls.bpf.c") else { return };
    let source = source.to_str().expect("an ASCII path");
    for (attach, why) in [
        ("open_entry=ksyscall:no_such", "no system call function `__x64_sys_no_such`"),
        ("function_entry=kprobe:vfs_open", "no hook for kernel probe `vfs_open`"),
    ] {
        let said = run(["run", source, &format!("--attach={attach}"), "--", "true"]);
        assert!(said.status != 0 && said.stderr.contains(why), "{attach}: {}", said.stderr);
    }
}

/// Runs a program of `traced.bpf.c` with all of them attached.
fn trace(runtime: &SharedRuntime, loaded: &Loaded, program: &str) -> u32 {
    let _links = loaded.attach().unwrap_or_else(|e| panic!("{} runtime: {e}", runtime.kind()));
    let program = &loaded.program(program).expect("it was loaded").program;
    program.test_run(TestRun::default()).expect("it runs").retval
}

#[test]
fn test_runs_call_functions() {
    let Some(source) = source("traced.bpf.c") else { return };
    let Some(btf) = host::kernel_btf() else { return skip("the kernel shows no types") };
    let config = skep_user::Config { btf: Some(btf), ..skep_user::Config::default() };
    let runtime = skep_user::UserRuntime::new(config).expect("a runtime");
    let object = skep::open(&source).expect("it compiles").object;
    let loaded = skep::load(&runtime, &object, host::link(&object).expect("it links")).expect("it loads");
    let value = |name: &str| variables::read(&loaded, name).expect("a variable")[0];
    assert_eq!(trace(&runtime, &loaded, "entry"), 0);
    let seen = ["entered", "left", "count", "task"].map(value);
    assert_eq!(seen, [1, 1, 3, 1], "`entered`, `left`, `count`, `task`");
    assert_eq!(variables::read(&loaded, "sum").expect("a variable"), 456_u64.to_ne_bytes());
    // Two functions run, and what they return together.
    assert_eq!(trace(&runtime, &loaded, "change"), 2 << 16 | (4 + 29));
    assert_eq!(value("answer"), 4);
    variables::write(&loaded, "instead", &7_i32.to_ne_bytes()).expect("a variable");
    assert_eq!(trace(&runtime, &loaded, "change"), 1 << 16 | (7 + 29));
    assert_eq!(value("answer"), 7);
}
