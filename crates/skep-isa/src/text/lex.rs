//! Splits a statement into tokens: words, numbers and operators, each knowing where it stands.

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A letter, underscore, dot or dollar, and what follows of these and digits.
    Word,
    /// A number in decimal or `0x` notation; `None` if it is none after all or exceeds 64 bits.
    Number(Option<u64>),
    /// An operator or a single other character.
    Punct,
}

/// A token and its place in the statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) kind: Kind,
}

/// Operators of more than one character, longer ones first.
const OPERATORS: [&str; 24] = [
    "s>>=", "<<=", ">>=", "s/=", "s%=", "s>=", "s<=", "s>", "s<", "+=", "-=", "*=", "/=", "|=", "&=", "%=",
    "^=", "==", "!=", ">=", "<=", "<<", ">>", "->",
];

/// The tokens of a statement. The `%` before a register, which one dialect writes, is left out.
pub(crate) fn tokens(statement: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = statement.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '%' && rest.get(1..2).is_some_and(|next| matches!(next, "r" | "w" | "R" | "W")) {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let (token, tail) = split_token(rest, first);
        tokens.push(token);
        rest = tail.trim_start();
    }
    tokens
}

fn split_token(rest: &str, first: char) -> (Token<'_>, &str) {
    if let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
        return token(rest, operator.len(), |_| Kind::Punct);
    }
    let word_len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    if first.is_ascii_digit() {
        token(rest, word_len, |text| Kind::Number(number(text)))
    } else if is_word(first) {
        token(rest, word_len, |_| Kind::Word)
    } else {
        token(rest, first.len_utf8(), |_| Kind::Punct)
    }
}

fn token(rest: &str, len: usize, kind: impl FnOnce(&str) -> Kind) -> (Token<'_>, &str) {
    let (text, tail) = rest.split_at(len);
    (Token { text, kind: kind(text) }, tail)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')
}

/// Reads a number. One with a leading zero is none: it is octal to clang and decimal to others.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => None,
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(statement: &str, expected: &[&str]) {
        let texts: Vec<&str> = tokens(statement).iter().map(|token| token.text).collect();
        assert_eq!(texts, expected, "{statement}");
    }

    #[test]
    fn statements_split_at_operators() {
        check("if r1 s>= -0x5 goto +1", &["if", "r1", "s>=", "-", "0x5", "goto", "+", "1"]);
        check("*(u32*)(r10-8)=w1", &["*", "(", "u32", "*", ")", "(", "r10", "-", "8", ")", "=", "w1"]);
        check("r1 =-5", &["r1", "=", "-", "5"]);
        check("r1 s>>= r2", &["r1", "s>>=", "r2"]);
        check("r1 %= r2", &["r1", "%=", "r2"]);
        check("ldxdw %r0, [%r10-8]", &["ldxdw", "r0", ",", "[", "r10", "-", "8", "]"]);
        check("w1 = (s8)w2", &["w1", "=", "(", "s8", ")", "w2"]);
        check("r1 ≠ é", &["r1", "≠", "é"]);
        check("%", &["%"]);
    }

    #[test]
    fn numbers() {
        let value = |text| tokens(text)[0].kind;
        assert_eq!(value("0x10"), Kind::Number(Some(16)));
        assert_eq!(value("0Xff"), Kind::Number(Some(255)));
        assert_eq!(value("0"), Kind::Number(Some(0)));
        assert_eq!(value("18446744073709551615"), Kind::Number(Some(u64::MAX)));
        assert_eq!(value("18446744073709551616"), Kind::Number(None));
        assert_eq!(value("010"), Kind::Number(None));
        assert_eq!(value("1x"), Kind::Number(None));
    }
}
