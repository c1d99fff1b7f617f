//! What is compared, compiled with clang.

use std::path::{Path, PathBuf};
use std::process::Command;

use skep_isa::Insn;
use skep_obj::{Linked, Object, Target};
use tempfile::TempDir;

/// A computation in all forms.
pub(crate) struct Built {
    /// Keeps the files.
    _directory: TempDir,
    pub(crate) native: PathBuf,
    pub(crate) vectorised: PathBuf,
    /// With a global variable as memory.
    pub(crate) global: Linked,
    /// With a packet as memory; not of computations that call what only user space has.
    pub(crate) packet: Option<Linked>,
    /// With the context as memory, which the verifier does not accept.
    pub(crate) plain: Linked,
}

impl Built {
    pub(crate) fn insns_of_global(&self) -> &[Insn] {
        &self.global.programs[0].insns
    }
}

pub(crate) fn build(name: &str) -> Result<Built, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let shared = |name_of: &str, flags: &[&str]| {
        let out = directory.path().join(name_of);
        let all: Vec<&str> = ["-O2", "-shared", "-fPIC"].iter().chain(flags).copied().collect();
        clang(&all, name, "native.c", &out).map(|()| out)
    };
    let object = |source: &str| {
        let out = directory.path().join(source).with_extension("o");
        clang(&["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c"], name, source, &out)?;
        let bytes = std::fs::read(&out).map_err(|e| e.to_string())?;
        let object = Object::read(&bytes, source).map_err(|e| e.to_string())?;
        object.link(&Target::default()).map_err(|e| e.to_string())
    };
    Ok(Built {
        native: shared("native.so", &["-fno-vectorize", "-fno-slp-vectorize"])?,
        vectorised: shared("vectorised.so", &["-march=native"])?,
        global: object("global.c")?,
        packet: (name != "helpers").then(|| object("xdp.c")).transpose()?,
        plain: object("plain.c")?,
        _directory: directory,
    })
}

fn clang(flags: &[&str], kernel: &str, source: &str, out: &Path) -> Result<(), String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/vm");
    let output = Command::new("clang")
        .args(flags)
        .arg(format!("-DKERNEL=\"{kernel}.h\""))
        .arg(sources.join(source))
        .arg("-o")
        .arg(out)
        .output()
        .map_err(|e| format!("cannot run `clang`: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
