//! Links that are several to the kernel, or none: probes at many places, and what is attached without a link.
//!
//! To callers each is one descriptor. Commands on it are done for all parts, or refused where that has no meaning.

use std::path::Path;

use skep_runtime::{Command, Error, Fd, Reply, Result};

use crate::attach::{self, Companion};
use crate::load;

/// What stands behind a descriptor beside it.
#[derive(Debug)]
pub(crate) struct Composite {
    pub(crate) rest: Vec<Companion>,
    /// Is the descriptor itself a link, or, where there is none, the program?
    pub(crate) has_link: bool,
}

impl Composite {
    /// Detaches all of it.
    pub(crate) fn detach(self, link: Fd) -> Result<Reply> {
        if self.has_link {
            // Not every kind of link can be detached by command: closing does it, when nobody else has it open.
            for link in self.links(link) {
                load::command(Command::LinkDetach { link })?;
            }
        }
        Ok(Reply::Done)
    }

    /// Has all of it run another program.
    pub(crate) fn update(&self, link: Fd, new_prog: Fd, old_prog: Option<Fd>) -> Result<Reply> {
        if !self.has_link {
            return Err(Error::unsupported(
                "it is attached without a link, so its program cannot be replaced",
            )
            .hint("attach the other program, then drop this one's link"));
        }
        for link in self.links(link) {
            load::command(Command::LinkUpdate { link, new_prog, old_prog })?;
        }
        Ok(Reply::Done)
    }

    /// A file stands for one link.
    pub(crate) fn pin(&self, path: &Path) -> Result<Reply> {
        let error = if self.has_link {
            Error::unsupported("it is attached by several links, and a pin holds one")
                .hint("attach to one place, or by one of the hooks for many (`kprobe.multi`, `uprobe.multi`)")
        } else {
            Error::unsupported("it is attached without a link, so there is nothing to pin")
                .hint("newer kernels have links for more hooks")
        };
        Err(error.context(format_args!("`{}`", path.display())))
    }

    fn links(&self, first: Fd) -> impl Iterator<Item = Fd> {
        let rest = self.rest.iter().filter_map(|companion| match companion {
            Companion::Link(link) => Some(attach::fd(link)),
            Companion::Guard(_) | Companion::OnDrop(_) => None,
        });
        std::iter::once(first).chain(rest)
    }
}
