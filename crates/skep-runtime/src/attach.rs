//! What the caller adds to an attach point, and what a hook says of itself.

use std::net::IpAddr;
use std::path::PathBuf;

use skep_obj::Sampling;

use crate::Fd;

/// What the caller adds to an attach point.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// What `bpf_get_attach_cookie` answers in the program.
    pub cookie: u64,
    /// What is attached to, for the hooks that belong to something.
    pub target: Option<AttachTarget>,
    /// Flags of the hook: `XDP_FLAGS_SKB_MODE`, `BPF_F_ALLOW_OVERRIDE` and their like.
    pub flags: u32,
    /// Where the program goes among those that the hook has: TCX, netkit, and cgroups since Linux 6.17.
    pub order: Order,
    /// The [`Hook::revision`] that the order is meant for; the hook refuses when it has changed since. 0 for any.
    pub revision: u64,
    /// Only in this process, for probes in user space, sampled events, and iterators over tasks.
    pub process: Option<u32>,
    /// How often a `perf_event` program runs, where the attach point does not say.
    pub sampling: Option<Sampling>,
}

/// What a hook belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachTarget {
    /// A network device; for infrared receivers, their device file.
    Device(String),
    /// A directory of the cgroup file system.
    Cgroup(PathBuf),
    /// A network namespace, such as `/proc/self/ns/net` or `/run/netns/NAME`.
    NetNs(PathBuf),
    /// A map of this runtime: of sockets, for their verdict programs; `struct_ops`; what an iterator goes through.
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
    /// A filter of traffic control, at the `clsact` queueing discipline of a device, which is made where there is none.
    Filter {
        /// Network device.
        device: String,
        /// On what leaves, or on what arrives?
        egress: bool,
        /// Lower comes first; of equals, the newest. 0 for behind all that others have chosen (49152).
        priority: u16,
    },
    /// A new route whose packets the program sees (`lwt_in`, `lwt_out`, `lwt_xmit`, `lwt_seg6local`).
    Route {
        /// Destination: network and length of its prefix.
        to: (IpAddr, u8),
        /// Where packets leave.
        device: String,
        /// The next router, if there is one.
        via: Option<IpAddr>,
    },
}

/// Where a program goes among those that a hook has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Where the kernel puts it by itself: behind all others.
    #[default]
    Any,
    /// Before all others.
    First,
    /// Behind all others.
    Last,
    /// Right before another.
    Before(Neighbour),
    /// Right behind another.
    After(Neighbour),
}

/// A program of a hook, named by what its owner or an onlooker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// A program's descriptor.
    Program(Fd),
    /// A link's descriptor.
    Link(Fd),
    /// A program's id.
    ProgramId(u32),
    /// A link's id.
    LinkId(u32),
}

/// What a hook has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// Its programs, in the order in which they run.
    pub programs: Vec<Attached>,
    /// How it was attached to (`BPF_F_ALLOW_MULTI` and its like), for cgroups.
    pub flags: u32,
    /// Changes with its programs; 0 from hooks without order.
    pub revision: u64,
}

/// A program of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The program's id.
    pub prog_id: u32,
    /// The id of the link that holds it; 0 where there is none, or the kernel does not say.
    pub link_id: u32,
}
