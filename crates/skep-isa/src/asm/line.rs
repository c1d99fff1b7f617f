//! Takes a line of a listing apart: labels, instructions, and what tools print around them.

use crate::insn::Insn;

/// What `llvm-objdump` prints for bytes that are no instruction.
pub(super) const UNKNOWN: &str = "<unknown>";

/// A part of a line that means something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement<'a> {
    Label(&'a str),
    Insn(InsnText<'a>),
}

/// The text of an instruction and what the line says about it besides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InsnText<'a> {
    pub(super) code: &'a str,
    /// The opcode that the kernel's dialect prints in parentheses.
    pub(super) opcode: Option<u8>,
    /// The slots that `llvm-objdump` prints in hexadecimal; empty where it did not.
    pub(super) bytes: Vec<Insn>,
}

/// The statements of a line.
pub(super) fn statements(line: &str) -> Vec<Statement<'_>> {
    let line = line.trim();
    if is_empty(line) || is_heading(line) {
        return Vec::new();
    }
    if let Some(name) = function_heading(line) {
        return vec![Statement::Label(name)];
    }
    let (numbered, rest) = strip_slot_number(line);
    let (bytes, rest) = strip_bytes(rest);
    let (opcode, rest) = strip_opcode(rest);
    if numbered && is_verifier_state(rest) {
        return Vec::new();
    }
    let listed = numbered || opcode.is_some();
    let code = strip_annotation(strip_comment(rest, listed));
    if listed {
        return match code {
            "" => Vec::new(),
            code => vec![Statement::Insn(InsnText { code, opcode, bytes })],
        };
    }
    code.split(';').flat_map(plain_statements).collect()
}

/// Nothing, a comment, or a line of source that listings mix in.
fn is_empty(line: &str) -> bool {
    line.is_empty() || line.starts_with([';', '#']) || line.starts_with("//")
}

/// Lines of `llvm-objdump` that are not about instructions.
fn is_heading(line: &str) -> bool {
    line.starts_with("Disassembly of section") || line.contains("file format elf") || line.contains("R_BPF_")
}

/// The name in `0000000000000000 <name>:` or `int name(void *ctx):`, which tools print before a function.
fn function_heading(line: &str) -> Option<&str> {
    let heading = line.strip_suffix(':')?;
    if let Some((address, name)) = heading.split_once(" <") {
        let is_address = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit());
        return name.strip_suffix('>').filter(|_| is_address);
    }
    let (declaration, _) = heading.strip_suffix(')')?.split_once('(')?;
    declaration.rsplit([' ', '*']).next().filter(|name| is_label(name))
}

/// Strips `12:`.
fn strip_slot_number(line: &str) -> (bool, &str) {
    match line.split_once(':') {
        Some((number, rest)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
            (true, rest.trim_start())
        }
        _ => (false, line),
    }
}

/// Strips eight or sixteen bytes in hexadecimal.
fn strip_bytes(text: &str) -> (Vec<Insn>, &str) {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((byte, tail)) = strip_byte(rest) {
        bytes.push(byte);
        rest = tail;
    }
    let (chunks, []) = bytes.as_chunks::<8>() else { return (Vec::new(), text) };
    match chunks.len() {
        1 | 2 => (chunks.iter().map(|bytes| Insn::from_le_bytes(*bytes)).collect(), rest),
        _ => (Vec::new(), text),
    }
}

fn strip_byte(text: &str) -> Option<(u8, &str)> {
    let (digits, tail) = text.split_at_checked(2)?;
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (tail.is_empty() || tail.starts_with([' ', '\t'])).then(|| (byte, tail.trim_start()))
}

/// Strips `(61)`.
fn strip_opcode(text: &str) -> (Option<u8>, &str) {
    let opcode = || {
        let (digits, rest) = text.strip_prefix('(')?.split_once(')')?;
        let code = u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)?;
        Some((Some(code), rest.trim_start()))
    };
    opcode().unwrap_or((None, text))
}

/// The verifier log's `0: R1=ctx() R10=fp0`.
fn is_verifier_state(text: &str) -> bool {
    let state = text.strip_prefix('R').unwrap_or_default();
    state.starts_with(|c: char| c.is_ascii_digit()) && text.contains('=') && !text.contains(" = ")
}

/// Strips `# …` and `// …`, and in listings `; …`, which otherwise separates statements.
fn strip_comment(text: &str, listed: bool) -> &str {
    let is_comment = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        let spaced = text.get(..at).is_none_or(|before| before.is_empty() || before.ends_with([' ', '\t']));
        rest.starts_with("//") || rest.starts_with('#') && spaced || rest.starts_with(';') && listed
    };
    let end = text.char_indices().map(|(at, _)| at).find(|&at| is_comment(at)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end()
}

/// Strips ` <LBB0_1>` behind a target.
fn strip_annotation(code: &str) -> &str {
    match code.rfind(" <") {
        Some(at) if code.ends_with('>') => code.get(..at).unwrap_or_default().trim_end(),
        _ => code,
    }
}

/// The labels and the instruction of a statement that no tool has printed.
fn plain_statements(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut rest = text.trim();
    while let Some((name, tail)) = rest.split_once(':').filter(|(name, _)| is_label(name)) {
        statements.push(Statement::Label(name));
        rest = tail.trim_start();
    }
    if !rest.is_empty() {
        statements.push(Statement::Insn(InsnText { code: rest, opcode: None, bytes: Vec::new() }));
    }
    statements
}

fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| !c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insn<'a>(code: &'a str, opcode: Option<u8>, bytes: &[[u8; 8]]) -> Statement<'a> {
        let bytes = bytes.iter().map(|bytes| Insn::from_le_bytes(*bytes)).collect();
        Statement::Insn(InsnText { code, opcode, bytes })
    }

    #[test]
    fn listings_lose_their_dress() {
        let exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
        let check = |line, expected: &[Statement<'_>]| assert_eq!(statements(line), expected, "{line}");
        check("       3:\t95 00 00 00 00 00 00 00\texit", &[insn("exit", None, &[exit])]);
        check(
            "       3:\tff 00 00 00 00 00 00 00\t<unknown>",
            &[insn(UNKNOWN, None, &[[0xff, 0, 0, 0, 0, 0, 0, 0]])],
        );
        check("  3: (95) exit ; R0=1", &[insn("exit", Some(0x95), &[])]);
        check("(05) goto pc+1", &[insn("goto pc+1", Some(0x05), &[])]);
        check("3: goto +0x1 <LBB0_2>", &[insn("goto +0x1", None, &[])]);
        check("0000000000000000 <main>:", &[Statement::Label("main")]);
        check("int main(struct __sk_buff *skb):", &[Statement::Label("main")]);
        check("0: R1=ctx() R10=fp0", &[]);
        check("a.o:\tfile format elf64-bpf", &[]);
        check("\t\t0000000000000018:  R_BPF_64_64\tevents", &[]);
        check("; int x = 5;", &[]);
    }

    #[test]
    fn statements_written_by_hand() {
        let check = |line, expected: &[Statement<'_>]| assert_eq!(statements(line), expected, "{line}");
        check("a: b: exit # done", &[Statement::Label("a"), Statement::Label("b"), insn("exit", None, &[])]);
        check("r0 = 0; exit;", &[insn("r0 = 0", None, &[]), insn("exit", None, &[])]);
        check("call bpf_loop#181 // why", &[insn("call bpf_loop#181", None, &[])]);
        check("if r1 < r2 goto a", &[insn("if r1 < r2 goto a", None, &[])]);
        check("   # nothing", &[]);
        check("", &[]);
    }
}
