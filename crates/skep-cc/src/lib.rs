//! From BPF C to an object: the stage before everything else, for sources.
//!
//! Takes a `.bpf.c`, gives the bytes of an ELF object with BTF, as clang wrote them. clang is all that must be installed:
//! the headers of libbpf (`bpf/bpf_helpers.h` and the others) and a small `vmlinux.h` are part of this crate, the
//! declarations of helpers are generated from [`skep_isa::helper::ALL`]. A `vmlinux.h` with all the types of a kernel is
//! the caller's to make; nothing of the host is read here but where clang is.
#![forbid(unsafe_code)]

pub mod clang;
pub mod error;
pub mod headers;

mod depfile;

use std::fs;
use std::path::{Path, PathBuf};

pub use clang::{Arch, Clang};
pub use error::{Error, ErrorKind, Result};
pub use headers::Vmlinux;

/// How a source is compiled.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What `#include <vmlinux.h>` finds, if neither the source's directory nor `includes` has one.
    pub vmlinux: Vmlinux,
    /// Directories searched before the bundled headers.
    pub includes: Vec<PathBuf>,
    /// Macros, as `NAME` or `NAME=VALUE`.
    pub defines: Vec<String>,
    /// Whose registers `PT_REGS_PARM1` and its like mean. By default, this machine's.
    pub arch: Option<Arch>,
    /// Makes the object the same wherever the source tree lies: clang runs in this directory, `source` and `includes`
    /// are taken relative to it, and no other path gets into the object. Without it, line information has whole paths.
    pub source_root: Option<PathBuf>,
}

/// What a compilation gives.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The ELF object.
    pub object: Vec<u8>,
    /// Every file it was made from, bundled headers apart: the source first, then headers as they were first included.
    pub dependencies: Vec<PathBuf>,
    /// clang's warnings, as it wrote them; empty if there are none.
    pub warnings: String,
}

/// Compiles a source with the clang that [`Clang::find`] finds.
pub fn compile(source: &Path, options: &Options) -> Result<Compiled> {
    compile_with(&Clang::find()?, source, options)
}

/// Compiles a source with a certain clang.
pub fn compile_with(clang: &Clang, source: &Path, options: &Options) -> Result<Compiled> {
    let scratch = tempfile::Builder::new()
        .prefix("skep-cc-")
        .tempdir()
        .map_err(|e| Error::io("cannot make a temporary directory", e))?;
    let bundled = scratch.path().join("include");
    headers::write(&bundled, &options.vmlinux)?;
    let job = clang::Job {
        source,
        options,
        bundled: &bundled,
        object: &scratch.path().join("out.o"),
        depfile: &scratch.path().join("out.d"),
    };
    let warnings = clang.run(&job)?;
    Ok(Compiled {
        object: fs::read(job.object).map_err(|e| Error::io("cannot read what clang wrote", e))?,
        dependencies: depfile::read(job.depfile, scratch.path())?,
        warnings,
    })
}
