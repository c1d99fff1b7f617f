//! The instruction set as one table: a row for every instruction, with its opcode byte, what it makes of the other
//! fields, the version that brought it, and the [`Op`] it means.
//!
//! Rows read as in RFC 9669 appendix A: `opcode (fields) version operation`, then how it is written. A field in the
//! parentheses is an operand; one with `= value` selects between instructions of one opcode; one that is missing is
//! reserved and must be zero. The operation is at once the pattern that the encoder matches and the value that the
//! decoder builds, and the texts are at once what the disassembler prints and the assembler reads, so neither pair can
//! disagree.

use std::fmt;
use std::ops::Range;

use crate::insn::Reg;
use crate::op::{DecodeErrorKind, Op, Slots};

pub use rows::ROWS;
pub(crate) use rows::encode;

/// Opcode of the only instruction that takes two slots (RFC 9669 section 5.4).
#[doc(alias = "BPF_LD_IMM64")]
pub const LD_IMM64: u8 = 0x18;

/// Opcode of calls: of helpers, of functions of the program, of the kernel's functions (RFC 9669 section 4.3).
#[doc(alias = "BPF_CALL")]
pub const CALL: u8 = 0x85;

/// Opcode of the return from a function (RFC 9669 section 4.3).
#[doc(alias = "BPF_EXIT")]
pub const EXIT: u8 = 0x95;

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

    const fn has_operand(&self, field: Field) -> bool {
        matches!(self.of(field), Use::Operand)
    }

    /// What the instruction makes of `field`.
    pub const fn of(&self, field: Field) -> Use {
        self.0[field as usize]
    }
}

/// How an instruction is written. The strings are templates of [`text`](crate::text): operands stand in braces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Texts {
    /// As `llvm-objdump -d` prints it.
    pub llvm: &'static str,
    /// As the kernel's verifier log and `bpftool prog dump xlated` print it, where that differs.
    pub kernel: Option<&'static str>,
    /// As the bpf_conformance suite writes it, where that differs.
    pub suite: Option<&'static str>,
    /// Other ways of writing that the assembler reads.
    pub also: &'static [&'static str],
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
    /// How it is written.
    pub texts: Texts,
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
        check_regs(slots, (self.layout.has_operand(Field::Dst), self.layout.has_operand(Field::Src)), last)
    }
}

/// Finds the row of an instruction.
pub(crate) fn find(slots: Slots) -> Result<&'static Row, DecodeErrorKind> {
    place_of(&slots).map(|i| &ROWS[i])
}

/// Makes the operation of an instruction whose register operands go no further than `last`.
pub(crate) fn build(slots: &Slots, last: Reg) -> Result<Op, DecodeErrorKind> {
    let shape = &SHAPES[place_of(slots)?];
    check_regs(slots, (shape.dst, shape.src), last)?;
    Ok((shape.build)(slots))
}

/// Checks that destination and source, where they are operands, go no further than `last`.
fn check_regs(slots: &Slots, (dst, src): (bool, bool), last: Reg) -> Result<(), DecodeErrorKind> {
    for (is_operand, reg) in [(dst, slots.first().dst()), (src, slots.first().src())] {
        if is_operand && reg > last {
            return Err(DecodeErrorKind::Register(reg));
        }
    }
    Ok(())
}

/// Where the row of an instruction is.
fn place_of(slots: &Slots) -> Result<usize, DecodeErrorKind> {
    let range = range_of(slots.first().code);
    let (first, next) = (u64::from_le_bytes(slots.first().to_le_bytes()), slots.next_imm() as u32);
    let shapes = SHAPES.get(range.clone()).unwrap_or_default();
    match shapes.iter().position(|shape| shape.fits(first, next)) {
        Some(i) => Ok(range.start + i),
        None => Err(explain(ROWS.get(range).unwrap_or_default(), slots)),
    }
}

/// What the decoder needs of a row: its [`Layout`] as bits, what must be what in the eight bytes of a slot.
#[derive(Clone, Copy)]
struct Shape {
    mask: u64,
    value: u64,
    next_mask: u32,
    next: u32,
    /// Is the destination an operand?
    dst: bool,
    /// Is the source an operand?
    src: bool,
    build: fn(&Slots) -> Op,
}

impl Shape {
    const fn of(row: &Row) -> Self {
        let (dst, src) = (row.layout.has_operand(Field::Dst), row.layout.has_operand(Field::Src));
        let mut shape = Self { mask: 0, value: 0, next_mask: 0, next: 0, dst, src, build: row.build };
        let mut i = 0;
        while i < Field::ALL.len() {
            if let Use::Fixed(value) = row.layout.0[i] {
                let (start, width) = match Field::ALL[i] {
                    Field::Dst => (8, 0xf),
                    Field::Src => (12, 0xf),
                    Field::Off => (16, 0xffff),
                    Field::Imm => (32, 0xffff_ffff),
                    Field::NextImm => {
                        (shape.next_mask, shape.next) = (u32::MAX, value as u32);
                        (0, 0)
                    }
                };
                shape.mask |= width << start;
                shape.value |= (value as u64 & width) << start;
            }
            i += 1;
        }
        shape
    }

    const fn fits(&self, first: u64, next: u32) -> bool {
        first & self.mask == self.value && next & self.next_mask == self.next
    }
}

/// The shapes of the rows, one after the other: looking for one touches little memory.
static SHAPES: [Shape; ROWS.len()] = {
    let mut shapes = [Shape::of(&ROWS[0]); ROWS.len()];
    let mut i = 0;
    while i < shapes.len() {
        shapes[i] = Shape::of(&ROWS[i]);
        i += 1;
    }
    shapes
};

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

/// Where the rows of one opcode are; they are neighbours in the table.
fn range_of(code: u8) -> Range<usize> {
    let (start, len) = INDEX[code as usize];
    start as usize..(start + len) as usize
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

/// `Some` of what is there.
macro_rules! optional {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

/// Makes the rows, and the encoder that inverts them.
macro_rules! instructions {
    ($(
        $code:literal ($($field:ident $(= $value:literal)?),*) $isa:ident
        $op:ident $({ $($named:tt)* })? $(( $($tuple:tt)* ))?
        $llvm:literal $(, kernel $kernel:literal)? $(, suite $suite:literal)? $(, also $also:literal)*;
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
                texts: Texts {
                    llvm: $llvm,
                    kernel: optional!($($kernel)?),
                    suite: optional!($($suite)?),
                    also: &[$($also),*],
                },
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

// After the macros, which it uses.
mod rows;
