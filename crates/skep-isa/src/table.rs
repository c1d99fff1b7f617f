//! The instruction set as one table: a row for every instruction, with its opcode byte, what it makes of the other
//! fields, the version that brought it, and the [`Op`] it means.
//!
//! Rows read as in RFC 9669 appendix A: `opcode (fields) version operation`. A field in the parentheses is an operand;
//! one with `= value` selects between instructions of one opcode; one that is missing is reserved and must be zero. The
//! operation is at once the pattern that the encoder matches and the value that the decoder builds, so the two cannot
//! disagree.

use std::fmt;

use AluOp::*;
use Imm64::{BtfId, Func, MapFd, MapFdValue, MapIdx, MapIdxValue, Value};
use JmpOp::*;
use Operand::{Imm as K, Reg as X};
use Size::*;

use crate::insn::{Insn, Reg};
use crate::op::{
    AluOp, AtomicOp, CallTarget, DecodeErrorKind, Endian, Imm64, JmpOp, Op, Operand, Size, Slots,
};

/// Opcode of the only instruction that takes two slots (RFC 9669 section 5.4).
#[doc(alias = "BPF_LD_IMM64")]
pub const LD_IMM64: u8 = 0x18;

/// The version of the instruction set (clang's `-mcpu`) that brought an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Isa {
    /// The first set.
    V1,
    /// Unsigned and signed "less than" jumps.
    V2,
    /// 32-bit jumps, atomics that fetch.
    V3,
    /// Signed division, sign-extending loads and moves, byte swaps, long jumps.
    V4,
    /// Linux's extensions: map and function addresses, kfuncs, `may_goto`, address spaces, acquire and release.
    Linux,
}

/// A field of a slot, as errors name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Destination register.
    Dst,
    /// Source register or pseudo source.
    Src,
    /// Offset.
    Off,
    /// Immediate.
    Imm,
    /// Immediate of the second slot.
    NextImm,
}

impl Field {
    const ALL: [Self; 5] = [Self::Dst, Self::Src, Self::Off, Self::Imm, Self::NextImm];

    /// What the field holds.
    pub(crate) const fn of(self, slots: &Slots) -> i32 {
        let insn = slots.first();
        match self {
            Self::Dst => insn.dst().0 as i32,
            Self::Src => insn.src().0 as i32,
            Self::Off => insn.off as i32,
            Self::Imm => insn.imm,
            Self::NextImm => slots.next_imm(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dst => "dst",
            Self::Src => "src",
            Self::Off => "off",
            Self::Imm => "imm",
            Self::NextImm => "imm of the second slot",
        })
    }
}

/// What an instruction makes of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It is an operand.
    Operand,
    /// It must be this; 0 for a reserved field.
    Fixed(i32),
}

/// What an instruction makes of every field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout([Use; 5]);

impl Layout {
    const RESERVED: Self = Self([Use::Fixed(0); 5]);

    const fn with(mut self, field: Field, usage: Use) -> Self {
        self.0[field as usize] = usage;
        self
    }

    /// What the instruction makes of `field`.
    pub const fn of(&self, field: Field) -> Use {
        self.0[field as usize]
    }
}

/// One instruction.
#[derive(Debug)]
pub struct Row {
    /// The opcode byte.
    pub code: u8,
    /// What it makes of the other fields.
    pub layout: Layout,
    /// The version that brought it.
    pub isa: Isa,
    /// Makes the operation of slots that fit the layout.
    pub(crate) build: fn(&Slots) -> Op,
}

impl Row {
    /// The fields of `slots` that this row does not allow.
    fn misfits<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = Field> + 'a {
        Field::ALL.into_iter().filter(|&field| match self.layout.of(field) {
            Use::Operand => false,
            Use::Fixed(value) => field.of(slots) != value,
        })
    }

    /// Checks that register operands go no further than `last`.
    pub(crate) fn check_regs(&self, slots: &Slots, last: Reg) -> Result<(), DecodeErrorKind> {
        for (field, reg) in [(Field::Dst, slots.first().dst()), (Field::Src, slots.first().src())] {
            if self.layout.of(field) == Use::Operand && reg > last {
                return Err(DecodeErrorKind::Register(reg));
            }
        }
        Ok(())
    }
}

