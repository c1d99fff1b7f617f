//! The same by the object API: nothing is generated, parts are found by their names.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use skep::choose::{self, Sight};
use skep::runtime::{Event, EventSource, Scope, SessionState};
use skep::{btf, host, records, variables};

fn main() -> skep::Result<()> {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    let runtime = choose::runtime(Sight::Tree)?;

    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/execmon.bpf.c"));
    let mut object = skep::open(source)?.object;
    variables::set(&mut object, "first_pid", "2")?;
    let loaded = skep::load(&runtime, &object, host::link(&object)?)?;
    let links = loaded.attach()?;

    let Some(events) = loaded.map("events") else { return Ok(()) };
    let record = records::record_type("events", events.def.value_type, loaded.btf.as_ref(), &[])?;
    let mut source = events.map.events()?;
    let show = |source: &mut dyn EventSource| {
        source.drain(&mut |event| {
            if let (Event::Record { data, .. }, Some(record)) = (event, &record) {
                println!("{}", btf::value::to_text(&record.btf, record.id, data));
            }
            ControlFlow::Continue(())
        })
    };
    let mut session = runtime.start(Scope::Command(command))?;
    while session.wait(Some(Duration::from_millis(50)))? == SessionState::Running {
        show(&mut *source)?;
    }
    session.release()?;
    show(&mut *source)?;
    drop(links);
    let executed = variables::read(&loaded, "executed")?;
    println!("{} programs executed", skep::plain::field::<u64>(&executed, 0));
    Ok(())
}
