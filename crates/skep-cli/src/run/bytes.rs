//! Records of unknown type: their bytes in hexadecimal, with the strings in them.

/// Shortest run of printable characters that counts as a string.
const SHORTEST_STRING: usize = 4;
/// From how many on zero bytes at the end are counted instead of written.
const ZEROES_TO_COUNT: usize = 16;

/// All bytes in hexadecimal, in groups of eight; many zeroes at the end are counted: `… (+120 zero bytes)`.
pub(crate) fn hex(data: &[u8]) -> String {
    let used = data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1).next_multiple_of(8);
    let zeroes = data.len().saturating_sub(used);
    let shown = if zeroes >= ZEROES_TO_COUNT { &data[..used] } else { data };
    let mut text = groups(shown);
    if zeroes >= ZEROES_TO_COUNT {
        if !text.is_empty() {
            text.push(' ');
        }
        text += &format!("(+{zeroes} zero bytes)");
    }
    text
}

/// All bytes in hexadecimal without a gap.
pub(crate) fn plain_hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn groups(data: &[u8]) -> String {
    let groups: Vec<String> = data.chunks(8).map(plain_hex).collect();
    groups.join(" ")
}

/// The strings in it: printable ASCII and well-formed UTF-8 of at least four characters, quoted.
pub(crate) fn strings(data: &[u8]) -> String {
    let printable = |c: &char| !c.is_control() && *c != char::REPLACEMENT_CHARACTER;
    let text = String::from_utf8_lossy(data);
    let found: Vec<String> = text
        .split(|c: char| !printable(&c))
        .filter(|run| run.chars().count() >= SHORTEST_STRING)
        .map(|run| format!("{run:?}"))
        .collect();
    found.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_shown_or_counted() {
        assert_eq!(hex(&[1, 2, 3]), "010203");
        assert_eq!(hex(&[0xff; 9]), "ffffffffffffffff ff");
        assert_eq!(hex(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "0700000000000000 0000");
        let mut long = vec![1; 8];
        long.extend([0; 120]);
        assert_eq!(hex(&long), "0101010101010101 (+120 zero bytes)");
        assert_eq!(hex(&[0; 16]), "(+16 zero bytes)");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn strings_are_found_between_bytes() {
        assert_eq!(strings(b"\x01\0\0cat\0\0/etc/passwd\0ab\xff\xfe"), "\"/etc/passwd\"");
        assert_eq!(strings("\0gr\u{fc}\u{df}e\0".as_bytes()), "\"gr\u{fc}\u{df}e\"");
    }
}
