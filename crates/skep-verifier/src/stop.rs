//! Why an analysis ends early: the program is rejected, or uses something that is not built.

/// The end of an analysis before its natural one.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The kernel would reject; its message.
    Reject(Box<str>),
    /// We cannot tell; the construct.
    Unsupported(Box<str>),
}

/// The result of a step of the analysis.
pub(crate) type Res<T = ()> = Result<T, Stop>;

impl Stop {
    pub(crate) fn reject(message: impl Into<Box<str>>) -> Self {
        Self::Reject(message.into())
    }

    /// The message or the construct.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Reject(text) | Self::Unsupported(text) => text,
        }
    }

    pub(crate) fn unsupported(what: impl Into<Box<str>>) -> Self {
        Self::Unsupported(what.into())
    }
}

/// Leaves the function with a rejection; the words are the kernel's.
macro_rules! reject {
    ($($arg:tt)*) => { return Err($crate::stop::Stop::reject(format!($($arg)*))) };
}

/// Leaves the function because a construct is not built.
macro_rules! unsupported {
    ($($arg:tt)*) => { return Err($crate::stop::Stop::unsupported(format!($($arg)*))) };
}

pub(crate) use {reject, unsupported};
