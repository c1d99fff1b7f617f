//! Links the binary together with its C library, at a place of its own.
//!
//! A short command takes as long as it takes to start. Finding and reading shared libraries, and computing the seventeen
//! thousand addresses in the tables of a binary that can lie anywhere, is half of that. One file also runs on machines
//! with another C library than where it was built. Where the archives for it are missing, it is linked as usual.
//!
//! What is built to be used also has the functions that short commands run in one place, as `first.ld` says, which
//! `cargo xtask first` writes: a page that is touched takes memory, with those around it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Rust's library names on the linker's command line, and the archive that has it.
const LIBRARIES: [(&str, &str); 3] = [("c", "libc.a"), ("m", "libm.a"), ("gcc_s", "libgcc_eh.a")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(directory) = env::var_os("OUT_DIR").map(PathBuf::from) else { return };
    let is = |variable: &str, wanted: &str| env::var(variable).is_ok_and(|value| value == wanted);
    let native = env::var_os("TARGET") == env::var_os("HOST");
    if !native || !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    let archives = LIBRARIES.map(|(name, archive)| find(archive).map(|path| (name, path)));
    // The linker is told to look for shared libraries: scripts in their place lead it to the archives.
    for archive in archives {
        let Some((name, path)) = archive else { return };
        let script = format!("GROUP({})\n", path.display());
        if fs::write(directory.join(format!("lib{name}.so")), script).is_err() {
            return;
        }
    }
    println!("cargo::rustc-link-arg-bins=-L{}", directory.display());
    println!("cargo::rustc-link-arg-bins=-static");
    println!("cargo::rustc-link-arg-bins=-no-pie");
    if is("PROFILE", "release") {
        println!("cargo::rerun-if-changed=first.ld");
        let here = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/first.ld");
    }
}

/// Where the compiler has an archive.
fn find(archive: &str) -> Option<PathBuf> {
    let output = Command::new("cc").arg(format!("-print-file-name={archive}")).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(Path::new(path.trim()).to_owned()).filter(|path| path.is_absolute() && path.is_file())
}
