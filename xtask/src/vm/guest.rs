//! The guest: what it starts from, what it does, and what it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cpio, output, read};

/// What tests call, and the guest before them; those that this machine does not have are left out.
const PROGRAMS: &[&str] = &[
    "sh", "mount", "umount", "cat", "true", "sleep", "ip", "unshare", "nsenter", "mkdir", "insmod", "uname",
    "id", "grep", "ls",
];

/// How the tests are run, wherever they are: with what they say when they skip.
pub(super) const TEST_ARGUMENTS: &[&str] = &["--test-threads=2", "--show-output"];

/// What stands before the tests' exit code.
pub(super) const VERDICT: &str = "skep-vm: exit ";

/// Without string instructions that the kernel prefers where they are fast: emulated, they take a byte at a time.
const CPU: &str = "max,-erms,-fsrm";

/// What the guest does; the line with its verdict ends the run. tracefs is not mounted: that has to work.
const INIT: &str = "#!/bin/sh
export PATH=/bin HOME=/ RUST_BACKTRACE=0 SKEP_CORPUS_LIBBPF=/bin/libbpf
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
for module in $(cat /modules); do insmod $module; done
ip link set lo up
cd /
uname -r
/tests $(cat /arguments)
echo \"skep-vm: exit $?\"
echo o > /proc/sysrq-trigger
sleep 60
";

/// The archive that every guest starts from: what it runs and with which arguments, and other programs and files by their
/// names in the guest.
pub(super) fn file_system(
    tests: &Path,
    arguments: &[&str],
    others: Vec<(PathBuf, String)>,
    files: &[(&Path, String)],
) -> Result<Vec<u8>, String> {
    let mut archive = cpio::Archive::new();
    for directory in ["proc", "sys", "dev", "tmp", "bin", "etc", "objects"] {
        archive.directory(directory);
    }
    let mut programs = vec![(tests.to_owned(), "tests".to_owned())];
    programs.extend(PROGRAMS.iter().filter_map(|name| Some((find(name)?, format!("bin/{name}")))));
    programs.extend(others);
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
    for (file, name) in files {
        archive.executable(name, &read(file)?);
    }
    archive.executable("arguments", arguments.join(" ").as_bytes());
    archive.executable("init", INIT.as_bytes());
    Ok(archive.finish())
}

/// The archive of a kernel's modules, and the order to load them in.
pub(super) fn modules(files: &[PathBuf]) -> Result<Vec<u8>, String> {
    let mut archive = cpio::Archive::new();
    let mut names = Vec::new();
    for file in files {
        let name = format!("modules.d/{}", file.file_name().unwrap_or_default().to_string_lossy());
        archive.executable(&name, &read(file)?);
        names.push(format!("/{name}\n"));
    }
    archive.executable("modules", names.concat().as_bytes());
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

/// Runs a guest, for so many seconds at most; answers what it wrote.
pub(super) fn boot(kernel: &Path, initramfs: &Path, seconds: usize) -> Result<String, String> {
    output(&mut qemu(kernel, initramfs, seconds))
}

/// The same, and what it writes can be seen in a file while it runs.
pub(super) fn boot_into(
    kernel: &Path,
    initramfs: &Path,
    seconds: usize,
    log: &Path,
) -> Result<String, String> {
    let explain = |e| format!("`{}`: {e}", log.display());
    let file = fs::File::create(log).map_err(explain)?;
    output(qemu(kernel, initramfs, seconds).stdout(file))?;
    Ok(String::from_utf8_lossy(&read(log)?).into_owned())
}

/// BPF is made one of the guest's security modules, which Debian leaves to the command line.
fn qemu(kernel: &Path, initramfs: &Path, seconds: usize) -> Command {
    let mut qemu = Command::new("timeout");
    qemu.arg(seconds.to_string())
        .args(["qemu-system-x86_64", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"])
        .args(["-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "2", "-m", "1G"])
        .args(["-append", "console=ttyS0 quiet panic=-1 lsm=capability,bpf", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs);
    qemu
}
