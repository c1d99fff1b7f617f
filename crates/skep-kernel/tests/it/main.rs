//! What the kernel does when commands are passed on. Tests that the caller may not run say so and are skipped.

mod asm;
mod by_type;
mod cgroups;
mod confine;
mod devices;
mod faults;
mod hooks;
mod iterators;
mod killed;
mod maps;
mod netkit;
mod netns;
mod objects;
mod packets;
mod privileges;
mod programs;
mod routes;
mod scope;
mod tracing;
mod usdt;

use std::sync::Arc;

use skep_kernel::KernelRuntime;
use skep_runtime::command::MapCreate;
use skep_runtime::{Error, ErrorKind, Map, SharedRuntime};

/// The kernel, or `None` with a printed reason where this process may not use it.
fn kernel() -> Option<SharedRuntime> {
    let runtime: SharedRuntime = Arc::new(KernelRuntime::new());
    let probe = MapCreate::new(skep_isa::uapi::MapType::ARRAY, "probe", 4, 4, 1);
    unless_refused(Map::create(&runtime, &probe, 1)).map(|_| runtime)
}

/// A result that must be good, unless this machine does not let us: then the reason is printed, and the test skipped.
fn unless_refused<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(e) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::Unsupported) => {
            eprintln!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}
