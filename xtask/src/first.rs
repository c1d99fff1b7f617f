//! Writes `crates/skep-cli/first.ld`, by which the linker puts the functions that short commands run beside each other.
//!
//! A page of the binary that is touched takes memory, with fifteen around it, and a fault. The few hundred functions that
//! listing objects takes are strewn over eleven megabytes; in one place they are a twentieth of that. Which these are Skep
//! finds out itself: a probe of the user runtime on each function of a copy of the binary writes down where it is hit.
//! (The kernel's probes execute some vector instructions with which functions begin wrongly.)
//!
//! Names have a hash that changes with the compiler; patterns leave it out where that does not take in too much. What a
//! pattern no longer fits stays where it would have been. What the file has already stays in it: a function that is inlined
//! today is one of its own again when something else changes. To begin anew, remove the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use object::{Object as _, ObjectSymbol as _, SymbolKind};
use serde_json::Value;

use crate::root;

const PROBE: &str = include_str!("first/probe.bpf.c");
/// What is to start quickly and take little memory.
const COMMANDS: &[&str] = &[
    "--version",
    "map list",
    "-j map list",
    "-p map show",
    "-f map list",
    "prog list",
    "-j prog list",
    "link list",
    "-j link list",
    "btf list",
];
/// Programs and maps that are there to be listed.
const LISTED: &str = "tools/opensnoop.bpf.o";
/// Bytes of other functions that a pattern may take in.
const STRAYS: u64 = 6000;
/// In so many files of the C library a name may be defined.
const NAMESAKES: usize = 3;

/// `cargo xtask first`
pub(crate) fn first(_: &[String]) -> Result<(), String> {
    let directory = root().join("target/first");
    fs::create_dir_all(&directory).map_err(|e| format!("`{}`: {e}", directory.display()))?;
    let (skep, copy) = (root().join("target/release/skep"), directory.join("skep"));
    fs::copy(&skep, &copy).map_err(|e| format!("`{}`: {e}; `make build` makes it", skep.display()))?;
    let probe = directory.join("probe.bpf.c");
    fs::write(&probe, PROBE).map_err(|e| format!("`{}`: {e}", probe.display()))?;
    let listed = Listed::load(&skep)?;
    let mut hit = BTreeSet::new();
    for command in COMMANDS {
        hit.extend(addresses(&skep, &copy, &probe, command)?);
    }
    drop(listed);
    let binary = fs::read(&copy).map_err(|e| format!("`{}`: {e}", copy.display()))?;
    let functions = Function::all(&binary)?;
    let file = root().join("crates/skep-cli/first.ld");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let script = script(&functions, &hit, &members()?, &before);
    fs::write(&file, &script).map_err(|e| format!("`{}`: {e}", file.display()))?;
    println!("{} functions were hit, {} lines written", hit.len(), script.lines().count());
    Ok(())
}

/// Objects of the kernel, as long as this lives.
struct Listed(Child);

