//! Where a declaration could not be read, and what would have been understood there.

use std::fmt;

use super::token::Token;

/// A place in the text and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The included file, or `None` for the text that was given.
    pub file: Option<String>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column, counted in characters from 1.
    pub column: u32,
    /// The token at that place; empty at the end of the text.
    pub token: String,
    /// What is wrong, or what was expected.
    pub reason: String,
}

impl Error {
    /// The grammar wants `what` where `token` stands.
    pub(super) fn expected(what: &str, token: &Token) -> Error {
        let found = match token.text.is_empty() {
            true => "the end of the text".to_owned(),
            false => format!("`{}`", token.text.escape_debug()),
        };
        Error::at(token, format!("expected {what}, found {found}"))
    }

    /// The token is in its place, but what it says cannot be.
    pub(super) fn at(token: &Token, reason: impl Into<String>) -> Error {
        Error {
            file: token.place.file.as_deref().map(str::to_owned),
            line: token.place.line,
            column: token.place.column,
            token: token.text.to_string(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "`{}`, ", file.escape_debug())?;
        }
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

impl std::error::Error for Error {}
