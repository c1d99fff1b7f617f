//! The kernel runtime: Linux's own BPF subsystem behind the waist.
//!
//! [`KernelRuntime`] passes commands of bpf(2) on as they are, does for each hook what Linux wants beside bpf(2), and reads
//! the kernel's buffers. Errors carry the kernel's errno and say in words what it means here (`explain`).

mod attach;
mod composite;
pub mod cpus;
mod explain;
mod info;
mod load;
mod losses;
mod memory;
mod netlink;
pub mod network;
mod perf;
mod printk;
mod ring;
mod runtime;
mod scope;
mod session;
mod shapes;
mod sys;
mod user_ring;

pub use runtime::KernelRuntime;
