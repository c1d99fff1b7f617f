//! Runs eBPF programs in this process: a checked interpreter, maps, and helpers.
//!
//! [`Map`]s are created from a [`MapSpec`]; [`Program::prepare`] decodes a program and resolves the maps and helpers that it
//! uses; [`Program::run`] runs it on a context in a world, [`Env`]. Nothing has to be verified: each access of a program is
//! checked against what it may reach, and each run has a budget of instructions, so any bytes are safe to run. What a
//! program must not do ends the run with a [`Fault`].
//!
//! This crate does no I/O but what maps need to wake their readers up; everything else is asked of the `Env`.

mod alu;
mod clock;
mod code;
pub mod env;
mod errno;
mod fault;
mod helper;
mod interp;
mod machine;
pub mod map;
mod memory;
mod program;
mod random;

pub use env::{Env, NoEnv};
pub use errno::Errno;
pub use fault::{Fault, Reason};
pub use helper::Refused;
pub use map::{Map, MapError, MapSpec};
pub use program::{Input, MapRef, PrepareError, PrepareErrorKind, Program, ProgramInfo, Resolve};
