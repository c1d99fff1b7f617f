//! eBPF instructions, and the numbers that programs and bpf(2) share.
//!
//! Takes and gives values only: no I/O, no allocation that depends on anything but its input, and no panic on any input.
//! The instruction set is RFC 9669 (ISA v1–v4) with Linux's extensions.
#![forbid(unsafe_code)]

pub mod asm;
pub mod cfg;
pub mod disasm;
pub mod helper;
pub mod insn;
pub mod op;
pub mod table;
pub mod text;
pub mod uapi;

pub use asm::{AsmError, AsmErrorKind, Assembly, assemble};
pub use insn::{Insn, Reg};
pub use op::{
    AluOp, AtomicOp, CallTarget, DecodeError, DecodeErrorKind, Endian, Imm64, JmpOp, Op, Operand, Size,
    decode, decode_xlated,
};
pub use text::Style;
