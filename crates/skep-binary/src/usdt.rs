//! Argument strings of USDT notes, such as `-4@$0 8@%rax 8@-8(%rbp)`, and what `usdt.bpf.h` wants them as.
//!
//! Each argument is `SIZE@PLACE`; a size below zero is that of a signed number. A place is an operand of the assembler:
//! a constant, a register, memory at a register with or without offset, or with a scaled second register.

/// Arguments that a specification has room for.
const MAX_ARGUMENTS: usize = 12;

/// The layouts of `struct __bpf_usdt_spec` that there are, told apart by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Up to libbpf 1.6: 16 bytes an argument.
    Short,
    /// From libbpf 1.7: 24, with a second register.
    Indexed,
}

impl Layout {
    /// The layout whose specifications have this size.
    pub fn of(value_bytes: u32) -> Option<Self> {
        [Self::Short, Self::Indexed].into_iter().find(|layout| layout.value_bytes() == value_bytes as usize)
    }

    fn argument_bytes(self) -> usize {
        match self {
            Self::Short => 16,
            Self::Indexed => 24,
        }
    }

    /// The arguments, the cookie, and their number, rounded up to eight.
    fn value_bytes(self) -> usize {
        MAX_ARGUMENTS * self.argument_bytes() + 16
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Argument {
    bytes: u8,
    signed: bool,
    place: Place,
}

/// Where an argument is; registers by their offset in `struct pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Constant(i64),
    Register(u16),
    Memory { base: u16, offset: i64 },
    Indexed { base: u16, index: u16, scale: u8, offset: i64 },
}

/// The bytes of a `struct __bpf_usdt_spec` for a note's arguments; the error says which argument is not known.
pub fn specification(arguments: &str, cookie: u64, layout: Layout) -> Result<Vec<u8>, String> {
    let arguments = parse(arguments, std::env::consts::ARCH)?;
    let mut value = vec![0; layout.value_bytes()];
    for (argument, room) in arguments.iter().zip(value.chunks_exact_mut(layout.argument_bytes())) {
        write(*argument, room, layout)?;
    }
    let end = MAX_ARGUMENTS * layout.argument_bytes();
    value[end..end + 8].copy_from_slice(&cookie.to_ne_bytes());
    let count = u16::try_from(arguments.len()).map_err(|_| "there are too many")?;
    value[end + 8..end + 10].copy_from_slice(&count.to_ne_bytes());
    Ok(value)
}

fn write(argument: Argument, room: &mut [u8], layout: Layout) -> Result<(), String> {
    let (kind, offset, register) = match argument.place {
        Place::Constant(value) => (0, value, 0),
        Place::Register(register) => (1, 0, register),
        Place::Memory { base, offset } => (2, offset, base),
        Place::Indexed { base, index, scale, offset } if layout == Layout::Indexed => {
            let bits = index | u16::from(scale.trailing_zeros() as u8) << 12;
            room[10..12].copy_from_slice(&bits.to_ne_bytes());
            (3, offset, base)
        }
        Place::Indexed { .. } => {
            return Err("the program was compiled for a libbpf without scaled registers".into());
        }
    };
    room[..8].copy_from_slice(&offset.to_ne_bytes());
    room[8] = kind;
    let at = if layout == Layout::Indexed { 14 } else { 12 };
    room[at..at + 2].copy_from_slice(&register.to_ne_bytes());
    room[at + 2] = argument.signed.into();
    room[at + 3] = 64 - 8 * argument.bytes;
    Ok(())
}

fn parse(arguments: &str, arch: &str) -> Result<Vec<Argument>, String> {
    // Operands may contain spaces (`8@[sp, 8]`): an argument begins where a size and `@` follow.
    let mut parsed = Vec::new();
    let mut rest = arguments.trim();
    while !rest.is_empty() {
        let (size, after) = rest.split_once('@').ok_or_else(|| format!("`{rest}` has no size"))?;
        let end = end_of_operand(after);
        let size: i8 = size.trim().parse().map_err(|_| format!("`{size}` is no size"))?;
        if !matches!(size.unsigned_abs(), 1 | 2 | 4 | 8) {
            return Err(format!("there are no numbers of {size} bytes"));
        }
        let operand = after[..end].trim();
        let place = match arch {
            "x86_64" => x86_operand(operand),
            "aarch64" => arm_operand(operand),
            other => return Err(format!("operands of `{other}` are not known")),
        };
        let place = place.ok_or_else(|| format!("`{operand}` is no operand"))?;
        parsed.push(Argument { bytes: size.unsigned_abs(), signed: size < 0, place });
        rest = after[end..].trim_start();
    }
    if parsed.len() > MAX_ARGUMENTS { Err("there are more than twelve".into()) } else { Ok(parsed) }
}

/// The first blank outside brackets.
fn end_of_operand(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            c if c.is_whitespace() && depth <= 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// `$5`, `%rax`, `-8(%rbp)`, `(%rax)`, `8(%rax,%rcx,4)`.
fn x86_operand(operand: &str) -> Option<Place> {
    if let Some(constant) = operand.strip_prefix('$') {
        return number(constant).map(Place::Constant);
    }
    let register = |name: &str| x86_register(name.trim().strip_prefix('%')?);
    let Some((offset, inner)) = operand.split_once('(') else {
        return register(operand).map(Place::Register);
    };
    let offset = if offset.is_empty() { 0 } else { number(offset)? };
    let mut parts = inner.strip_suffix(')')?.split(',');
    let base = register(parts.next()?)?;
    let Some(index) = parts.next() else { return Some(Place::Memory { base, offset }) };
    let index = register(index)?;
    let scale: u8 = parts.next().map_or(Some(1), |scale| scale.trim().parse().ok())?;
    matches!(scale, 1 | 2 | 4 | 8).then_some(Place::Indexed { base, index, scale, offset })
}

/// Registers of x86-64 under all their names, by their offset in `struct pt_regs`.
fn x86_register(name: &str) -> Option<u16> {
    const ORDER: [[&str; 4]; 9] = [
        ["rip", "eip", "", ""],
        ["rax", "eax", "ax", "al"],
        ["rbx", "ebx", "bx", "bl"],
        ["rcx", "ecx", "cx", "cl"],
        ["rdx", "edx", "dx", "dl"],
        ["rsi", "esi", "si", "sil"],
        ["rdi", "edi", "di", "dil"],
        ["rbp", "ebp", "bp", "bpl"],
        ["rsp", "esp", "sp", "spl"],
    ];
    const OFFSETS: [u16; 9] = [128, 80, 40, 88, 96, 104, 112, 32, 152];
    if let Some(at) = ORDER.iter().position(|names| !name.is_empty() && names.contains(&name)) {
        return Some(OFFSETS[at]);
    }
    let number: u16 = name.strip_prefix('r')?.trim_end_matches(['d', 'w', 'b']).parse().ok()?;
    // r15 comes first, r8 to r11 lie between the registers of a function's caller.
    match number {
        8..=11 => Some(72 - 8 * (number - 8)),
        12..=15 => Some(8 * (15 - number)),
        _ => None,
    }
}

/// `5`, `x0`, `[sp]`, `[x0, 8]`.
fn arm_operand(operand: &str) -> Option<Place> {
    if let Some(inner) = operand.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        let (base, offset) = inner.split_once(',').unwrap_or((inner, "0"));
        return Some(Place::Memory { base: arm_register(base.trim())?, offset: number(offset.trim())? });
    }
    arm_register(operand).map(Place::Register).or_else(|| number(operand).map(Place::Constant))
}

/// `struct user_pt_regs` begins with x0 to x30, then the stack pointer.
fn arm_register(name: &str) -> Option<u16> {
    if name == "sp" {
        return Some(31 * 8);
    }
    let number: u16 = name.strip_prefix(['x', 'w'])?.parse().ok()?;
    (number <= 30).then_some(8 * number)
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix(['+', '#']).unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    let value = value.cast_signed();
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arch: &str, text: &str, expected: &[(i8, Place)]) {
        let parsed = parse(text, arch).expect("the operands are known");
        let parsed: Vec<(i8, Place)> = parsed
            .into_iter()
            .map(|argument| {
                let bytes = argument.bytes.cast_signed();
                (if argument.signed { -bytes } else { bytes }, argument.place)
            })
            .collect();
        assert_eq!(parsed, expected);
    }

