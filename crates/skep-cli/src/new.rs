//! `skep new`: a project with a BPF program, its skeleton, and a program that uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use skep::{Error, Result};

use crate::args::NewArgs;
use crate::term;

/// What the project consists of: where a file goes, and its text, in which `@WORDS@` are replaced.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../templates/Cargo.toml.in")),
    ("build.rs", include_str!("../templates/build.rs.in")),
    ("src/main.rs", include_str!("../templates/main.rs.in")),
    ("src/@IDENT@.bpf.c", include_str!("../templates/program.bpf.c.in")),
    (".gitignore", "/target\n"),
];

/// Where this binary's own libraries were built from.
const BUILT_FROM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Writes the project; nothing is written where something is already.
pub(crate) fn new(args: &NewArgs) -> Result<ExitCode> {
    let name = name_of(&args.path)?;
    if args.path.exists() {
        return Err(Error::usage(
            format!("`{}` exists already", args.path.display()),
            "give the path of a directory that does not exist",
        ));
    }
    let crates = crates(args.skep.as_deref())?;
    let ident = skep_skel::rust::name_of_file(&name);
    let words = [
        ("@NAME@", name.clone()),
        ("@CAMEL@", skep_skel::rust::camel_case(ident.trim_start_matches("r#"))),
        ("@IDENT@", ident),
        ("@SKEP@", dependency(crates.as_deref(), "skep")),
        ("@SKEP_SKEL@", dependency(crates.as_deref(), "skep-skel")),
    ];
    let filled =
        |text: &str| words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
    for (file, text) in FILES {
        write(&args.path.join(filled(file)), &filled(text))?;
    }
    term::note(format_args!(
        "`{}` is made; `cd {0} && cargo run -- ls` builds and runs it",
        args.path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The package's name: that of its directory, as cargo takes it.
fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    // A package cannot depend on one of its own name, and `test` is a library of Rust's.
    if ["skep", "skep-skel", "test", "core", "std"].contains(&name) {
        return Err(Error::usage(
            format!("a package cannot be called `{name}`"),
            "another package is; give another name",
        ));
    }
    if starts_well && is_word {
        return Ok(name.to_owned());
    }
    Err(Error::usage(
        format!("`{}` is no name for a package", path.display()),
        "a name has letters, digits, `-` and `_`, and begins with a letter",
    ))
}

/// The directory of Skep's crates; `None` where they are to come from a registry.
fn crates(given: Option<&Path>) -> Result<Option<PathBuf>> {
    let there = |directory: &Path| {
        directory.join("skep/Cargo.toml").is_file().then(|| directory.canonicalize().ok()).flatten()
    };
    match given {
        Some(tree) => there(&tree.join("crates")).map(Some).ok_or_else(|| {
            Error::usage(
                format!("`{}` is no source tree of Skep", tree.display()),
                "give the directory that has `crates/skep` in it",
            )
        }),
        None => Ok(there(Path::new(BUILT_FROM))),
    }
}

/// A dependency on one of Skep's crates, as `Cargo.toml` has it.
fn dependency(crates: Option<&Path>, name: &str) -> String {
    match crates {
        Some(directory) => format!("{{ path = {:?} }}", directory.join(name).display().to_string()),
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|e| Error::file(directory, e))?;
    }
    fs::write(path, text).map_err(|e| Error::file(path, e))
}
