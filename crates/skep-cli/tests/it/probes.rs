//! Probes of functions: every call and every return is seen once, and the command goes on as without them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::harness::{Said, Scratch, has_clang, is_root, run, said, skep, skip, tool, until};

/// What is traced.
struct Built {
    scratch: Scratch,
    traced: PathBuf,
    library: PathBuf,
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/probes").join(name)
}

/// Compiles what is traced, for one test alone: a file that the kernel probes for one is probed for every process.
fn built() -> Option<Built> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !has_clang() {
        skip("clang is not installed");
        return None;
    }
    let scratch = Scratch::new(&format!("probes{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let (traced, library) = (scratch.path("traced"), scratch.path("library.so"));
    compile(&["-pthread"], &source("traced.c"), &traced);
    compile(&["-shared", "-fPIC"], &source("library.c"), &library);
    Some(Built { scratch, traced, library })
}

fn compile(options: &[&str], from: &Path, to: &Path) {
    let done = Command::new("cc").arg("-O1").args(options).arg("-o").arg(to).arg(from).arg("-ldl").status();
    assert!(done.expect("cc starts").success(), "{} does not compile", from.display());
}

/// `skep run` with these programs attached to a function.
fn arguments(programs: &[(&str, &str)], file: &Path, function: &str) -> Vec<OsString> {
    let attach = |(program, section): &(&str, &str)| {
        format!("--attach={program}={section}:{}:{function}", file.display()).into()
    };
    let object = source("count.bpf.c").into();
    ["run".into(), object].into_iter().chain(programs.iter().map(attach)).collect()
}

const BOTH: [(&str, &str); 2] = [("enter", "uprobe"), ("leave", "uretprobe")];

/// A number that the programs leave behind; zero is not shown.
fn number(said: &Said, variable: &str) -> u64 {
    let line = said.stdout.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix(" = "));
    line.map_or(0, |value| value.parse().expect("a number"))
}

/// Traces one way of calling, in user space and, where that can be, in the kernel.
fn check(built: &Built, function: (&Path, &str), command: &[&str], calls: u64, sum: u64) {
    for runtime in ["user", "kernel"] {
        let mut skep = skep();
        skep.env("SKEP_RUNTIME", runtime).args(arguments(&BOTH, function.0, function.1));
        let said = said(skep.arg("--").arg(&built.traced).args(command).output().expect("skep starts"));
        if runtime == "kernel" && said.status != 0 && (!is_root() || said.stderr.contains("uprobe")) {
            return skip("the kernel does not let us probe");
        }
        assert_eq!(said.status, 0, "{runtime}: {}", said.stderr);
        let seen = ["entries", "exits", "sum", "strange"].map(|name| number(&said, name));
        assert_eq!(seen, [calls, calls, sum, 0], "{runtime}: {command:?}");
    }
}

fn check_traced(command: &[&str], calls: u64, sum: u64) {
    if let Some(built) = built() {
        check(&built, (&built.traced, "probed"), command, calls, sum);
    }
}

#[test]
fn calls_and_returns_are_counted() {
    check_traced(&["loop", "100"], 100, 5050);
}

#[test]
fn threads_do_not_slip_past() {
    check_traced(&["threads"], 6400, 64 * 5050);
}

#[test]
fn children_inherit_probes() {
    check_traced(&["forks"], 11, 56);
    check_traced(&["vforks"], 40, 55 + 10 * 6);
    check_traced(&["spawns"], 30, 10 * 6);
}

#[test]
fn programs_that_are_executed_are_probed_anew() {
    check_traced(&["execs", "5"], 6, 21);
}

#[test]
fn jumping_out_of_functions_does_no_harm() {
    check_traced(&["jumps"], 20, 210);
}

#[test]
fn libraries_that_are_loaded_later_are_probed() {
    let Some(built) = built() else { return };
    let library = built.library.to_str().expect("an ASCII path");
    check(&built, (&built.library, "library_function"), &["libraries", library], 5, 30);
}

#[test]
fn a_session_keeps_what_it_saw_at_entry() {
    let Some(built) = built() else { return };
    let mut skep = skep();
    skep.arg("run").arg(source("session.bpf.c"));
    skep.arg(format!("--attach=both=uprobe.session:{}:probed", built.traced.display()));
    let said = said(skep.arg("--").arg(&built.traced).args(["loop", "100"]).output().expect("skep starts"));
    if said.stderr.contains("bpf_session_cookie") {
        return skip("the types of this kernel do not have `bpf_session_cookie`");
    }
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!(["entries", "exits", "right"].map(|name| number(&said, name)), [100, 50, 50]);
}

/// Traces one way of calling in user space, with a program at entries and one at returns.
fn traced_in_user_space(built: &Built, command: &[&str]) -> Said {
    let mut skep = skep();
    skep.env("SKEP_RUNTIME", "user").args(arguments(&BOTH, &built.traced, "probed"));
    said(skep.arg("--").arg(&built.traced).args(command).output().expect("skep starts"))
}

