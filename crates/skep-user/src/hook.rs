//! Hooks of the user runtime: which events ptrace can show, and in which form programs see them.

pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod layout;
pub(crate) mod probe;
pub(crate) mod tested;
mod world;

use skep_isa::uapi::AttachType;
use skep_obj::{AttachPoint, Sampling, SamplingRate};
use skep_runtime::{Error, Result};

use crate::syscalls;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A system call begins; `None`: any.
    Enter(Option<u32>),
    /// A system call has returned; `None`: any.
    Return(Option<u32>),
    /// `sched_process_fork`.
    Fork,
    /// `task_newtask`.
    NewTask,
    /// `sched_process_exec`.
    Exec,
    /// `sched_process_exit`.
    Exit,
    /// `signal_generate`, shown when the signal reaches its thread.
    SignalGenerate,
    /// `signal_deliver`.
    SignalDeliver,
    /// A thread reaches a place in a file.
    Probe,
    /// A function returns.
    ProbeReturn,
    /// Both.
    ProbeSession,
    /// A thread has used so many more nanoseconds of processor time.
    Sample { period_ns: u64 },
    /// A test run calls one of the functions that there are for it.
    Tested { index: usize, moment: Moment },
    /// An iterator is read.
    Iterated,
}

/// When a program sees a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Moment {
    /// It begins.
    Entry,
    /// It would begin, unless the program answers in its place (`fmod_ret`).
    Changed,
    /// It has returned.
    Return,
}

impl Moment {
    fn of(attach_type: AttachType) -> Option<Self> {
        Some(match attach_type {
            AttachType::TRACE_FENTRY => Self::Entry,
            AttachType::MODIFY_RETURN => Self::Changed,
            AttachType::TRACE_FEXIT => Self::Return,
            _ => return None,
        })
    }
}

/// Is the hook of a program with this attach type that of the kernel type it was loaded for?
pub(crate) fn is_by_type(attach_type: AttachType) -> bool {
    attach_type == AttachType::TRACE_RAW_TP || Moment::of(attach_type).is_some()
}

/// In which form a program sees an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// The record that a tracepoint writes: fields at the offsets of its format.
    Record,
    /// The arguments of the tracepoint, eight bytes each (raw tracepoints, `tp_btf`).
    Arguments,
    /// The registers (`struct pt_regs`).
    Registers,
    /// The registers, and how often this happens (`struct bpf_perf_event_data`).
    Sample,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hook {
    pub(crate) event: Event,
    pub(crate) form: Form,
}

impl Hook {
    /// The hook that an attach point names, or why user space does not have it.
    pub(crate) fn of(point: &AttachPoint) -> Result<Self> {
        match point {
            AttachPoint::Tracepoint { category, name } => {
                let event = of_tracepoint(category, name)?;
                Ok(Self { event, form: Form::Record })
            }
            AttachPoint::RawTracepoint { name, .. } | AttachPoint::BtfTracepoint { name } => {
                Self::of_raw_tracepoint(name)
            }
            AttachPoint::Kprobe { .. } | AttachPoint::Ksyscall { .. } | AttachPoint::Btf { .. } => {
                Self::of_function(point).unwrap_or_else(|| Err(not_served(&describe(point))))
            }
            AttachPoint::Uprobe { ret, .. } => Ok(Self::of_probe(*ret, false)),
            AttachPoint::UprobeMulti { ret, session, .. } => Ok(Self::of_probe(*ret, *session)),
            AttachPoint::Usdt { .. } => Ok(Self::of_probe(false, false)),
            AttachPoint::PerfEvent { sampling } => {
                let event = of_sampling(sampling.unwrap_or(Sampling::PROFILE))?;
                Ok(Self { event, form: Form::Sample })
            }
            AttachPoint::Target { attach_type } if takes_packets(*attach_type) => {
                Err(on_packets(*attach_type))
            }
            other => Err(not_served(&describe(other))),
        }
    }

