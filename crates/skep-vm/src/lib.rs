//! Runs eBPF programs in this process: a checked interpreter, maps, and helpers.
//!
//! [`Map`]s are created from a [`MapSpec`]; [`Program::prepare`] decodes a program and resolves the maps and helpers that it
//! uses; [`Program::run`] runs it on a context in a world, [`Env`]. Nothing has to be verified: each access of a program is
//! checked against what it may reach, and each run has a budget of instructions, so any bytes are safe to run. What a
//! program must not do ends the run with a [`Fault`].
//!
//! ```
//! use skep_isa::asm::assemble;
//! use skep_isa::uapi::{MapType, ProgType};
//! use skep_vm::{Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo};
//!
//! let counts = Map::create(MapSpec::new(MapType::ARRAY, "counts", 4, 8, 1))?;
//! let insns = assemble(
//!     "r1 = map[idx:0]+0
//!      r2 = 1
//!      lock *(u64 *)(r1 + 0) += r2
//!      r0 = 0
//!      exit",
//! )?
//! .insns;
//! let find = |reference| (reference == MapRef::Index(0)).then(|| counts.clone());
//! let program = Program::prepare(&insns, &find, ProgramInfo::new("count", ProgType::RAW_TRACEPOINT))?;
//! for _ in 0..3 {
//!     assert_eq!(program.run(&mut [], &mut NoEnv)?, 0);
//! }
//! let mut value = [0; 8];
//! counts.lookup(&[0; 4], &mut value, 0)?;
//! assert_eq!(u64::from_ne_bytes(value), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate does no I/O but what maps need to wake their readers up; everything else is asked of the `Env`.

mod alu;
mod clock;
mod code;
mod direct;
pub mod env;
mod errno;
mod fault;
pub mod helper;
mod interp;
mod jit;
mod machine;
pub mod map;
mod masks;
mod memory;
pub mod packet;
mod program;
mod random;
mod timer;

pub use clock::possible_cpus;
pub use env::{Env, NoEnv};
pub use errno::Errno;
pub use fault::{Fault, Reason};
pub use jit::{Compiled, Declined, Engine};
pub use map::{Map, MapError, MapSpec};
pub use program::{Input, MapRef, PrepareError, PrepareErrorKind, Program, ProgramInfo, Resolve};
