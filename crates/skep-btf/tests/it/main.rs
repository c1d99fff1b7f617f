//! Reading and writing of BPF types.

mod builder;
mod vmlinux;
