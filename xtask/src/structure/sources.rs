//! Rules for every source file.

use super::{File, Tree};

/// The longest a source file gets.
pub(super) const MAX_LINES: usize = 1000;

/// Files that are longer, and why.
const LONG: &[(&str, &str)] = &[];

/// What talks to people; build scripts talk to cargo.
const PRINTING: &[&str] =
    &["bench/", "crates/skep-cli/", "crates/skep-skel/src/build.rs", "examples/", "fuzz/", "xtask/"];

/// What ends up on a terminal, or ends the process.
const TALK: &[&str] = &["println!(", "eprintln!(", "print!(", "eprint!(", "process::exit(", "dbg!("];

/// Checks length and printing of every file.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in
        tree.files.iter().filter(|file| [".rs", ".c", ".h"].iter().any(|end| file.path.ends_with(end)))
    {
        findings.extend(check_length(file));
    }
    for file in tree.rust().filter(|file| !file.is_test()) {
        findings.extend(check_talk(file));
    }
    findings
}

fn check_length(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    let listed = LONG.iter().any(|(path, _)| *path == file.path);
    (lines > MAX_LINES && !listed).then(|| {
        format!("{}: {lines} lines; split it, or list it in xtask/src/structure/sources.rs", file.path)
    })
}

fn check_talk(file: &File) -> Vec<String> {
    if PRINTING.iter().any(|directory| file.path.starts_with(directory)) {
        return Vec::new();
    }
    let code = file.production().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let talking =
        code.filter_map(|(number, line)| Some((number, TALK.iter().find(|word| says(line, word))?)));
    talking
        .map(|(number, word)| {
            let word = word.trim_end_matches('(');
            format!("{}:{number}: `{word}` outside the command line", file.path)
        })
        .collect()
}

/// Whether a line has a word that is not the end of a longer one.
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_is_found_outside_the_command_line_and_tests() {
        let text = "//! println!(1)\nfn f() {\n    println!(\"x\");\n    std::process::exit(1);\n    e_print!(1);\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn g() { println!(1) }\n}\n";
        let check = |path| check(&Tree::of(&[(path, text)]));
        assert_eq!(
            check("crates/skep-vm/src/x.rs"),
            [
                "crates/skep-vm/src/x.rs:3: `println!` outside the command line",
                "crates/skep-vm/src/x.rs:4: `process::exit` outside the command line",
            ]
        );
        assert!(check("crates/skep-cli/src/x.rs").is_empty());
        assert!(check("crates/skep-vm/tests/it/main.rs").is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        let check = |path, lines| check_length(&File { path: String::from(path), text: "x\n".repeat(lines) });
        assert_eq!(check("a.rs", MAX_LINES), None);
        assert!(check("a.rs", MAX_LINES + 1).is_some_and(|finding| finding.starts_with("a.rs: 1001 lines")));
    }
}
