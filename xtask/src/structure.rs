//! `cargo xtask structure`: the rules of the architecture that the compiler does not check.
//!
//! - Crates depend on what the table in `structure/crates.rs` allows and on nothing else; every external dependency says
//!   what it is for.
//! - Pure crates forbid `unsafe`; in the others only the modules named there may turn it on.
//! - Only the command line and the development tasks print or exit.
//! - No source file is longer than 1,000 lines, but for tables listed with a reason in `structure/sources.rs`.
//! - `ARCHITECTURE.md` is short, names every crate, and what it names exists.
//!
//! Every check answers its findings as `place: what is wrong`; there are no warnings.

mod architecture;
mod crates;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Runs every check.
pub(crate) fn structure(_args: &[String]) -> Result<(), String> {
    let tree = Tree::read(root())?;
    let mut findings = crates::check(&tree)?;
    findings.extend(sources::check(&tree));
    findings.extend(architecture::check(&tree)?);
    if findings.is_empty() {
        println!("structure: {} files, no findings", tree.files.len());
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(format!("{} findings", findings.len()))
}

/// The text files of the source tree.
struct Tree {
    root: PathBuf,
    files: Vec<File>,
}

/// A file: its path from the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

/// Directories that are not source.
const SKIPPED: &[&str] = &["target"];
/// How the names of text files end.
const TEXT: &[&str] = &[".rs", ".toml", ".md", ".c", ".h"];

impl Tree {
    fn read(root: PathBuf) -> Result<Self, String> {
        let mut paths = Vec::new();
        collect(&root, &mut paths)?;
        paths.sort();
        let files = paths
            .into_iter()
            .map(|path| {
                let text = fs::read_to_string(&path)
                    .map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
                let path = path.strip_prefix(&root).expect("invariant: found below the root");
                Ok(File { path: path.to_string_lossy().into_owned(), text })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { root, files })
    }

    /// The Rust files.
    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// The lines that are not tests, with their numbers: those before the module `tests` at the file's end.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .take_while(|(_, line)| *line != "mod tests {")
    }

    /// Whether the file is a test, benchmark, example or fuzz target as a whole.
    fn is_test(&self) -> bool {
        ["/tests/", "/benches/", "/examples/", "/fuzz/"].iter().any(|part| self.path.contains(part))
            || self.path.ends_with("/tests.rs")
    }
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries =
        fs::read_dir(directory).map_err(|e| format!("cannot read `{}`: {e}", directory.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("cannot read `{}`: {e}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind =
            entry.file_type().map_err(|e| format!("cannot look at `{}`: {e}", entry.path().display()))?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&&*name) {
            collect(&entry.path(), paths)?;
        } else if kind.is_file() && TEXT.iter().any(|end| name.ends_with(end)) {
            paths.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
impl Tree {
    /// A tree of given files.
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { root: PathBuf::from("/nonexistent"), files: files.iter().map(file).collect() }
    }
}
