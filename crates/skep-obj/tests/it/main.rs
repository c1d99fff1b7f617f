//! Tests of reading and linking objects. Their sources are in `tests/data`, compiled beside them.

mod fixture;
mod programs;
mod sections;
