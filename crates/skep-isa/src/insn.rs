//! The encoded instruction: one 8-byte slot of `struct bpf_insn`, as objects hold it and bpf(2) takes it.
//!
//! A slot means nothing by itself: `LD_IMM64` takes two.

use std::fmt;

/// A register number, `r0` to `r10` (and `r11` in the kernel's own rewrites); four bits wide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u8);

impl Reg {
    /// Return value of programs, helpers and functions.
    pub const R0: Self = Self(0);
    /// First argument; the context when a program starts.
    pub const R1: Self = Self(1);
    /// Second argument.
    pub const R2: Self = Self(2);
    /// Third argument.
    pub const R3: Self = Self(3);
    /// Fourth argument.
    pub const R4: Self = Self(4);
    /// Fifth argument.
    pub const R5: Self = Self(5);
    /// Kept across calls.
    pub const R6: Self = Self(6);
    /// Kept across calls.
    pub const R7: Self = Self(7);
    /// Kept across calls.
    pub const R8: Self = Self(8);
    /// Kept across calls.
    pub const R9: Self = Self(9);
    /// Frame pointer, read-only.
    #[doc(alias = "BPF_REG_FP")]
    pub const R10: Self = Self(10);
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One slot of eight bytes (`struct bpf_insn`, RFC 9669 section 3).
#[doc(alias = "bpf_insn")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Insn {
    /// Operation: class, and what the class makes of the other five bits.
    pub code: u8,
    /// `dst` in the low nibble, `src` in the high one (little-endian layout).
    pub regs: u8,
    /// Signed offset: of memory in bytes, of jumps in slots from the next one.
    pub off: i16,
    /// Immediate value.
    pub imm: i32,
}

impl Insn {
    /// Bytes of one slot.
    pub const SIZE: usize = 8;

    /// Puts the five fields together; register numbers are cut to four bits.
    pub const fn new(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Self {
        Self { code, regs: (dst.0 & 0xf) | (src.0 << 4), off, imm }
    }

    /// Destination register.
    pub const fn dst(self) -> Reg {
        Reg(self.regs & 0xf)
    }

    /// Source register, or the pseudo source of `LD_IMM64` and `CALL`.
    pub const fn src(self) -> Reg {
        Reg(self.regs >> 4)
    }

    /// The same slot with another source register (or pseudo source).
    pub const fn with_src(self, src: Reg) -> Self {
        Self { regs: (self.regs & 0xf) | (src.0 << 4), ..self }
    }

    /// Reads a slot as a little-endian machine lays it out.
    pub const fn from_le_bytes(b: [u8; 8]) -> Self {
        Self {
            code: b[0],
            regs: b[1],
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Reads a slot as a big-endian machine lays it out: fields swapped, and so are the register nibbles.
    pub const fn from_be_bytes(b: [u8; 8]) -> Self {
        Self {
            code: b[0],
            regs: b[1].rotate_left(4),
            off: i16::from_be_bytes([b[2], b[3]]),
            imm: i32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// The slot as a little-endian machine lays it out.
    pub const fn to_le_bytes(self) -> [u8; 8] {
        let o = self.off.to_le_bytes();
        let i = self.imm.to_le_bytes();
        [self.code, self.regs, o[0], o[1], i[0], i[1], i[2], i[3]]
    }
}

impl fmt::Debug for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dst, src) = (self.dst(), self.src());
        write!(f, "Insn({:#04x} dst={dst} src={src} off={} imm={:#x})", self.code, self.off, self.imm)
    }
}
