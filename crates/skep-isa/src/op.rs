//! The decoded instruction: what one or two slots mean, with every operand named.
//!
//! [`decode`] takes the slots of a program and a position and gives an [`Op`], or says which field is wrong, as the
//! kernel's verifier does ("uses reserved fields"). [`Op::encode`] is its inverse. Both are read off the table of the
//! instruction set ([`table`]); nothing here knows an opcode.

use std::fmt;
use std::ops::Deref;

use crate::insn::{Insn, Reg};
use crate::table::{self, Field, Row};

/// The second operand of arithmetic and jumps, and what a store writes (RFC 9669 section 4, the source bit).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operand {
    /// A register (`BPF_X`).
    #[doc(alias = "BPF_X")]
    Reg(Reg),
    /// A constant (`BPF_K`); 64-bit operations extend its sign.
    #[doc(alias = "BPF_K")]
    Imm(i32),
}

/// How much memory an access touches (RFC 9669 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Size {
    /// One byte.
    #[doc(alias = "BPF_B")]
    B,
    /// Two bytes.
    #[doc(alias = "BPF_H")]
    H,
    /// Four bytes.
    #[doc(alias = "BPF_W")]
    W,
    /// Eight bytes.
    #[doc(alias = "BPF_DW")]
    DW,
}

impl Size {
    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::B => 1,
            Self::H => 2,
            Self::W => 4,
            Self::DW => 8,
        }
    }

    /// The size in bits.
    pub const fn bits(self) -> u32 {
        self.bytes() * 8
    }
}

/// Arithmetic with two operands (RFC 9669 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AluOp {
    /// `dst += src`
    Add,
    /// `dst -= src`
    Sub,
    /// `dst *= src`
    Mul,
    /// `dst /= src` unsigned; 0 when `src` is 0.
    Div,
    /// `dst s/= src` signed; 0 when `src` is 0.
    Sdiv,
    /// `dst |= src`
    Or,
    /// `dst &= src`
    And,
    /// `dst <<= src`, the shift masked to the width.
    Lsh,
    /// `dst >>= src` unsigned, the shift masked to the width.
    Rsh,
    /// `dst %= src` unsigned; `dst` when `src` is 0.
    Mod,
    /// `dst s%= src` signed, rounding to zero; `dst` when `src` is 0.
    Smod,
    /// `dst ^= src`
    Xor,
    /// `dst = src`
    Mov,
    /// `dst s>>= src` signed, the shift masked to the width.
    Arsh,
}

/// The comparison of a conditional jump (RFC 9669 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JmpOp {
    /// `dst == src`
    Eq,
    /// `dst > src` unsigned
    Gt,
    /// `dst >= src` unsigned
    Ge,
    /// `dst & src` is not zero
    Set,
    /// `dst != src`
    Ne,
    /// `dst > src` signed
    Sgt,
    /// `dst >= src` signed
    Sge,
    /// `dst < src` unsigned
    Lt,
    /// `dst <= src` unsigned
    Le,
    /// `dst < src` signed
    Slt,
    /// `dst <= src` signed
    Sle,
}

impl JmpOp {
    /// Every comparison, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::Eq,
        Self::Gt,
        Self::Ge,
        Self::Set,
        Self::Ne,
        Self::Sgt,
        Self::Sge,
        Self::Lt,
        Self::Le,
        Self::Slt,
        Self::Sle,
    ];
}

/// An atomic read-modify-write (RFC 9669 section 5.3). With `fetch`, `src` receives the old value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AtomicOp {
    /// `*addr += src`
    Add {
        /// `src` receives the old value.
        fetch: bool,
    },
    /// `*addr |= src`
    Or {
        /// `src` receives the old value.
        fetch: bool,
    },
    /// `*addr &= src`
    And {
        /// `src` receives the old value.
        fetch: bool,
    },
    /// `*addr ^= src`
    Xor {
        /// `src` receives the old value.
        fetch: bool,
    },
    /// Exchanges `src` and `*addr`.
    Xchg,
    /// Stores `src` if `*addr` equals `r0`; `r0` receives the old value either way.
    Cmpxchg,
}

impl AtomicOp {
    /// Whether a register receives the old value (`src`, or `r0` for [`Cmpxchg`](Self::Cmpxchg)).
    pub const fn fetches(self) -> bool {
        match self {
            Self::Add { fetch } | Self::Or { fetch } | Self::And { fetch } | Self::Xor { fetch } => fetch,
            Self::Xchg | Self::Cmpxchg => true,
        }
    }
}

