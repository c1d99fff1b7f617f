//! The local clang: where it is, how it is called, what it says.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Options;
use crate::error::{Error, Result};
use crate::headers::Vmlinux;

/// An architecture as sources know it, `__TARGET_ARCH_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64.
    X86,
    /// AArch64.
    Arm64,
    /// 32-bit Arm.
    Arm,
    /// 64-bit RISC-V.
    Riscv,
    /// z/Architecture.
    S390,
    /// 64-bit POWER.
    Powerpc,
    /// 64-bit LoongArch.
    Loongarch,
}

/// Every architecture: what Rust calls it, what sources do.
const ARCHS: &[(Arch, &str, &str)] = &[
    (Arch::X86, "x86_64", "x86"),
    (Arch::Arm64, "aarch64", "arm64"),
    (Arch::Arm, "arm", "arm"),
    (Arch::Riscv, "riscv64", "riscv"),
    (Arch::S390, "s390x", "s390"),
    (Arch::Powerpc, "powerpc64", "powerpc"),
    (Arch::Loongarch, "loongarch64", "loongarch"),
];

impl Arch {
    /// This machine's, if it is one of these.
    pub fn host() -> Option<Self> {
        ARCHS.iter().find(|(_, rust, _)| *rust == std::env::consts::ARCH).map(|(arch, ..)| *arch)
    }

    /// The end of `__TARGET_ARCH_…`.
    pub fn name(self) -> &'static str {
        ARCHS.iter().find(|(arch, ..)| *arch == self).expect("invariant: the table has every architecture").2
    }
}

/// A clang that starts.
#[derive(Clone, Debug)]
pub struct Clang {
    path: PathBuf,
    version: String,
}

impl Clang {
    /// The clang of the environment variable `CLANG`; without it `clang` or else the newest `clang-NN` in `PATH`.
    pub fn find() -> Result<Self> {
        match std::env::var_os("CLANG").filter(|name| !name.is_empty()) {
            Some(name) => {
                let shown = name.to_string_lossy().into_owned();
                Self::at(name)
                    .map_err(|e| Error::no_clang(&format!("cannot run `{shown}`, which CLANG names: {e}")))
            }
            None => Self::find_in(&std::env::var_os("PATH").unwrap_or_default()),
        }
    }

    /// `clang`, or else the newest `clang-NN`, in the directories of a `PATH`.
    pub fn find_in(path: &OsStr) -> Result<Self> {
        let found = candidates(path).into_iter().find_map(|program| Self::at(program).ok());
        found.ok_or_else(|| Error::no_clang("there is no `clang` in PATH"))
    }

    /// The clang of a certain major version: `clang` if it is that, else `clang-NN`.
    pub fn find_major(major: u32) -> Option<Self> {
        let names = ["clang".to_owned(), format!("clang-{major}")];
        names.iter().filter_map(|name| Self::at(name).ok()).find(|clang| clang.major() == Some(major))
    }

    /// A clang by name or path. Fails if it does not start.
    pub fn at(program: impl Into<PathBuf>) -> io::Result<Self> {
        let path = program.into();
        let output = Command::new(&path).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Self { path, version: text.lines().next().unwrap_or_default().trim().to_owned() })
    }

    /// The program as it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first line of what it says of itself, such as `Debian clang version 14.0.6`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, if it says one.
    pub fn major(&self) -> Option<u32> {
        let (_, number) = self.version.split_once("clang version ")?;
        number.split(['.', ' ', '-']).next()?.parse().ok()
    }

    /// Compiles; answers clang's warnings.
    pub(crate) fn run(&self, job: &Job<'_>) -> Result<String> {
        let mut command = Command::new(&self.path);
        command.args(job.args());
        if let Some(root) = &job.options.source_root {
            command.current_dir(root);
        }
        let output =
            command.output().map_err(|e| Error::io(format!("cannot run `{}`", self.path.display()), e))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(said) } else { Err(Error::rejected(job.source, &said)) }
    }
}

/// BTF comes with debug information; CO-RE needs optimisation; v3 is what kernels since 5.1 run. `.llvm_addrsig` would be
/// a section for linkers of native code.
const FLAGS: &[&str] = &["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-fno-addrsig"];

/// What clang is to do.
pub(crate) struct Job<'a> {
    pub(crate) source: &'a Path,
    pub(crate) options: &'a Options,
    /// Where the bundled headers were written.
    pub(crate) bundled: &'a Path,
    pub(crate) object: &'a Path,
    pub(crate) depfile: &'a Path,
}

