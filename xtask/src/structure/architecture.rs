//! `ARCHITECTURE.md` says what is there.
//!
//! What stands between backticks is checked: a path exists, a crate is in the workspace, an identifier (also
//! `Type::method`) is defined in some Rust file, `cargo xtask NAME` is a task, `make NAME` a target. Anything else, such
//! as a command line or a system call, is no claim about the source and is written without backticks, so a form that is
//! not understood is a finding too. Blocks of code are not looked at. The table of crates names the modules with `unsafe`.

use std::collections::HashSet;

use super::crates::{packages, with_unsafe};
use super::{File, Tree};

/// The longest the document gets.
const MAX_LINES: usize = 200;

const NAME: &str = "ARCHITECTURE.md";

/// Words of Rust that the document needs.
const RUST: &[&str] = &["unsafe"];

/// Checks the document.
pub(super) fn check(tree: &Tree) -> Result<Vec<String>, String> {
    let Some(document) = tree.file(NAME) else { return Ok(vec![format!("{NAME}: missing")]) };
    let crates: Vec<String> = packages(tree)?.into_iter().map(|package| package.name).collect();
    Ok(check_document(document, &crates, tree))
}

fn check_document(document: &File, crates: &[String], tree: &Tree) -> Vec<String> {
    let known = Known { crates, defined: definitions(tree), tree };
    let names = names(&document.text);
    let lines = document.text.lines().count();
    let mut findings: Vec<String> = names
        .iter()
        .filter(|(_, name)| !known.has(name))
        .map(|(number, name)| format!("{NAME}:{number}: there is no `{name}`"))
        .collect();
    findings.extend(unnamed_modules(&document.text));
    let missing = crates.iter().filter(|name| !names.iter().any(|(_, named)| named == name));
    findings.extend(missing.map(|name| format!("{NAME}: does not name the crate `{name}`")));
    if lines >= MAX_LINES {
        findings.push(format!("{NAME}: {lines} lines; it stays under {MAX_LINES}"));
    }
    findings
}

/// Modules with `unsafe` that the row of their crate in the table does not name.
fn unnamed_modules(text: &str) -> Vec<String> {
    let row = |name: &str| text.lines().find(|line| line.starts_with(&format!("| `{name}` | ")));
    let rows = with_unsafe().filter_map(|(name, modules)| Some((name, row(name)?, modules)));
    rows.flat_map(|(name, row, modules)| {
        let unnamed = modules.into_iter().filter(|module| !row.contains(&format!("`{module}`")));
        unnamed.map(move |module| {
            format!("{NAME}: the row of `{name}` does not say that `{module}` has `unsafe`")
        })
    })
    .collect()
}

/// What is between backticks, with line numbers, blocks of code apart.
fn names(text: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block && !line.starts_with("    ") {
            names.extend(line.split('`').skip(1).step_by(2).map(|name| (index + 1, name)));
        }
    }
    names
}

/// What names can refer to.
struct Known<'a> {
    crates: &'a [String],
    defined: HashSet<&'a str>,
    tree: &'a Tree,
}

impl Known<'_> {
    fn has(&self, name: &str) -> bool {
        if let Some(task) = name.strip_prefix("cargo xtask ") {
            return crate::TASKS.iter().any(|(known, ..)| *known == task);
        }
        if let Some(target) = name.strip_prefix("make ") {
            return self.has_target(target);
        }
        let is_word = RUST.contains(&name) || self.crates.iter().any(|known| known == name);
        is_word || self.has_path(name) || self.has_identifiers(name)
    }

    fn has_target(&self, target: &str) -> bool {
        let makefile = std::fs::read_to_string(self.tree.root.join("Makefile")).unwrap_or_default();
        makefile.lines().any(|line| {
            line.split_once(':').is_some_and(|(names, _)| names.split(' ').any(|name| name == target))
        })
    }

    /// A file or directory, from the root.
    fn has_path(&self, name: &str) -> bool {
        !name.is_empty() && self.tree.root.join(name).exists()
    }

    /// `Type`, `Type::method`, `module::function()`.
    fn has_identifiers(&self, name: &str) -> bool {
        let name = name.strip_suffix("()").unwrap_or(name);
        let parts: Vec<&str> = name.split("::").collect();
        parts.iter().all(|part| {
            self.defined.contains(part) || self.crates.iter().any(|known| known.replace('-', "_") == **part)
        })
    }
}

