//! The format strings of `bpf_trace_printk` and its relatives.
//!
//! `%[flags][width]` followed by `d i u x X` (with `l` or `ll`), `c`, `s`, `p` and the pointer forms `pK px ps pS pB pks
//! pus pi4 pI4 pi6 pI6`. What is refused, and how much text the arguments may hold together, is the kernel's
//! `bpf_bprintf_prepare` (`kernel/bpf/helpers.c`); how it looks is its `bstr_printf` (`lib/vsprintf.c`). Pointers are
//! printed as they are: hashing would protect nothing here.

use super::probe;
use crate::Errno;
use crate::machine::Machine;

/// Bytes that all arguments take together (`MAX_BPRINTF_BIN_ARGS`).
const MAX_ARG_BYTES: usize = 512;

/// One conversion: flags, width, and what is converted.
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: usize,
    conversion: Conversion,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Conversion {
    Number {
        bytes: usize,
        signed: bool,
        base: u32,
        upper: bool,
    },
    Char,
    KernelString,
    UserString,
    Pointer,
    Symbol,
    /// A return address, which belongs to the instruction before it.
    ReturnAddress,
    Ip {
        version: u8,
        padded: bool,
    },
}

impl Conversion {
    /// Is it formatted before the text is put together?
    fn is_address(self) -> bool {
        matches!(self, Self::ReturnAddress | Self::Ip { .. })
    }
}

/// What is left of the room for arguments.
struct Room(usize);

impl Room {
    /// Numbers are aligned to four.
    fn number(&mut self, bytes: usize) -> Result<(), Errno> {
        let used = (MAX_ARG_BYTES - self.0).next_multiple_of(4) + bytes;
        self.0 = MAX_ARG_BYTES.checked_sub(used).ok_or(Errno::ENOSPC)?;
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<(), Errno> {
        self.0 = self.0.checked_sub(bytes).ok_or(Errno::ENOSPC)?;
        Ok(())
    }
}

/// Formats `args` by `fmt`, which has no NUL. What is behind `limit` will not be seen, but counts; except, as in the kernel,
/// addresses that begin there.
pub(super) fn format(
    machine: &mut Machine<'_>,
    fmt: &[u8],
    args: &[u64],
    limit: usize,
) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::with_capacity(fmt.len() + 16 * args.len());
    let mut args = args.iter();
    let mut room = Room(MAX_ARG_BYTES);
    let mut rest = fmt;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, rest) {
            (b'%', [b'%', behind @ ..]) => {
                rest = behind;
                out.push(b'%');
            }
            (b'%', _) => {
                let arg = *args.next().ok_or(Errno::EINVAL)?;
                let spec = Spec::parse(&mut rest)?;
                let unseen = out.len() >= limit && spec.conversion.is_address();
                let start = out.len();
                spec.convert(machine, arg, &mut room, &mut out)?;
                if unseen {
                    out.truncate(start);
                }
            }
            (0x20..=0x7e | b'\t'..=b'\r' | 0x80.., _) => out.push(*byte),
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(out)
}

