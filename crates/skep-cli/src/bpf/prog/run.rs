//! `prog run`: a program on data of the caller's, once or many times.
//!
//! The program is one that is loaded, or one of an object file, which is loaded for this run alone: into the user runtime,
//! which needs no rights, unless `--runtime kernel` asks for Linux.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use skep::isa::uapi::{AttachType, ProgType};
use skep::object::LinkedProgram;
use skep::runtime::command::TestRun;
use skep::runtime::{Command, Fd, Link, Reply, SharedRuntime};
use skep::{Loaded, host};

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::{Words, abbreviates};

/// Room for results, where the caller does not say how much.
const OUT_BYTES: u32 = 64 << 10;

/// Files and counts that the words name.
#[derive(Default)]
struct Wanted<'a> {
    data_in: Option<&'a str>,
    data_out: Option<&'a str>,
    data_size_out: Option<u32>,
    ctx_in: Option<&'a str>,
    ctx_out: Option<&'a str>,
    ctx_size_out: Option<u32>,
    repeat: Option<u32>,
    /// Does the program run without data and without a context?
    needs_nothing: bool,
}

/// Runs a program and prints what it returned and how long it took.
pub(crate) fn run(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    match object_file(words) {
        Some(file) => run_object(shell, file, words),
        None => {
            let selected = select::prog(shell, words)?;
            let runtime = shell.runtime()?;
            run_program(shell, &runtime, selected.handle.fd(), &wanted(words)?)
        }
    }
}

/// The word that is a file of an object: any that does not say how a loaded program is found.
fn object_file<'a>(words: &mut Words<'a>) -> Option<&'a str> {
    let selects = |word: &str| ["id", "tag", "name", "pinned"].iter().any(|known| abbreviates(word, known));
    let is_file = words.peek().is_some_and(|word| !selects(word) && Path::new(word).is_file());
    is_file.then(|| words.next()).flatten()
}

/// Loads an object and runs its program, or the one that `program NAME` names.
fn run_object(shell: &mut Shell, file: &str, words: &mut Words<'_>) -> Outcome {
    let name = if words.keyword("program") { Some(words.need("the program's name")?) } else { None };
    let wanted = wanted(words)?;
    let mut object = skep::open(Path::new(file))?.object;
    object.require_programs()?;
    let names: Vec<&str> = object.programs.iter().map(|program| &*program.name).collect();
    let name = match (name, &names[..]) {
        (Some(name), names) if names.contains(&name) => name.to_owned(),
        (None, [only]) => (*only).to_owned(),
        (name, names) => {
            let what = name.map_or("several programs".into(), |name| format!("no program `{name}`"));
            let hint = format!("`program NAME` chooses one of {}", names.join(", "));
            return Err(Failure::new(format!("`{file}` has {what}")).hint(hint));
        }
    };
    object.load_for(&name);
    let runtime = shell.passing_runtime()?;
    let loaded = skep::load(&runtime, &object, object.link(&host::target(&object))?)?;
    let program = loaded.programs.iter().flatten().find(|program| program.linked.name == name);
    let program = program.ok_or_else(|| {
        Failure::new(format!("program `{name}` of `{file}` is not loaded")).hint("`prog load` says why")
    })?;
    let linked = &program.linked;
    // Linux calls functions for these, and what looks at them has to be attached.
    let attached = if traces(linked) { attach_traced(&loaded)? } else { Vec::new() };
    let wanted = Wanted { needs_nothing: NEED_NOTHING.contains(&linked.prog_type), ..wanted };
    let answer = run_program(shell, &runtime, program.program.fd(), &wanted);
    drop(attached);
    answer
}

/// Types of programs that run without data and without a context too.
const NEED_NOTHING: [ProgType; 3] = [ProgType::SYSCALL, ProgType::RAW_TRACEPOINT, ProgType::TRACING];

/// Does a program look at functions?
fn traces(program: &LinkedProgram) -> bool {
    let moments = [AttachType::TRACE_FENTRY, AttachType::TRACE_FEXIT, AttachType::MODIFY_RETURN];
    program.prog_type == ProgType::TRACING
        && program.expected_attach_type.is_some_and(|attach_type| moments.contains(&attach_type))
}

/// Attaches all such programs of an object.
fn attach_traced(loaded: &Loaded) -> Outcome<Vec<Link>> {
    let mut links = Vec::new();
    for program in loaded.programs.iter().flatten().filter(|program| traces(&program.linked)) {
        links.extend(program.attach()?);
    }
    Ok(links)
}

