//! Format strings of `bpf_snprintf`, `bpf_trace_printk` and their kin.

/// Number of arguments a format takes; `None` where the kernel does not take it (`bpf_bprintf_prepare`).
pub(crate) fn arguments(fmt: &[u8]) -> Option<usize> {
    let at = |i: usize| fmt.get(i).copied().unwrap_or(0);
    let ends = |c: u8| c == 0 || is_blank(c) || c.is_ascii_punctuation() || is_latin_punctuation(c);
    let (mut i, mut count) = (0, 0);
    while i < fmt.len() {
        let c = at(i);
        // Text beyond ASCII is taken as it is, whatever its encoding.
        if !(c.is_ascii_graphic() || is_blank(c) || !c.is_ascii()) {
            return None;
        }
        if c != b'%' {
            i += 1;
            continue;
        }
        if at(i + 1) == b'%' {
            i += 2;
            continue;
        }
        i += 1;
        while matches!(at(i), b'0' | b'+' | b'-' | b' ') {
            i += 1;
        }
        while at(i).is_ascii_digit() {
            i += 1;
        }
        i = match at(i) {
            b'p' if ends(at(i + 1)) => i + 1,
            b'p' if matches!(at(i + 1), b'k' | b'u') && at(i + 2) == b's' && ends(at(i + 3)) => i + 3,
            b'p' if matches!(at(i + 1), b'K' | b'x' | b's' | b'S' | b'B') => i + 2,
            b'p' if matches!(at(i + 1), b'i' | b'I') && matches!(at(i + 2), b'4' | b'6') => i + 3,
            b'p' => return None,
            b's' if ends(at(i + 1)) => i + 1,
            b's' => return None,
            b'c' => i + 1,
            _ => {
                let mut j = i;
                while at(j) == b'l' && j < i + 2 {
                    j += 1;
                }
                if !matches!(at(j), b'i' | b'd' | b'u' | b'x' | b'X') {
                    return None;
                }
                j + 1
            }
        };
        count += 1;
    }
    Some(count)
}

/// The kernel's `isspace` of ASCII, which has the vertical tab.
fn is_blank(c: u8) -> bool {
    c.is_ascii_whitespace() || c == 0xb
}

/// What the kernel's tables, which are of Latin-1, take for a blank or punctuation beyond ASCII.
fn is_latin_punctuation(c: u8) -> bool {
    matches!(c, 0xa0..=0xbf | 0xd7 | 0xf7)
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn formats() {
        let check = |fmt: &str, expected| assert_eq!(arguments(fmt.as_bytes()), expected, "{fmt}");
        check("", Some(0));
        check("100%%", Some(0));
        check("%d %u %x %lld %-10s %c", Some(6));
        check("%pI4 %pi6 %pK %p", Some(4));
        check("%pks %pus", Some(2));
        check("%sa", None);
        check("%y", None);
        check("%", None);
        check("\u{1}", None);
        check("caf\u{e9} %d\u{e9}\u{b}", Some(1));
        check("%\u{e9}", None);
        check("%s\u{e9}", None);
        assert_eq!(arguments(b"%s\xa9"), Some(1));
    }
}
