//! Which programs a command executes, by a skeleton: `execmon COMMAND…`.

use std::ffi::OsString;
use std::time::Duration;

use skep::choose::{self, Sight};
use skep::runtime::{Scope, SessionState};

mod execmon {
    include!(concat!(env!("OUT_DIR"), "/execmon.rs"));
}

use execmon::OpenExecmon;
use execmon::types::event;

fn main() -> skep::Result<()> {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Linux's own BPF where we may use it, otherwise Skep's, in user space.
    let runtime = choose::runtime(Sight::Tree)?;

    let mut open = OpenExecmon::new()?;
    open.rodata.first_pid = 2;
    open.maps.events.max_entries = 1 << 20;
    let mut execmon = open.load(&runtime)?;
    execmon.attach()?;

    let mut records = execmon.maps.events.records::<event>()?;
    let mut session = runtime.start(Scope::Command(command))?;
    loop {
        let state = session.wait(Some(Duration::from_millis(50)))?;
        records.drain(|event| println!("{:<16} {}", event.comm, event.file))?;
        if state != SessionState::Running {
            break;
        }
    }
    session.release()?;
    records.drain(|event| println!("{:<16} {}", event.comm, event.file))?;
    println!("{} programs executed", execmon.bss.executed.get()?);
    Ok(())
}
