//! The same by raw commands of bpf(2): every map and program is made by hand, as the loader does it.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use skep::choose::{self, Sight};
use skep::host;
use skep::plain;
use skep::runtime::command::{MapCreate, ProgLoad};
use skep::runtime::{AttachOptions, Command, Event, Fd, Reply, Scope, SessionState, SharedRuntime};

/// Sources of `LD_IMM64` that say what its number is (`BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`).
const MAP: skep::isa::Reg = skep::isa::Reg(1);
const MAP_VALUE: skep::isa::Reg = skep::isa::Reg(2);

/// Runs a command that answers a descriptor.
fn descriptor(runtime: &SharedRuntime, command: Command<'_>) -> skep::Result<Fd> {
    match runtime.bpf(command)? {
        Reply::Fd(fd) => Ok(fd),
        other => panic!("a descriptor was expected, not {other:?}"),
    }
}

fn main() -> skep::Result<()> {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    let runtime = choose::runtime(Sight::Tree)?;

    // What clang made, read and linked: instructions in which maps are numbers, and what the maps are to be.
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/execmon.bpf.c"));
    let object = skep::open(source)?.object;
    let linked = host::link(&object)?;

    // BPF_MAP_CREATE, and the initial values of global variables.
    let mut maps = Vec::new();
    for map in &linked.maps {
        let spec = MapCreate {
            map_flags: map.map_flags,
            ..MapCreate::new(map.map_type, "execmon", map.key_size, map.value_size, map.max_entries)
        };
        let fd = descriptor(&runtime, Command::MapCreate(&spec))?;
        if map.is_data() && !map.data.is_empty() {
            runtime.bpf(Command::MapUpdate {
                map: fd,
                key: &0_u32.to_ne_bytes(),
                value: &map.data,
                flags: 0,
            })?;
        }
        if map.is_frozen() {
            runtime.bpf(Command::MapFreeze { map: fd })?;
        }
        maps.push(fd);
    }

    // BPF_PROG_LOAD, with descriptors in the instructions.
    let program = &linked.programs[0];
    let mut insns = program.insns.clone();
    for reference in &program.map_refs {
        let insn = &mut insns[reference.insn];
        *insn = insn.with_src(if reference.value_off.is_some() { MAP_VALUE } else { MAP });
        insn.imm = maps[reference.map].0;
    }
    let spec = ProgLoad::new(program.prog_type, &program.name, &insns, &linked.license);
    let prog = descriptor(&runtime, Command::ProgLoad(&spec))?;

    // Linux attaches to tracepoints by perf events; a runtime knows how.
    let link = runtime.attach(prog, &program.attach, &AttachOptions::default())?;

    let events = linked.maps.iter().position(|map| map.name == "events").map(|number| maps[number]);
    let mut records = runtime.events(events.unwrap_or(Fd(-1)))?;
    let mut session = runtime.start(Scope::Command(command))?;
    while session.wait(Some(Duration::from_millis(50)))? == SessionState::Running {}
    session.release()?;
    records.drain(&mut |event| {
        if let Event::Record { data, .. } = event {
            // struct event: pid, uid, comm[16], file[128]
            let comm: plain::Text<16> = plain::field(data, 8);
            let file: plain::Text<128> = plain::field(data, 24);
            println!("{comm:<16} {file}");
        }
        ControlFlow::Continue(())
    })?;

    // BPF_MAP_LOOKUP_ELEM on the section of the count, which is the value of an array's only element.
    let count = object.variable("executed")?;
    let mut value = vec![0; linked.maps[count.map].value_size as usize];
    let key = 0_u32.to_ne_bytes();
    runtime.bpf(Command::MapLookup { map: maps[count.map], key: &key, value: &mut value, flags: 0 })?;
    println!("{} programs executed", plain::field::<u64>(&value, count.offset as usize));

    for fd in [link, prog].into_iter().chain(maps) {
        runtime.close(fd);
    }
    Ok(())
}