/// Finds the row of an instruction.
pub(crate) fn find(slots: Slots) -> Result<&'static Row, DecodeErrorKind> {
    let rows = rows_of(slots.first().code);
    match rows.iter().find(|row| row.misfits(&slots).next().is_none()) {
        Some(row) => Ok(row),
        None => Err(explain(rows, &slots)),
    }
}

/// Says why none of the rows of one opcode takes `slots`, by the row that fits best.
fn explain(rows: &[Row], slots: &Slots) -> DecodeErrorKind {
    let code = slots.first().code;
    let closest = rows.iter().min_by_key(|row| row.misfits(slots).count());
    let Some(field) = closest.and_then(|row| row.misfits(slots).next()) else {
        return DecodeErrorKind::UnknownOpcode(code);
    };
    let (family, value) = (family(code), field.of(slots));
    let selects = rows.iter().any(|row| matches!(row.layout.of(field), Use::Fixed(value) if value != 0));
    if selects {
        DecodeErrorKind::UnknownVariant { family, field, value }
    } else {
        DecodeErrorKind::Reserved { family, field, value }
    }
}

/// The rows of one opcode; they are neighbours in the table.
fn rows_of(code: u8) -> &'static [Row] {
    let (start, len) = INDEX[code as usize];
    ROWS.get(start as usize..(start + len) as usize).unwrap_or_default()
}

/// Where the rows of every opcode start, and how many there are.
static INDEX: [(u16, u16); 256] = index();

const fn index() -> [(u16, u16); 256] {
    let mut index = [(0, 0); 256];
    let mut i = 0;
    while i < ROWS.len() {
        let code = ROWS[i].code as usize;
        let (start, len) = index[code];
        assert!(len == 0 || (start + len) as usize == i, "rows of one opcode are neighbours");
        index[code] = if len == 0 { (i as u16, 1) } else { (start, len + 1) };
        i += 1;
    }
    index
}

/// The kernel's name for the instructions around an opcode, as its verifier's messages use it.
const fn family(code: u8) -> &'static str {
    match (code & 0x07, code & 0xf0) {
        (0, 0x10) => "BPF_LD_IMM64",
        (0, _) => "BPF_LD_[ABS|IND]",
        (1, _) => "BPF_LDX",
        (2, _) => "BPF_ST",
        (3, 0xc0 | 0xd0) => "BPF_ATOMIC",
        (3, _) => "BPF_STX",
        (4 | 7, 0x80) => "BPF_NEG",
        (4 | 7, 0xb0) => "BPF_MOV",
        (4 | 7, 0xd0) => "BPF_END",
        (4 | 7, _) => "BPF_ALU",
        (_, 0x00) => "BPF_JA",
        (_, 0x80) => "BPF_CALL",
        (_, 0x90) => "BPF_EXIT",
        (_, 0xe0) => "BPF_JCOND",
        _ => "BPF_JMP",
    }
}

/// Marks in `$layout` what a row says of one field. Fields that share a place differ in type: `near` is `off` and `far`
/// is `imm` as the distance of a jump, `uimm` and `unext` are unsigned, `imm64` is both immediates.
macro_rules! mark {
    ($layout:ident, dst) => {
        $layout = $layout.with(Field::Dst, Use::Operand)
    };
    ($layout:ident, src) => {
        $layout = $layout.with(Field::Src, Use::Operand)
    };
    ($layout:ident, src = $value:literal) => {
        $layout = $layout.with(Field::Src, Use::Fixed($value))
    };
    ($layout:ident, off) => {
        $layout = $layout.with(Field::Off, Use::Operand)
    };
    ($layout:ident, off = $value:literal) => {
        $layout = $layout.with(Field::Off, Use::Fixed($value))
    };
    ($layout:ident, near) => {
        mark!($layout, off)
    };
    ($layout:ident, imm) => {
        $layout = $layout.with(Field::Imm, Use::Operand)
    };
    ($layout:ident, imm = $value:literal) => {
        $layout = $layout.with(Field::Imm, Use::Fixed($value))
    };
    ($layout:ident, uimm) => {
        mark!($layout, imm)
    };
    ($layout:ident, far) => {
        mark!($layout, imm)
    };
    ($layout:ident, next) => {
        $layout = $layout.with(Field::NextImm, Use::Operand)
    };
    ($layout:ident, unext) => {
        mark!($layout, next)
    };
    ($layout:ident, imm64) => {
        $layout = $layout.with(Field::Imm, Use::Operand).with(Field::NextImm, Use::Operand)
    };
}

