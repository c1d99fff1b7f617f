//! `cargo xtask vm KERNEL… [-- TEST…]`: runs the kernel tests on Debian's cloud kernels, in qemu.
//!
//! A kernel is a package (`linux-image-6.1.0-54-cloud-amd64`) or a version (`6.1`), of which the newest package is taken.
//! Packages are downloaded and unpacked below `target/vm`, not installed. The guest's file system is an initramfs of the
//! test binary and the programs that tests call, with the libraries of all of them. Emulation is in software, so this
//! works wherever qemu does.

mod cpio;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What tests call; those that this machine does not have are left out.
const PROGRAMS: &[&str] =
    &["sh", "mount", "cat", "true", "sleep", "ip", "unshare", "mkdir", "poweroff", "uname", "id", "grep"];

/// What the guest does; the line with its verdict ends the run.
const INIT: &str = "#!/bin/sh
export PATH=/bin HOME=/ RUST_BACKTRACE=0
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
mount -t tracefs none /sys/kernel/tracing
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
cd /
uname -r
/tests $(cat /arguments) --test-threads=2
echo \"skep-vm: exit $?\"
echo o > /proc/sysrq-trigger
sleep 60
";

/// Boots every kernel that the arguments name.
pub(crate) fn vm(args: &[String]) -> Result<(), String> {
    let (kernels, tests) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    if kernels.is_empty() {
        return Err("usage: cargo xtask vm KERNEL… [-- TEST…], as in `cargo xtask vm 6.1 6.12`".to_owned());
    }
    let directory = crate::root().join("target/vm");
    fs::create_dir_all(&directory).map_err(|e| format!("`{}`: {e}", directory.display()))?;
    let initramfs = directory.join("initramfs");
    let archive = file_system(&build_tests()?, tests)?;
    fs::write(&initramfs, archive).map_err(|e| format!("`{}`: {e}", initramfs.display()))?;
    let mut failed = Vec::new();
    for kernel in kernels {
        let image = image(&directory, kernel)?;
        println!("{kernel}: {}", image.display());
        if !boot(&image, &initramfs)? {
            failed.push(kernel.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("tests failed on {}", failed.join(", "))) }
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

/// The kernel image of a package, downloaded where it is not there yet.
fn image(directory: &Path, kernel: &str) -> Result<PathBuf, String> {
    let package = package(kernel)?;
    let unpacked = directory.join(&package);
    if !unpacked.exists() {
        output(Command::new("apt-get").args(["download", &package]).current_dir(directory))?;
        let file = named(directory, &format!("{package}_"))?;
        output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&unpacked))?;
    }
    named(&unpacked.join("boot"), "vmlinuz-")
}

/// The newest package of a version; a package's name stands for itself.
fn package(kernel: &str) -> Result<String, String> {
    if kernel.starts_with("linux-image-") {
        return Ok(kernel.to_owned());
    }
    let pattern = format!("^linux-image-{}[.][0-9].*-cloud-amd64$", kernel.replace('.', "[.]"));
    let text = output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let numbers = |name: &&str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let newest = names.max_by_key(numbers).map(str::to_owned);
    newest.ok_or_else(|| format!("apt knows no cloud kernel `{kernel}`"))
}

fn named(directory: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(directory).map_err(|e| format!("`{}`: {e}", directory.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .ok_or_else(|| format!("`{}` has no `{prefix}*`", directory.display()))
}

/// The archive that the guest starts from.
fn file_system(tests: &Path, arguments: &[String]) -> Result<Vec<u8>, String> {
    let mut archive = cpio::Archive::new();
    for directory in ["proc", "sys", "dev", "tmp", "bin", "etc"] {
        archive.directory(directory);
    }
    let mut programs = vec![(tests.to_owned(), "tests".to_owned())];
    programs.extend(PROGRAMS.iter().filter_map(|name| Some((find(name)?, format!("bin/{name}")))));
    let mut libraries = BTreeSet::new();
    for (file, name) in &programs {
        libraries.extend(libraries_of(file)?);
        archive.executable(name, &read(file)?);
    }
    for library in libraries {
        archive.executable(library.trim_start_matches('/'), &read(Path::new(&library))?);
    }
    if let Ok(cache) = fs::read("/etc/ld.so.cache") {
        archive.executable("etc/ld.so.cache", &cache);
    }
    archive.executable("arguments", arguments.join(" ").as_bytes());
    archive.executable("init", INIT.as_bytes());
    Ok(archive.finish())
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// The libraries that the dynamic linker loads for a program, itself included.
fn libraries_of(program: &Path) -> Result<Vec<String>, String> {
    let text = output(Command::new("ldd").arg(program))?;
    let paths =
        text.lines().filter_map(|line| line.split_ascii_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(str::to_owned).collect())
}

/// Runs a guest; did its tests pass?
fn boot(kernel: &Path, initramfs: &Path) -> Result<bool, String> {
    let mut qemu = Command::new("timeout");
    qemu.args(["600", "qemu-system-x86_64", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1G"])
        .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs);
    let text = output(&mut qemu)?;
    print!("{text}");
    Ok(text.contains("skep-vm: exit 0"))
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
