//! Instructions as a log writes them, read back as far as following a value needs: `r2 = *(u64 *)(r10 -8)`.

/// What an instruction does to registers and stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act<'t> {
    /// `dst = src`.
    Move { dst: u8, src: u8 },
    /// `dst = 5`, `dst = 0x…`.
    Constant { dst: u8 },
    /// `dst op= src`; the operator and what it is applied with.
    Compute { dst: u8, op: &'t str, with: &'t str },
    /// `dst = *(size *)(base + off)`.
    Load { dst: u8, base: u8, off: i64 },
    /// `*(size *)(base + off) = src`; no register for a constant.
    Store { base: u8, off: i64, src: Option<u8> },
    /// A helper, kernel function, or (`pc+4`) function of the program.
    Call { name: &'t str },
    /// `if left op right goto`.
    Branch { left: u8, op: &'t str, right: &'t str },
    /// Leaves a function or the program.
    Exit,
    /// Something else, which may set this register.
    Other { dst: Option<u8> },
}

/// Reads the text of an instruction.
pub(super) fn parse(text: &str) -> Act<'_> {
    if let Some(condition) = text.strip_prefix("if ") {
        return branch(condition).unwrap_or(Act::Other { dst: None });
    }
    if let Some(call) = text.strip_prefix("call ") {
        return Act::Call { name: call.split('#').next().unwrap_or(call) };
    }
    if text == "exit" {
        return Act::Exit;
    }
    if let Some(address) = text.strip_prefix('*') {
        let stored = address.split_once(") = ");
        return stored.and_then(|(address, src)| store(address, src)).unwrap_or(Act::Other { dst: None });
    }
    assignment(text).unwrap_or(Act::Other { dst: None })
}

/// The register that text such as `r3` or `w3` names.
pub(super) fn register(text: &str) -> Option<u8> {
    text.strip_prefix(['r', 'w'])?.parse().ok().filter(|reg| *reg <= 10)
}

fn branch(condition: &str) -> Option<Act<'_>> {
    let mut words = condition.split(' ');
    let (left, op, right) = (words.next()?, words.next()?, words.next()?);
    Some(Act::Branch { left: register(left)?, op, right })
}

/// `(u64 *)(r10 -8` and what is stored.
fn store<'t>(address: &str, src: &'t str) -> Option<Act<'t>> {
    let (base, off) = memory(address)?;
    Some(Act::Store { base, off, src: register(src) })
}

/// The register and offset of `(u64 *)(r10 -8` or `(u64 *)(r10 -8)`.
fn memory(text: &str) -> Option<(u8, i64)> {
    let inner = text.split_once("*)(")?.1;
    let (base, off) = inner.trim_end_matches(')').split_once(' ')?;
    Some((register(base)?, crate::log::value::number(off)?))
}

fn assignment(text: &str) -> Option<Act<'_>> {
    let (dst, rest) = text.split_once(' ')?;
    let dst = register(dst)?;
    let (op, right) = rest.split_once(' ')?;
    if op != "=" {
        return Some(Act::Compute { dst, op, with: right });
    }
    // `r1 = (s8)r2` copies with a sign.
    let copied = right.strip_prefix("(s").and_then(|rest| rest.split_once(')')).map_or(right, |(_, src)| src);
    if let Some(src) = register(copied) {
        return Some(Act::Move { dst, src });
    }
    if crate::log::value::number(right).is_some() {
        return Some(Act::Constant { dst });
    }
    if let Some(address) = right.strip_prefix('*') {
        let (base, off) = memory(address).unwrap_or((11, 0));
        return Some(if base <= 10 { Act::Load { dst, base, off } } else { Act::Other { dst: Some(dst) } });
    }
    Some(Act::Compute { dst, op: right.split([' ', '(']).next().unwrap_or(right), with: right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text, act| assert_eq!(parse(text), act, "{text}");
        check("r2 = r10", Act::Move { dst: 2, src: 10 });
        check("r2 = (s8)r3", Act::Move { dst: 2, src: 3 });
        check("w3 = 4", Act::Constant { dst: 3 });
        check("r2 += -4", Act::Compute { dst: 2, op: "+=", with: "-4" });
        check("r1 = *(u64 *)(r10 -8)", Act::Load { dst: 1, base: 10, off: -8 });
        check("*(u32 *)(r10 -4) = r2", Act::Store { base: 10, off: -4, src: Some(2) });
        check("*(u32 *)(r10 -4) = 0", Act::Store { base: 10, off: -4, src: None });
        check("call bpf_map_lookup_elem#1", Act::Call { name: "bpf_map_lookup_elem" });
        check("call pc+9", Act::Call { name: "pc+9" });
        check("if w1 s> 0x64 goto pc+2", Act::Branch { left: 1, op: "s>", right: "0x64" });
        check("r0 = *(u8 *)skb[12]", Act::Other { dst: Some(0) });
        check("r1 = be16 r1", Act::Compute { dst: 1, op: "be16", with: "be16 r1" });
        check("goto pc+3", Act::Other { dst: None });
    }
}
