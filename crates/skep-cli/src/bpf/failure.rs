//! Why a command on objects failed, with the exit status that bpftool has in the same case.

use std::fmt;

/// What a command answers.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// A message, advice, and an exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    status: u8,
    /// JSON has `null` in place of an error, or what was written so far.
    absent: bool,
    /// And stderr has the error.
    aside: bool,
    /// JSON has it already.
    told: bool,
    /// There is nothing to say: the status alone is passed on.
    silent: bool,
}

impl Failure {
    /// Bad use, or a failure without an errno of its own: status 255.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            status: u8::MAX,
            absent: false,
            aside: false,
            told: false,
            silent: false,
        }
    }

    /// The status of a command that was run for somebody.
    pub(crate) fn silent(status: u8) -> Self {
        Self { silent: true, status, ..Self::new("") }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// A failure whose status is the errno's negative, as a byte.
    pub(crate) fn with_errno(mut self, errno: i32) -> Self {
        self.status = u8::try_from(errno.rem_euclid(256)).unwrap_or(0).wrapping_neg();
        self
    }

    /// With advice on what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What was looked for is not there, which JSON says with `null`; status 254 (`ENOENT`).
    pub(crate) fn absent(message: impl Into<String>) -> Self {
        Self { absent: true, ..Self::new(message).with_errno(ENOENT) }
    }

    /// Words that mean nothing, which JSON says with `null` and stderr in words.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(message).aside()
    }

    /// The same failure, told on stderr only: JSON has what was written so far.
    pub(crate) fn aside(self) -> Self {
        Self { absent: true, aside: true, ..self }
    }

    /// Nothing went wrong, but the answer is a status.
    pub(crate) fn answer(status: u8) -> Self {
        Self::new("").with_status(status).told()
    }

    /// With a status that no errno stands for.
    pub(crate) fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The same failure with where it happened put in front.
    pub(crate) fn context(mut self, place: impl fmt::Display) -> Self {
        let place = format!("{place}: ");
        // Who was called may have named it already.
        if !self.message.starts_with(&place) {
            self.message.insert_str(0, &place);
        }
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// The same failure, which JSON has said where it happened.
    pub(crate) fn told(mut self) -> Self {
        self.told = true;
        self
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.absent
    }

    pub(crate) fn is_aside(&self) -> bool {
        self.aside
    }

    /// What a runtime refused, with its errno as status.
    pub(crate) fn refused(error: &skep::runtime::Error) -> Self {
        Self::from(error).with_errno(error.errno())
    }

    /// A file that could not be read or written.
    pub(crate) fn file(path: impl fmt::Display, error: &std::io::Error) -> Self {
        let text = error.to_string();
        let why = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        Self::new(format!("`{path}`: {why}"))
    }
}

pub(crate) const ENOENT: i32 = 2;
/// What a command says that has too few words.
pub(crate) const EINVAL: i32 = 22;

impl From<&skep::runtime::Error> for Failure {
    fn from(error: &skep::runtime::Error) -> Self {
        Self { hint: error.advice().map(str::to_owned), ..Self::new(error.to_string()) }
    }
}

impl From<skep::runtime::Error> for Failure {
    fn from(error: skep::runtime::Error) -> Self {
        Self::from(&error)
    }
}

impl From<skep::Error> for Failure {
    fn from(error: skep::Error) -> Self {
        Self { hint: error.hint(), ..Self::new(error.to_string()) }
    }
}

impl From<skep::object::Error> for Failure {
    fn from(error: skep::object::Error) -> Self {
        Self::from(skep::Error::from(error))
    }
}

impl From<skep::btf::Error> for Failure {
    fn from(error: skep::btf::Error) -> Self {
        Self::new(format!("types: {error}"))
    }
}
