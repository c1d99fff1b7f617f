//! What an eBPF object says, and what it becomes on a given machine.
//!
//! [`Object::read`] takes the bytes of a file that clang wrote and gives programs, maps, variables and
//! externs. It depends on the bytes alone. [`Object::link`] takes a [`Target`], which says what a machine
//! has, and gives [`Linked`]: instructions, maps and types ready to be loaded. Map references are numbers
//! until a runtime puts its descriptors there.
//!
//! ```
//! use skep_obj::{Object, Target};
//!
//! let bytes = include_bytes!("../tests/data/programs.bpf.o");
//! let mut object = Object::read(bytes, "programs.bpf.o")?;
//! object.set_variable_bytes("limit", &9u32.to_le_bytes())?;
//! let linked = object.link(&Target::default())?;
//! for program in linked.programs.iter().filter(|program| program.result.is_ok()) {
//!     println!("{}: {} instructions", program.name, program.insns.len());
//! }
//! # Ok::<(), skep_obj::Error>(())
//! ```
//!
//! The meaning of objects is libbpf's (1.8). Nothing here does I/O or knows the host, and no input makes it
//! panic.
#![forbid(unsafe_code)]

pub mod attach;
pub mod diff;
mod elf;
pub mod error;
pub mod externs;
mod function;
pub mod inspect;
pub mod link;
pub mod linker;
pub mod map;
pub mod object;
pub mod program;
mod reloc;
pub mod sampling;
pub mod section;
pub mod source;
mod struct_ops;
mod types;
pub mod variable;

pub use attach::AttachPoint;
pub use elf::section as elf_section;
pub use error::{Error, ErrorKind, Result};
pub use externs::{Extern, ExternKind};
pub use link::{Linked, LinkedProgram, Module, Target};
pub use map::{MapDef, MapKind, Pinning};
pub use object::Object;
pub use program::Program;
pub use sampling::{Sampling, SamplingRate};
pub use section::SectionDef;
pub use source::SourceLine;
pub use variable::Variable;
