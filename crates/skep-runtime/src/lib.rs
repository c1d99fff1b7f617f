//! The narrow waist: one interface, two runtimes.
//!
//! [`Runtime`] speaks the vocabulary of bpf(2). The kernel runtime passes commands on; the user runtime implements them.
//! What is above (loader, command line, script language, tools, skeletons) is written once, against this crate.
//!
//! Ownership: a runtime hands out descriptor numbers ([`Fd`]), as bpf(2) does. [`Handle`] owns one and closes it when
//! dropped; [`Map`], [`Program`] and [`Link`] are handles with typed methods. Nothing here does I/O or prints.
#![forbid(unsafe_code)]

pub mod attach;
pub mod codec;
pub mod command;
pub mod error;
pub mod event;
pub mod handle;
pub mod info;
pub mod link_info;
pub mod memory;
pub mod packet;
mod scan;
pub mod session;

use std::path::PathBuf;
use std::sync::Arc;

use command::ObjectKind;

pub use attach::{AttachOptions, AttachTarget, Attached, Hook, Neighbour, Order};
pub use command::{Command, Reply};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventSource};
pub use handle::{Fd, Handle, Link, Map, Program};
pub use memory::{Memory, Producer};
pub use packet::{PacketIn, PacketRan, PacketRunner};
pub use session::{Scope, Session, SessionState};
use skep_isa::uapi::AttachType;
use skep_obj::AttachPoint;
pub use skep_obj::{Sampling, SamplingRate};

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

    /// What a hook has attached, and in which order (`BPF_PROG_QUERY`).
    fn query(&self, _target: &AttachTarget, attach_type: AttachType) -> Result<Hook> {
        Err(Error::unsupported(format!(
            "the {} runtime does not say what is at `{attach_type}`",
            self.kind()
        )))
    }

    /// Reads what an iterator writes, from a descriptor of `BPF_ITER_CREATE`; 0 bytes are its end.
    fn read(&self, _iterator: Fd, _buffer: &mut [u8]) -> Result<usize> {
        Err(Error::unsupported(format!("the {} runtime has no iterators", self.kind())))
    }

    /// What is said of a descriptor beside what its object says itself: lines `name:\tvalue`, as in Linux's
    /// `/proc/self/fdinfo`. Empty for a descriptor that there is not.
    fn fdinfo(&self, _fd: Fd) -> String {
        String::new()
    }

    /// Opens the consumer side of a ring buffer or perf event array.
    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>>;

    /// The first `bytes` of a map's values as shared memory; see [`Map::memory`].
    fn memory(&self, _map: Fd, _bytes: usize, _address: u64, _writable: bool) -> Result<Box<dyn Memory>> {
        Err(Error::unsupported(format!("the {} runtime does not share memory of maps", self.kind()))
            .hint("look elements up and update them, or use `--runtime kernel`"))
    }

    /// Opens the producer side of a user ring buffer; see [`Map::producer`].
    fn producer(&self, _map: Fd, _bytes: usize) -> Result<Box<dyn Producer>> {
        Err(Error::unsupported(format!("the {} runtime takes no records from outside", self.kind()))
            .hint("user ring buffers are served by `--runtime kernel`"))
    }

    /// Opens the stream of lines that programs write with `bpf_trace_printk`; one record a line, without its newline.
    fn printk(&self) -> Result<Box<dyn EventSource>>;

    /// What is pinned where this runtime has names of its own; the kernel's are in its bpf file systems.
    fn pins(&self) -> Result<Vec<Pin>> {
        Ok(Vec::new())
    }

    /// Runs a program on packets in this runtime's own way; `None` where test runs are all there is.
    fn packets(&self, prog: Fd) -> Result<Option<Box<dyn PacketRunner>>> {
        let _ = prog;
        Ok(None)
    }

    /// Starts what the attached programs are to observe, restricted to `scope`. Attach first: hooks that exist when the
    /// session starts are the ones it serves.
    fn start(&self, scope: Scope) -> Result<Box<dyn Session>>;
}

/// A name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Where.
    pub path: PathBuf,
    /// What kind of object.
    pub kind: ObjectKind,
    /// The object's id.
    pub id: u32,
}

/// A runtime as everything above holds it.
pub type SharedRuntime = Arc<dyn Runtime>;
