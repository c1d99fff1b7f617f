//! A loader that is killed leaves nothing attached but what it pinned, whatever it was doing.
//!
//! The loader is this test again, in a process that attaches step by step and says so. It is killed after each step, at
//! once or a moment later, in the middle of the next.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::AttachPoint;
use skep_runtime::command::{ObjectKind, ProgLoad};
use skep_runtime::{AttachOptions, AttachTarget, Error, Fd, Handle, Link, Program, Reply, SharedRuntime};

use crate::asm::{leave, slots};
use crate::netns::in_namespace;

/// Says that we are the loader, and where it pins.
const LOADER: &str = "SKEP_TEST_LOADER";
/// The name of the loader's programs.
const NAME: &str = "skep_killed";

/// Attaches something, with a directory to pin in.
type Step = fn(&SharedRuntime, &Path) -> Result<Vec<Link>, Error>;

/// What the loader does, one after another.
const STEPS: &[Step] = &[
    |kernel, _| {
        let point = AttachPoint::RawTracepoint { name: "sched_process_exec".to_owned(), writable: false };
        attach(kernel, ProgType::RAW_TRACEPOINT, None, &point, None, 0)
    },
    |kernel, _| {
        let (category, name) = ("sched".to_owned(), "sched_process_exec".to_owned());
        attach(kernel, ProgType::TRACEPOINT, None, &AttachPoint::Tracepoint { category, name }, None, 0)
    },
    |kernel, _| {
        let (path, symbol) = (Some("libc.so.6".to_owned()), Some("getpgid".to_owned()));
        let point = AttachPoint::Uprobe { path, symbol, offset: 0, ret: false };
        attach(kernel, ProgType::KPROBE, None, &point, None, 0)
    },
    |kernel, _| {
        attach(kernel, ProgType::PERF_EVENT, None, &AttachPoint::PerfEvent { sampling: None }, None, 0)
    },
    |kernel, _| at(kernel, ProgType::XDP, AttachType::XDP, AttachTarget::Device("lo".to_owned()), 2),
    |kernel, _| {
        at(kernel, ProgType::SCHED_CLS, AttachType::TCX_EGRESS, AttachTarget::Device("lo".to_owned()), 0)
    },
    |kernel, _| {
        let target = AttachTarget::Filter { device: "lo".to_owned(), egress: false, priority: 0 };
        attach(kernel, ProgType::SCHED_CLS, None, &AttachPoint::None, Some(target), 0)
    },
    |kernel, _| {
        let to = ("10.99.0.0".parse().expect("an address"), 16);
        let target = AttachTarget::Route { to, device: "lo".to_owned(), via: None };
        attach(kernel, ProgType::LWT_XMIT, None, &AttachPoint::None, Some(target), 0)
    },
    // `BPF_F_ALLOW_OVERRIDE`, which no link has
    |kernel, directory| {
        let Some(group) = cgroup(directory) else { return Ok(Vec::new()) };
        at(kernel, ProgType::CGROUP_SKB, AttachType::CGROUP_INET_INGRESS, AttachTarget::Cgroup(group), 1)
    },
    |kernel, directory| {
        let Some(group) = cgroup(directory) else { return Ok(Vec::new()) };
        at(kernel, ProgType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS, AttachTarget::Cgroup(group), 0)
    },
];

fn cgroup(directory: &Path) -> Option<std::path::PathBuf> {
    crate::packets::cgroup_root().map(|root| root.join(directory.file_name().expect("it has a name")))
}

fn at(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    attach_type: AttachType,
    target: AttachTarget,
    flags: u32,
) -> Result<Vec<Link>, Error> {
    attach(kernel, prog_type, Some(attach_type), &AttachPoint::Target { attach_type }, Some(target), flags)
}

fn attach(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    expected_attach_type: Option<AttachType>,
    point: &AttachPoint,
    target: Option<AttachTarget>,
    flags: u32,
) -> Result<Vec<Link>, Error> {
    let mut code = slots(&leave());
    // What passes is 1 for cgroups and 2 for XDP; others do not mind.
    code[0].imm = if prog_type == ProgType::XDP { 2 } else { i32::from(prog_type == ProgType::CGROUP_SKB) };
    let spec = ProgLoad { expected_attach_type, ..ProgLoad::new(prog_type, NAME, &code, "GPL") };
    let options = AttachOptions { target, flags, ..AttachOptions::default() };
    Ok(vec![Program::load(kernel, &spec)?.attach(point, &options)?])
}