/// The number before a word in what the traced command says.
fn says(said: &Said, word: &str) -> u64 {
    let mut words = said.stdout.split_whitespace().collect::<Vec<_>>().into_iter().rev();
    let number = words.by_ref().skip_while(|it| *it != word).nth(1);
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {word}: {}", said.stdout))
}

#[test]
fn signals_between_do_no_harm() {
    let Some(built) = built() else { return };
    let said = traced_in_user_space(&built, &["interrupted"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    let calls = says(&said, "calls");
    assert_eq!((number(&said, "entries"), number(&said, "exits")), (calls, calls));
}

/// Of threads that are killed or replaced while they call, each may have begun one call more than it has finished.
#[test]
fn who_is_killed_in_a_probe_is_counted_up_to_there() {
    let Some(built) = built() else { return };
    for command in [
        &["killed", "1"][..],
        &["killed", "8"],
        &["killed", "64"],
        &["vkilled"],
        &["leaves"],
        &["thread-execs"],
    ] {
        let said = traced_in_user_space(&built, command);
        assert_eq!(said.status, 0, "{command:?}: {}", said.stderr);
        let (calls, threads) = (says(&said, "calls"), says(&said, "threads"));
        let may_be = calls..=calls + threads;
        let (entries, exits) = (number(&said, "entries"), number(&said, "exits"));
        assert!(
            calls > 0 && exits <= entries && may_be.contains(&exits) && may_be.contains(&entries),
            "{command:?}: {calls} calls of {threads} threads, {entries} entries, {exits} exits"
        );
    }
}

#[test]
fn a_command_that_is_killed_in_a_probe_has_its_status_told() {
    let Some(built) = built() else { return };
    let said = traced_in_user_space(&built, &["dies"]);
    let (entries, exits) = (number(&said, "entries"), number(&said, "exits"));
    assert_eq!(said.status, 128 + 9, "{}", said.stderr);
    assert!(exits > 0 && (exits..=exits + 8).contains(&entries), "{entries} entries, {exits} exits");
}

#[test]
fn sixty_four_threads_open_files_at_once() {
    let Some(built) = built() else { return };
    let mut skep = skep();
    skep.arg("run").arg(tool("opensnoop.bpf.o")).args(["-o", "json", "--"]);
    let said = said(skep.arg(&built.traced).args(["opens", "/etc/passwd"]).output().expect("skep starts"));
    assert_eq!(said.status, 0, "{}", said.stderr);
    let opened = said.stdout.lines().filter(|line| line.contains("\"/etc/passwd\"")).count();
    assert_eq!(opened, 640, "{}", said.stderr);
}

#[test]
fn a_full_map_refuses_and_the_program_goes_on() {
    let Some(built) = built() else { return };
    let mut arguments = arguments(&[("fill", "uprobe")], &built.traced, "probed");
    arguments.extend(["--".into(), built.traced.clone().into(), "loop".into(), "100".into()]);
    let said = run(arguments);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!((number(&said, "kept"), number(&said, "refused")), (4, 96));
    assert!(said.stdout.contains("map `few` (hash, 4 elements)"), "{}", said.stdout);
    assert!(said.stderr.contains("not attached") && said.stderr.contains("--attach"), "{}", said.stderr);
}

#[test]
fn a_buffer_that_nobody_reads_fills_up_and_drops() {
    let Some(built) = built() else { return };
    let mut object = skep::open(&source("count.bpf.c")).expect("it compiles").object;
    let place = format!("uprobe:{}:probed", built.traced.display());
    let emit = object.programs.iter_mut().find(|program| program.name == "emit").expect("a program");
    emit.attach_at(&[&place]).expect("a place");
    let runtime = skep_user::UserRuntime::new(skep_user::Config::default()).expect("a runtime");
    let linked = object.link(&skep::host::target(&object)).expect("it links");
    let loaded = skep::load(&runtime, &object, linked).expect("it loads");
    let _links = loaded.attach().expect("it attaches");
    let argv = vec![built.traced.clone().into(), "loop".into(), "100".into()];
    let mut session = runtime.start(skep::runtime::Scope::Command(argv)).expect("it starts");
    let ended = session.wait(Some(Duration::from_secs(60))).expect("a state");
    assert_eq!(ended, skep::runtime::SessionState::Ended { code: Some(0), signal: None });
    let bss = loaded.maps().find(|map| map.def.name.ends_with(".bss")).expect("variables");
    let values = bss.map.lookup(&[0; 4]).expect("a map").expect("their values");
    let value = |name: &str| {
        let variable = object.variables.iter().find(|variable| variable.name == name).expect("a variable");
        let at = variable.offset as usize;
        u64::from_ne_bytes(values[at..at + 8].try_into().expect("eight bytes"))
    };
    // A record has a header of eight bytes, and a ring is full one record before its end.
    assert_eq!((value("sent") + value("dropped"), value("sent")), (100, 4096 / 72));
}

/// A traced command that goes on until a file is there.
fn waiting(built: &Built, flag: &Path) -> Child {
    let mut command = Command::new(&built.traced);
    command.arg("until").arg(flag).stdin(Stdio::null()).spawn().expect("it starts")
}

const SIGTERM: i32 = 15;

fn terminate(pid: u32) {
    signal("-TERM", pid);
}

fn signal(signal: &str, pid: u32) {
    let done = Command::new("kill").arg(signal).arg(pid.to_string()).status().expect("kill starts");
    assert!(done.success());
}

/// The thread that traces a process, once there is one.
fn tracer_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|tracer| *tracer != 0)
}