fn run_program(shell: &mut Shell, runtime: &SharedRuntime, prog: Fd, wanted: &Wanted<'_>) -> Outcome {
    if wanted.data_in.is_none() && wanted.ctx_in.is_none() && !wanted.needs_nothing {
        return Err(Failure::new("there is nothing to run on").hint("`data_in FILE`, `ctx_in FILE`, or both"));
    }
    let data_in = read(wanted.data_in)?;
    let ctx_in = read(wanted.ctx_in)?;
    let mut data_out = vec![0; room(wanted.data_out, wanted.data_size_out)];
    let mut ctx_out = vec![0; room(wanted.ctx_out, wanted.ctx_size_out)];
    let run = TestRun {
        data_in: &data_in,
        data_out: &mut data_out,
        ctx_in: &ctx_in,
        ctx_out: &mut ctx_out,
        // Some types take no number here, not even one.
        repeat: wanted.repeat.unwrap_or(0),
        ..TestRun::default()
    };
    let reply = runtime.bpf(Command::ProgTestRun { prog, run });
    let Reply::TestRun { retval, duration_ns, data_size_out, ctx_size_out } =
        reply.map_err(|e| Failure::refused(&e))?
    else {
        return Err(Failure::new("the run has no result"));
    };
    data_out.truncate(data_size_out as usize);
    ctx_out.truncate(ctx_size_out as usize);
    if shell.is_json() {
        shell.json.begin_object();
    }
    output(shell, "data_out", wanted.data_out, &data_out)?;
    output(shell, "ctx_out", wanted.ctx_out, &ctx_out)?;
    if shell.is_json() {
        shell.json.unsigned_field("retval", retval);
        shell.json.unsigned_field("duration", duration_ns);
        shell.json.end_object();
    } else {
        let average = if wanted.repeat.unwrap_or(1) > 1 { " (average)" } else { "" };
        shell.json.text(format_args!("Return value: {retval}, duration{average}: {duration_ns}ns\n"));
    }
    Ok(())
}

fn wanted<'a>(words: &mut Words<'a>) -> Outcome<Wanted<'a>> {
    let mut wanted = Wanted::default();
    while !words.is_empty() {
        if words.keyword("data_in") {
            wanted.data_in = Some(words.need("the file for data")?);
        } else if words.keyword("data_out") {
            wanted.data_out = Some(words.need("the file for data")?);
        } else if words.keyword("data_size_out") {
            wanted.data_size_out = Some(words.number("the size of data")?);
        } else if words.keyword("ctx_in") {
            wanted.ctx_in = Some(words.need("the file for the context")?);
        } else if words.keyword("ctx_out") {
            wanted.ctx_out = Some(words.need("the file for the context")?);
        } else if words.keyword("ctx_size_out") {
            wanted.ctx_size_out = Some(words.number("the size of the context")?);
        } else if words.keyword("repeat") {
            wanted.repeat = Some(words.number("how often")?);
        } else {
            words.end()?;
        }
    }
    Ok(wanted)
}

/// Room for what comes out; one that is too small is told of even where nobody wants to have it.
fn room(file: Option<&str>, bytes: Option<u32>) -> usize {
    bytes.or(file.map(|_| OUT_BYTES)).unwrap_or(0) as usize
}

fn read(file: Option<&str>) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    match file {
        None => {}
        Some("-") => {
            std::io::stdin().read_to_end(&mut bytes).map_err(|e| Failure::file("stdin", &e))?;
        }
        Some(file) => bytes = fs::read(file).map_err(|e| Failure::file(file, &e))?,
    }
    Ok(bytes)
}

/// Writes results to a file, or, for `-`, to stdout.
fn output(shell: &mut Shell, name: &str, file: Option<&str>, bytes: &[u8]) -> Outcome {
    match file {
        None => Ok(()),
        Some("-") if shell.is_json() => {
            shell.json.array_field(name, bytes.iter().copied());
            Ok(())
        }
        Some("-") => {
            let mut text = Vec::new();
            hex_dump(&mut text, bytes);
            shell.json.bytes(&text);
            Ok(())
        }
        Some(file) => fs::write(file, bytes).map_err(|e| Failure::file(file, &e)),
    }
}

/// Sixteen bytes a line: offset, pairs of bytes, characters.
fn hex_dump(text: &mut Vec<u8>, bytes: &[u8]) {
    for (number, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:07x}\t", number * 16);
        for at in 0..16 {
            match line.get(at) {
                Some(byte) => {
                    let _ = write!(text, "{byte:02x}");
                }
                None => text.extend_from_slice(b"  "),
            }
            if at % 2 == 1 {
                text.push(b' ');
            }
        }
        text.extend_from_slice(b"| ");
        for (at, &byte) in line.iter().enumerate() {
            if at == 8 {
                text.push(b' ');
            }
            text.push(if byte.is_ascii_graphic() || byte == b' ' { byte } else { b'.' });
        }
        text.push(b'\n');
    }
}
