//! `cargo xtask corpus DIR… [--on KERNEL]`: which objects load and attach on this kernel, or on one of Debian's in a guest,
//! beside what libbpf does with them.
//!
//! Programs are attached through a runtime that is kept to a process tree, and there is none: so they are attached, and
//! see nothing. libbpf attaches only with `--libbpf-attach`, because its programs see the machine while they are.

mod setup;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use skep::object::AttachPoint;
use skep::runtime::{AttachOptions, Link, SharedRuntime};
use skep_kernel::KernelRuntime;

/// Loads every object of the directories (or files) that the arguments name, and prints a table.
pub(crate) fn corpus(args: &[String]) -> Result<(), String> {
    let libbpf_attaches = args.iter().any(|arg| arg == "--libbpf-attach");
    let (places, kernels) = match args.iter().position(|arg| arg == "--on") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    let objects = objects(places.iter().filter(|arg| !arg.starts_with("--")).map(Path::new))?;
    if objects.is_empty() {
        return Err("usage: cargo xtask corpus DIR… [--libbpf-attach] [--on KERNEL…]".to_owned());
    }
    if !kernels.is_empty() {
        return in_guests(kernels, &objects);
    }
    let peer = libbpf(&objects, libbpf_attaches);
    let runtime: SharedRuntime = Arc::new(KernelRuntime::scoped());
    let mut tally = Tally::default();
    println!("{:<28} {:<10} {:<10} reason", "object", "skep", "libbpf");
    for object in &objects {
        let outcome = try_object(&runtime, object);
        let peer = peer.get(object).map_or("-", String::as_str);
        tally.count(&outcome, peer);
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        println!("{name:<28} {:<10} {peer:<10} {}", outcome.stage, outcome.reason);
    }
    println!("{tally}");
    Ok(())
}

/// The same in guests; what these write is the table.
fn in_guests(kernels: &[String], objects: &[PathBuf]) -> Result<(), String> {
    for kernel in kernels {
        println!("{kernel}:");
        let text = crate::vm::corpus(kernel, objects, libbpf_program())?;
        for line in text.lines().skip_while(|line| !line.starts_with("object ")) {
            println!("{}", line.trim_end_matches('\r'));
        }
    }
    Ok(())
}

/// How far an object came, and why no farther.
struct Outcome {
    stage: &'static str,
    reason: String,
}

fn try_object(runtime: &SharedRuntime, path: &Path) -> Outcome {
    let fail = |stage, e: skep::Error| Outcome { stage, reason: first_and_last_line(&e.to_string()) };
    let mut object = match skep::open(path) {
        Ok(opened) => opened.object,
        Err(e) => return fail("open", e),
    };
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    if let Err(reason) = setup::set_up(&mut object, file.split('.').next().unwrap_or_default()) {
        return Outcome { stage: "set-up", reason };
    }
    skep::defaults::fill_in(&mut object);
    let linked = match skep::host::link(&object) {
        Ok(linked) => linked,
        Err(e) => return fail("link", e.into()),
    };
    let loaded = match skep::load(runtime, &object, linked) {
        Ok(loaded) => loaded,
        Err(e) => return fail("load", e),
    };
    match attach(&loaded) {
        Ok(links) if loaded.left_out.is_empty() => {
            Outcome { stage: "ok", reason: format!("{} attached", links.len()) }
        }
        Ok(links) => {
            let left: Vec<&str> = loaded.left_out.iter().map(|left| left.program.as_str()).collect();
            Outcome {
                stage: "ok",
                reason: format!("{} attached; left out: {}", links.len(), left.join(", ")),
            }
        }
        Err(e) => fail("attach", e),
    }
}

/// Attaches what says where.
fn attach(loaded: &skep::Loaded) -> skep::Result<Vec<Link>> {
    let programs = loaded.programs.iter().flatten().filter(|program| says_where(&program.linked.attach));
    programs
        .map(|program| {
            let link = program.program.attach(&program.linked.attach, &AttachOptions::default());
            link.map_err(|e| e.context(format_args!("program `{}`", program.linked.name)).into())
        })
        .collect()
}

/// Is there something to attach to, without a device, a cgroup or the like of the caller's?
fn says_where(point: &AttachPoint) -> bool {
    let of_callers = matches!(
        point,
        AttachPoint::None
            | AttachPoint::PerfEvent { .. }
            | AttachPoint::Target { .. }
            | AttachPoint::StructOps
    );
    !of_callers && !point.is_open()
}

/// The lines of a message that say what and why; a verifier's log is long.
fn first_and_last_line(message: &str) -> String {
    let mut lines = message.lines().filter(|line| !line.starts_with("processed "));
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first} … {last}"))
}

#[derive(Default)]
struct Tally {
    all: usize,
    good: usize,
    peer_good: usize,
    /// libbpf takes them, we do not.
    behind: usize,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome, peer: &str) {
        self.all += 1;
        self.good += usize::from(outcome.stage == "ok");
        self.peer_good += usize::from(peer == "ok");
        self.behind += usize::from(peer == "ok" && outcome.stage != "ok");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { all, good, peer_good, behind } = self;
        write!(f, "{good} of {all}; libbpf {peer_good}; {behind} only with libbpf")
    }
}

/// Files named `*.o`, in the order of their names.
fn objects<'a>(places: impl Iterator<Item = &'a Path>) -> Result<Vec<PathBuf>, String> {
    let mut objects = Vec::new();
    for place in places {
        if place.is_file() {
            objects.push(place.to_owned());
            continue;
        }
        let entries = fs::read_dir(place).map_err(|e| format!("`{}`: {e}", place.display()))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        objects.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "o")));
    }
    objects.sort();
    Ok(objects)
}

/// What libbpf says, by object; nothing where there is no libbpf to ask.
fn libbpf(objects: &[PathBuf], attach: bool) -> HashMap<PathBuf, String> {
    let Some(program) = libbpf_program() else {
        eprintln!("libbpf cannot be asked: it takes `cc` and libbpf's headers to build what asks it");
        return HashMap::new();
    };
    let output = Command::new(program).args(attach.then_some("-a")).args(objects).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.rsplitn(3, ' ');
        let (errno, stage, path) = (words.next()?, words.next()?, words.next()?);
        let said = if stage == "ok" { "ok".to_owned() } else { format!("{stage} {errno}") };
        Some((PathBuf::from(path), said))
    };
    text.lines().filter_map(line).collect()
}

/// The program that asks libbpf: one built before, as in a guest, or built now.
fn libbpf_program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("SKEP_CORPUS_LIBBPF") {
        return Some(PathBuf::from(program));
    }
    let program = crate::root().join("target/corpus-libbpf");
    let source = crate::root().join("xtask/src/corpus/libbpf.c");
    let built = Command::new("cc").arg("-O1").arg("-o").arg(&program).arg(source).args(["-lbpf"]).status();
    built.is_ok_and(|status| status.success()).then_some(program)
}
