//! The choice where there are two runtimes.

use std::sync::Arc;

use skep_runtime::SharedRuntime;
use skep_user::{Config, UserRuntime};

use super::{Sight, kernel};
use crate::{Error, Result, host};

/// The runtime that was chosen.
pub struct Chosen {
    /// The runtime.
    pub runtime: SharedRuntime,
    /// Why the kernel's was not: what the caller lacks.
    pub instead_of_kernel: Option<skep_runtime::Error>,
}

/// What `SKEP_RUNTIME` says, `kernel` or `user`; without it the kernel's runtime where this process may use it, otherwise
/// the user runtime.
pub fn runtime(sight: Sight) -> Result<SharedRuntime> {
    match std::env::var("SKEP_RUNTIME").as_deref() {
        Ok("kernel") => Ok(Arc::new(kernel(sight))),
        Ok("user") => user(Config::default()),
        Ok(other) if !other.is_empty() => Err(Error::usage(
            format!("`SKEP_RUNTIME={other}`: there is no such runtime"),
            "it is `kernel` or `user`",
        )),
        _ => Ok(choose(sight, Config::default())?.runtime),
    }
}

/// The same, with settings for the user runtime, and the reason for the choice.
pub fn choose(sight: Sight, user: Config) -> Result<Chosen> {
    let kernel = kernel(sight);
    match kernel.probe() {
        Ok(()) => Ok(Chosen { runtime: Arc::new(kernel), instead_of_kernel: None }),
        Err(reason) if sight == Sight::Machine => Err(reason.into()),
        Err(reason) => Ok(Chosen { runtime: self::user(user)?, instead_of_kernel: Some(reason) }),
    }
}

/// The user runtime, with this machine's types.
pub fn user(config: Config) -> Result<SharedRuntime> {
    Ok(UserRuntime::new(Config { btf: host::kernel_btf(), ..config })?)
}