    #[test]
    fn operands() {
        use Place::{Constant, Indexed, Memory, Register};
        check("x86_64", "-4@$-9 8@%rax 2@%r12w", &[(-4, Constant(-9)), (8, Register(80)), (2, Register(24))]);
        check(
            "x86_64",
            "8@-16(%rbp) 1@(%rip)",
            &[(8, Memory { base: 32, offset: -16 }), (1, Memory { base: 128, offset: 0 })],
        );
        check("x86_64", "4@0x10(%rdi,%r9,4)", &[(4, Indexed { base: 112, index: 64, scale: 4, offset: 16 })]);
        check(
            "aarch64",
            "8@x1 -4@[sp, 12] 8@7",
            &[(8, Register(8)), (-4, Memory { base: 248, offset: 12 }), (8, Constant(7))],
        );
        check("x86_64", "", &[]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["8@", "8@%xmm0", "3@%rax", "%rax", "8@sym(%rip)", "8@(%rax,%rbx,3)"] {
            assert!(parse(text, "x86_64").is_err(), "{text}");
        }
        assert!(parse("8@r1", "sparc").is_err());
        assert!(parse(&"8@%rax ".repeat(13), "x86_64").is_err());
    }

    #[test]
    fn layouts_put_registers_where_the_headers_have_them() {
        let short = specification("-4@8(%rsp)", 5, Layout::Short).expect("it fits");
        assert_eq!(short[..16], [8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 152, 0, 1, 32]);
        assert_eq!((short.len(), short[192], short[200]), (208, 5, 1));
        let indexed = specification("8@(%rax,%rcx,8)", 0, Layout::Indexed).expect("it fits");
        assert_eq!(indexed[8..18], [3, 0, 88, 0x30, 0, 0, 80, 0, 0, 0]);
        assert!(specification("8@(%rax,%rcx,8)", 0, Layout::Short).is_err());
    }
}
