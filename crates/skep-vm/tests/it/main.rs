//! What programs compute, what maps answer, and what is refused.

mod asm;
mod bpf;
mod build;
mod helper_table;
mod helpers;
mod interp;
mod jit;
mod kernel;
mod kernel_helpers;
mod maps;
mod masks;
mod packets;
mod print;
mod programs;
mod random;
mod threads;
mod tries;