    /// The hook of a kernel function: of those that system calls are, entry and return are seen.
    fn of_function(point: &AttachPoint) -> Option<Result<Self>> {
        let (call, ret, form) = match point {
            AttachPoint::Ksyscall { name: Some(name), ret } => (name.as_str(), *ret, Form::Registers),
            AttachPoint::Kprobe { function: Some(function), offset: 0, ret } => {
                (function.strip_prefix(SYSCALL_FUNCTION)?, *ret, Form::Registers)
            }
            AttachPoint::Btf { attach_type: Some(attach_type), name: Some(function) } => {
                return Self::of_traced(function, *attach_type);
            }
            _ => return None,
        };
        let unknown = || {
            Error::os(libc::ENOENT, format!("there is no system call function `{SYSCALL_FUNCTION}{call}`"))
                .hint("they are called by the kernel's names of x86-64 system calls (`newstat`, `openat`, …)")
        };
        let hook = |nr| Self { event: of_call(nr, ret), form };
        Some(syscalls::number_of_tracepoint(call).map(hook).ok_or_else(unknown))
    }

    /// The hook of `fentry` and its like.
    pub(crate) fn of_traced(function: &str, attach_type: AttachType) -> Option<Result<Self>> {
        let moment = Moment::of(attach_type)?;
        if let Some(index) = tested::index(function) {
            return Some(Ok(Self { event: Event::Tested { index, moment }, form: Form::Arguments }));
        }
        let nr = syscalls::number_of_tracepoint(function.strip_prefix(SYSCALL_FUNCTION)?)?;
        let event = of_call(nr, moment == Moment::Return);
        (moment != Moment::Changed).then_some(Ok(Self { event, form: Form::Arguments }))
    }

    fn of_probe(ret: bool, session: bool) -> Self {
        let event = match (session, ret) {
            (true, _) => Event::ProbeSession,
            (false, true) => Event::ProbeReturn,
            (false, false) => Event::Probe,
        };
        Self { event, form: Form::Registers }
    }

    /// The hook of a raw tracepoint.
    pub(crate) fn of_raw_tracepoint(name: &str) -> Result<Self> {
        let event = of_raw_tracepoint(name).ok_or_else(|| not_served(&format!("tracepoint `{name}`")))?;
        Ok(Self { event, form: Form::Arguments })
    }
}

/// How the kernel functions of 64-bit system calls are called.
const SYSCALL_FUNCTION: &str = "__x64_sys_";

fn of_call(nr: u32, ret: bool) -> Event {
    if ret { Event::Return(Some(nr)) } else { Event::Enter(Some(nr)) }
}

/// Shortest time between two samples: each of them stops the thread.
const MIN_PERIOD_NS: u64 = 100_000;

/// A clock of the traced threads; other counters are the processor's and the kernel's.
fn of_sampling(sampling: Sampling) -> Result<Event> {
    if !sampling.is_clock() {
        return Err(Error::unsupported("the user runtime has no counters of events to sample by").hint(
            "it has a clock of processor time (`perf_event:99hz`, `perf_event:cpu-clock:1000000`); counters need the kernel \
             runtime",
        ));
    }
    let period_ns = match sampling.rate {
        SamplingRate::Period(nanoseconds) => nanoseconds,
        SamplingRate::FrequencyHz(hz) => 1_000_000_000 / hz.max(1),
    };
    if period_ns < MIN_PERIOD_NS {
        return Err(Error::os(libc::EINVAL, "samples in user space are at least 100 microseconds apart")
            .hint("`perf_event:10000hz` is the most"));
    }
    Ok(Event::Sample { period_ns })
}

