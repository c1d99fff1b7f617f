//! The first stage: a file's bytes, or a source compiled to them, read as an object.

use std::fs;
use std::path::Path;

use skep_btf::cdump;
use skep_cc::{Options, Vmlinux};
use skep_obj::Object;

use crate::{Error, Result, host};

/// What opening a file gave.
#[derive(Debug)]
pub struct Opened {
    /// The object.
    pub object: Object,
    /// What the compiler warned of, for a source; empty otherwise.
    pub warnings: String,
}

/// Opens an object, or compiles a C source (`.c`) with the local clang and opens what it gives.
pub fn open(path: &Path) -> Result<Opened> {
    let is_source = path.extension().is_some_and(|extension| extension == "c");
    let (bytes, warnings) = if is_source { compile(path)? } else { (read(path)?, String::new()) };
    let object = Object::read(&bytes, &path.display().to_string())?;
    Ok(Opened { object, warnings })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::file(path, e))
}

/// Compiles against this machine's kernel types, or the bundled ones where it shows none.
fn compile(path: &Path) -> Result<(Vec<u8>, String)> {
    fs::metadata(path).map_err(|e| Error::file(path, e))?;
    let vmlinux = match host::kernel_btf() {
        Some(btf) => Vmlinux::Text(cdump::header(&btf, &cdump::Options::default())?),
        None => Vmlinux::Bundled,
    };
    let compiled = skep_cc::compile(path, &Options { vmlinux, ..Options::default() })?;
    Ok((compiled.object, compiled.warnings))
}
