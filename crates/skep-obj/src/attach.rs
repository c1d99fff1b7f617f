//! Where a program wants to run, as its section name says it; runtimes read this and nothing else of the section.

use skep_isa::uapi::AttachType;

/// A place programs are attached to.
///
/// Names come from the section (`tracepoint/syscalls/sys_enter_openat`); a part the section leaves open is `None`, and
/// the caller fills it in before attaching.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachPoint {
    /// Nothing to attach by itself: run by test runs, tail calls, or with more said by the caller.
    None,
    /// `tracepoint/CATEGORY/NAME`.
    Tracepoint {
        /// Directory under tracefs' `events`, such as `syscalls`.
        category: String,
        /// Event, such as `sys_enter_openat`.
        name: String,
    },
    /// `raw_tp/NAME`, `raw_tp.w/NAME`.
    RawTracepoint {
        /// Event, such as `sys_enter`.
        name: String,
        /// May the program write the context's buffer?
        writable: bool,
    },
    /// `tp_btf/NAME`.
    BtfTracepoint {
        /// Event, such as `sched_switch`.
        name: String,
    },
    /// `kprobe/FUNCTION[+OFFSET]`, `kretprobe/FUNCTION`.
    Kprobe {
        /// Kernel function.
        function: Option<String>,
        /// Bytes from its start.
        offset: u64,
        /// On return instead of entry?
        ret: bool,
    },
    /// `kprobe.multi/PATTERN`, `kretprobe.multi/PATTERN`, `kprobe.session/PATTERN`.
    KprobeMulti {
        /// Glob over kernel functions.
        pattern: Option<String>,
        /// On return instead of entry?
        ret: bool,
        /// On both, with a session cookie?
        session: bool,
    },
    /// `ksyscall/NAME`, `kretsyscall/NAME`.
    Ksyscall {
        /// System call without prefix, such as `openat`.
        name: Option<String>,
        /// On return instead of entry?
        ret: bool,
    },
    /// `uprobe/PATH:SYMBOL[+OFFSET]`, `uretprobe/…`.
    Uprobe {
        /// Executable or library; a bare name is looked up as the dynamic linker would.
        path: Option<String>,
        /// Symbol in it.
        symbol: Option<String>,
        /// Bytes from the symbol, or from the start of the file without one.
        offset: u64,
        /// On return instead of entry?
        ret: bool,
    },
    /// `uprobe.multi/PATH:PATTERN`, `uretprobe.multi/…`, `uprobe.session/…`.
    UprobeMulti {
        /// Executable or library.
        path: Option<String>,
        /// Glob over its symbols.
        pattern: Option<String>,
        /// On return instead of entry?
        ret: bool,
        /// On both, with a session cookie?
        session: bool,
    },
    /// `usdt/PATH:PROVIDER:NAME`.
    Usdt {
        /// Executable or library.
        path: Option<String>,
        /// Provider, such as `libc`.
        provider: Option<String>,
        /// Probe, such as `setjmp`.
        name: Option<String>,
    },
    /// `perf_event`: sampled events and timers, chosen by the caller.
    PerfEvent,
    /// `fentry/`, `fexit/`, `fmod_ret/`, `lsm/`, `lsm_cgroup/`, `iter/`, `freplace/`: a BTF id named by the section.
    Btf {
        /// Which of them.
        attach_type: AttachType,
        /// Function, hook or iterator.
        name: Option<String>,
    },
    /// Everything that is attached to a device, a cgroup, a socket, a map or a network namespace by its attach type.
    Target {
        /// Which hook.
        attach_type: AttachType,
    },
    /// `struct_ops`: attached through its map.
    StructOps,
}
