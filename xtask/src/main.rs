//! Development tasks. `cargo xtask` lists them.

mod bench;
mod bpftool;
mod conformance;
mod corpus;
mod features;
mod first;
mod fuzz;
mod objects;
mod structure;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

/// A task: its name, what it does, and the function that does it with the remaining arguments.
type Task = (&'static str, &'static str, fn(&[String]) -> Result<(), String>);

const TASKS: &[Task] = &[
    ("bench", "measure what things cost beside what others need for the same", bench::bench),
    ("bpftool", "run command lines with bpftool and with skep, and say where they differ", bpftool::bpftool),
    (
        "conformance",
        "run the bpf_conformance files of a directory in the interpreter",
        conformance::conformance,
    ),
    ("corpus", "load and attach the objects of a directory on this kernel, beside libbpf", corpus::corpus),
    (
        "features",
        "compile an object for every section name and type of map, for `corpus`",
        features::features,
    ),
    (
        "first",
        "find out which functions short commands run, for the linker to put them together",
        first::first,
    ),
    ("fuzz", "run random and changed programs against what is claimed of all of them", fuzz::fuzz),
    ("objects", "compile tools/*.bpf.c and bench/*.bpf.c to the objects beside them", objects::objects),
    ("structure", "check the rules of the architecture that the compiler does not", structure::structure),
    ("vm", "run the kernel tests on Debian's kernels in qemu", vm::vm),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let task = args.first().and_then(|name| TASKS.iter().find(|(task, ..)| task == name));
    let Some((_, _, run)) = task else {
        eprintln!("usage: cargo xtask TASK\n\nTasks:");
        for (name, about, _) in TASKS {
            eprintln!("    {name:<14} {about}");
        }
        return ExitCode::from(2);
    };
    match run(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The directory of the workspace.
fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(PathBuf::from).expect("invariant: xtask is a directory of the workspace")
}
