//! Which runtime serves: Linux's where the caller may use it, otherwise our own, where it is built in (feature `user`).

#[cfg(feature = "user")]
mod user;

use skep_kernel::KernelRuntime;

#[cfg(feature = "user")]
pub use user::{Chosen, choose, runtime, user};

/// Whom programs are to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A command that is started or a process, with their children; either runtime serves it.
    Tree,
    /// The whole machine, which only the kernel's runtime can show.
    Machine,
}

/// The kernel's runtime; it counts what full ring buffers lose, as the user runtime does.
pub fn kernel(sight: Sight) -> KernelRuntime {
    let runtime = match sight {
        Sight::Tree => KernelRuntime::scoped(),
        Sight::Machine => KernelRuntime::new(),
    };
    runtime.counting_losses()
}
