//! `cargo xtask vm KERNEL… [-- TEST…]`: runs the kernel tests on Debian's cloud kernels, in qemu, and shows what ran where.
//!
//! `cargo xtask vm KERNEL --fuzz TARGET …` runs a fuzz target there, with the arguments of `cargo xtask fuzz` and the
//! files among them: random programs that the kernel is to run go where nothing is lost. It is stopped after a day.
//!
//! A kernel is a package (`linux-image-6.1.0-54-cloud-amd64`), a version (`6.1`), of which the newest package is taken, or
//! `host` for this machine's. Packages are downloaded and unpacked below `target/vm`, not installed. The guest's file
//! system is an initramfs of the test binary, the programs that tests call, with the libraries of all of them, and the
//! modules of the kernel that tests use. Emulation is in software, so this works wherever qemu does. What a guest writes is
//! kept in `target/vm/KERNEL.log`.

mod cpio;
mod guest;
mod package;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::report::Run;

/// How long a guest may take for the tests, for each object that it tries, and for a fuzz target: emulated, on a machine that does other things.
const TESTS_SECONDS: usize = 600;
const OBJECT_SECONDS: usize = 30;
const FUZZ_SECONDS: usize = 24 * 60 * 60;

/// Boots every kernel that the arguments name.
pub(crate) fn vm(args: &[String]) -> Result<(), String> {
    if let Some(at) = args.iter().position(|arg| arg == "--fuzz") {
        return fuzz(&args[..at], &args[at + 1..]);
    }
    let (kernels, tests) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    if kernels.is_empty() {
        return Err(
            "usage: cargo xtask vm KERNEL… [-- TEST…], as in `cargo xtask vm host 6.1 6.12`, or cargo xtask vm KERNEL \
             --fuzz TARGET …"
                .to_owned()
        );
    }
    let directory = directory()?;
    let binary = build_tests()?;
    let arguments: Vec<&str> =
        tests.iter().map(String::as_str).chain(guest::TEST_ARGUMENTS.iter().copied()).collect();
    let system = guest::file_system(&binary, &arguments, Vec::new(), &[])?;
    let mut runs = Vec::new();
    for kernel in kernels {
        let text = match kernel.as_str() {
            "host" => on_host(&binary, tests)?,
            kernel => match prepare(&directory, kernel, &system) {
                Ok((image, initramfs)) => guest::boot(&image, &initramfs, TESTS_SECONDS)?,
                Err(reason) => {
                    println!("skipped: {kernel}: {reason}");
                    continue;
                }
            },
        };
        let log = directory.join(format!("{kernel}.log"));
        fs::write(&log, &text).map_err(|e| format!("`{}`: {e}", log.display()))?;
        let run = Run::read(kernel, &text);
        println!("{kernel}: {} (`{}`)", run.summary(), log.display());
        runs.push(run);
    }
    if runs.is_empty() {
        return Err("no kernel could be had".to_owned());
    }
    print!("{}", report::table(&runs));
    let failed: Vec<&str> = runs.iter().filter(|run| !run.passed()).map(Run::kernel).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("tests failed on {}", failed.join(", "))) }
}

/// Tries objects on another kernel, as [`corpus`](crate::corpus) does on this one; `libbpf` is the program that asks libbpf.
pub(crate) fn corpus(kernel: &str, objects: &[PathBuf], libbpf: Option<PathBuf>) -> Result<String, String> {
    let directory = directory()?;
    // Without optimisation, and emulated, it would take half an hour.
    let cargo = ["build", "--quiet", "--release", "--package", "xtask"];
    output(Command::new(env!("CARGO")).args(cargo).current_dir(crate::root()))?;
    let binary = crate::root().join("target/release/xtask");
    let files: Vec<(&Path, String)> = objects.iter().map(|object| (&**object, in_guest(object))).collect();
    let others = libbpf.into_iter().map(|program| (program, "bin/libbpf".to_owned())).collect();
    let arguments = ["corpus", "/objects", "--libbpf-attach"];
    let system = guest::file_system(&binary, &arguments, others, &files)?;
    let (image, initramfs) = prepare(&directory, kernel, &system)?;
    guest::boot(&image, &initramfs, TESTS_SECONDS + objects.len() * OBJECT_SECONDS)
}

