//! The words of a command, taken one after another. Keywords may be cut short, as in ip(8) and bpftool.

use super::failure::{Failure, Outcome};

/// What is left of a command line.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    words: &'a [String],
}

/// Is `word` the beginning of `keyword`?
pub(crate) fn abbreviates(word: &str, keyword: &str) -> bool {
    !word.is_empty() && keyword.starts_with(word)
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { words }
    }

    /// The next word, which stays.
    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.words.first().map(String::as_str)
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// The next word, which must be there.
    pub(crate) fn need(&mut self, what: &str) -> Outcome<&'a str> {
        self.next().ok_or_else(|| Failure::new(format!("{what} is missing")))
    }

    /// Takes the next word if it is the beginning of `keyword`.
    pub(crate) fn keyword(&mut self, keyword: &str) -> bool {
        let is_next = self.peek().is_some_and(|word| abbreviates(word, keyword));
        if is_next {
            self.next();
        }
        is_next
    }

    /// Takes a number, decimal or with `0x` or `0`.
    pub(crate) fn number(&mut self, what: &str) -> Outcome<u32> {
        let word = self.need(what)?;
        number(word)
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| Failure::new(format!("`{word}` is not a number for {what}")))
    }

    /// Is one of the words that are left this one?
    pub(crate) fn contain(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// There have to be so many words.
    pub(crate) fn at_least(&self, count: usize, what: &str) -> Outcome {
        match self.len() {
            found if found < count => Err(Failure::new(format!("{found} words are too few: {what}"))),
            _ => Ok(()),
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Outcome {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(Failure::new(format!("`{word}` is too much"))),
        }
    }
}

/// A number as strtoul(3) reads it with base 0.
pub(crate) fn number(word: &str) -> Option<u64> {
    match (word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")), word.strip_prefix('0')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8).ok(),
        _ => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_may_be_cut_short_and_numbers_have_bases() {
        let line: Vec<String> = ["pin", "0x10", "010", "9", "x"].map(str::to_owned).into();
        let mut words = Words::new(&line);
        assert!(!words.keyword("id"));
        assert!(words.keyword("pinned"));
        let numbers: Vec<u32> = (0..3).map(|_| words.number("n").unwrap()).collect();
        assert_eq!(numbers, [16, 8, 9]);
        assert!(words.number("n").unwrap_err().message().contains("`x`"));
        assert!(words.end().is_ok() && words.need("n").is_err());
    }
}
