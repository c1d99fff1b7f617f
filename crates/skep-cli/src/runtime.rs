//! Which runtime serves, and saying so.

use std::sync::Arc;

use skep::choose::{self, Chosen};
use skep::runtime::SharedRuntime;
use skep::{Error, Result};
use skep_user::Config;

pub(crate) use skep::choose::Sight;

use crate::args::RuntimeChoice;
use crate::term;

/// Opens the runtime that was asked for, or else the kernel where this process may use it; the choice is said on stderr.
pub(crate) fn open(choice: Option<RuntimeChoice>, sight: Sight, user: Config) -> Result<SharedRuntime> {
    match (choice, sight) {
        (Some(RuntimeChoice::Kernel), _) if user.unverified => Err(Error::usage(
            "the kernel runs nothing without verifying it",
            "leave `--unverified` out, or use `--runtime user`",
        )),
        (Some(RuntimeChoice::Kernel), _) => Ok(Arc::new(choose::kernel(sight))),
        (None, Sight::Tree) if user.unverified => open_user(user),
        (None, _) => open_best(sight, user),
        (Some(RuntimeChoice::User), Sight::Tree) => open_user(user),
        (Some(RuntimeChoice::User), Sight::Machine) => Err(Error::usage(
            "the user runtime sees the processes that it traces, not the whole machine",
            "leave `-a` out, or use `--runtime kernel`",
        )),
    }
}

/// The kernel's own, unless something is in its way; the whole machine is nobody else's to show.
fn open_best(sight: Sight, user: Config) -> Result<SharedRuntime> {
    let Chosen { runtime, instead_of_kernel } = choose::choose(sight, told(user))?;
    match instead_of_kernel {
        None => term::note(format_args!("kernel runtime")),
        Some(reason) => term::note(format_args!("user runtime ({reason})")),
    }
    Ok(runtime)
}

/// The user runtime, with this machine's types.
pub(crate) fn open_user(config: Config) -> Result<SharedRuntime> {
    choose::user(told(config))
}

/// The user runtime's diagnostics are warnings.
fn told(config: Config) -> Config {
    let diagnostics = Arc::new(|diagnostic| term::warning(format_args!("{diagnostic}")));
    Config { diagnostics: Some(diagnostics), ..config }
}
