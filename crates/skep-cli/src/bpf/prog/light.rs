//! `prog load -L`: an object loaded as a light skeleton loads it, by a BPF program.

use std::path::Path;
use std::sync::Arc;

use skep::host;
use skep::runtime::command::{MapCreate, ProgLoad, TestRun};
use skep::runtime::{Fd, Handle, Map, Program, SharedRuntime};
use skep_isa::uapi::{MapType, ProgType};
use skep_skel::c::light::{self, Loader};

use super::super::failure::{Failure, Outcome};
use super::super::shell::Shell;
use super::super::words::Words;

/// The program may sleep (`BPF_F_SLEEPABLE`).
const SLEEPABLE: u32 = 1 << 4;

/// `prog load -L OBJ`: nothing stays.
pub(super) fn load(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = words.need("the object")?;
    words.end()?;
    let object = skep::open(Path::new(file))?.object;
    object.require_programs()?;
    let linked = object.link(&light::target(host::target(&object)))?;
    run(&shell.runtime()?, &light::loader(&object, &linked)?)
}

/// Runs a loader, and closes what it has loaded.
fn run(runtime: &SharedRuntime, loader: &Loader) -> Outcome {
    let bytes = u32::try_from(loader.data_bytes).map_err(|_| Failure::new("the object is too large"))?;
    let spec = MapCreate::new(MapType::ARRAY, "__loader.map", 4, bytes, 1);
    let data = Map::create(runtime, &spec, host::possible_cpus())?;
    let mut value = loader.data.clone();
    value.resize(loader.data_bytes, 0);
    data.update(&0_u32.to_ne_bytes(), &value, 0)?;
    let spec = ProgLoad {
        prog_flags: SLEEPABLE,
        fd_array: &[data.fd()],
        ..ProgLoad::new(ProgType::SYSCALL, "__loader.prog", &loader.insns, "Dual BSD/GPL")
    };
    let program = Program::load(runtime, &spec)?;
    let mut context = vec![0; loader.context_bytes];
    context[..4].copy_from_slice(&(loader.context_bytes as u32).to_ne_bytes());
    let mut left = context.clone();
    let ran = program.test_run(TestRun { ctx_in: &context, ctx_out: &mut left, ..TestRun::default() })?;
    for fd in loader.descriptors(&left) {
        drop(Handle::new(Arc::clone(runtime), Fd(fd)));
    }
    match ran.retval as i32 {
        0.. => Ok(()),
        error => Err(Failure::new(format!("the loader: {}", std::io::Error::from_raw_os_error(-error)))
            .hint("`prog load` without `-L` tells the verifier's reasons")
            .with_errno(-error)),
    }
}
