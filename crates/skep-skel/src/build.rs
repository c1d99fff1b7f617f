//! Skeletons from a build script: C source → object → Rust module, and what cargo is to watch.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), skep_skel::build::Error> {
//!     skep_skel::build::Skeleton::new("src/execmon.bpf.c").generate()
//! }
//! ```
//!
//! The module is then included where it is used:
//!
//! ```ignore
//! mod execmon {
//!     include!(concat!(env!("OUT_DIR"), "/execmon.rs"));
//! }
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use skep_btf::{Btf, cdump};
use skep_cc::{Options, Vmlinux};
use skep_obj::Object;

/// Where Linux shows its own types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// A skeleton to be made of a C source.
#[derive(Clone, Debug)]
pub struct Skeleton {
    source: PathBuf,
    name: Option<String>,
    options: Options,
    is_vmlinux_set: bool,
}

/// Why there is no skeleton.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// clang is not there, or does not take the source.
    Compile(skep_cc::Error),
    /// What clang made cannot be read.
    Object(skep_obj::Error),
    /// Its types cannot be written as Rust, or the kernel's as C.
    Types(skep_btf::Error),
    /// The module cannot be written.
    Write(PathBuf, std::io::Error),
    /// This is no build script: there is no `OUT_DIR`.
    NoOutDir,
}

impl Skeleton {
    /// Of this source, a path from the package's directory.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), name: None, options: Options::default(), is_vmlinux_set: false }
    }

    /// Gives the module another name than the source's.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// A directory in which headers are looked for.
    #[must_use]
    pub fn include(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.includes.push(directory.into());
        self
    }

    /// A macro, as `NAME` or `NAME=VALUE`.
    #[must_use]
    pub fn define(mut self, definition: &str) -> Self {
        self.options.defines.push(definition.to_owned());
        self
    }

    /// What `#include <vmlinux.h>` finds; otherwise the running kernel's types, or bundled ones where it shows none.
    #[must_use]
    pub fn vmlinux(mut self, vmlinux: Vmlinux) -> Self {
        self.options.vmlinux = vmlinux;
        self.is_vmlinux_set = true;
        self
    }

    /// Compiles the source, writes `OUT_DIR/NAME.rs`, and tells cargo what to watch; clang's warnings are cargo's.
    pub fn generate(self) -> Result<(), Error> {
        let directory = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(Error::NoOutDir)?;
        self.generate_in(&directory).map(|warnings| {
            warnings.lines().for_each(|line| println!("cargo::warning={line}"));
        })
    }

    /// The same into another directory; answers clang's warnings.
    pub fn generate_in(mut self, directory: &Path) -> Result<String, Error> {
        // Known to cargo before anything fails, so that a corrected source is built again.
        println!("cargo::rerun-if-changed={}", self.source.display());
        if !self.is_vmlinux_set {
            self.options.vmlinux = host_types()?;
        }
        let compiled = skep_cc::compile(&self.source, &self.options).map_err(Error::Compile)?;
        for dependency in &compiled.dependencies {
            println!("cargo::rerun-if-changed={}", dependency.display());
        }
        let file = self.source.with_extension("o").display().to_string();
        let name = self.name.unwrap_or_else(|| crate::rust::name_of_file(&file));
        let object = Object::read(&compiled.object, &file).map_err(Error::Object)?;
        let text = crate::rust::skeleton(&object, &compiled.object, &name).map_err(Error::Types)?;
        let path = directory.join(format!("{}.rs", name.trim_start_matches("r#")));
        fs::write(&path, text).map_err(|e| Error::Write(path, e))?;
        Ok(compiled.warnings)
    }
}

/// The running kernel's types as a header.
fn host_types() -> Result<Vmlinux, Error> {
    let Some(btf) = fs::read(KERNEL_BTF).ok().and_then(|bytes| Btf::parse(Arc::new(bytes)).ok()) else {
        return Ok(Vmlinux::Bundled);
    };
    cdump::header(&btf, &cdump::Options::default()).map(Vmlinux::Text).map_err(Error::Types)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compile(error) => error.fmt(f),
            Self::Object(error) => error.fmt(f),
            Self::Types(error) => error.fmt(f),
            Self::Write(path, error) => write!(f, "`{}`: {error}", path.display()),
            Self::NoOutDir => {
                f.write_str("`OUT_DIR` is not set: call this from a build script, or use `generate_in`")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write(_, error) => Some(error),
            _ => None,
        }
    }
}