/// Reads an operand from slots, under the name that [`mark`] explains.
macro_rules! get {
    ($slots:ident, dst) => {
        $slots.first().dst()
    };
    ($slots:ident, src) => {
        $slots.first().src()
    };
    ($slots:ident, off) => {
        $slots.first().off
    };
    ($slots:ident, near) => {
        i32::from($slots.first().off)
    };
    ($slots:ident, imm) => {
        $slots.first().imm
    };
    ($slots:ident, uimm) => {
        $slots.first().imm as u32
    };
    ($slots:ident, far) => {
        $slots.first().imm
    };
    ($slots:ident, next) => {
        $slots.next_imm()
    };
    ($slots:ident, unext) => {
        $slots.next_imm() as u32
    };
    ($slots:ident, imm64) => {
        $slots.first().imm as u32 as u64 | ($slots.next_imm() as u32 as u64) << 32
    };
}

/// Writes a field of the slots under construction (`$insn`, `$next`); the inverse of [`get`].
macro_rules! put {
    ($insn:ident, $next:ident, dst = $value:expr) => {
        $insn = Insn { regs: $insn.regs | ($value.0 & 0xf), ..$insn }
    };
    ($insn:ident, $next:ident, src = $value:literal) => {
        $insn = $insn.with_src(Reg($value))
    };
    ($insn:ident, $next:ident, src = $value:expr) => {
        $insn = $insn.with_src($value)
    };
    ($insn:ident, $next:ident, off = $value:expr) => {
        $insn.off = $value
    };
    ($insn:ident, $next:ident, near = $value:expr) => {
        $insn.off = i16::try_from($value).ok()?
    };
    ($insn:ident, $next:ident, imm = $value:expr) => {
        $insn.imm = $value
    };
    ($insn:ident, $next:ident, uimm = $value:expr) => {
        $insn.imm = $value as i32
    };
    ($insn:ident, $next:ident, far = $value:expr) => {
        $insn.imm = $value
    };
    ($insn:ident, $next:ident, next = $value:expr) => {
        $next = $value
    };
    ($insn:ident, $next:ident, unext = $value:expr) => {
        $next = $value as i32
    };
    ($insn:ident, $next:ident, imm64 = $value:expr) => {
        ($insn.imm, $next) = ($value as i32, ($value >> 32) as i32)
    };
}

/// Binds an operand to its name for the operation of the row; a field with a fixed value binds nothing.
macro_rules! bind {
    ($slots:ident, $field:ident = $value:literal) => {};
    ($slots:ident, $field:ident) => {
        let $field = get!($slots, $field);
    };
}

/// Writes an operand that the pattern of the row has bound, or the fixed value.
macro_rules! emit {
    ($insn:ident, $next:ident, $field:ident = $value:literal) => {
        put!($insn, $next, $field = $value)
    };
    ($insn:ident, $next:ident, $field:ident) => {
        put!($insn, $next, $field = *$field)
    };
}

