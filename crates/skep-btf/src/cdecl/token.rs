//! C text → tokens.
//!
//! Comments and continued lines disappear here. A token remembers whether it is the first of its line, which is
//! all the preprocessor needs to find directives, and whether white space stands before it, which tells
//! `#define F(x)` from `#define F (x)`.

use std::rc::Rc;

use super::error::Error;

/// Tokens that are more than one character of punctuation, longest first.
const PUNCTUATION: &[&str] = &[
    "...", "<<=", ">>=", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=", "##",
];

/// Where a token stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) file: Option<Rc<str>>,
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifiers and keywords.
    Word,
    Number,
    /// A character constant with its quotes.
    Char,
    /// A string literal with its quotes.
    Str,
    Punct,
    /// A `#pragma` line, its text without the two words.
    Pragma,
    /// After the last token.
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: Rc<str>,
    pub(super) place: Place,
    pub(super) first_in_line: bool,
    pub(super) spaced: bool,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Punct) && &*self.text == text
    }

    pub(super) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    /// The token after the last one, standing where `place` says.
    pub(super) fn end(place: Place) -> Token {
        Token { kind: Kind::End, text: "".into(), place, first_in_line: true, spaced: true }
    }
}

/// All tokens of `text`, without an [`Kind::End`].
pub(super) fn tokenize(text: &str, file: Option<&str>) -> Result<Vec<Token>, Error> {
    let place = Place { file: file.map(Rc::from), line: 1, column: 1 };
    let mut lexer = Lexer { rest: text, place, first_in_line: true, spaced: false };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    place: Place,
    first_in_line: bool,
    spaced: bool,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<Token>, Error> {
        self.skip_blank()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let (kind, len) = match first {
            'a'..='z' | 'A'..='Z' | '_' | '$' => (Kind::Word, word_len(self.rest)),
            '0'..='9' => (Kind::Number, number_len(self.rest)),
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                (Kind::Number, number_len(self.rest))
            }
            '"' | '\'' => literal(self.rest, first),
            _ => (Kind::Punct, punctuation_len(self.rest, first)),
        };
        Ok(Some(self.take(kind, len)))
    }

    fn take(&mut self, kind: Kind, len: usize) -> Token {
        let token = Token {
            kind,
            text: self.rest[..len].into(),
            place: self.place.clone(),
            first_in_line: self.first_in_line,
            spaced: self.spaced,
        };
        self.advance(len);
        self.first_in_line = false;
        self.spaced = false;
        token
    }

    /// Passes over white space, continued lines and comments.
    fn skip_blank(&mut self) -> Result<(), Error> {
        loop {
            if let Some(len) = continuation_len(self.rest) {
                self.advance(len);
            } else if self.rest.starts_with("//") {
                self.skip_line_comment();
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest[2..].find("*/") else {
                    return Err(self.open_comment());
                };
                self.advance(end + 4);
            } else if let Some(c) = self.rest.chars().next().filter(|&c| is_blank(c)) {
                self.first_in_line |= c == '\n';
                self.advance(c.len_utf8());
            } else {
                return Ok(());
            }
            self.spaced = true;
        }
    }

    fn skip_line_comment(&mut self) {
        while !self.rest.is_empty() && !self.rest.starts_with('\n') {
            let first = self.rest.chars().next().map_or(0, char::len_utf8);
            self.advance(continuation_len(self.rest).unwrap_or(first));
        }
    }

    fn advance(&mut self, len: usize) {
        for c in self.rest[..len].chars() {
            if c == '\n' {
                self.place.line += 1;
                self.place.column = 1;
            } else {
                self.place.column += 1;
            }
        }
        self.rest = &self.rest[len..];
    }

    fn open_comment(&self) -> Error {
        let token = Token { text: "/*".into(), ..Token::end(self.place.clone()) };
        Error::at(&token, "this comment is not closed by `*/`")
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// A backslash before the end of the line, with the blanks that some editors leave between them.
fn continuation_len(text: &str) -> Option<usize> {
    let after = text.strip_prefix('\\')?;
    let blanks = after.len() - after.trim_start_matches([' ', '\t', '\r']).len();
    after[blanks..].starts_with('\n').then_some(1 + blanks + 1)
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len())
}

/// Length of a preprocessing number: it also takes exponents with their signs, as in `1e-3`.
fn number_len(text: &str) -> usize {
    let mut previous = '0';
    for (at, c) in text.char_indices() {
        let sign_of_exponent =
            matches!(c, '+' | '-') && matches!(previous, 'e' | 'E' | 'p' | 'P') && !text.starts_with("0x");
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign_of_exponent) {
            return at;
        }
        previous = c;
    }
    text.len()
}

/// A string literal or character constant with both quotes. A quote that is not closed on its line is punctuation:
/// nothing can be wrong with the apostrophe of a comment-like text under `#if 0`.
fn literal(text: &str, quote: char) -> (Kind, usize) {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote && quote == '"' => return (Kind::Str, at + 1),
            c if c == quote => return (Kind::Char, at + 1),
            _ => {}
        }
    }
    (Kind::Punct, 1)
}

fn punctuation_len(text: &str, first: char) -> usize {
    PUNCTUATION.iter().find(|p| text.starts_with(**p)).map_or(first.len_utf8(), |p| p.len())
}
