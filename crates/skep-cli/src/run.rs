//! `skep run`: open → set → load → attach → start → records until the end → results.

mod bytes;
mod packets;
mod print;
mod results;
mod unattached;
mod watch;

use std::process::ExitCode;

use skep::object::{Object, Program};
use skep::records::{self, EventSpec};
use skep::runtime::{ErrorKind, EventSource, Scope, SharedRuntime};
use skep::{Error, Loaded, Result, defaults, host, variables};
use skep_user::front::{self, Front};
use skep_user::{Config, Engine};

use crate::args::{Attachment, EngineChoice, RunArgs, RuntimeChoice};
use crate::runtime::Sight;
use crate::term;
use print::{Printer, Stream};
use watch::{Ending, Watch};

/// Runs an object on a command, a process or the machine, and answers with the command's status.
pub(crate) fn run(choice: Option<RuntimeChoice>, args: &RunArgs) -> Result<ExitCode> {
    if args.input.is_some() || args.device.is_some() {
        return packets::run(choice, args);
    }
    if args.out.is_some() || args.drops.is_some() || args.program.is_some() {
        return Err(Error::usage(
            "`--out`, `--drops` and `--program` are for packets",
            "say where packets come from: `--in CAPTURE` or `--device NAME`",
        ));
    }
    let scope = scope(args)?;
    let specs = args.event.iter().map(|text| EventSpec::parse(text)).collect::<Result<Vec<_>>>()?;
    let object = open(args)?;
    let runtime = crate::runtime::open(choice, sight(args), user_config(args))?;
    let loaded = skep::load(&runtime, &object, host::link(&object)?)?;
    for left in &loaded.left_out {
        term::warning(format_args!("left out: {}", left.reason));
    }
    let links = loaded.attach()?;
    unattached::tell(&loaded);
    if links.is_empty() {
        return Err(unattached::nothing(&loaded));
    }
    // From here on two processes: everything that could go wrong before has gone right. Buffers are mapped after that,
    // because the kernel's do not come along.
    let front = front::split().map_err(|e| Error::file("fork".as_ref(), e))?;
    let streams = streams(&loaded, &specs);
    let status = streams.and_then(|streams| observe(&runtime, scope, &loaded, streams, &front, args));
    let status = status.unwrap_or_else(|error| {
        term::error(&error);
        1
    });
    drop(links);
    front.finish(status)
}

/// What is to be observed.
fn scope(args: &RunArgs) -> Result<Scope> {
    match (args.pid, args.argv.as_slice()) {
        (Some(pid), _) => Ok(Scope::Process(pid)),
        (None, []) if args.all => Ok(Scope::Machine),
        (None, []) => Err(Error::usage(
            "nothing to observe",
            "give a command after `--`, as in `skep run FILE -- cat /etc/os-release`, a process with `-p PID`, or `-a` \
             for the whole machine",
        )),
        (None, argv) => Ok(Scope::Command(argv.to_vec())),
    }
}

/// Whom the programs are to see.
fn sight(args: &RunArgs) -> Sight {
    if args.all { Sight::Machine } else { Sight::Tree }
}

/// What the user runtime is told, if it serves.
fn user_config(args: &RunArgs) -> Config {
    let engine = match args.engine {
        EngineChoice::Auto => Engine::Auto,
        EngineChoice::Jit => Engine::Jit,
        EngineChoice::Interpreter => Engine::Interpreter,
        EngineChoice::Checked => Engine::Checked,
    };
    Config { unverified: args.unverified, engine, ..Config::default() }
}

/// Reads or compiles the object, sets its variables, and leaves out the programs that are not wanted.
fn open(args: &RunArgs) -> Result<Object> {
    let opened = skep::open(&args.file)?;
    if !opened.warnings.is_empty() {
        term::warning(format_args!("clang:\n{}", opened.warnings.trim_end()));
    }
    let mut object = opened.object;
    object.require_programs()?;
    for setting in &args.set {
        variables::set(&mut object, &setting.variable, &setting.value)?;
    }
    for name in &args.without {
        leave_out(&mut object, name)?;
    }
    attach_elsewhere(&mut object, &args.attach)?;
    defaults::fill_in(&mut object);
    Ok(object)
}

