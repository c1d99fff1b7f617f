//! One error for the whole way of an object: which stage failed, why, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of a stage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a stage failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The compiler failed on a C source.
    Compile(skep_cc::Error),
    /// The object is not one, is damaged, or cannot be linked against this target.
    Object(skep_obj::Error),
    /// Types could not be read.
    Btf(skep_btf::Error),
    /// A runtime refused: a map, a program, a hook, a process.
    Runtime(skep_runtime::Error),
    /// What the caller asked for does not fit the object.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Error {
    /// A request that does not fit, and what would.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// A file that could not be read.
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    /// What to do about it, if there is advice.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } | Self::Btf(_) | Self::Compile(_) => None,
            Self::Object(error) => error.advice().map(str::to_owned),
            Self::Runtime(error) => error.advice().map(str::to_owned),
            Self::Usage { hint, .. } => hint.clone(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "`{}`: {source}", path.display()),
            Self::Compile(error) => error.fmt(f),
            Self::Object(error) => error.fmt(f),
            Self::Btf(error) => error.fmt(f),
            Self::Runtime(error) => error.fmt(f),
            Self::Usage { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<skep_cc::Error> for Error {
    fn from(error: skep_cc::Error) -> Self {
        Self::Compile(error)
    }
}

impl From<skep_obj::Error> for Error {
    fn from(error: skep_obj::Error) -> Self {
        Self::Object(error)
    }
}

impl From<skep_btf::Error> for Error {
    fn from(error: skep_btf::Error) -> Self {
        Self::Btf(error)
    }
}

impl From<skep_runtime::Error> for Error {
    fn from(error: skep_runtime::Error) -> Self {
        Self::Runtime(error)
    }
}