impl Spec {
    /// Reads a conversion behind its `%`.
    fn parse(rest: &mut &[u8]) -> Result<Self, Errno> {
        let (conversion, width) = (Conversion::Pointer, 0);
        let mut spec = Self { left: false, plus: false, space: false, zero: false, width, conversion };
        while let Some(flag) = take(rest, |byte| matches!(byte, b'0' | b'+' | b'-' | b' ')) {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        while let Some(digit) = take(rest, u8::is_ascii_digit) {
            spec.width = (spec.width * 10 + usize::from(digit - b'0')).min(MAX_WIDTH);
        }
        spec.conversion = conversion_of(rest)?;
        Ok(spec)
    }

    fn convert(
        &self,
        machine: &mut Machine<'_>,
        arg: u64,
        room: &mut Room,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        match self.conversion {
            Conversion::Number { bytes, signed, base, upper } => {
                room.number(bytes)?;
                self.number(arg, bytes, signed, base, upper, out);
            }
            Conversion::Char => {
                room.text(1)?;
                self.pad(&[arg as u8], out);
            }
            Conversion::KernelString | Conversion::UserString => {
                let text = self.string(machine, arg, room)?;
                self.pad(&text, out);
            }
            Conversion::Pointer => {
                room.number(8)?;
                self.pad(format!("{arg:016x}").as_bytes(), out);
            }
            Conversion::Symbol => {
                room.number(8)?;
                self.pad(symbol(machine, arg).as_bytes(), out);
            }
            Conversion::ReturnAddress => {
                let text = symbol(machine, arg);
                room.text(text.len() + 1)?;
                out.extend_from_slice(text.as_bytes());
            }
            Conversion::Ip { version, padded } => {
                let text = ip(machine, arg, version, padded);
                room.text(text.len() + 1)?;
                out.extend_from_slice(text.as_bytes());
            }
        }
        Ok(())
    }

    /// A string argument; one that cannot be read is empty.
    fn string(&self, machine: &mut Machine<'_>, arg: u64, room: &mut Room) -> Result<Vec<u8>, Errno> {
        if room.0 == 0 {
            return Err(Errno::ENOSPC);
        }
        let text = if self.conversion == Conversion::UserString {
            probe::user_string(machine, arg, room.0)
        } else {
            probe::kernel_string(machine, arg, room.0)
        };
        let text = text.unwrap_or_default();
        room.text(text.len() + 1)?;
        Ok(text)
    }

    fn number(&self, arg: u64, bytes: usize, signed: bool, base: u32, upper: bool, out: &mut Vec<u8>) {
        let value = match (bytes, signed) {
            (4, true) => i128::from(arg as i32),
            (4, false) => i128::from(arg as u32),
            (_, true) => i128::from(arg as i64),
            (_, false) => i128::from(arg),
        };
        let sign = match (signed, value < 0) {
            (true, true) => "-",
            (true, false) if self.plus => "+",
            (true, false) if self.space => " ",
            _ => "",
        };
        let magnitude = value.unsigned_abs();
        let digits = match (base, upper) {
            (16, false) => format!("{magnitude:x}"),
            (16, true) => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        let zeros =
            if self.zero && !self.left { self.width.saturating_sub(sign.len() + digits.len()) } else { 0 };
        self.pad(format!("{sign}{}{digits}", "0".repeat(zeros)).as_bytes(), out);
    }

    /// Fills up to the width with spaces.
    fn pad(&self, text: &[u8], out: &mut Vec<u8>) {
        let spaces = self.width.saturating_sub(text.len());
        if !self.left {
            out.resize(out.len() + spaces, b' ');
        }
        out.extend_from_slice(text);
        if self.left {
            out.resize(out.len() + spaces, b' ');
        }
    }
}

/// Widest field (`FIELD_WIDTH_MAX`), far behind what a line holds; a wider one would only cost memory.
const MAX_WIDTH: usize = 4096;

fn take(rest: &mut &[u8], wanted: impl Fn(&u8) -> bool) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    wanted(first).then(|| {
        *rest = behind;
        *first
    })
}

/// Reads the letters of a conversion.
fn conversion_of(rest: &mut &[u8]) -> Result<Conversion, Errno> {
    if take(rest, |byte| *byte == b'p').is_some() {
        return pointer_conversion(rest);
    }
    if take(rest, |byte| *byte == b's').is_some() {
        return ends_word(rest, Conversion::KernelString);
    }
    if take(rest, |byte| *byte == b'c').is_some() {
        return Ok(Conversion::Char);
    }
    let long = take(rest, |byte| *byte == b'l').is_some();
    if long {
        take(rest, |byte| *byte == b'l');
    }
    let bytes = if long { 8 } else { 4 };
    let number = |signed, base, upper| Ok(Conversion::Number { bytes, signed, base, upper });
    match take(rest, u8::is_ascii) {
        Some(b'd' | b'i') => number(true, 10, false),
        Some(b'u') => number(false, 10, false),
        Some(b'x') => number(false, 16, false),
        Some(b'X') => number(false, 16, true),
        _ => Err(Errno::EINVAL),
    }
}

/// Reads what follows `%p`. The formatted kinds swallow the letters and digits behind them, as `bstr_printf` does.
fn pointer_conversion(rest: &mut &[u8]) -> Result<Conversion, Errno> {
    let (conversion, letters) = match *rest {
        [b'k', b's', ..] => (Conversion::KernelString, 2),
        [b'u', b's', ..] => (Conversion::UserString, 2),
        [b'K' | b'x', ..] => (Conversion::Pointer, 1),
        [b's' | b'S', ..] => (Conversion::Symbol, 1),
        [b'B', ..] => (Conversion::ReturnAddress, 1),
        [kind @ (b'i' | b'I'), version @ (b'4' | b'6'), ..] => {
            (Conversion::Ip { version: *version - b'0', padded: *kind == b'i' }, 2)
        }
        _ => (Conversion::Pointer, 0),
    };
    *rest = &rest[letters..];
    match conversion {
        Conversion::KernelString | Conversion::UserString => ends_word(rest, conversion),
        Conversion::Pointer if letters == 0 => ends_word(rest, conversion),
        Conversion::ReturnAddress | Conversion::Ip { .. } => {
            while take(rest, u8::is_ascii_alphanumeric).is_some() {}
            Ok(conversion)
        }
        _ => Ok(conversion),
    }
}

/// Some conversions must be followed by the end, a blank or punctuation.
fn ends_word(rest: &[u8], conversion: Conversion) -> Result<Conversion, Errno> {
    match rest.first() {
        // Beyond ASCII the kernel's tables are of Latin-1.
        None | Some(b'\t'..=b'\r' | b' ' | 0xa0..=0xbf | 0xd7 | 0xf7) => Ok(conversion),
        Some(byte) if byte.is_ascii_punctuation() => Ok(conversion),
        Some(_) => Err(Errno::EINVAL),
    }
}

fn symbol(machine: &mut Machine<'_>, addr: u64) -> String {
    machine.env.symbol(addr).unwrap_or_else(|| format!("{addr:#x}"))
}

/// The address of version 4 or 6 at a kernel address; zeros when it cannot be read. Padded, version 4 has leading zeros
/// and version 6 no colons.
fn ip(machine: &mut Machine<'_>, addr: u64, version: u8, padded: bool) -> String {
    let mut bytes = [0; 16];
    let len = if version == 4 { 4 } else { 16 };
    if probe::kernel_bytes(machine, addr, &mut bytes[..len]).is_err() {
        bytes.fill(0);
    }
    let [a, b, c, d, ..] = bytes;
    match (version, padded) {
        (4, false) => format!("{a}.{b}.{c}.{d}"),
        (4, true) => format!("{a:03}.{b:03}.{c:03}.{d:03}"),
        _ => {
            let groups =
                bytes.as_chunks::<2>().0.iter().map(|group| format!("{:04x}", u16::from_be_bytes(*group)));
            groups.collect::<Vec<_>>().join(if padded { "" } else { ":" })
        }
    }
}