/// Keeps programs from being loaded: one, or those that a pattern fits.
pub(crate) fn leave_out(object: &mut Object, pattern: &str) -> Result<()> {
    if !pattern.contains(['*', '?']) {
        program(object, pattern)?.autoload = false;
        return Ok(());
    }
    let is_meant = |program: &&mut Program| skep_binary::glob(pattern.as_bytes(), program.name.as_bytes());
    object.programs.iter_mut().filter(is_meant).for_each(|program| program.autoload = false);
    Ok(())
}

/// Puts programs where the command line wants them.
fn attach_elsewhere(object: &mut Object, attachments: &[Attachment]) -> Result<()> {
    let mut done: Vec<&str> = Vec::new();
    for Attachment { program: name, .. } in attachments {
        if !done.contains(&name.as_str()) {
            let sections = attachments.iter().filter(|a| a.program == *name).map(|a| a.section.as_str());
            program(object, name)?.attach_at(&sections.collect::<Vec<_>>())?;
            done.push(name);
        }
    }
    Ok(())
}

/// The program of a name.
fn program<'o>(object: &'o mut Object, name: &str) -> Result<&'o mut Program> {
    let names: Vec<String> = object.programs.iter().map(|program| program.name.clone()).collect();
    let found = object.programs.iter_mut().find(|program| program.name == name);
    found.ok_or_else(|| {
        Error::usage(format!("the object has no program `{name}`"), format!("it has {}", names.join(", ")))
    })
}

/// The buffers that programs write records to, with the types of these.
fn streams(loaded: &Loaded, specs: &[EventSpec]) -> Result<Vec<Stream>> {
    loaded
        .maps()
        .filter(|map| map.is_event_buffer())
        .map(|map| {
            let record = records::record_type(&map.def.name, map.def.value_type, loaded.btf.as_ref(), specs)?;
            Ok(Stream { map: map.def.name.clone(), source: map.map.events()?, record })
        })
        .collect()
}

/// Starts the scope, prints until the end, then the results; answers the exit status.
fn observe(
    runtime: &SharedRuntime,
    scope: Scope,
    loaded: &Loaded,
    streams: Vec<Stream>,
    front: &Front,
    args: &RunArgs,
) -> Result<u8> {
    let (mut printer, sources) = Printer::new(args.output, streams);
    let printk = loaded.writes_lines().then(|| printk(runtime)).flatten();
    // Whoever wanted this may have gone meanwhile; nothing of the command has run yet.
    if let Some(signal) = front.stop_requested() {
        return Ok(Ending::Interrupted(signal).status());
    }
    let session = match runtime.start(scope.clone()) {
        Ok(session) => session,
        Err(error) => {
            let status = status_without_start(&scope, error.kind());
            term::error(&error.into());
            return Ok(status);
        }
    };
    let ending = Watch { session, streams: sources, printk, front }.run(&mut printer)?;
    printer.report_lost();
    if printer.had_nothing() {
        tell_settings(loaded);
    }
    if ending != Ending::OutputClosed && !args.no_results {
        results::print(loaded, &mut printer)?;
    }
    Ok(ending.status())
}

/// Says what may have kept records away: tools filter by settings, and some of them let nothing through as they are.
fn tell_settings(loaded: &Loaded) {
    let settings = variables::settings(loaded);
    if settings.is_empty() {
        return;
    }
    let list: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    term::note(format_args!(
        "no records; the object has settings: {} (change them with `--set`)",
        list.join(", ")
    ));
}

/// The lines of `bpf_printk`; records are shown without them, too.
fn printk(runtime: &SharedRuntime) -> Option<Box<dyn EventSource>> {
    let opened = runtime.printk();
    opened.map_err(|e| term::warning(format_args!("lines of `bpf_printk` are not shown: {e}"))).ok()
}

/// What a shell expects: 127 for a command that is not there, 126 for one that cannot be executed.
fn status_without_start(scope: &Scope, why: ErrorKind) -> u8 {
    match (scope, why) {
        (Scope::Command(_), ErrorKind::NotFound) => 127,
        (Scope::Command(_), ErrorKind::Denied) => 126,
        _ => 1,
    }
}