/// Makes the rows, and the encoder that inverts them.
macro_rules! instructions {
    ($(
        $code:literal ($($field:ident $(= $value:literal)?),*) $isa:ident
        $op:ident $({ $($named:tt)* })? $(( $($tuple:tt)* ))?;
    )*) => {
        /// Every instruction, in the order of its class.
        pub static ROWS: &[Row] = &[$(
            Row {
                code: $code,
                layout: {
                    #[allow(unused_mut)]
                    let mut layout = Layout::RESERVED;
                    $(mark!(layout, $field $(= $value)?);)*
                    layout
                },
                isa: Isa::$isa,
                build: |_slots| {
                    $(bind!(_slots, $field $(= $value)?);)*
                    Op::$op $({ $($named)* })? $(( $($tuple)* ))?
                },
            },
        )*];

        /// Encodes an operation; `None` if no row matches it.
        #[allow(unused_mut, unused_assignments, reason = "most rows leave some fields as they are")]
        pub(crate) fn encode(op: &Op) -> Option<Slots> {
            match op {
                $(Op::$op $({ $($named)* })? $(( $($tuple)* ))? => {
                    let (mut insn, mut next) = (Insn { code: $code, regs: 0, off: 0, imm: 0 }, 0);
                    $(emit!(insn, next, $field $(= $value)?);)*
                    Some(if $code == LD_IMM64 { Slots::two(insn, next) } else { Slots::one(insn) })
                })*
                _ => None,
            }
        }
    };
}

