//! Which runtime serves, and saying so.

use std::sync::Arc;

use skep::btf::Btf;
use skep::runtime::SharedRuntime;
use skep::{Error, Result};
use skep_kernel::KernelRuntime;

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
pub(crate) fn open(
    choice: Option<RuntimeChoice>,
    sight: Sight,
    btf: Option<Arc<Btf>>,
) -> Result<SharedRuntime> {
    let kernel = || match sight {
        Sight::Tree => KernelRuntime::scoped(),
        Sight::Machine => KernelRuntime::new(),
    };
    match (choice, sight) {
        (Some(RuntimeChoice::Kernel), _) => Ok(Arc::new(kernel())),
        (None, _) => choose(kernel(), sight, btf),
        (Some(RuntimeChoice::User), Sight::Tree) => open_user(btf),
        (Some(RuntimeChoice::User), Sight::Machine) => Err(Error::usage(
            "the user runtime sees the processes that it traces, not the whole machine",
            "leave `-a` out, or use `--runtime kernel`",
        )),
    }
}

/// The kernel's own, unless something is in its way; the whole machine is nobody else's to show.
fn choose(kernel: KernelRuntime, sight: Sight, btf: Option<Arc<Btf>>) -> Result<SharedRuntime> {
    match kernel.probe() {
        Ok(()) => {
            term::note(format_args!("kernel runtime"));
            Ok(Arc::new(kernel))
        }
        Err(reason) if sight == Sight::Machine => Err(reason.into()),
        Err(reason) => {
            term::note(format_args!("user runtime ({reason})"));
            open_user(btf)
        }
    }
}

fn open_user(btf: Option<Arc<Btf>>) -> Result<SharedRuntime> {
    let config = skep_user::Config {
        diagnostics: Some(Arc::new(|diagnostic| term::warning(format_args!("{diagnostic}")))),
        btf,
    };
    Ok(skep_user::UserRuntime::new(config)?)
}
