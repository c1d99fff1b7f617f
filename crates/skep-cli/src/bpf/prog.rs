//! `skep prog`: what programs there are, what is in them, and loading more.

pub(crate) mod attach;
pub(crate) mod dump;
pub(crate) mod jited;
pub(crate) mod load;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod symbols;
pub(crate) mod tracelog;
pub(crate) mod xlated;

use super::failure::Outcome;
use super::shell::Shell;
use super::words::Words;
use super::{pins, select};

/// `prog pin PROG FILE`
pub(crate) fn pin(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::prog(shell, words)?;
    let file = words.need("the file to pin to")?;
    words.end()?;
    pins::pin(shell, selected.handle.fd(), file)
}
