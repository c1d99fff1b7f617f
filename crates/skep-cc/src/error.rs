//! Why a source did not become an object.

use std::path::Path;

/// The result of compiling.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no clang, or it does not start: install one, or name another.
    NoClang,
    /// clang found errors in the source; the message is what it said.
    Rejected,
    /// A file could not be read or written.
    Io,
}

/// A kind and a message for people.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<std::io::Error>,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn no_clang(what: &str) -> Self {
        let message = format!(
            "{what}; compiling BPF C needs clang: install the package `clang` (Debian, Ubuntu: \
             `apt install clang`; Fedora: `dnf install clang`; Arch: `pacman -S clang`), or set CLANG to one"
        );
        Self { kind: ErrorKind::NoClang, message, source: None }
    }

    pub(crate) fn rejected(source: &Path, diagnostics: &str) -> Self {
        let message = format!("clang could not compile `{}`:\n{}", source.display(), diagnostics.trim_end());
        Self { kind: ErrorKind::Rejected, message, source: None }
    }

    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self { kind: ErrorKind::Io, message: what.into(), source: Some(source) }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
