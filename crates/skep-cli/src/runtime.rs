//! Which runtime serves, and saying so.

use std::sync::Arc;

use skep::runtime::SharedRuntime;
use skep::{Error, Result, host};
use skep_kernel::KernelRuntime;
use skep_user::{Config, UserRuntime};

use crate::args::RuntimeChoice;
use crate::term;

/// Whom programs are to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// One process tree.
    Tree,
    /// The whole machine.
    Machine,
}

/// Opens the runtime that was asked for, or else the kernel where this process may use it; the choice is said on stderr.
pub(crate) fn open(choice: Option<RuntimeChoice>, sight: Sight, user: Config) -> Result<SharedRuntime> {
    let kernel = || match sight {
        Sight::Tree => KernelRuntime::scoped(),
        Sight::Machine => KernelRuntime::new(),
    };
    match (choice, sight) {
        (Some(RuntimeChoice::Kernel), _) if user.unverified => Err(Error::usage(
            "the kernel runs nothing without verifying it",
            "leave `--unverified` out, or use `--runtime user`",
        )),
        (Some(RuntimeChoice::Kernel), _) => Ok(Arc::new(kernel())),
        (None, Sight::Tree) if user.unverified => open_user(user),
        (None, _) => choose(kernel(), sight, user),
        (Some(RuntimeChoice::User), Sight::Tree) => open_user(user),
        (Some(RuntimeChoice::User), Sight::Machine) => Err(Error::usage(
            "the user runtime sees the processes that it traces, not the whole machine",
            "leave `-a` out, or use `--runtime kernel`",
        )),
    }
}

/// The kernel's own, unless something is in its way; the whole machine is nobody else's to show.
fn choose(kernel: KernelRuntime, sight: Sight, user: Config) -> Result<SharedRuntime> {
    match kernel.probe() {
        Ok(()) => {
            term::note(format_args!("kernel runtime"));
            Ok(Arc::new(kernel))
        }
        Err(reason) if sight == Sight::Machine => Err(reason.into()),
        Err(reason) => {
            term::note(format_args!("user runtime ({reason})"));
            open_user(user)
        }
    }
}

/// The user runtime, with this machine's types.
pub(crate) fn open_user(config: Config) -> Result<SharedRuntime> {
    let diagnostics = Arc::new(|diagnostic| term::warning(format_args!("{diagnostic}")));
    Ok(UserRuntime::new(Config { diagnostics: Some(diagnostics), btf: host::kernel_btf(), ..config })?)
}
