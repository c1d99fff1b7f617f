//! The user runtime: a BPF subsystem of our own, in user space, without privileges.
//!
//! [`UserRuntime`] implements the waist ([`skep_runtime::Runtime`]) over a virtual machine and over hooks: a command is traced
//! by ptrace, and programs run on its system calls and process events. It never prints; what concerns a person goes to the
//! diagnostics callback of [`Config`]. A command line that traces should begin with [`front::split`].

pub mod device;
pub mod front;
mod hook;
mod iterate;
mod kernel;
mod network;
mod objects;
mod output;
mod packets;
mod pins;
mod procfs;
mod runtime;
mod session;
mod sys;
mod syscalls;
mod task;
mod tracer;

pub use kernel::types::bundled as bundled_types;
pub use runtime::{Config, Diagnostic, Diagnostics, Subsystem, UserRuntime};
pub use skep_vm::Engine;