impl Listed {
    fn load(skep: &Path) -> Result<Self, String> {
        let child = Command::new(skep)
            .args(["run", "--runtime", "kernel"])
            .arg(root().join(LISTED))
            // What `cat` opens tells that the objects are there; it ends with its input.
            .args(["--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("`{}`: {e}", skep.display()))?;
        let mut listed = Self(child);
        let mut first = [0];
        let out = listed.0.stdout.as_mut().ok_or("no output")?;
        out.read_exact(&mut first).map_err(|e| format!("`{LISTED}` traced nothing: {e}"))?;
        Ok(listed)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Where a command enters functions.
fn addresses(skep: &Path, copy: &Path, probe: &Path, command: &str) -> Result<Vec<u64>, String> {
    let output = Command::new(skep)
        .args(["run", "--runtime", "user", "-o", "json", "--attach"])
        .arg(format!("hit=uprobe.multi:{}:*", copy.display()))
        .args([probe, "--".as_ref(), copy])
        .args(command.split(' '))
        .output()
        .map_err(|e| format!("`{}`: {e}", skep.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seen = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|line| {
        let entries = line.get("data")?.as_array()?.clone();
        Some(entries.iter().filter_map(|entry| entry.get("key")?.as_u64()).collect())
    });
    seen.ok_or_else(|| format!("`{command}`: {}", String::from_utf8_lossy(&output.stderr)))
}

struct Function {
    name: String,
    address: u64,
    bytes: u64,
}

impl Function {
    fn all(binary: &[u8]) -> Result<Vec<Self>, String> {
        let file = object::File::parse(binary).map_err(|e| e.to_string())?;
        let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let function = |symbol: object::Symbol<'_, '_>| {
            Some(Self {
                name: symbol.name().ok()?.to_owned(),
                address: symbol.address(),
                bytes: symbol.size(),
            })
        };
        Ok(functions.filter_map(function).collect())
    }
}

/// The files of the C library that define each name.
fn members() -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let said = |command: &mut Command| {
        let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let archive = said(Command::new("cc").arg("-print-file-name=libc.a"))?;
    let listed = said(Command::new("nm").args(["-A", "--defined-only", archive.trim()]))?;
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in listed.lines() {
        // FILE:MEMBER:ADDRESS KIND NAME
        let Some((_, rest)) = line.split_once("libc.a:") else { continue };
        let Some((member, symbol)) = rest.split_once(':') else { continue };
        if let [_, kind, name] = symbol.split_whitespace().collect::<Vec<_>>()[..]
            && matches!(kind, "t" | "T" | "w" | "W" | "i")
        {
            members.entry(name.to_owned()).or_default().insert(member.to_owned());
        }
    }
    Ok(members)
}

fn script(
    functions: &[Function],
    hit: &BTreeSet<u64>,
    members: &BTreeMap<String, BTreeSet<String>>,
    before: &str,
) -> String {
    let mut taken_in: BTreeMap<String, u64> = BTreeMap::new();
    for function in functions {
        *taken_in.entry(pattern(&function.name)).or_default() += function.bytes;
    }
    let mut lines: BTreeSet<String> =
        before.lines().filter_map(|line| line.strip_prefix("\t\t")).map(str::to_owned).collect();
    for function in functions.iter().filter(|function| hit.contains(&function.address)) {
        let name = &function.name;
        if !name.starts_with("_R") && !name.starts_with("_ZN") && members.contains_key(name) {
            let files = members[name].iter().filter(|_| members[name].len() <= NAMESAKES);
            lines.extend(files.map(|file| format!("*libc.a:{file}(.text .text.*)")));
            continue;
        }
        let all = pattern(name);
        let strays = taken_in.get(&all).map_or(0, |bytes| bytes.saturating_sub(function.bytes));
        let pattern = if strays > STRAYS { without_suffix(name) } else { all };
        lines.insert(format!("*(.text.{pattern} .text.unlikely.{pattern})"));
    }
    let mut text = String::from(
        "/* Written by `cargo xtask first`: what short commands run, in one place. */\n\
         SECTIONS\n{\n\t.text.first :\n\t{\n",
    );
    for line in lines {
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str("\t}\n}\nINSERT BEFORE .text;\n");
    text
}

/// A function's name without its hash, and without those of the crates in it.
fn pattern(name: &str) -> String {
    let name = without_suffix(name);
    if let Some((before, hash)) = name.rsplit_once("17h")
        && hash.len() >= 17
        && name.starts_with("_ZN")
    {
        return format!("{before}17h*");
    }
    if !name.starts_with("_R") {
        return name;
    }
    let mut parts = name.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('_') {
            Some((hash, rest)) if (6..=13).contains(&hash.len()) => {
                let _ = write!(pattern, "Cs*_{rest}");
            }
            _ => {
                let _ = write!(pattern, "Cs{part}");
            }
        }
    }
    pattern
}

/// What link-time optimisation puts behind a name differs from build to build.
fn without_suffix(name: &str) -> String {
    name.split_once(".llvm.").map_or(name.to_owned(), |(name, _)| format!("{name}*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_no_hashes() {
        for (name, expected) in [
            ("_ZN4skep3bpf4show17h2c9fe2d383c3b437E.llvm.17", "_ZN4skep3bpf4show17h*"),
            ("_RNvNtCslNYArtu3iFV_5alloc3fmt6format", "_RNvNtCs*_5alloc3fmt6format"),
            ("__libc_start_main", "__libc_start_main"),
        ] {
            assert_eq!(pattern(name), expected);
        }
    }

    #[test]
    fn what_was_hit_is_in_the_script() {
        let function = |name: &str, address, bytes| Function { name: name.to_owned(), address, bytes };
        let hash = "0123456789abcdef";
        let functions = [
            function("puts", 1, 10),
            function(&format!("_ZN1a17h{hash}E"), 2, 10),
            function(&format!("_ZN1b17h{hash}E"), 3, 10),
            function("_ZN1b17hfedcba9876543210E", 4, 90_000),
            function("other", 5, 10),
        ];
        let members = BTreeMap::from([("puts".to_owned(), BTreeSet::from(["ioputs.o".to_owned()]))]);
        let text = script(&functions, &BTreeSet::from([1, 2, 3]), &members, "\t{\n\t\t*(.text.old)\n\t}\n");
        assert!(
            text.contains("*libc.a:ioputs.o(.text .text.*)")
                && text.contains("\t\t*(.text.old)\n")
                && text.contains(".text._ZN1a17h* "),
            "{text}"
        );
        assert!(text.contains(&format!(".text._ZN1b17h{hash}E ")) && !text.contains("other"), "{text}");
    }
}