#[test]
fn an_attached_process_goes_on_unharmed() {
    let Some(built) = built() else { return };
    let flag = built.scratch.path("attached");
    let mut child = waiting(&built, &flag);
    let mut command = skep();
    command.args(arguments(&BOTH, &built.traced, "probed")).args(["-p", &child.id().to_string()]);
    let skep = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep starts");
    // Until it is attached the front may be told to end before it has begun.
    until("attached", || tracer_of(child.id()).is_some());
    std::thread::sleep(Duration::from_secs(1));
    terminate(skep.id());
    let said = said(skep.wait_with_output().expect("skep ends"));
    // The tracer outlives the front for as long as it takes to let go.
    until("let go", || tracer_of(child.id()).is_none());
    assert_eq!(said.status, 128 + SIGTERM, "{}", said.stderr);
    let (entries, exits) = (number(&said, "entries"), number(&said, "exits"));
    assert!(entries > 0 && entries.abs_diff(exits) <= 1, "{entries} entries, {exits} exits");
    assert_eq!(changed_code(child.id(), &built.traced), [0u64; 0], "breakpoints stay behind");
    fs::write(&flag, "").expect("a file");
    assert!(child.wait().expect("it ends").success(), "the process was harmed");
}

/// Addresses at which the code of a process is not that of its file.
fn changed_code(pid: u32, file: &Path) -> Vec<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let line = maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with(&*file.to_string_lossy()));
    let fields: Vec<&str> = line.expect("its code is mapped").split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let (start, end) = fields[0].split_once('-').expect("a range");
    let mut there = vec![0; (hex(end) - hex(start)) as usize];
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("a child's memory");
    memory.read_exact_at(&mut there, hex(start)).expect("it is mapped");
    let whole = fs::read(file).expect("it was compiled");
    let code = whole[hex(fields[2]) as usize..].iter();
    (hex(start)..)
        .zip(there.iter().zip(code))
        .filter(|(_, (one, other))| one != other)
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn a_process_goes_on_when_its_tracer_is_killed() {
    let Some(built) = built() else { return };
    let flag = built.scratch.path("survived");
    let mut child = waiting(&built, &flag);
    let mut command = skep();
    command.args(arguments(&BOTH, &built.traced, "probed")).args(["-p", &child.id().to_string()]);
    let mut skep = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("skep starts");
    until("attached", || tracer_of(child.id()).is_some());
    std::thread::sleep(Duration::from_millis(500));
    // Stopped where it is in no breakpoint: from one that nobody answers, it would get a signal.
    signal("-STOP", child.id());
    std::thread::sleep(Duration::from_millis(200));
    signal("-KILL", tracer_of(child.id()).expect("it is traced"));
    until("let go", || tracer_of(child.id()).is_none());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(changed_code(child.id(), &built.traced), [0u64; 0], "breakpoints stay behind");
    signal("-CONT", child.id());
    std::thread::sleep(Duration::from_millis(100));
    fs::write(&flag, "").expect("a file");
    assert!(child.wait().expect("it ends").success(), "the process was harmed");
    assert!(!skep.wait().expect("it ends").success());
}

#[test]
fn a_command_ends_when_its_tracer_is_killed() {
    let Some(built) = built() else { return };
    let flag = built.scratch.path("never");
    let mut command = skep();
    command.args(arguments(&BOTH, &built.traced, "probed")).arg("--");
    command.arg(&built.traced).arg("until").arg(&flag).stdout(Stdio::null()).stderr(Stdio::null());
    let mut skep = command.spawn().expect("skep starts");
    // The command is the one of the processes with this name in their command line that is traced.
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*flag.to_string_lossy()) && tracer_of(*pid).is_some()
    };
    let traced = || {
        let entries = fs::read_dir("/proc").expect("processes").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it)
    };
    let mut found = None;
    until("traced", || {
        found = traced();
        found.is_some()
    });
    signal("-KILL", found.and_then(tracer_of).expect("it is traced"));
    until("gone", || traced().is_none());
    assert!(!skep.wait().expect("it ends").success());
}
