//! Operands other than registers: each with its name in templates, how it is printed and how it is read.

use std::fmt::Write;

use super::Style;
use crate::asm::cursor::{Cursor, Expected, Filled, Miss};
use crate::disasm::Names;
use crate::helper;
use crate::op::{CallTarget, Slots};
use crate::table::Field;

/// Declares [`Value`] and its names in templates.
macro_rules! values {
    ($($(#[$doc:meta])* $value:ident = $name:literal,)*) => {
        /// An operand of a template that is not a register.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Value { $($(#[$doc])* $value,)* }

        impl Value {
            /// The operand of a name in braces.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$value),)* _ => None }
            }
        }
    };
}

values! {
    /// `imm`, signed.
    Imm = "imm",
    /// `imm`, unsigned.
    Uimm = "uimm",
    /// `imm` that a register is compared with; the kernel prints its bits in hexadecimal.
    Cmp = "cmp",
    /// `imm`, a helper's number.
    Id = "id",
    /// `off` behind an address, with its sign; none reads as 0.
    Off = "off",
    /// `off`, the distance of a jump; reads a label too.
    To = "to",
    /// `imm`, the distance of a jump or call; reads a label too.
    Far = "far",
    /// `imm`, with its sign always.
    Rel = "rel",
    /// Both immediates as one of 64 bits.
    Imm64 = "imm64",
    /// `imm` added to a register, left out when 0 where that is the custom.
    Ind = "ind",
    /// The upper half of `imm`.
    High = "high",
    /// The lower half of `imm`.
    Low = "low",
    /// `imm`, a helper's name and number.
    Helper = "helper",
    /// `imm`, a kernel function's name and BTF id.
    Kfunc = "kfunc",
    /// The immediate of the second slot.
    Next = "next",
    /// The immediate of the second slot as a further operand, left out when 0.
    More = "more",
    /// `off`, the index of a kernel function's BTF, left out when 0.
    Fd = "fd",
}

impl Value {
    /// Prints the operand that `slots` hold.
    pub(crate) fn render(self, out: &mut String, slots: &Slots, style: Style, names: &dyn Names) {
        let insn = slots.first();
        let (imm, off, next) = (insn.imm, insn.off, slots.next_imm());
        match self {
            Self::Uimm => number(out, style, (imm as u32).into()),
            Self::Id if style == Style::Suite => number(out, style, (imm as u32).into()),
            Self::Imm | Self::Id => number(out, style, imm.into()),
            Self::Cmp if style == Style::Kernel => push(out, format_args!("{imm:#x}")),
            Self::Cmp => number(out, style, imm.into()),
            Self::Off => offset(out, style, off.into()),
            Self::To => distance(out, style, off.into()),
            Self::Far => distance(out, style, imm.into()),
            Self::Rel => push(out, format_args!("{imm:+}")),
            Self::Imm64 => imm64(out, style, imm, next),
            Self::Ind if style == Style::Kernel => push(out, format_args!(" + {imm}")),
            Self::Ind if imm != 0 => offset(out, style, imm.into()),
            Self::Ind => {}
            Self::High => number(out, style, (imm >> 16 & 0xffff).into()),
            Self::Low => number(out, style, (imm & 0xffff).into()),
            Self::Helper => helper_name(out, imm as u32, names),
            Self::Kfunc => kfunc_name(out, imm, off, names),
            Self::Next => push(out, format_args!("{}", next as u32)),
            Self::More if next != 0 => {
                out.push_str(", ");
                number(out, style, next.into());
            }
            Self::Fd if off != 0 => push(out, format_args!("@{off}")),
            Self::More | Self::Fd => {}
        }
    }

    /// Reads the operand.
    pub(crate) fn parse<'a>(self, cursor: &mut Cursor<'_, 'a>, filled: &mut Filled<'a>) -> Result<(), Miss> {
        match self {
            Self::Imm | Self::Uimm | Self::Cmp => {
                filled.insn.imm = cursor.number(I32_BITS, Expected::Imm32)? as i32;
            }
            Self::Id => filled.insn.imm = cursor.number(U32, Expected::HelperId)? as i32,
            Self::Off if cursor.at_sign() => filled.insn.off = cursor.number(I16, Expected::Off16)? as i16,
            Self::Ind if cursor.at_sign() => {
                filled.insn.imm = cursor.number(I32_BITS, Expected::Imm32)? as i32;
            }
            Self::Off | Self::Ind => {}
            Self::To => filled.insn.off = target(cursor, filled, Field::Off, I16)? as i16,
            Self::Far => filled.insn.imm = target(cursor, filled, Field::Imm, I32)? as i32,
            Self::Rel => filled.insn.imm = cursor.number(I32, Expected::Imm32)? as i32,
            Self::Imm64 => {
                let value = cursor.number(I64_BITS, Expected::Imm64)? as u64;
                (filled.insn.imm, filled.next) = (value as i32, (value >> 32) as i32);
            }
            Self::High => filled.insn.imm |= (cursor.number(U16, Expected::U16)? as i32) << 16,
            Self::Low => filled.insn.imm |= cursor.number(U16, Expected::U16)? as i32,
            Self::Helper => filled.insn.imm = cursor.helper()? as i32,
            Self::Kfunc => filled.insn.imm = cursor.kfunc()?,
            Self::Next => filled.next = cursor.number(I32_BITS, Expected::Imm32)? as i32,
            Self::More if cursor.skip(",") => filled.next = cursor.number(I32_BITS, Expected::Imm32)? as i32,
            Self::Fd if cursor.skip("@") => filled.insn.off = cursor.number(I16, Expected::Off16)? as i16,
            Self::More | Self::Fd => {}
        }
        Ok(())
    }
}

