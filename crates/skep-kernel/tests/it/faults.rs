//! What goes wrong around programs: full maps, taken paths, missing file systems, confinement. Each has its own error.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use skep_isa::uapi::{MapType, ProgType};
use skep_kernel::KernelRuntime;
use skep_obj::AttachPoint;
use skep_runtime::command::{BatchOp, MapCreate, ProgLoad};
use skep_runtime::{AttachOptions, Error, ErrorKind, Link, Map, Program, SharedRuntime};

use crate::asm::{leave, slots};
use crate::confine::answer_with;
use crate::kernel;

/// An error has a message and a hint with these in them.
fn check(error: &Error, kind: ErrorKind, message: &str, hint: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.advice().is_some_and(|advice| advice.contains(hint)), "{error}: {:?}", error.advice());
}

fn program(kernel: &SharedRuntime) -> Program {
    let code = slots(&leave());
    Program::load(kernel, &ProgLoad::new(ProgType::RAW_TRACEPOINT, "p", &code, "GPL")).expect("it is safe")
}

fn link(kernel: &SharedRuntime) -> Link {
    let point = AttachPoint::RawTracepoint { name: "sched_process_exec".to_owned(), writable: false };
    program(kernel).attach(&point, &AttachOptions::default()).expect("every kernel has it")
}

#[test]
fn full_maps() {
    let Some(kernel) = kernel() else { return };
    let full = Map::create(&kernel, &MapCreate::new(MapType::HASH, "small", 4, 4, 2), 1).expect("a hash");
    full.update(&[1; 4], &[0; 4], 0).expect("there is room");
    full.update(&[2; 4], &[0; 4], 0).expect("there is room");
    check(&full.update(&[3; 4], &[0; 4], 0).expect_err("it is full"), ErrorKind::Full, "full", "max_entries");
    let batch = BatchOp::Update { keys: &[4; 8], values: &[0; 8], count: 2, elem_flags: 0 };
    check(&full.batch(batch).expect_err("it is full"), ErrorKind::Full, "full", "max_entries");
    full.update(&[1; 4], &[9; 4], 0).expect("what is there can be replaced");
    let array = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "small", 4, 4, 2), 1).expect("an array");
    let nothing = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "none", 4, 4, 0), 1);
    let nothing = nothing.expect_err("it has room for none").to_string();
    assert!(nothing.contains("map `none`") && nothing.contains("`max_entries` is 0"), "{nothing}");
    let beyond = array.update(&2_u32.to_ne_bytes(), &[0; 4], 0).expect_err("it ends before");
    check(&beyond, ErrorKind::Full, "beyond its end", "max_entries");
}

/// A bpf file system of our own, or `None` with a printed reason.
pub(crate) fn bpffs() -> Option<tempfile::TempDir> {
    let directory = tempfile::tempdir().expect("a directory");
    let mounted = Command::new("mount").args(["-t", "bpf", "none"]).arg(directory.path()).output();
    match mounted {
        Ok(output) if output.status.success() => Some(directory),
        Ok(output) => {
            eprintln!("skipped: no bpf file system: {}", String::from_utf8_lossy(&output.stderr).trim_end());
            None
        }
        Err(e) => {
            eprintln!("skipped: no bpf file system: {e}");
            None
        }
    }
}

pub(crate) fn unmount(directory: &Path) {
    let unmounted = Command::new("umount").arg(directory).status().expect("there is `umount`");
    assert!(unmounted.success());
}

#[test]
fn pins() {
    let Some(kernel) = kernel() else { return };
    let link = link(&kernel);
    let plain = tempfile::tempdir().expect("a directory");
    let elsewhere = link.pin(&plain.path().join("link")).expect_err("not on a bpf file system");
    check(
        &elsewhere,
        ErrorKind::Denied,
        &plain.path().display().to_string(),
        "not on a BPF file system: `mount -t bpf",
    );
    let Some(directory) = bpffs() else { return };
    let path = directory.path().join("link");
    link.pin(&path).expect("the path is free");
    let taken = link.pin(&path).expect_err("the path is taken");
    check(&taken, ErrorKind::Exists, &path.display().to_string(), "choose another name");
    let nowhere = link.pin(&directory.path().join("no/link")).expect_err("no such directory");
    check(&nowhere, ErrorKind::NotFound, "no/link", "no directory");
    let directory_itself = Link::open(&kernel, directory.path()).expect_err("nothing is pinned there");
    check(&directory_itself, ErrorKind::Denied, &directory.path().display().to_string(), "it is a directory");

    let id = link.info().expect("a link").id;
    drop(link);
    let again = Link::open(&kernel, &path).expect("it was pinned");
    assert_eq!(again.info().expect("a link").id, id, "a pinned link stays");
    drop(again);
    std::fs::remove_file(&path).expect("it is ours");
    unmount(directory.path());
}

#[test]
fn confined_callers() {
    if kernel().is_none() {
        return;
    }
    for (errno, kind) in [(libc::EPERM, ErrorKind::Denied), (libc::ENOSYS, ErrorKind::Os)] {
        let error = answer_with(errno, &[libc::SYS_bpf], || {
            let kernel: SharedRuntime = Arc::new(KernelRuntime::new());
            Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "m", 4, 4, 1), 1)
                .expect_err("bpf(2) is not let through")
        });
        check(&error, kind, "map `m`: `BPF_MAP_CREATE`", "seccomp filter");
    }
    for (errno, kind) in [(libc::EACCES, ErrorKind::Denied), (libc::ENOSYS, ErrorKind::Os)] {
        let error = answer_with(errno, &[libc::SYS_perf_event_open], || {
            let kernel: SharedRuntime = Arc::new(KernelRuntime::new());
            let code = slots(&leave());
            let spec = ProgLoad::new(ProgType::PERF_EVENT, "p", &code, "GPL");
            let program = Program::load(&kernel, &spec).expect("it is safe");
            program
                .attach(&AttachPoint::PerfEvent { sampling: None }, &AttachOptions::default())
                .expect_err("it is not let through")
        });
        check(&error, kind, "sampled event", "seccomp filter");
    }
}

/// Says that we are a process of our own.
const ALONE: &str = "SKEP_TEST_ALONE";

/// In a process of its own, as one that has opened tracefs keeps it.
#[test]
fn no_tracefs() {
    if kernel().is_none() {
        return;
    }
    if ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
        .iter()
        .any(|path| Path::new(path).exists())
    {
        eprintln!("skipped: tracefs is mounted");
        return;
    }
    if std::env::var_os(ALONE).is_none() {
        let again = Command::new(std::env::current_exe().expect("we run"))
            .args(["--exact", "faults::no_tracefs"])
            .env(ALONE, "1")
            .output()
            .expect("it can be executed");
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
        return;
    }
    let error = answer_with(libc::EPERM, &[libc::SYS_fsopen], || {
        let kernel: SharedRuntime = Arc::new(KernelRuntime::new());
        let code = slots(&leave());
        let program = Program::load(&kernel, &ProgLoad::new(ProgType::TRACEPOINT, "p", &code, "GPL"))
            .expect("it is safe");
        let (category, name) = ("sched".to_owned(), "sched_process_exec".to_owned());
        let point = AttachPoint::Tracepoint { category, name };
        program.attach(&point, &AttachOptions::default()).expect_err("there is no tracefs")
    });
    check(
        &error,
        ErrorKind::Denied,
        "`sched/sched_process_exec`: tracefs is not mounted",
        "mount -t tracefs",
    );
}
