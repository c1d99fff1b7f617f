//! What an eBPF object says, and what it becomes on a given target.
#![forbid(unsafe_code)]

pub mod attach;

pub use attach::AttachPoint;