/// What a number may be, both ends included.
pub(crate) type Range = (i128, i128);

const U16: Range = (0, u16::MAX as i128);
const I16: Range = (i16::MIN as i128, i16::MAX as i128);
const U32: Range = (0, u32::MAX as i128);
const I32: Range = (i32::MIN as i128, i32::MAX as i128);
/// Bits of 32 may be written signed or unsigned.
const I32_BITS: Range = (i32::MIN as i128, u32::MAX as i128);
const I64_BITS: Range = (i64::MIN as i128, u64::MAX as i128);

/// Reads a distance (`+4`, `pc-1`), or notes a label that is one later.
fn target<'a>(
    cursor: &mut Cursor<'_, 'a>,
    filled: &mut Filled<'a>,
    field: Field,
    range: Range,
) -> Result<i128, Miss> {
    if let Some(label) = cursor.label() {
        filled.label = Some((label, field));
        return Ok(0);
    }
    cursor.skip("pc");
    cursor.number(range, Expected::Target)
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("invariant: a string takes any text");
}

/// A number in the custom of a dialect: signed hexadecimal or decimal.
fn number(out: &mut String, style: Style, value: i64) {
    match style {
        Style::Llvm | Style::LlvmAlu32 => {
            let sign = if value < 0 { "-" } else { "" };
            push(out, format_args!("{sign}{:#x}", value.unsigned_abs()));
        }
        Style::Kernel | Style::Suite => push(out, format_args!("{value}")),
    }
}

/// The offset behind an address: ` + 0x4`, ` +4`, `+4`; the last dialect leaves out 0.
fn offset(out: &mut String, style: Style, value: i64) {
    match style {
        Style::Llvm | Style::LlvmAlu32 => {
            let sign = if value < 0 { '-' } else { '+' };
            push(out, format_args!(" {sign} {:#x}", value.unsigned_abs()));
        }
        Style::Kernel => push(out, format_args!(" {value:+}")),
        Style::Suite if value == 0 => {}
        Style::Suite => push(out, format_args!("{value:+}")),
    }
}

/// The distance of a jump: `+0x4`, `pc+4`, `+4`.
fn distance(out: &mut String, style: Style, value: i64) {
    match style {
        Style::Llvm | Style::LlvmAlu32 => {
            let sign = if value < 0 { '-' } else { '+' };
            push(out, format_args!("{sign}{:#x}", value.unsigned_abs()));
        }
        Style::Kernel => push(out, format_args!("pc{value:+}")),
        Style::Suite => push(out, format_args!("{value:+}")),
    }
}

fn imm64(out: &mut String, style: Style, low: i32, high: i32) {
    let value = low as u32 as u64 | (high as u32 as u64) << 32;
    match style {
        Style::Llvm | Style::LlvmAlu32 => number(out, style, value as i64),
        Style::Kernel | Style::Suite => push(out, format_args!("{value:#x}")),
    }
}

fn helper_name(out: &mut String, id: u32, names: &dyn Names) {
    match helper::by_id(id) {
        Some(helper) => out.push_str(helper.name),
        None => out.push_str(names.call(CallTarget::Helper(id)).as_deref().unwrap_or("unknown")),
    }
    push(out, format_args!("#{}", id as i32));
}

fn kfunc_name(out: &mut String, btf_id: i32, fd_idx: i16, names: &dyn Names) {
    let name = names.call(CallTarget::Kfunc { btf_id, fd_idx });
    push(out, format_args!("{}#{btf_id}", name.as_deref().unwrap_or("kernel-function")));
}