/// What [`Op::Endian`] does to the low bits of a register (RFC 9669 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endian {
    /// Converts between host and little-endian order.
    Le,
    /// Converts between host and big-endian order.
    Be,
    /// Swaps the bytes on every host.
    Swap,
}

/// What a 64-bit immediate load puts into the register (RFC 9669 section 5.4; the kernel's `BPF_PSEUDO_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64 {
    /// The constant itself.
    Value(u64),
    /// The map behind a file descriptor.
    #[doc(alias = "BPF_PSEUDO_MAP_FD")]
    MapFd(i32),
    /// The address `off` bytes into the value of the map behind a file descriptor.
    #[doc(alias = "BPF_PSEUDO_MAP_VALUE")]
    MapFdValue {
        /// File descriptor of the map.
        fd: i32,
        /// Offset into its value in bytes.
        off: u32,
    },
    /// The address of a kernel variable or function named by BTF.
    #[doc(alias = "BPF_PSEUDO_BTF_ID")]
    BtfId {
        /// Type id of the variable.
        id: u32,
        /// File descriptor of the module's BTF, 0 for vmlinux.
        obj_fd: i32,
    },
    /// The address of a subprogram: a callback. Slots from the one after this instruction's first.
    #[doc(alias = "BPF_PSEUDO_FUNC")]
    Func(i32),
    /// The map at an index of the array of descriptors given at load.
    #[doc(alias = "BPF_PSEUDO_MAP_IDX")]
    MapIdx(i32),
    /// The address `off` bytes into the value of the map at an index.
    #[doc(alias = "BPF_PSEUDO_MAP_IDX_VALUE")]
    MapIdxValue {
        /// Index into the array of descriptors.
        idx: i32,
        /// Offset into the map's value in bytes.
        off: u32,
    },
}

/// What a call calls (RFC 9669 section 4.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallTarget {
    /// A helper by its number.
    Helper(u32),
    /// A subprogram, in slots from the next instruction.
    #[doc(alias = "BPF_PSEUDO_CALL")]
    Local(i32),
    /// A kernel function by its BTF id.
    #[doc(alias = "BPF_PSEUDO_KFUNC_CALL")]
    Kfunc {
        /// Type id of the function.
        btf_id: i32,
        /// Index into the array of BTF descriptors given at load; 0 is vmlinux.
        fd_idx: i16,
    },
    /// The subprogram whose address a register holds (`callx`).
    Indirect(Reg),
}

