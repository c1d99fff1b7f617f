//! `cargo xtask conformance DIR`: the instruction tests of the bpf_conformance project, in the interpreter and, as far as
//! the verifier accepts them, without checks and in compiled code, and as far as Linux's accepts them, on the kernel.
//!
//! A `.data` file has sections that begin with `-- name`: `asm` (the program), `mem` (bytes in hexadecimal; `r1` points to
//! them and `r2` is their number), `result` (what `r0` must be) or `error` (the run must fail). `raw` says what the program
//! assembles to and is checked too. Other sections are for other tools.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep::runtime::SharedRuntime;
use skep::runtime::command::{MapCreate, ProgLoad, TestRun};
use skep_isa::asm::assemble;
use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{Insn, decode};
use skep_kernel::KernelRuntime;
use skep_verifier::{MapInfo, Outcome as Verdict, Target, Verified, prove};
use skep_vm::{Engine, Input, Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo};

/// Runs every file of a directory (or the files given) and prints what fails.
pub(crate) fn conformance(args: &[String]) -> Result<(), String> {
    if args.is_empty() {
        return Err("usage: cargo xtask conformance DIR|FILE.data…".to_owned());
    }
    let kernel: SharedRuntime = Arc::new(KernelRuntime::new());
    let kernel = match one_map(&kernel, 8) {
        Ok(_) => Some(kernel),
        Err(e) => {
            println!("not on the kernel: {e}");
            None
        }
    };
    let (mut passed, mut proved, mut on_kernel, mut failed, mut skipped) = (0, 0, 0, 0, 0);
    for path in data_files(args)? {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        match check(&sections(&text), kernel.as_ref()) {
            Outcome::Passed(places) => {
                passed += 1;
                proved += u32::from(places.proved);
                on_kernel += u32::from(places.kernel);
            }
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
    println!(
        "of those that passed: {passed} checked, {proved} without checks and compiled, {on_kernel} on the kernel"
    );
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

/// Where a test ran beside the checked interpreter, with the same result.
struct Places {
    /// Proved: in the interpreter without checks, and compiled.
    proved: bool,
    kernel: bool,
}

enum Outcome {
    Passed(Places),
    Failed(String),
    Skipped(&'static str),
}

fn check(sections: &BTreeMap<&str, String>, kernel: Option<&SharedRuntime>) -> Outcome {
    let Some(asm) = sections.get("asm") else { return Outcome::Skipped("it has no program in assembler") };
    if !sections.contains_key("result") && !sections.contains_key("error") {
        return Outcome::Skipped("it expects nothing");
    }
    match run(asm, sections, kernel) {
        Ok(places) => Outcome::Passed(places),
        Err(why) => Outcome::Failed(why),
    }
}

/// Assembles, runs and compares; answers where else it ran.
fn run(
    asm: &str,
    sections: &BTreeMap<&str, String>,
    kernel: Option<&SharedRuntime>,
) -> Result<Places, String> {
    let insns = assemble(asm).map_err(|e| format!("does not assemble: {e}"))?.insns;
    if let Some(raw) = sections.get("raw") {
        compare_raw(&insns, raw)?;
    }
    let memory = bytes(sections.get("mem").map_or("", String::as_str))?;
    let result = execute(&insns, &mut memory.clone());
    let same = |place: &str, other: Option<Result<u64, String>>| match other {
        Some(other) if other != result => Err(format!("{place} gives {other:x?}, interpreted {result:x?}")),
        other => Ok(other.is_some()),
    };
    let places = Places {
        proved: same("without checks it", execute_proved(&insns, &memory, Engine::Interpreter))?
            & same("compiled it", execute_proved(&insns, &memory, Engine::Jit))?,
        kernel: same("the kernel", kernel.and_then(|kernel| execute_on(kernel, &insns, &memory)))?,
    };
    match (sections.get("result"), result) {
        (Some(expected), Ok(r0)) => {
            let expected = number(expected.trim())?;
            if r0 == expected { Ok(places) } else { Err(format!("r0 is {r0:#x}, expected {expected:#x}")) }
        }
        (Some(_), Err(why)) => Err(why),
        (None, Ok(r0)) => Err(format!("r0 is {r0:#x}, expected an error")),
        (None, Err(_)) => Ok(places),
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

/// The same by its proof; nothing where the verifier does not accept the program. The memory is a map's value, whose address
/// and size are put into `r1` and `r2` by instructions before the program.
fn execute_proved(insns: &[Insn], memory: &[u8], engine: Engine) -> Option<Result<u64, String>> {
    let bytes = memory.len().max(1) as u32;
    let map = Map::create(MapSpec::new(MapType::ARRAY, "memory", 4, bytes, 1)).ok()?;
    let mut value = memory.to_vec();
    value.resize(map.spec().value_stride(), 0);
    map.update(&[0; 4], &value, 0).ok()?;
    let before = format!("r1 = map[idx:0]+0\nw2 = {}\n", memory.len());
    let mut all = assemble(&before).ok()?.insns;
    all.extend_from_slice(insns);
    let verified = verified(&all, bytes)?;
    let find = |_: MapRef| Some(Arc::clone(&map));
    let info = ProgramInfo { engine, ..ProgramInfo::new("conformance", ProgType::SYSCALL) };
    let program = Program::prepare_verified(&verified, &find, info).ok()?;
    if let Some(Err(declined)) = program.compiled() {
        return Some(Err(declined.to_string()));
    }
    Some(program.run(&mut [], &mut NoEnv).map_err(|fault| fault.to_string()))
}

/// The same on the kernel, if it accepts the program, which is a function here: all of its `r0` goes into a second map.
fn execute_on(kernel: &SharedRuntime, insns: &[Insn], memory: &[u8]) -> Option<Result<u64, String>> {
    let maps = [one_map(kernel, memory.len().max(1) as u32).ok()?, one_map(kernel, 8).ok()?];
    let mut value = memory.to_vec();
    value.resize(maps[0].value_stride(), 0);
    maps[0].update(&[0; 4], &value, 0).ok()?;
    let main = format!(
        "r1 = map[idx:0]+0\nw2 = {}\ncall test\nr1 = map[idx:1]+0\n*(u64 *)(r1 + 0) = r0\nr0 = 0\nexit\n\
         test: exit",
        memory.len()
    );
    let mut all = assemble(&main).ok()?.insns;
    all.pop();
    all.extend_from_slice(insns);
    /// `BPF_F_SLEEPABLE`.
    const SLEEPABLE: u32 = 1 << 4;
    let fds = [maps[0].fd(), maps[1].fd()];
    let spec = ProgLoad {
        prog_flags: SLEEPABLE,
        fd_array: &fds,
        ..ProgLoad::new(ProgType::SYSCALL, "conformance", &all, "GPL")
    };
    let program = skep::runtime::Program::load(kernel, &spec).ok()?;
    let ran = program.test_run(TestRun::default()).map_err(|e| e.to_string());
    let result = ran.and_then(|_| {
        let value = maps[1].lookup(&[0; 4]).map_err(|e| e.to_string())?.unwrap_or_default();
        let value = value.first_chunk().ok_or("the result is no number")?;
        Ok(u64::from_ne_bytes(*value))
    });
    Some(result)
}

/// An array of one value.
fn one_map(runtime: &SharedRuntime, value_size: u32) -> Result<skep::runtime::Map, skep::runtime::Error> {
    let spec = MapCreate::new(MapType::ARRAY, "memory", 4, value_size, 1);
    skep::runtime::Map::create(runtime, &spec, 1)
}

fn verified(insns: &[Insn], value_size: u32) -> Option<Verified> {
    let (maps, target) = ([MapInfo::new("memory", MapType::ARRAY, 4, value_size, 1)], Target::default());
    let input = skep_verifier::Input {
        sleepable: true,
        ..skep_verifier::Input::new("conformance", ProgType::SYSCALL, insns, &maps, &target)
    };
    match prove(&input).outcome {
        Verdict::Accept(verified) => Some(verified),
        _ => None,
    }
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
