//! Why a command failed: what a caller can do about it, apart from what a person reads.

use std::fmt;

use skep_isa::uapi::Cmd;

/// The result of a runtime's command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// This runtime does not serve the command, map type, helper or hook; the message says which does.
    Unsupported,
    /// The verifier said no; the message holds its reason.
    Rejected,
    /// No such element, object, process or file (`ENOENT`, `ESRCH`).
    NotFound,
    /// It exists already (`EEXIST`).
    Exists,
    /// No room (`E2BIG`, `ENOSPC`, `ENOMEM`).
    Full,
    /// Not allowed (`EPERM`, `EACCES`).
    Denied,
    /// The arguments do not fit (`EINVAL` and its like).
    Invalid,
    /// Try again (`EAGAIN`, `EINTR`, `EBUSY`).
    Busy,
    /// Anything else the operating system answered.
    Os,
}

/// A runtime's error: its kind, the errno that Linux gives in this case, and what to tell a person.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    errno: i32,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// An error with the errno Linux gives in the same case; the kind follows from it.
    pub fn os(errno: i32, message: impl Into<String>) -> Self {
        Self { kind: kind_of(errno), errno, message: message.into(), hint: None }
    }

    /// Something this runtime does not serve (`EOPNOTSUPP`); say what does, and what it needs.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, errno: EOPNOTSUPP, message: message.into(), hint: None }
    }

    /// A command this runtime does not serve.
    pub fn unsupported_command(command: Cmd, runtime: super::RuntimeKind) -> Self {
        let other = match runtime {
            super::RuntimeKind::Kernel => "user",
            super::RuntimeKind::User => "kernel",
        };
        Self::unsupported(format!("the {runtime} runtime does not serve `{command:?}`"))
            .hint(format!("the {other} runtime may: `--runtime {other}`"))
    }

    /// A program that the verifier refused (`EACCES` or `EINVAL`, as Linux would say).
    pub fn rejected(errno: i32, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Rejected, errno, message: message.into(), hint: None }
    }

    /// The same error with advice on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the place where it happened put in front: `program `f`: …`.
    #[must_use]
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        let place = format!("{place}: ");
        // Who was called may have named it already.
        if !self.message.starts_with(&place) {
            self.message.insert_str(0, &place);
        }
        self
    }

    /// What a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The positive errno Linux answers with.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// Advice for a person, if there is any.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

const EOPNOTSUPP: i32 = 95;

/// The kind that Linux's errno stands for (`include/uapi/asm-generic/errno-base.h`).
fn kind_of(errno: i32) -> ErrorKind {
    match errno {
        2 | 3 => ErrorKind::NotFound,
        17 => ErrorKind::Exists,
        7 | 12 | 28 => ErrorKind::Full,
        1 | 13 => ErrorKind::Denied,
        14 | 22 => ErrorKind::Invalid,
        4 | 11 | 16 => ErrorKind::Busy,
        EOPNOTSUPP | 524 => ErrorKind::Unsupported,
        _ => ErrorKind::Os,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_once() {
        let error = Error::os(2, "`p`: no such file").context("`p`").context("program `f`");
        assert_eq!(error.to_string(), "program `f`: `p`: no such file");
    }
}
