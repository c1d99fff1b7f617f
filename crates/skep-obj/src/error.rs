//! What is wrong with an object: what a caller can do about it, where it is, and what a person reads.

use std::fmt;

use crate::source::SourceLine;

/// The result of reading or linking.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not an eBPF object at all: another file format, machine, class or byte order. Pass another file.
    NotAnObject,
    /// An eBPF object whose bytes contradict themselves: truncated or damaged. Build it again.
    Corrupt,
    /// A construct that this version does not know. The message names it.
    Unsupported,
    /// The target lacks what the object needs: a type, kernel symbol, kfunc or configuration value.
    Unresolved,
    /// The object has no such variable, map or program.
    NotFound,
    /// A value that does not fit where it is to go, or a setting that contradicts another.
    Invalid,
}

/// Something wrong with an object, and where.
///
/// Printed as `FILE: section `S`: `SYMBOL`: insn N (SOURCE:LINE): message`, as far as the parts are known.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    place: Place,
}

/// Where in an object something is; what is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// File the object was read from.
    pub file: Option<String>,
    /// ELF section.
    pub section: Option<String>,
    /// Function, map or variable.
    pub symbol: Option<String>,
    /// Instruction, counted in slots from the start of the function.
    pub insn: Option<usize>,
    /// The line it was compiled from.
    pub source: Option<SourceLine>,
}

impl Error {
    /// An error of which nothing but the problem is known yet.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, place: Place::default() }))
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    pub(crate) fn unresolved(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unresolved, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The same error with advice, unless it has some.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The same error in this file, unless it names one.
    #[must_use]
    pub fn file(mut self, file: &str) -> Self {
        self.0.place.file.get_or_insert_with(|| file.to_owned());
        self
    }

    /// The same error in this section, unless it names one.
    #[must_use]
    pub fn section(mut self, section: &str) -> Self {
        self.0.place.section.get_or_insert_with(|| section.to_owned());
        self
    }

    /// The same error at this function, map or variable, unless it names one.
    #[must_use]
    pub fn symbol(mut self, symbol: &str) -> Self {
        self.0.place.symbol.get_or_insert_with(|| symbol.to_owned());
        self
    }

    /// The same error at this instruction, unless it names one.
    #[must_use]
    pub fn insn(mut self, insn: usize) -> Self {
        self.0.place.insn.get_or_insert(insn);
        self
    }

    /// The same error at this source line, unless it names one.
    #[must_use]
    pub fn source(mut self, source: Option<SourceLine>) -> Self {
        if self.0.place.source.is_none() {
            self.0.place.source = source;
        }
        self
    }

    /// What a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The problem alone, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Advice for a person, if there is any.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.0.place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        if let Some(section) = &self.section {
            write!(f, "section `{section}`: ")?;
        }
        if let Some(symbol) = &self.symbol {
            write!(f, "`{symbol}`: ")?;
        }
        match (self.insn, &self.source) {
            (Some(insn), Some(source)) => write!(f, "insn {insn} ({source}): "),
            (Some(insn), None) => write!(f, "insn {insn}: "),
            (None, Some(source)) => write!(f, "{source}: "),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.place, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match self.advice() {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