/// A decoded instruction. Offsets of jumps and local calls count slots from the next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// Arithmetic (RFC 9669 section 4.1). `wide` works on 64 bits, otherwise on 32 with the upper half zeroed.
    Alu {
        /// 64-bit.
        wide: bool,
        /// The operation.
        op: AluOp,
        /// First operand and result.
        dst: Reg,
        /// Second operand.
        src: Operand,
    },
    /// `dst = (s<bits>)src` (RFC 9669 section 4.1): 8, 16, or 32 bits, the last only `wide`.
    MovSx {
        /// 64-bit.
        wide: bool,
        /// Bits of `src` that count.
        bits: u8,
        /// Result.
        dst: Reg,
        /// Value.
        src: Reg,
    },
    /// `dst = -dst` (RFC 9669 section 4.1).
    Neg {
        /// 64-bit.
        wide: bool,
        /// Operand and result.
        dst: Reg,
    },
    /// Byte order of the low 16, 32 or 64 bits; the bits above become zero (RFC 9669 section 4.2).
    Endian {
        /// Which order.
        kind: Endian,
        /// 16, 32 or 64.
        bits: u8,
        /// Operand and result.
        dst: Reg,
    },
    /// Casts a pointer between address spaces: source space in the low half of `imm`, destination in the high half.
    /// 1 is a kernel's arena pointer (Linux 6.9).
    AddrSpaceCast {
        /// Result.
        dst: Reg,
        /// Pointer.
        src: Reg,
        /// Both spaces.
        imm: u32,
    },
    /// Loads 64 bits or an address; two slots (RFC 9669 section 5.4).
    #[doc(alias = "BPF_LD_IMM64")]
    LoadImm64 {
        /// Result.
        dst: Reg,
        /// What it receives.
        imm: Imm64,
    },
    /// `dst = *(size *)(base + off)` (RFC 9669 sections 5.1, 5.2).
    #[doc(alias = "BPF_LDX")]
    Load {
        /// Bytes read.
        size: Size,
        /// Extends the sign; never with [`Size::DW`].
        signed: bool,
        /// Result.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// `r0 = *(size *)skb[imm]` in network order (RFC 9669 section 5.5); never [`Size::DW`].
    #[doc(alias = "BPF_LD_ABS")]
    LoadAbs {
        /// Bytes read.
        size: Size,
        /// Offset into the packet.
        imm: i32,
    },
    /// `r0 = *(size *)skb[src + imm]` in network order (RFC 9669 section 5.5); never [`Size::DW`].
    #[doc(alias = "BPF_LD_IND")]
    LoadInd {
        /// Bytes read.
        size: Size,
        /// Added to the offset.
        src: Reg,
        /// Offset into the packet.
        imm: i32,
    },
    /// `*(size *)(base + off) = src` (RFC 9669 section 5.1).
    #[doc(alias = "BPF_ST")]
    #[doc(alias = "BPF_STX")]
    Store {
        /// Bytes written.
        size: Size,
        /// Address.
        base: Reg,
        /// Offset in bytes.
        off: i16,
        /// Value.
        src: Operand,
    },
    /// Atomic read-modify-write of 4 or 8 bytes (RFC 9669 section 5.3).
    Atomic {
        /// [`Size::W`] or [`Size::DW`].
        size: Size,
        /// The operation.
        op: AtomicOp,
        /// Address.
        base: Reg,
        /// Offset in bytes.
        off: i16,
        /// Operand, and where the old value goes.
        src: Reg,
    },
    /// `dst = *(size *)(base + off)` with acquire ordering (Linux 6.15).
    LoadAcquire {
        /// Bytes read.
        size: Size,
        /// Result.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// `*(size *)(base + off) = src` with release ordering (Linux 6.15).
    StoreRelease {
        /// Bytes written.
        size: Size,
        /// Address.
        base: Reg,
        /// Offset in bytes.
        off: i16,
        /// Value.
        src: Reg,
    },
    /// `goto off`, or `gotol off` when `long` (RFC 9669 section 4.3). A short one only encodes what 16 bits hold.
    Ja {
        /// The 32-bit form.
        long: bool,
        /// Slots from the next instruction.
        off: i32,
    },
    /// `if dst op src goto off` (RFC 9669 section 4.3).
    Jump {
        /// Compares 64 bits.
        wide: bool,
        /// The comparison.
        op: JmpOp,
        /// Left side.
        dst: Reg,
        /// Right side.
        src: Operand,
        /// Slots from the next instruction.
        off: i16,
    },
    /// Goes on, or to `off` once the loop has run too long (Linux 6.9).
    #[doc(alias = "BPF_JCOND")]
    MayGoto {
        /// Slots from the next instruction.
        off: i16,
    },
    /// A call (RFC 9669 section 4.3.1).
    Call(CallTarget),
    /// Returns from the function (RFC 9669 section 4.3).
    Exit,
}

impl Op {
    /// How many slots the instruction takes: 2 for [`Op::LoadImm64`], otherwise 1.
    pub const fn slots(&self) -> usize {
        if matches!(self, Self::LoadImm64 { .. }) { 2 } else { 1 }
    }

    /// The slots of this instruction; `None` for a combination that the instruction set lacks (a sign-extending load of
    /// 8 bytes, a byte swap of 24 bits, a short jump over 16 bits).
    pub fn encode(&self) -> Option<Slots> {
        table::encode(self)
    }

    /// The version of the instruction set that brought this instruction; `None` where [`encode`](Self::encode) has none.
    pub fn isa(&self) -> Option<table::Isa> {
        let slots = self.encode()?;
        table::find(slots).ok().map(|row| row.isa)
    }

    /// Where a jump goes, in slots from the next instruction.
    pub const fn jump_offset(&self) -> Option<i32> {
        match *self {
            Self::Ja { off, .. } => Some(off),
            Self::Jump { off, .. } | Self::MayGoto { off } => Some(off as i32),
            _ => None,
        }
    }
}

/// The one or two slots of an encoded instruction; derefs to a slice of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    insns: [Insn; 2],
    len: usize,
}

impl Slots {
    /// An instruction of one slot.
    pub(crate) const fn one(first: Insn) -> Self {
        Self { insns: [first, Insn { code: 0, regs: 0, off: 0, imm: 0 }], len: 1 }
    }

