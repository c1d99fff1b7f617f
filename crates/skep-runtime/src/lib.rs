//! The narrow waist: one interface, two runtimes.
//!
//! [`Runtime`] speaks the vocabulary of bpf(2). The kernel runtime passes commands on; the user runtime implements them.
//! What is above (loader, command line, script language, tools, skeletons) is written once, against this crate.
//!
//! Ownership: a runtime hands out descriptor numbers ([`Fd`]), as bpf(2) does. [`Handle`] owns one and closes it when
//! dropped; [`Map`], [`Program`] and [`Link`] are handles with typed methods. Nothing here does I/O or prints.
#![forbid(unsafe_code)]

pub mod codec;
pub mod command;
pub mod error;
pub mod event;
pub mod handle;
mod scan;
pub mod session;

use std::path::PathBuf;
use std::sync::Arc;

pub use command::{Command, Reply};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventSource};
pub use handle::{Fd, Handle, Link, Map, Program};
pub use session::{Scope, Session, SessionState};
use skep_obj::AttachPoint;

/// Which runtime serves a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Linux's own BPF subsystem, through bpf(2).
    Kernel,
    /// Skep's, in user space, without privileges.
    User,
}

impl std::fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        })
    }
}

/// What the caller adds to an attach point.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// What `bpf_get_attach_cookie` answers in the program.
    pub cookie: u64,
    /// What is attached to, for the hooks that belong to something.
    pub target: Option<AttachTarget>,
    /// Flags of the hook: `XDP_FLAGS_SKB_MODE`, `BPF_F_BEFORE` and their like.
    pub flags: u32,
    /// Only in this process, for probes in user space and sampled events.
    pub process: Option<u32>,
    /// How often a `perf_event` program runs.
    pub sampling: Option<Sampling>,
}

/// What a hook belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachTarget {
    /// A network device.
    Device(String),
    /// A directory of the cgroup file system.
    Cgroup(PathBuf),
    /// A network namespace, such as `/proc/self/ns/net` or `/run/netns/NAME`.
    NetNs(PathBuf),
    /// A map of this runtime: of sockets, for their verdict programs; `struct_ops`.
    Map(Fd),
    /// A socket of this process.
    Socket(i32),
    /// A netfilter hook of the caller's network namespace.
    Netfilter {
        /// `NFPROTO_IPV4` 2, `NFPROTO_IPV6` 10.
        family: u32,
        /// `NF_INET_PRE_ROUTING` 0 and on.
        hook: u32,
        /// Lower comes first.
        priority: i32,
    },
    /// A function of another program, for `freplace` and for tracing programs.
    Program {
        /// The program.
        program: Fd,
        /// BTF id of the function in it.
        btf_id: u32,
    },
}

/// A clock or counter whose overflow runs a program.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// `PERF_TYPE_HARDWARE` 0, `PERF_TYPE_SOFTWARE` 1 and on.
    pub kind: u32,
    /// Which event of its kind; software: `PERF_COUNT_SW_CPU_CLOCK` 0.
    pub config: u64,
    /// Once in so many events, or times a second.
    pub rate: SamplingRate,
}

/// How often a sampled event runs its program.
#[derive(Clone, Copy, Debug)]
pub enum SamplingRate {
    /// Once in so many events (nanoseconds for clocks).
    Period(u64),
    /// So many times a second.
    FrequencyHz(u64),
}

/// A BPF subsystem.
///
/// Object-safe: everything above holds an `Arc<dyn Runtime>`. A command or hook that a runtime cannot serve answers
/// [`ErrorKind::Unsupported`] and names what can.
pub trait Runtime: Send + Sync {
    /// Which one it is.
    fn kind(&self) -> RuntimeKind;

    /// Executes one command of bpf(2); output goes to the buffers that the command lends.
    fn bpf(&self, command: Command<'_>) -> Result<Reply>;

    /// Gives a descriptor back. An unknown one is ignored: closing happens in `drop`.
    fn close(&self, fd: Fd);

    /// Attaches a loaded program and answers the link's descriptor; closing it detaches, unless it is pinned.
    ///
    /// Beyond `BPF_LINK_CREATE` this covers the hooks for which Linux wants another call first (perf events, netlink).
    fn attach(&self, prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd>;

    /// Opens the consumer side of a ring buffer or perf event array.
    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>>;

    /// Opens the stream of lines that programs write with `bpf_trace_printk`; one record a line, without its newline.
    fn printk(&self) -> Result<Box<dyn EventSource>>;

    /// Starts what the attached programs are to observe, restricted to `scope`. Attach first: hooks that exist when the
    /// session starts are the ones it serves.
    fn start(&self, scope: Scope) -> Result<Box<dyn Session>>;
}

/// A runtime as everything above holds it.
pub type SharedRuntime = Arc<dyn Runtime>;