/// The loader's side: it does every step, says each, and waits to be killed.
fn load_step_by_step(kernel: &SharedRuntime, directory: &Path) {
    let pinned = STEPS[0](kernel, directory).expect("raw tracepoints are everywhere");
    pinned[0].pin(&directory.join("link")).expect("the path is free");
    drop(pinned);
    let mut links = Vec::new();
    for step in STEPS {
        match step(kernel, directory) {
            Ok(link) => links.extend(link),
            Err(e) => eprintln!("skipped: {e}"),
        }
        println!("step");
    }
    std::thread::sleep(Duration::from_secs(60));
}

/// The programs of the loader that the kernel still has.
fn programs(kernel: &SharedRuntime) -> usize {
    let kind = ObjectKind::Prog;
    let (mut id, mut count) = (0, 0);
    while let Ok(Reply::Id(next)) = kernel.bpf(skep_runtime::Command::GetNextId { kind, id }) {
        id = next;
        // It may have gone meanwhile.
        let Ok(Reply::Fd(fd)) = kernel.bpf(skep_runtime::Command::GetFdById { kind, id }) else { continue };
        count += usize::from(is_loaders(kernel, &Handle::new(kernel.clone(), fd)));
    }
    count
}

fn is_loaders(kernel: &SharedRuntime, program: &Handle) -> bool {
    const NAME_AT: usize = 64; // `bpf_prog_info.name`
    let mut info = [0; 80];
    let fd: Fd = program.fd();
    kernel
        .bpf(skep_runtime::Command::ObjGetInfo { fd, info: &mut info, arrays: &mut [] })
        .expect("it is open");
    info[NAME_AT..].starts_with(NAME.as_bytes())
}

fn kill_after(steps: usize, delay: Duration, directory: &Path) {
    let mut loader = Command::new(std::env::current_exe().expect("we run"))
        .args(["--exact", "killed::nothing_stays_that_was_not_pinned", "--nocapture"])
        .env(LOADER, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be executed");
    let said = BufReader::new(loader.stdout.take().expect("it was piped")).lines();
    let done = said.map_while(Result::ok).filter(|line| line.ends_with("step")).take(steps).count();
    assert_eq!(done, steps, "the loader goes on until it is killed");
    std::thread::sleep(delay);
    loader.kill().expect("it is ours");
    loader.wait().expect("it is ours");
}

/// Programs go a moment after the last that holds them.
fn settles_at(kernel: &SharedRuntime, expected: usize) -> bool {
    let until = Instant::now() + Duration::from_secs(60);
    while programs(kernel) != expected {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn nothing_stays_that_was_not_pinned() {
    in_namespace("killed::nothing_stays_that_was_not_pinned", |kernel| {
        if let Some(directory) = std::env::var_os(LOADER) {
            return load_step_by_step(kernel, Path::new(&directory));
        }
        let Some(directory) = crate::faults::bpffs() else { return };
        let group = cgroup(directory.path());
        group.iter().for_each(|group| std::fs::create_dir(group).expect("cgroups can be made"));
        assert!(settles_at(kernel, 0), "an earlier run has left programs");
        for steps in 0..=STEPS.len() {
            // No delay, and then longer than a step takes: from 0 to 5 ms, in an order that looks random.
            for delay in [0, (steps as u64 * 1733) % 5000] {
                kill_after(steps, Duration::from_micros(delay), directory.path());
                let pin = directory.path().join("link");
                let is_pinned = pin.exists();
                assert!(steps == 0 || is_pinned, "a pinned link stays");
                assert!(
                    settles_at(kernel, usize::from(is_pinned)),
                    "after {steps} steps: {} programs",
                    programs(kernel)
                );
                if is_pinned {
                    std::fs::remove_file(pin).expect("it is ours");
                }
                assert!(settles_at(kernel, 0), "after {steps} steps, unpinned");
            }
        }
        group.iter().for_each(|group| std::fs::remove_dir(group).expect("nothing is in it"));
        crate::faults::unmount(directory.path());
    });
}
