//! `cargo xtask corpus DIR… [--on KERNEL]`: which objects load and attach on this kernel, or on one of Debian's in a guest,
//! beside what libbpf does with them.
//!
//! Programs are attached through a runtime that is kept to a process tree, and there is none: so they are attached, and
//! see nothing. libbpf attaches only with `--libbpf-attach`, because its programs see the machine while they are.

mod patience;
mod setup;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use skep::object::AttachPoint;
use skep::runtime::{AttachOptions, Link, SharedRuntime};
use skep_kernel::KernelRuntime;

/// Loads every object of the directories (or files) that the arguments name, and prints a table.
pub(crate) fn corpus(args: &[String]) -> Result<(), String> {
    if let [one, object] = args
        && one == ONE
    {
        let runtime: SharedRuntime = Arc::new(KernelRuntime::scoped());
        let Outcome { stage, reason } = try_object(&runtime, Path::new(object));
        println!("{stage} {reason}");
        return Ok(());
    }
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
    let libbpf = libbpf_program();
    if libbpf.is_none() {
        eprintln!("libbpf cannot be asked: it takes `cc` and libbpf's headers to build what asks it");
    }
    let mut tally = Tally::default();
    println!("{:<28} {:<10} {:<10} reason", "object", "skep", "libbpf");
    for object in &objects {
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        print!("{name:<28} ");
        // Whoever waits sees which object it is; a terminal that is gone is told by the next line.
        let _ = std::io::stdout().flush();
        let outcome = ours(object);
        let peer = libbpf.as_ref().map_or("-".to_owned(), |libbpf| theirs(libbpf, object, libbpf_attaches));
        tally.count(&outcome, &peer, libbpf_attaches);
        println!("{:<10} {peer:<10} {}", outcome.stage, outcome.reason);
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

/// The argument of a process that tries one object.
const ONE: &str = "--one";
/// How long an object may take: a program that the verifier takes long for needs seconds on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How far an object came, and why no farther.
struct Outcome {
    stage: String,
    reason: String,
}

/// Tries an object in a process of its own, so that one that hangs or is killed keeps nobody else.
fn ours(object: &Path) -> Outcome {
    let own = std::env::current_exe().map(Command::new);
    let said = own
        .map_err(|e| e.to_string())
        .and_then(|mut own| patience::output(own.args(["corpus", ONE]).arg(object), PATIENCE));
    match said.as_deref().map(|said| said.trim_end().split_once(' ')) {
        Ok(Some((stage, reason))) => Outcome { stage: stage.to_owned(), reason: reason.to_owned() },
        Ok(None) => Outcome { stage: "died".to_owned(), reason: "it said nothing".to_owned() },
        Err(reason) => Outcome { stage: "died".to_owned(), reason: reason.clone() },
    }
}

/// What libbpf says of an object.
fn theirs(libbpf: &Path, object: &Path, attach: bool) -> String {
    let mut command = Command::new(libbpf);
    command.args(attach.then_some("-a")).arg(object);
    let Ok(said) = patience::output(&mut command, PATIENCE) else { return "died".to_owned() };
    let mut words = said.trim_end().rsplitn(3, ' ');
    match (words.next(), words.next()) {
        (Some(_), Some("ok")) => "ok".to_owned(),
        (Some(errno), Some(stage)) => format!("{stage} {errno}"),
        _ => "died".to_owned(),
    }
}

fn try_object(runtime: &SharedRuntime, path: &Path) -> Outcome {
    let fail = |stage: &str, e: skep::Error| Outcome {
        stage: stage.to_owned(),
        reason: first_and_last_line(&e.to_string()),
    };
    let mut object = match skep::open(path) {
        Ok(opened) => opened.object,
        Err(e) => return fail("open", e),
    };
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    if let Err(reason) = setup::set_up(&mut object, file.split('.').next().unwrap_or_default()) {
        return Outcome { stage: "set-up".to_owned(), reason };
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
            Outcome { stage: "ok".to_owned(), reason: format!("{} attached", links.len()) }
        }
        Ok(links) => {
            let left: Vec<&str> = loaded.left_out.iter().map(|left| left.program.as_str()).collect();
            Outcome {
                stage: "ok".to_owned(),
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
    loaded: usize,
    attached: usize,
    peer_good: usize,
    /// libbpf takes them, we do not.
    behind: usize,
}

impl Tally {
    /// What libbpf is not asked to attach it only has to load, and so have we.
    fn count(&mut self, outcome: &Outcome, peer: &str, peer_attaches: bool) {
        let attached = outcome.stage == "ok";
        let loaded = attached || outcome.stage == "attach";
        let behind = peer == "ok" && !(if peer_attaches { attached } else { loaded });
        self.all += 1;
        self.loaded += usize::from(loaded);
        self.attached += usize::from(attached);
        self.peer_good += usize::from(peer == "ok");
        self.behind += usize::from(behind);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { all, loaded, attached, peer_good, behind } = self;
        write!(
            f,
            "{all} objects: {loaded} load, {attached} attach; libbpf {peer_good}; {behind} only with libbpf"
        )
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
