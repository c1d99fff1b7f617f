//! `skep prog`: what programs there are, what is in them, and loading more.

pub(crate) mod attach;
pub(crate) mod dump;
pub(crate) mod jited;
mod light;
pub(crate) mod load;
mod metadata;
pub(crate) mod profile;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod symbols;
pub(crate) mod tracelog;
pub(crate) mod xlated;

use skep::runtime::{Handle, SharedRuntime};

use super::failure::{EINVAL, Outcome};
use super::shell::Shell;
use super::words::Words;
use super::{pins, select};

/// The full name of a program that is open.
pub(crate) fn full_name(runtime: &SharedRuntime, handle: Handle) -> Option<String> {
    let prog = select::adopt_prog(runtime, handle).ok()?;
    let name = select::FullNames::default().of(runtime, prog.handle.fd(), &prog.info);
    Some(name).filter(|name| !name.is_empty())
}

/// `prog pin PROG FILE`
pub(crate) fn pin(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.at_least(3, "it is `prog pin PROG FILE`").map_err(|e| e.with_errno(EINVAL))?;
    let selected = select::prog(shell, words)?;
    let file = words.need("the file to pin to")?;
    words.end()?;
    pins::pin(shell, selected.handle.fd(), file)
}
