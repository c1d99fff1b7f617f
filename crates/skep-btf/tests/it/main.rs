//! Reading and writing of BPF types, and CO-RE relocations.

mod builder;
mod core;
mod corrupt;
mod ext;
mod relos;
mod vmlinux;
