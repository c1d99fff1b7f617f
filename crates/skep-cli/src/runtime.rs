//! Which runtime serves, and saying so.

use std::sync::Arc;

use skep::Result;
use skep::btf::Btf;
use skep::runtime::SharedRuntime;

use crate::args::RuntimeChoice;
use crate::term;

/// Opens the runtime that was asked for, or else the one that can serve; the choice is said on stderr.
pub(crate) fn open(choice: Option<RuntimeChoice>, btf: Option<Arc<Btf>>) -> Result<SharedRuntime> {
    match choice {
        // Like the user runtime, it shows what the command does, not the machine.
        Some(RuntimeChoice::Kernel) => Ok(Arc::new(skep_kernel::KernelRuntime::scoped())),
        Some(RuntimeChoice::User) => open_user(btf),
        None => {
            term::note(format_args!("user runtime"));
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
