//! Why reading or building types failed: what a caller can do about it, apart from what a person reads.

use std::fmt;

use crate::TypeId;

/// The result of reading or building types.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes break the format.
    Malformed,
    /// The bytes need something newer than this crate.
    Unsupported,
    /// No such type, member or name.
    NotFound,
    /// The type is there, but the question does not fit it, such as the size of a function.
    Invalid,
    /// Several types fit and they disagree.
    Ambiguous,
}

/// An error of this crate; its text names the type id or the offset it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: Box<str>,
}

impl Error {
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Malformed, message: message.into().into() }
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, message: message.into().into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotFound, message: message.into().into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into().into() }
    }

    pub(crate) fn ambiguous(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Ambiguous, message: message.into().into() }
    }

    pub(crate) fn no_type(id: TypeId, len: usize) -> Self {
        Self::not_found(format!("type {id} does not exist: the last one is {}", len.saturating_sub(1)))
    }

    /// The same error with the place where it happened put in front: ``type 7: …``.
    #[must_use]
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message).into();
        self
    }

    /// What a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
