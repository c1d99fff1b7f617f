//! Sources through clang: what the bundled headers declare compiles, to the instructions it should, and what is wrong is
//! said as clang says it. Without clang these tests skip and say so.

mod compile;
mod headers;

use std::fs;
use std::path::PathBuf;

use skep_cc::{Clang, Compiled, Error, Options};

/// The local clang; without it, says that the test is skipped.
fn clang() -> Option<Clang> {
    let found = Clang::find();
    if let Err(error) = &found {
        println!("skipped: {error}");
    }
    found.ok()
}

/// A source in a directory of its own.
struct Source {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Source {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("test.bpf.c");
        fs::write(&path, text).expect("a file in it");
        Self { _directory: directory, path }
    }

    fn compile(&self, clang: &Clang, options: &Options) -> Result<Compiled, Error> {
        skep_cc::compile_with(clang, &self.path, options)
    }
}
