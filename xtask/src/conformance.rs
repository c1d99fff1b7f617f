//! `cargo xtask conformance DIR`: the instruction tests of the bpf_conformance project, in the interpreter.
//!
//! A `.data` file has sections that begin with `-- name`: `asm` (the program), `mem` (bytes in hexadecimal; `r1` points to
//! them and `r2` is their number), `result` (what `r0` must be) or `error` (the run must fail). `raw` says what the program
//! assembles to and is checked too. Other sections are for other tools.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use skep_isa::asm::assemble;
use skep_isa::uapi::ProgType;
use skep_isa::{Insn, decode};
use skep_vm::{Input, MapRef, NoEnv, Program, ProgramInfo};

/// Runs every file of a directory (or the files given) and prints what fails.
pub(crate) fn conformance(args: &[String]) -> Result<(), String> {
    if args.is_empty() {
        return Err("usage: cargo xtask conformance DIR|FILE.data…".to_owned());
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for path in data_files(args)? {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        match check(&sections(&text)) {
            Outcome::Passed => passed += 1,
            Outcome::Failed(why) => {
                failed += 1;
                println!("FAIL {}: {why}", path.display());
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("skip {}: {why}", path.display());
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 && passed > 0 { Ok(()) } else { Err("not everything conforms".to_owned()) }
}

/// The `.data` files that the arguments name, directories searched.
fn data_files(args: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for arg in args {
        let path = Path::new(arg);
        if !path.is_dir() {
            files.push(path.to_owned());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|e| format!("{arg}: {e}"))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        files.extend(paths.filter(|path| path.extension().is_some_and(|ext| ext == "data")));
    }
    files.sort();
    Ok(files)
}

/// Sections by name, without comments.
fn sections(text: &str) -> BTreeMap<&str, String> {
    let mut sections = BTreeMap::<&str, String>::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("-- ") {
            current = name.trim();
            sections.entry(current).or_default();
            continue;
        }
        let line = line.split_once('#').map_or(line, |(code, _)| code);
        let section = sections.entry(current).or_default();
        section.push_str(line);
        section.push('\n');
    }
    sections
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(&'static str),
}

fn check(sections: &BTreeMap<&str, String>) -> Outcome {
    let Some(asm) = sections.get("asm") else { return Outcome::Skipped("it has no program in assembler") };
    if !sections.contains_key("result") && !sections.contains_key("error") {
        return Outcome::Skipped("it expects nothing");
    }
    match run(asm, sections) {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    }
}

/// Assembles, runs and compares.
fn run(asm: &str, sections: &BTreeMap<&str, String>) -> Result<(), String> {
    let insns = assemble(asm).map_err(|e| format!("does not assemble: {e}"))?.insns;
    if let Some(raw) = sections.get("raw") {
        compare_raw(&insns, raw)?;
    }
    let mut memory = bytes(sections.get("mem").map_or("", String::as_str))?;
    let result = execute(&insns, &mut memory);
    match (sections.get("result"), result) {
        (Some(expected), Ok(r0)) => {
            let expected = number(expected.trim())?;
            if r0 == expected { Ok(()) } else { Err(format!("r0 is {r0:#x}, expected {expected:#x}")) }
        }
        (Some(_), Err(why)) => Err(why),
        (None, Ok(r0)) => Err(format!("r0 is {r0:#x}, expected an error")),
        (None, Err(_)) => Ok(()),
    }
}

fn execute(insns: &[Insn], memory: &mut [u8]) -> Result<u64, String> {
    let none = |_: MapRef| None;
    let info = ProgramInfo::new("conformance", ProgType::UNSPEC);
    let program = Program::prepare(insns, &none, info).map_err(|e| e.to_string())?;
    let len = memory.len() as u64;
    let input = Input { ctx: memory, args: [len, 0, 0, 0], ..Input::default() };
    program.run_with(input, &mut NoEnv).map_err(|fault| fault.to_string())
}

/// `raw` shows slots as numbers of eight bytes.
fn compare_raw(insns: &[Insn], raw: &str) -> Result<(), String> {
    for (pc, (insn, expected)) in insns.iter().zip(raw.split_whitespace()).enumerate() {
        let expected = number(expected)?;
        let got = u64::from_le_bytes(insn.to_le_bytes());
        if got != expected {
            let op = decode(insns, pc).map_or_else(|e| e.to_string(), |op| format!("{op:?}"));
            return Err(format!("slot {pc} ({op}) assembles to {got:#018x}, expected {expected:#018x}"));
        }
    }
    Ok(())
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).map_err(|_| format!("`{byte}` is no byte")))
        .collect()
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| format!("`{text}` is no number"))
}
