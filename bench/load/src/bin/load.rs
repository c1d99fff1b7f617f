//! Skep's side of `cargo xtask bench load`: opens, loads and attaches an object that is part of the program, and says how
//! much memory that took at most. Usage: load PLAIN|CORE

use std::fs;
use std::sync::Arc;

use skep::object::Object;
use skep::runtime::SharedRuntime;
use skep_kernel::KernelRuntime;

const PLAIN: &[u8] = include_bytes!("../../../load.bpf.o");
const CORE: &[u8] = include_bytes!("../../../load-core.bpf.o");

fn main() -> skep::Result<()> {
    let bytes = if std::env::args().nth(1).is_some_and(|which| which == "core") { CORE } else { PLAIN };
    let mut object = Object::read(bytes, "load.bpf.o")?;
    object.set_variable_bytes("targ_pid", &std::process::id().to_ne_bytes())?;
    let runtime: SharedRuntime = Arc::new(KernelRuntime::new());
    let linked = skep::host::link(&object)?;
    let loaded = skep::load(&runtime, &object, linked)?;
    let links = loaded.attach()?;
    print_peak();
    drop(links);
    Ok(())
}

/// `VmHWM`: the most that was resident.
fn print_peak() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(kib) = peak.and_then(|peak| peak.split_ascii_whitespace().next()) {
        println!("peak_kib {kib}");
    }
}
