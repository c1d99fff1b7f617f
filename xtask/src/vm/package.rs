//! Debian's packages of kernels: found, downloaded and unpacked, but not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::output;

/// Modules that tests and programs of the corpus use, beside those that these need.
const MODULES: &[&str] = &[
    "veth",
    "netkit",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "cls_matchall",
    "act_bpf",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "tcp_dctcp",
    "btrfs",
    "md_mod",
    "nfs",
    "xfs",
];

/// An unpacked kernel.
pub(super) struct Package {
    pub(super) image: PathBuf,
    /// Modules in the order in which they can be loaded.
    pub(super) modules: Vec<PathBuf>,
}

/// The package of a kernel, downloaded where it is not there yet.
pub(super) fn fetch(directory: &Path, kernel: &str) -> Result<Package, String> {
    let package = name(kernel)?;
    let unpacked = directory.join(&package);
    if !unpacked.exists() {
        output(Command::new("apt-get").args(["download", &package]).current_dir(directory))?;
        let file = named(directory, &format!("{package}_"))?;
        output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&unpacked))?;
    }
    let image = named(&unpacked.join("boot"), "vmlinuz-")?;
    Ok(Package { image, modules: modules(&unpacked)? })
}

/// The newest package of a version; a package's name stands for itself.
fn name(kernel: &str) -> Result<String, String> {
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

/// The files of the modules that tests use; what is built in, or not there, is left out.
fn modules(unpacked: &Path) -> Result<Vec<PathBuf>, String> {
    let versions = named(&unpacked.join("lib/modules"), "")?;
    let version = versions.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !versions.join("modules.dep").exists() {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut depmod = Command::new("depmod");
        output(depmod.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-b").arg(unpacked).arg(&version))?;
    }
    let text = fs::read_to_string(versions.join("modules.dep")).map_err(|e| format!("`modules.dep`: {e}"))?;
    Ok(in_order(&text, MODULES).into_iter().map(|file| versions.join(file)).collect())
}

/// Modules with what they need before them. A line of `modules.dep` has a file and, last first, the files that it needs.
fn in_order<'a>(dependencies: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut files: Vec<&str> = Vec::new();
    for line in dependencies.lines() {
        let Some((file, needs)) = line.split_once(':') else { continue };
        let name = file.rsplit('/').next().unwrap_or(file).split('.').next().unwrap_or_default();
        if wanted.iter().any(|wanted| name.replace('-', "_") == *wanted) {
            for file in needs.split_ascii_whitespace().rev().chain([file]) {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn what_a_module_needs_comes_first() {
        let dependencies = "k/a.ko.xz: k/c.ko.xz k/b.ko.xz\nk/b.ko.xz:\nk/c.ko.xz: k/b.ko.xz\nk/x-y.ko: k/c.ko.xz k/b.ko.xz\nk/z.ko:\n";
        assert_eq!(
            in_order(dependencies, &["a", "x_y"]),
            ["k/b.ko.xz", "k/c.ko.xz", "k/a.ko.xz", "k/x-y.ko"]
        );
        assert!(in_order(dependencies, &["nothing"]).is_empty());
    }
}
