//! Tests of reading and linking objects. Their sources are in `tests/data`, compiled beside them.

mod core;
mod damage;
mod errors;
mod externs;
mod fixture;
mod linker;
mod maps;
mod programs;
mod sections;
mod struct_ops;