/// Words before a name that define it.
const DEFINING: &[&str] =
    &["struct", "enum", "trait", "union", "fn", "mod", "type", "const", "static", "macro_rules!"];

/// Words that may come before those.
const QUALIFYING: &[&str] = &["pub", "unsafe", "async", "extern", "\"C\""];

/// Every item, and every variant of an enum, of the Rust files.
fn definitions(tree: &Tree) -> HashSet<&str> {
    let files = tree.rust().filter(|file| !file.is_test());
    files.flat_map(File::production).filter_map(|(_, line)| defined(line)).collect()
}

fn defined(line: &str) -> Option<&str> {
    let variant = identifier(line.trim_start());
    if line.starts_with("    ") && variant.starts_with(char::is_uppercase) {
        return Some(variant);
    }
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let is_const_fn = word == "const" && matches!(words.peek(), Some(&("fn" | "unsafe")));
        let qualifies = is_const_fn || QUALIFYING.contains(&word) || word.starts_with("pub(");
        if !qualifies {
            let name = identifier(words.next()?);
            return (DEFINING.contains(&word) && !name.is_empty()).then_some(name);
        }
    }
    None
}

/// The identifier a word begins with.
fn identifier(word: &str) -> &str {
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    &word[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_seen() {
        let check = |line, expected| assert_eq!(defined(line), expected, "{line}");
        check("pub struct Object<'a> {", Some("Object"));
        check("pub(crate) fn link(target: &Target) -> X {", Some("link"));
        check("    pub const fn id(self) -> u32 {", Some("id"));
        check("const TASKS: &[Task] = &[];", Some("TASKS"));
        check("pub mod core;", Some("core"));
        check("    fn bpf(&self, command: Command<'_>) -> Result<Reply>;", Some("bpf"));
        check("    Tracepoint {", Some("Tracepoint"));
        check("    PerfEvent,", Some("PerfEvent"));
        check("macro_rules! helpers {", Some("helpers"));
        check("use std::fs;", None);
        check("    let x = 1;", None);
        check("", None);
    }

    #[test]
    fn modules_with_unsafe_have_to_be_named() {
        assert!(unnamed_modules("| `skep-user` | x; `unsafe` in `sys` | y |\n").is_empty());
        assert_eq!(
            unnamed_modules("| `skep-user` | ptrace | y |\n"),
            ["ARCHITECTURE.md: the row of `skep-user` does not say that `sys` has `unsafe`"]
        );
    }

    #[test]
    fn names_that_do_not_exist_are_found() {
        let tree = Tree::of(&[(
            "crates/skep-obj/src/lib.rs",
            "pub struct Object;\nimpl Object {\n    pub fn link(&self) {}\n}\n",
        )]);
        let text = "`Object::link` and `Object::lnik` of `skep-obj`\n\n    `code`\n```\n`more code`\n```\n`cargo xtask nothing` \
                    `crates/nowhere/`, `bpf(2)`\n";
        let document = File { path: NAME.into(), text: text.into() };
        let crates = ["skep-obj".to_owned(), "skep-vm".to_owned()];
        assert_eq!(
            check_document(&document, &crates, &tree),
            [
                "ARCHITECTURE.md:1: there is no `Object::lnik`",
                "ARCHITECTURE.md:7: there is no `cargo xtask nothing`",
                "ARCHITECTURE.md:7: there is no `crates/nowhere/`",
                "ARCHITECTURE.md:7: there is no `bpf(2)`",
                "ARCHITECTURE.md: does not name the crate `skep-vm`",
            ]
        );
    }
}