impl Job<'_> {
    fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
        if let Some(arch) = self.options.arch.or_else(Arch::host) {
            args.push(format!("-D__TARGET_ARCH_{}", arch.name()).into());
        }
        args.extend(self.options.defines.iter().map(|define| format!("-D{define}").into()));
        args.extend(self.include_dirs().flat_map(|directory| pair("-I", directory)));
        args.extend(multiarch_dir().iter().flat_map(|directory| pair("-idirafter", directory)));
        if self.options.source_root.is_some() {
            args.push("-fdebug-compilation-dir=.".into());
            args.push(prefix_map(self.bundled, "include"));
        }
        args.push("-MD".into());
        args.extend(pair("-MF", self.depfile));
        args.extend(pair("-o", self.object));
        args.extend(pair("-c", self.source));
        args
    }

    fn include_dirs(&self) -> impl Iterator<Item = &Path> {
        let vmlinux = match &self.options.vmlinux {
            Vmlinux::Directory(directory) => Some(directory.as_path()),
            Vmlinux::Bundled | Vmlinux::Text(_) => None,
        };
        self.options.includes.iter().map(PathBuf::as_path).chain(vmlinux).chain([self.bundled])
    }
}

/// An option and the path that follows it.
fn pair(option: &str, path: &Path) -> [OsString; 2] {
    [option.into(), path.into()]
}

/// `-fdebug-prefix-map=FROM=TO`
fn prefix_map(from: &Path, to: &str) -> OsString {
    let mut option = OsString::from("-fdebug-prefix-map=");
    option.push(from);
    option.push("=");
    option.push(to);
    option
}

/// Debian keeps `asm/types.h`, which `linux/bpf.h` needs, in a directory that clang searches for the host's own target
/// only.
fn multiarch_dir() -> Option<PathBuf> {
    let directory = PathBuf::from(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    directory.is_dir().then_some(directory)
}

/// `clang` of every directory, then `clang-NN`, newest first.
fn candidates(path: &OsStr) -> Vec<PathBuf> {
    let directories: Vec<PathBuf> =
        std::env::split_paths(path).filter(|directory| !directory.as_os_str().is_empty()).collect();
    let plain = directories.iter().map(|directory| directory.join("clang"));
    let mut versioned: Vec<(u32, PathBuf)> =
        directories.iter().flat_map(|directory| versioned_in(directory)).collect();
    versioned.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    plain.chain(versioned.into_iter().map(|(_, path)| path)).collect()
}

/// The `clang-NN` of a directory. One that cannot be read has none.
fn versioned_in(directory: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.strip_prefix("clang-")?.parse().ok()?;
            Some((major, entry.path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(version: &str) -> Clang {
        Clang { path: "clang".into(), version: version.into() }
    }

    #[test]
    fn versions_are_read_however_distributions_write_them() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(saying(text).major(), expected, "{text}");
        check("Debian clang version 14.0.6", Some(14));
        check("Ubuntu clang version 18.1.3 (1ubuntu1)", Some(18));
        check("clang version 21.1.0-rc2 (Fedora 21.1.0-1.fc43)", Some(21));
        check("clang version 20", Some(20));
        check("cc (Debian 12.2.0-14) 12.2.0", None);
        check("", None);
    }

    #[test]
    fn the_newest_versioned_clang_serves_where_there_is_no_plain_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["clang-9", "clang-14", "clang-19", "clang-format", "clang-cpp-14"] {
            std::fs::write(directory.path().join(name), "").expect("a file in it");
        }
        let names: Vec<OsString> = candidates(directory.path().as_os_str())
            .iter()
            .filter_map(|path| path.file_name())
            .map(OsStr::to_owned)
            .collect();
        assert_eq!(names, ["clang", "clang-19", "clang-14", "clang-9"]);
    }

    #[test]
    fn a_missing_clang_is_named_with_the_package_that_has_it() {
        let error = Clang::find_in(OsStr::new("/nonexistent")).expect_err("there is nothing in there");
        assert_eq!(error.kind(), crate::ErrorKind::NoClang);
        for part in ["apt install clang", "dnf install clang", "pacman -S clang", "CLANG"] {
            assert!(error.to_string().contains(part), "no `{part}` in: {error}");
        }
    }
}