instructions! {
    // LD: wide immediates and the packet loads of classic BPF (RFC 9669 sections 5.4, 5.5).
    0x18 (dst, src = 0, imm64) V1 LoadImm64 { dst, imm: Value(imm64) };
    0x18 (dst, src = 1, imm) Linux LoadImm64 { dst, imm: MapFd(imm) };
    0x18 (dst, src = 2, imm, unext) Linux LoadImm64 { dst, imm: MapFdValue { fd: imm, off: unext } };
    0x18 (dst, src = 3, uimm, next) Linux LoadImm64 { dst, imm: BtfId { id: uimm, obj_fd: next } };
    0x18 (dst, src = 4, imm) Linux LoadImm64 { dst, imm: Func(imm) };
    0x18 (dst, src = 5, imm) Linux LoadImm64 { dst, imm: MapIdx(imm) };
    0x18 (dst, src = 6, imm, unext) Linux LoadImm64 { dst, imm: MapIdxValue { idx: imm, off: unext } };
    0x20 (imm) V1 LoadAbs { size: W, imm };
    0x28 (imm) V1 LoadAbs { size: H, imm };
    0x30 (imm) V1 LoadAbs { size: B, imm };
    0x40 (src, imm) V1 LoadInd { size: W, src, imm };
    0x48 (src, imm) V1 LoadInd { size: H, src, imm };
    0x50 (src, imm) V1 LoadInd { size: B, src, imm };
    // LDX: loads (sections 5.1, 5.2).
    0x61 (dst, src, off) V1 Load { size: W, signed: false, dst, base: src, off };
    0x69 (dst, src, off) V1 Load { size: H, signed: false, dst, base: src, off };
    0x71 (dst, src, off) V1 Load { size: B, signed: false, dst, base: src, off };
    0x79 (dst, src, off) V1 Load { size: DW, signed: false, dst, base: src, off };
    0x81 (dst, src, off) V4 Load { size: W, signed: true, dst, base: src, off };
    0x89 (dst, src, off) V4 Load { size: H, signed: true, dst, base: src, off };
    0x91 (dst, src, off) V4 Load { size: B, signed: true, dst, base: src, off };
    // ST: stores of immediates (section 5.1).
    0x62 (dst, off, imm) V1 Store { size: W, base: dst, off, src: K(imm) };
    0x6a (dst, off, imm) V1 Store { size: H, base: dst, off, src: K(imm) };
    0x72 (dst, off, imm) V1 Store { size: B, base: dst, off, src: K(imm) };
    0x7a (dst, off, imm) V1 Store { size: DW, base: dst, off, src: K(imm) };
    // STX: stores of registers and atomics (sections 5.1, 5.3).
    0x63 (dst, off, src) V1 Store { size: W, base: dst, off, src: X(src) };
    0x6b (dst, off, src) V1 Store { size: H, base: dst, off, src: X(src) };
    0x73 (dst, off, src) V1 Store { size: B, base: dst, off, src: X(src) };
    0x7b (dst, off, src) V1 Store { size: DW, base: dst, off, src: X(src) };
    0xc3 (dst, off, src, imm = 0x00) V1 Atomic { size: W, op: AtomicOp::Add { fetch: false }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0x40) V3 Atomic { size: W, op: AtomicOp::Or { fetch: false }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0x50) V3 Atomic { size: W, op: AtomicOp::And { fetch: false }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0xa0) V3 Atomic { size: W, op: AtomicOp::Xor { fetch: false }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0x01) V3 Atomic { size: W, op: AtomicOp::Add { fetch: true }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0x41) V3 Atomic { size: W, op: AtomicOp::Or { fetch: true }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0x51) V3 Atomic { size: W, op: AtomicOp::And { fetch: true }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0xa1) V3 Atomic { size: W, op: AtomicOp::Xor { fetch: true }, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0xe1) V3 Atomic { size: W, op: AtomicOp::Xchg, base: dst, off, src };
    0xc3 (dst, off, src, imm = 0xf1) V3 Atomic { size: W, op: AtomicOp::Cmpxchg, base: dst, off, src };
    0xc3 (dst, src, off, imm = 0x100) Linux LoadAcquire { size: W, dst, base: src, off };
    0xc3 (dst, off, src, imm = 0x110) Linux StoreRelease { size: W, base: dst, off, src };
    0xcb (dst, src, off, imm = 0x100) Linux LoadAcquire { size: H, dst, base: src, off };
    0xcb (dst, off, src, imm = 0x110) Linux StoreRelease { size: H, base: dst, off, src };
    0xd3 (dst, src, off, imm = 0x100) Linux LoadAcquire { size: B, dst, base: src, off };
    0xd3 (dst, off, src, imm = 0x110) Linux StoreRelease { size: B, base: dst, off, src };
    0xdb (dst, off, src, imm = 0x00) V1 Atomic { size: DW, op: AtomicOp::Add { fetch: false }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0x40) V3 Atomic { size: DW, op: AtomicOp::Or { fetch: false }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0x50) V3 Atomic { size: DW, op: AtomicOp::And { fetch: false }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0xa0) V3 Atomic { size: DW, op: AtomicOp::Xor { fetch: false }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0x01) V3 Atomic { size: DW, op: AtomicOp::Add { fetch: true }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0x41) V3 Atomic { size: DW, op: AtomicOp::Or { fetch: true }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0x51) V3 Atomic { size: DW, op: AtomicOp::And { fetch: true }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0xa1) V3 Atomic { size: DW, op: AtomicOp::Xor { fetch: true }, base: dst, off, src };
    0xdb (dst, off, src, imm = 0xe1) V3 Atomic { size: DW, op: AtomicOp::Xchg, base: dst, off, src };
    0xdb (dst, off, src, imm = 0xf1) V3 Atomic { size: DW, op: AtomicOp::Cmpxchg, base: dst, off, src };
    0xdb (dst, src, off, imm = 0x100) Linux LoadAcquire { size: DW, dst, base: src, off };
    0xdb (dst, off, src, imm = 0x110) Linux StoreRelease { size: DW, base: dst, off, src };
    // ALU: 32-bit arithmetic and byte order (sections 4.1, 4.2).
    0x04 (dst, imm) V1 Alu { wide: false, op: Add, dst, src: K(imm) };
    0x0c (dst, src) V1 Alu { wide: false, op: Add, dst, src: X(src) };
    0x14 (dst, imm) V1 Alu { wide: false, op: Sub, dst, src: K(imm) };
    0x1c (dst, src) V1 Alu { wide: false, op: Sub, dst, src: X(src) };
    0x24 (dst, imm) V1 Alu { wide: false, op: Mul, dst, src: K(imm) };
    0x2c (dst, src) V1 Alu { wide: false, op: Mul, dst, src: X(src) };
    0x34 (dst, imm) V1 Alu { wide: false, op: Div, dst, src: K(imm) };
    0x34 (dst, imm, off = 1) V4 Alu { wide: false, op: Sdiv, dst, src: K(imm) };
    0x3c (dst, src) V1 Alu { wide: false, op: Div, dst, src: X(src) };
    0x3c (dst, src, off = 1) V4 Alu { wide: false, op: Sdiv, dst, src: X(src) };
    0x44 (dst, imm) V1 Alu { wide: false, op: Or, dst, src: K(imm) };
    0x4c (dst, src) V1 Alu { wide: false, op: Or, dst, src: X(src) };
    0x54 (dst, imm) V1 Alu { wide: false, op: And, dst, src: K(imm) };
    0x5c (dst, src) V1 Alu { wide: false, op: And, dst, src: X(src) };
    0x64 (dst, imm) V1 Alu { wide: false, op: Lsh, dst, src: K(imm) };
    0x6c (dst, src) V1 Alu { wide: false, op: Lsh, dst, src: X(src) };
    0x74 (dst, imm) V1 Alu { wide: false, op: Rsh, dst, src: K(imm) };
    0x7c (dst, src) V1 Alu { wide: false, op: Rsh, dst, src: X(src) };
    0x84 (dst) V1 Neg { wide: false, dst };
    0x94 (dst, imm) V1 Alu { wide: false, op: Mod, dst, src: K(imm) };
    0x94 (dst, imm, off = 1) V4 Alu { wide: false, op: Smod, dst, src: K(imm) };
    0x9c (dst, src) V1 Alu { wide: false, op: Mod, dst, src: X(src) };
    0x9c (dst, src, off = 1) V4 Alu { wide: false, op: Smod, dst, src: X(src) };
    0xa4 (dst, imm) V1 Alu { wide: false, op: Xor, dst, src: K(imm) };
    0xac (dst, src) V1 Alu { wide: false, op: Xor, dst, src: X(src) };
    0xb4 (dst, imm) V1 Alu { wide: false, op: Mov, dst, src: K(imm) };
    0xbc (dst, src) V1 Alu { wide: false, op: Mov, dst, src: X(src) };
    0xbc (dst, src, off = 8) V4 MovSx { wide: false, bits: 8, dst, src };
    0xbc (dst, src, off = 16) V4 MovSx { wide: false, bits: 16, dst, src };
    0xc4 (dst, imm) V1 Alu { wide: false, op: Arsh, dst, src: K(imm) };
    0xcc (dst, src) V1 Alu { wide: false, op: Arsh, dst, src: X(src) };
    0xd4 (dst, imm = 16) V1 Endian { kind: Endian::Le, bits: 16, dst };
    0xd4 (dst, imm = 32) V1 Endian { kind: Endian::Le, bits: 32, dst };
    0xd4 (dst, imm = 64) V1 Endian { kind: Endian::Le, bits: 64, dst };
    0xdc (dst, imm = 16) V1 Endian { kind: Endian::Be, bits: 16, dst };
    0xdc (dst, imm = 32) V1 Endian { kind: Endian::Be, bits: 32, dst };
    0xdc (dst, imm = 64) V1 Endian { kind: Endian::Be, bits: 64, dst };
    // JMP: 64-bit jumps, calls, exit (section 4.3).
    0x05 (near) V1 Ja { long: false, off: near };
    0x15 (dst, imm, off) V1 Jump { wide: true, op: Eq, dst, src: K(imm), off };
    0x1d (dst, src, off) V1 Jump { wide: true, op: Eq, dst, src: X(src), off };
    0x25 (dst, imm, off) V1 Jump { wide: true, op: Gt, dst, src: K(imm), off };
    0x2d (dst, src, off) V1 Jump { wide: true, op: Gt, dst, src: X(src), off };
    0x35 (dst, imm, off) V1 Jump { wide: true, op: Ge, dst, src: K(imm), off };
    0x3d (dst, src, off) V1 Jump { wide: true, op: Ge, dst, src: X(src), off };
    0x45 (dst, imm, off) V1 Jump { wide: true, op: Set, dst, src: K(imm), off };
    0x4d (dst, src, off) V1 Jump { wide: true, op: Set, dst, src: X(src), off };
    0x55 (dst, imm, off) V1 Jump { wide: true, op: Ne, dst, src: K(imm), off };
    0x5d (dst, src, off) V1 Jump { wide: true, op: Ne, dst, src: X(src), off };
    0x65 (dst, imm, off) V1 Jump { wide: true, op: Sgt, dst, src: K(imm), off };
    0x6d (dst, src, off) V1 Jump { wide: true, op: Sgt, dst, src: X(src), off };
    0x75 (dst, imm, off) V1 Jump { wide: true, op: Sge, dst, src: K(imm), off };
    0x7d (dst, src, off) V1 Jump { wide: true, op: Sge, dst, src: X(src), off };
    0x85 (src = 0, uimm) V1 Call(CallTarget::Helper(uimm));
    0x85 (src = 1, imm) V1 Call(CallTarget::Local(imm));
    0x85 (src = 2, off, imm) Linux Call(CallTarget::Kfunc { btf_id: imm, fd_idx: off });
    0x8d (dst) Linux Call(CallTarget::Indirect(dst));
    0x95 () V1 Exit;
    0xa5 (dst, imm, off) V2 Jump { wide: true, op: Lt, dst, src: K(imm), off };
    0xad (dst, src, off) V2 Jump { wide: true, op: Lt, dst, src: X(src), off };
    0xb5 (dst, imm, off) V2 Jump { wide: true, op: Le, dst, src: K(imm), off };
    0xbd (dst, src, off) V2 Jump { wide: true, op: Le, dst, src: X(src), off };
    0xc5 (dst, imm, off) V2 Jump { wide: true, op: Slt, dst, src: K(imm), off };
    0xcd (dst, src, off) V2 Jump { wide: true, op: Slt, dst, src: X(src), off };
    0xd5 (dst, imm, off) V2 Jump { wide: true, op: Sle, dst, src: K(imm), off };
    0xdd (dst, src, off) V2 Jump { wide: true, op: Sle, dst, src: X(src), off };
    0xe5 (off) Linux MayGoto { off };
    // JMP32: 32-bit jumps (section 4.3).
    0x06 (far) V4 Ja { long: true, off: far };
    0x16 (dst, imm, off) V3 Jump { wide: false, op: Eq, dst, src: K(imm), off };
    0x1e (dst, src, off) V3 Jump { wide: false, op: Eq, dst, src: X(src), off };
    0x26 (dst, imm, off) V3 Jump { wide: false, op: Gt, dst, src: K(imm), off };
    0x2e (dst, src, off) V3 Jump { wide: false, op: Gt, dst, src: X(src), off };
    0x36 (dst, imm, off) V3 Jump { wide: false, op: Ge, dst, src: K(imm), off };
    0x3e (dst, src, off) V3 Jump { wide: false, op: Ge, dst, src: X(src), off };
    0x46 (dst, imm, off) V3 Jump { wide: false, op: Set, dst, src: K(imm), off };
    0x4e (dst, src, off) V3 Jump { wide: false, op: Set, dst, src: X(src), off };
    0x56 (dst, imm, off) V3 Jump { wide: false, op: Ne, dst, src: K(imm), off };
    0x5e (dst, src, off) V3 Jump { wide: false, op: Ne, dst, src: X(src), off };
    0x66 (dst, imm, off) V3 Jump { wide: false, op: Sgt, dst, src: K(imm), off };
    0x6e (dst, src, off) V3 Jump { wide: false, op: Sgt, dst, src: X(src), off };
    0x76 (dst, imm, off) V3 Jump { wide: false, op: Sge, dst, src: K(imm), off };
    0x7e (dst, src, off) V3 Jump { wide: false, op: Sge, dst, src: X(src), off };
    0xa6 (dst, imm, off) V3 Jump { wide: false, op: Lt, dst, src: K(imm), off };
    0xae (dst, src, off) V3 Jump { wide: false, op: Lt, dst, src: X(src), off };
    0xb6 (dst, imm, off) V3 Jump { wide: false, op: Le, dst, src: K(imm), off };
    0xbe (dst, src, off) V3 Jump { wide: false, op: Le, dst, src: X(src), off };
    0xc6 (dst, imm, off) V3 Jump { wide: false, op: Slt, dst, src: K(imm), off };
    0xce (dst, src, off) V3 Jump { wide: false, op: Slt, dst, src: X(src), off };
    0xd6 (dst, imm, off) V3 Jump { wide: false, op: Sle, dst, src: K(imm), off };
    0xde (dst, src, off) V3 Jump { wide: false, op: Sle, dst, src: X(src), off };
    // ALU64: 64-bit arithmetic (sections 4.1, 4.2).
    0x07 (dst, imm) V1 Alu { wide: true, op: Add, dst, src: K(imm) };
    0x0f (dst, src) V1 Alu { wide: true, op: Add, dst, src: X(src) };
    0x17 (dst, imm) V1 Alu { wide: true, op: Sub, dst, src: K(imm) };
    0x1f (dst, src) V1 Alu { wide: true, op: Sub, dst, src: X(src) };
    0x27 (dst, imm) V1 Alu { wide: true, op: Mul, dst, src: K(imm) };
    0x2f (dst, src) V1 Alu { wide: true, op: Mul, dst, src: X(src) };
    0x37 (dst, imm) V1 Alu { wide: true, op: Div, dst, src: K(imm) };
    0x37 (dst, imm, off = 1) V4 Alu { wide: true, op: Sdiv, dst, src: K(imm) };
    0x3f (dst, src) V1 Alu { wide: true, op: Div, dst, src: X(src) };
    0x3f (dst, src, off = 1) V4 Alu { wide: true, op: Sdiv, dst, src: X(src) };
    0x47 (dst, imm) V1 Alu { wide: true, op: Or, dst, src: K(imm) };
    0x4f (dst, src) V1 Alu { wide: true, op: Or, dst, src: X(src) };
    0x57 (dst, imm) V1 Alu { wide: true, op: And, dst, src: K(imm) };
    0x5f (dst, src) V1 Alu { wide: true, op: And, dst, src: X(src) };
    0x67 (dst, imm) V1 Alu { wide: true, op: Lsh, dst, src: K(imm) };
    0x6f (dst, src) V1 Alu { wide: true, op: Lsh, dst, src: X(src) };
    0x77 (dst, imm) V1 Alu { wide: true, op: Rsh, dst, src: K(imm) };
    0x7f (dst, src) V1 Alu { wide: true, op: Rsh, dst, src: X(src) };
    0x87 (dst) V1 Neg { wide: true, dst };
    0x97 (dst, imm) V1 Alu { wide: true, op: Mod, dst, src: K(imm) };
    0x97 (dst, imm, off = 1) V4 Alu { wide: true, op: Smod, dst, src: K(imm) };
    0x9f (dst, src) V1 Alu { wide: true, op: Mod, dst, src: X(src) };
    0x9f (dst, src, off = 1) V4 Alu { wide: true, op: Smod, dst, src: X(src) };
    0xa7 (dst, imm) V1 Alu { wide: true, op: Xor, dst, src: K(imm) };
    0xaf (dst, src) V1 Alu { wide: true, op: Xor, dst, src: X(src) };
    0xb7 (dst, imm) V1 Alu { wide: true, op: Mov, dst, src: K(imm) };
    0xbf (dst, src) V1 Alu { wide: true, op: Mov, dst, src: X(src) };
    0xbf (dst, src, off = 8) V4 MovSx { wide: true, bits: 8, dst, src };
    0xbf (dst, src, off = 16) V4 MovSx { wide: true, bits: 16, dst, src };
    0xbf (dst, src, off = 32) V4 MovSx { wide: true, bits: 32, dst, src };
    0xbf (dst, src, off = 1, uimm) Linux AddrSpaceCast { dst, src, imm: uimm };
    0xc7 (dst, imm) V1 Alu { wide: true, op: Arsh, dst, src: K(imm) };
    0xcf (dst, src) V1 Alu { wide: true, op: Arsh, dst, src: X(src) };
    0xd7 (dst, imm = 16) V4 Endian { kind: Endian::Swap, bits: 16, dst };
    0xd7 (dst, imm = 32) V4 Endian { kind: Endian::Swap, bits: 32, dst };
    0xd7 (dst, imm = 64) V4 Endian { kind: Endian::Swap, bits: 64, dst };
}