/// Runs a fuzz target in a guest, and shows what it writes while it does.
fn fuzz(kernels: &[String], arguments: &[String]) -> Result<(), String> {
    let [kernel] = kernels else { return Err("a fuzz target runs on one kernel".to_owned()) };
    let directory = directory()?;
    let binary = crate::fuzz::build()?;
    let (arguments, files): (Vec<String>, Vec<_>) = arguments.iter().map(|word| taken_along(word)).unzip();
    let files: Vec<(&Path, String)> = files.into_iter().flatten().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let system = guest::file_system(&binary, &arguments, Vec::new(), &files)?;
    let (image, initramfs) = prepare(&directory, kernel, &system)?;
    let log = directory.join(format!("{kernel}.fuzz.log"));
    println!("output goes to `{}`", log.display());
    let text = guest::boot_into(&image, &initramfs, FUZZ_SECONDS, &log)?;
    print!("{text}");
    match report::ended_well(&text) {
        true => Ok(()),
        false => Err(format!("the fuzz target failed in the guest (`{}`)", log.display())),
    }
}

/// A word of a command line in the guest, and the file that it names here.
fn taken_along(word: &str) -> (String, Option<(&Path, String)>) {
    let path = Path::new(word);
    if !path.is_file() {
        return (word.to_owned(), None);
    }
    let inside = in_guest(path);
    (format!("/{inside}"), Some((path, inside)))
}

/// Where a file of this machine is in the guest.
fn in_guest(file: &Path) -> String {
    format!("objects/{}", file.file_name().unwrap_or_default().to_string_lossy())
}

/// Where kernels, what they start from and what they said are kept.
fn directory() -> Result<PathBuf, String> {
    let directory = crate::root().join("target/vm");
    fs::create_dir_all(&directory).map_err(|e| format!("`{}`: {e}", directory.display()))?;
    Ok(directory)
}

/// Builds the tests of the kernel runtime; answers the binary.
fn build_tests() -> Result<PathBuf, String> {
    let cargo = ["test", "-q", "-p", "skep-kernel", "--test", "it", "--no-run", "--message-format=json"];
    let text = output(Command::new(env!("CARGO")).args(cargo).current_dir(crate::root()))?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| "cargo names no test binary".to_owned())
}

/// Runs the tests here, and ends as a guest does.
fn on_host(binary: &Path, tests: &[String]) -> Result<String, String> {
    let output = Command::new(binary)
        .args(tests)
        .args(guest::TEST_ARGUMENTS)
        .current_dir(crate::root())
        .output()
        .map_err(|e| format!("cannot run `{}`: {e}", binary.display()))?;
    let code = output.status.code().unwrap_or(-1);
    Ok(format!("{}\n{}{code}\n", String::from_utf8_lossy(&output.stdout), guest::VERDICT))
}

/// Has a kernel, and what it starts from, ready.
fn prepare(directory: &Path, kernel: &str, system: &[u8]) -> Result<(PathBuf, PathBuf), String> {
    let package = package::fetch(directory, kernel)?;
    let initramfs = directory.join(format!("{kernel}.initramfs"));
    // Archives behind one another are unpacked one over the other.
    let archive = [system, &guest::modules(&package.modules)?].concat();
    fs::write(&initramfs, archive).map_err(|e| format!("`{}`: {e}", initramfs.display()))?;
    Ok((package.image, initramfs))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("`{}`: {e}", path.display()))
}

/// What a command writes; it has to succeed.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("cannot run `{name}`: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("`{name}` failed: {}", said.trim_end()))
}
