//! `docs/verifier.md` shows rejections: each is made again here, from the objects in `tests/rejections`, and must be what
//! the document says. `SKEP_BLESS=1` writes the document's generated parts anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{run, skip};

/// In the order of the document.
const REJECTIONS: &[&str] = &[
    "null", "packet", "moved", "signed", "size", "stack", "leak", "locked", "endless", "result", "context",
    "helper", "licence",
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rejections")
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verifier.md")
}

/// What is said of one source.
struct Rejection {
    name: &'static str,
    source: String,
    message: String,
    explained: String,
}

fn rejection(name: &'static str) -> Rejection {
    let source = fs::read_to_string(directory().join(format!("{name}.bpf.c"))).expect("a source");
    let object = directory().join(format!("{name}.bpf.o"));
    let said = run(["verify".as_ref(), "--explain".as_ref(), object.as_os_str()]);
    assert_eq!(said.status, 1, "{name}: {}{}", said.stdout, said.stderr);
    let (_, explained) = said.stdout.split_once("\n\n").expect("an explanation below the table");
    let said = run(["verify".as_ref(), "-j".as_ref(), object.as_os_str()]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("a JSON array");
    let message = rows[0]["error"]["message"].as_str().expect("a message").to_owned();
    let shown = |line: &&str| !line.starts_with("// SPDX") && !line.starts_with("#include");
    let source = source.lines().filter(shown).collect::<Vec<_>>().join("\n").trim().to_owned();
    Rejection { name, source, message, explained: explained.trim_end().to_owned() }
}

/// The part of the document between two marks, and the rest around it.
fn part<'t>(text: &'t str, name: &str) -> (&'t str, &'t str, &'t str) {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let start =
        text.find(&begin).unwrap_or_else(|| panic!("`docs/verifier.md` has no `{begin}`")) + begin.len();
    let stop = text.find(&end).unwrap_or_else(|| panic!("`docs/verifier.md` has no `{end}`"));
    (&text[..start], &text[start..stop], &text[stop..])
}

/// All rejections in one table: the kernel's words beside ours.
fn table(rejections: &[Rejection]) -> String {
    let mut text = "| | the kernel's log | `skep verify --explain` |\n|---|---|---|\n".to_owned();
    for r in rejections {
        let headline = r.explained.lines().next().unwrap_or_default();
        let headline = headline.split_once("rejected: ").map_or(headline, |(_, headline)| headline);
        let cell = |text: &str| text.replace('|', "\\|");
        text += &format!("| [{0}](#{0}) | `{1}` | {2} |\n", r.name, cell(&r.message), cell(headline));
    }
    text
}

fn section(r: &Rejection) -> String {
    format!(
        "```c\n{}\n```\n\nThe kernel's log:\n\n```text\n{}\n```\n\n`skep verify --explain`:\n\n```text\n{}\n```\n",
        r.source, r.message, r.explained
    )
}

#[test]
fn the_document_shows_what_is_said() {
    let rejections: Vec<Rejection> = REJECTIONS.iter().copied().map(rejection).collect();
    let mut parts: Vec<(&str, String)> = rejections.iter().map(|r| (r.name, section(r))).collect();
    parts.push(("table", table(&rejections)));
    let mut text = fs::read_to_string(document()).expect("`docs/verifier.md`");
    let bless = std::env::var_os("SKEP_BLESS").is_some();
    for (name, expected) in parts {
        let (before, shown, after) = part(&text, name);
        if bless {
            text = format!("{before}{expected}{after}");
        } else {
            assert_eq!(shown, expected, "`docs/verifier.md`, part `{name}`; `SKEP_BLESS=1` writes it anew");
        }
    }
    if bless {
        fs::write(document(), text).expect("the document is writable");
    }
}

#[test]
fn the_kernel_says_the_same() {
    for name in REJECTIONS {
        let object = directory().join(format!("{name}.bpf.o"));
        let args =
            ["verify".as_ref(), "-j".as_ref(), "--against".as_ref(), "kernel".as_ref(), object.as_os_str()];
        let said = run(args);
        if said.stdout.is_empty() {
            return skip(&format!("the kernel cannot be asked: {}", said.stderr.trim()));
        }
        let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("a JSON array");
        let (ours, kernel) = (&rows[0]["error"]["message"], &rows[0]["kernel"]);
        if kernel["verdict"] == "unknown" {
            skip(&format!("the kernel does not say: {}", kernel["message"]));
        } else if fs::read_to_string("/proc/sys/kernel/osrelease")
            .is_ok_and(|release| release.starts_with("6.18"))
        {
            assert_eq!(&kernel["message"], ours, "{name}");
        } else {
            assert_eq!(kernel["verdict"], "reject", "{name}");
        }
    }
}
