//! Reading and writing of BPF types, CO-RE relocations, C declarations.

mod builder;
mod cdecl;
mod cdump;
mod clang;
mod core;
mod corrupt;
mod ext;
mod golden;
mod minimal;
mod random;
mod relos;
mod value;
mod vmlinux;
