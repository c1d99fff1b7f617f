//! Reading and writing of BPF types, and CO-RE relocations.

mod builder;
mod core;
mod ext;
mod vmlinux;
