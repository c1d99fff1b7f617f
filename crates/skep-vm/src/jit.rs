//! Machine code of verified programs, for this processor.
//!
//! The verifier has proved where every access goes, so compiled code accesses memory by its address and checks nothing.
//! Takes a [`Verified`](skep_verifier::Verified) with facts, gives [`Native`]: pages of code and where functions begin in
//! them. Stages, each a module:
//!
//! | stage | module |
//! |---|---|
//! | what is compiled: instructions with facts and resolved addresses | `source` |
//! | functions, blocks, what lives in registers between blocks | `shape` |
//! | one function into Cranelift's instructions | `translate`, with `arith`, `memory`, `calls` and `maps` |
//! | Cranelift's passes, and what they leave to do | `compiler`, with `halves`, `edges`, `rounds` and `frames` |
//! | code pages; the way into compiled code, and out of it to helpers | `native` |
//! | runs: tail calls from program to program, callbacks | `run` |
//!
//! BPF registers are SSA values and the BPF stack is a slot of the native frame. Helpers are those of the interpreter,
//! called by a thunk; memory that is not known to be this process's own (the kernel's, or different things on different
//! paths) is accessed by a thunk too, which checks. What the compiler cannot do it declines, and the interpreter runs the
//! program.

mod arith;
mod calls;
mod compiler;
mod edges;
mod frames;
mod halves;
mod maps;
mod memory;
mod native;
mod rounds;
mod run;
mod shape;
mod source;
mod translate;
mod waiting;

use std::borrow::Cow;
use std::fmt;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use skep_verifier::Verified;

use crate::code::Code;
use crate::map::Map;
use compiler::Compiler;
pub(crate) use native::{Called, Home, Native};
pub(crate) use source::{Place, Source};
pub(crate) use waiting::Waiting;

/// What runs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter, with a check of every access.
    Checked,
    /// The interpreter, with checks of what is not proved.
    Interpreter,
    /// The interpreter, until compiled code is there: it is made in the background after a few runs.
    #[default]
    Auto,
    /// Compiled code from the first run on, as far as the program can be compiled.
    Jit,
}

/// Why a program is not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The slot that is the reason.
    pub insn: usize,
    /// What is wrong.
    pub reason: Cow<'static, str>,
}

impl Declined {
    fn at(insn: usize, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { insn, reason: reason.into() }
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.insn, self.reason)
    }
}

/// What became of a program that was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// What it took.
    pub time: Duration,
}

/// Compiles a program. With `blind`, no constant of the program stands in the code as it is.
pub(crate) fn compile(
    verified: &Verified,
    code: &[Code],
    maps: &[Arc<Map>],
    blind: bool,
) -> Result<Native, Declined> {
    let started = Instant::now();
    let source = Source::new(verified, code, maps)?;
    let isa = target(blind)?;
    let functions = shape::functions(&source)?;
    let mut compiler = Compiler::new(&**isa);
    let mut bodies = Vec::with_capacity(functions.len());
    for number in 0..functions.len() {
        bodies.push(translate::function(&source, &functions, number, &mut compiler, blind)?);
    }
    native::link(&source, &functions, &bodies, started)
}

/// Something to do in the background.
type Job = Box<dyn FnOnce() + Send>;

/// Does something on the one thread that compiles; without a thread, the interpreter goes on.
pub(crate) fn in_background(job: impl FnOnce() + Send + 'static) {
    static JOBS: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || jobs.into_iter().for_each(|job| job());
        std::thread::Builder::new().name("skep-jit".to_owned()).spawn(work).ok().map(|_| sender)
    });
    if let Some(jobs) = jobs {
        let _ = jobs.send(Box::new(job));
    }
}

/// Cranelift for this processor; made once.
fn target(blind: bool) -> Result<&'static OwnedTargetIsa, Declined> {
    static TARGETS: [OnceLock<Result<OwnedTargetIsa, Declined>>; 2] = [const { OnceLock::new() }; 2];
    let target = TARGETS[usize::from(blind)].get_or_init(|| make_target(blind));
    target.as_ref().map_err(Clone::clone)
}

fn make_target(blind: bool) -> Result<OwnedTargetIsa, Declined> {
    let builder = cranelift_native::builder().map_err(|e| Declined::at(0, e))?;
    let mut flags = settings::builder();
    // Constants would be put together again by the optimiser.
    let level = if blind { "none" } else { "speed" };
    for (name, value) in [
        ("opt_level", level),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        // Another thread may change a map's value between two loads of it.
        ("enable_alias_analysis", "false"),
        ("enable_probestack", "false"),
        ("unwind_info", "false"),
    ] {
        flags.set(name, value).map_err(|e| Declined::at(0, e.to_string()))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| Declined::at(0, e.to_string()))
}