    /// An instruction of two slots, the second holding `next` in its immediate.
    pub(crate) const fn two(first: Insn, next: i32) -> Self {
        Self { insns: [first, Insn { code: 0, regs: 0, off: 0, imm: next }], len: 2 }
    }

    /// The first slot.
    pub const fn first(&self) -> Insn {
        self.insns[0]
    }

    /// The immediate of the second slot, 0 where there is none.
    pub const fn next_imm(&self) -> i32 {
        self.insns[1].imm
    }
}

impl Deref for Slots {
    type Target = [Insn];

    fn deref(&self) -> &[Insn] {
        self.insns.get(..self.len).unwrap_or_default()
    }
}

/// Decodes the instruction at slot `pc`.
///
/// Registers are `r0` to `r10` here; [`decode_xlated`] takes what the kernel makes of a program.
pub fn decode(insns: &[Insn], pc: usize) -> Result<Op, DecodeError> {
    decode_regs(insns, pc, Reg::R10)
}

/// Decodes as [`decode`] does, but takes `r11` too, which the kernel's own rewrites use (`BPF_REG_AX`).
pub fn decode_xlated(insns: &[Insn], pc: usize) -> Result<Op, DecodeError> {
    decode_regs(insns, pc, Reg(11))
}

fn decode_regs(insns: &[Insn], pc: usize, last_reg: Reg) -> Result<Op, DecodeError> {
    let op = slots_at(insns, pc).and_then(|slots| table::build(&slots, last_reg));
    op.map_err(|kind| DecodeError { pc, kind })
}

/// The slots of the instruction at `pc` and its row of the table.
pub(crate) fn locate(insns: &[Insn], pc: usize) -> Result<(Slots, &'static Row), DecodeError> {
    let slots = slots_at(insns, pc).map_err(|kind| DecodeError { pc, kind })?;
    let row = table::find(slots).map_err(|kind| DecodeError { pc, kind })?;
    Ok((slots, row))
}

fn slots_at(insns: &[Insn], pc: usize) -> Result<Slots, DecodeErrorKind> {
    let first = *insns.get(pc).ok_or(DecodeErrorKind::OutOfRange)?;
    if first.code != table::LD_IMM64 {
        return Ok(Slots::one(first));
    }
    let second = *insns.get(pc + 1).ok_or(DecodeErrorKind::Truncated)?;
    if second.code != 0 || second.regs != 0 || second.off != 0 {
        return Err(DecodeErrorKind::SecondSlot);
    }
    Ok(Slots::two(first, second.imm))
}

/// Slots that are no instruction, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// Index of the slot.
    pub pc: usize,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

/// Why slots are no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// There is no such slot.
    OutOfRange,
    /// No instruction has this opcode.
    UnknownOpcode(u8),
    /// A field that selects between instructions of one opcode has a value that selects none.
    UnknownVariant {
        /// The kernel's name of the instruction family, such as `BPF_ATOMIC`.
        family: &'static str,
        /// The field.
        field: Field,
        /// Its value.
        value: i32,
    },
    /// A field that the instruction does not use is not zero.
    Reserved {
        /// The kernel's name of the instruction family, such as `BPF_MOV`.
        family: &'static str,
        /// The field.
        field: Field,
        /// Its value.
        value: i32,
    },
    /// A register that programs do not have.
    Register(Reg),
    /// The second slot of a 64-bit immediate is missing.
    Truncated,
    /// The second slot of a 64-bit immediate holds more than an immediate.
    SecondSlot,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.pc, self.kind)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("there is no such slot"),
            Self::UnknownOpcode(0) => {
                f.write_str("unknown opcode `0x00` (the second slot of a 64-bit immediate?)")
            }
            Self::UnknownOpcode(code) => write!(f, "unknown opcode `{code:#04x}`"),
            Self::UnknownVariant { family, field, value } => {
                write!(f, "`{family}` knows no `{field}` of `{value:#x}`")
            }
            Self::Reserved { family, field, value } => {
                write!(f, "`{family}` uses reserved fields: `{field}` is `{value:#x}`, not 0")
            }
            Self::Register(reg) => write!(f, "register `{reg}` is invalid"),
            Self::Truncated => f.write_str("`BPF_LD_IMM64` lacks its second slot"),
            Self::SecondSlot => f.write_str("`BPF_LD_IMM64` has more than an immediate in its second slot"),
        }
    }
}

impl std::error::Error for DecodeError {}