fn of_tracepoint(category: &str, name: &str) -> Result<Event> {
    let event = match (category, name) {
        ("raw_syscalls", "sys_enter") => Some(Event::Enter(None)),
        ("raw_syscalls", "sys_exit") => Some(Event::Return(None)),
        ("syscalls", name) => return of_syscall(name),
        ("sched" | "task" | "signal", name) => of_raw_tracepoint(name),
        _ => None,
    };
    event.ok_or_else(|| not_served(&format!("tracepoint `{category}/{name}`")))
}

fn of_syscall(name: &str) -> Result<Event> {
    let unknown = || {
        Error::os(libc::ENOENT, format!("there is no tracepoint `syscalls/{name}`")).hint(
            "they are called `sys_enter_NAME` and `sys_exit_NAME`, by the kernel's names of x86-64 system calls \
             (`newstat`, `newfstatat`, `umount`, …)",
        )
    };
    let (call, event): (&str, fn(Option<u32>) -> Event) = if let Some(call) = name.strip_prefix("sys_enter_")
    {
        (call, Event::Enter)
    } else if let Some(call) = name.strip_prefix("sys_exit_") {
        (call, Event::Return)
    } else {
        return Err(unknown());
    };
    let nr = syscalls::number_of_tracepoint(call).ok_or_else(unknown)?;
    Ok(event(Some(nr)))
}

fn of_raw_tracepoint(name: &str) -> Option<Event> {
    Some(match name {
        "sys_enter" => Event::Enter(None),
        "sys_exit" => Event::Return(None),
        "sched_process_fork" => Event::Fork,
        "task_newtask" => Event::NewTask,
        "sched_process_exec" => Event::Exec,
        "sched_process_exit" => Event::Exit,
        "signal_generate" => Event::SignalGenerate,
        "signal_deliver" => Event::SignalDeliver,
        _ => return None,
    })
}

fn not_served(what: &str) -> Error {
    Error::unsupported(format!("the user runtime has no hook for {what}")).hint(
        "it sees what a traced command does: system calls (`tracepoint/syscalls/*`, `raw_syscalls/*`, `ksyscall/*`, \
         `fentry/__x64_sys_*`), functions and static probes of programs and libraries (`uprobe`, `uretprobe`, `usdt`), its \
         processor time (`perf_event`), and the tracepoints sched_process_fork, sched_process_exec, sched_process_exit, \
         task_newtask, signal_generate and signal_deliver; \
         anything else needs the kernel runtime, or leave the program out with `--without PROGRAM`",
    )
}

/// Are programs of this hook run on packets here, without being attached?
fn takes_packets(attach_type: AttachType) -> bool {
    matches!(
        attach_type,
        AttachType::XDP
            | AttachType::TCX_INGRESS
            | AttachType::TCX_EGRESS
            | AttachType::NETKIT_PRIMARY
            | AttachType::NETKIT_PEER
            | AttachType::CGROUP_INET_INGRESS
            | AttachType::CGROUP_INET_EGRESS
            | AttachType::FLOW_DISSECTOR
    )
}

fn on_packets(attach_type: AttachType) -> Error {
    Error::unsupported(format!("the user runtime has no devices to attach `{attach_type}` programs to")).hint(
        "it runs them on packets of a capture or of a device: `skep run FILE --in CAPTURE`, `--device NAME`; attaching \
         needs the kernel runtime",
    )
}

/// An attach point in words.
fn describe(point: &AttachPoint) -> String {
    let named = |what: &str, name: &Option<String>| match name {
        Some(name) => format!("{what} `{name}`"),
        None => format!("{what}s"),
    };
    match point {
        AttachPoint::Kprobe { function, .. } => named("kernel probe", function),
        AttachPoint::KprobeMulti { pattern, .. } => named("kernel probe", pattern),
        AttachPoint::Ksyscall { name, .. } => named("system call function", name),
        AttachPoint::Btf { name, .. } => named("kernel function", name),
        AttachPoint::Target { attach_type } => format!("`{attach_type}`"),
        AttachPoint::StructOps => "struct_ops".to_owned(),
        other => format!("{other:?}"),
    }
}
