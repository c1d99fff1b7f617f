//! The filter that keeps tracing programs to one process tree.
//!
//! A hash map holds the ids of the tree's tasks. Programs that run on behalf of processes get a [prologue](code::prologue)
//! that looks the current process up and leaves with 0 when it is not there. Two programs of our own keep the map: one on
//! `sched_process_fork` adds the children of what is in it, one on `sched_process_free` removes tasks whose id is about to
//! be used again. Removing them no earlier keeps what a process does while it exits visible.
//!
//! The map holds ids of threads beside those of processes, because the fork event does not tell them apart; as ids are
//! unique among both, nothing else is let in by that. Ids are those of the initial PID namespace.

mod code;

use std::fs;
use std::os::fd::OwnedFd;

use skep_isa::Insn;
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{Command, Error, Fd, Result};

pub(crate) use code::nothing;

use crate::attach::owned;
use crate::{attach, load};

/// Tasks that can be told apart at a time.
const TASKS: u32 = 16384;
/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The map of the tree's tasks, and the programs that keep it while there is a session.
#[derive(Debug)]
pub(crate) struct Filter {
    tasks: OwnedFd,
}

/// Keeps a filter's map up to date for as long as it lives.
#[derive(Debug)]
pub(crate) struct Tracking {
    _fork: OwnedFd,
    _free: OwnedFd,
}

impl Filter {
    /// A filter that lets nothing through yet.
    pub(crate) fn new() -> Result<Self> {
        let spec = MapCreate::new(MapType::HASH, "skep_scope", 4, 4, TASKS);
        Ok(Self { tasks: owned(load::command(Command::MapCreate(&spec))?)? })
    }

    /// A program with the prologue, or `None` for one that does not run on behalf of a process.
    pub(crate) fn restrict(&self, spec: &ProgLoad<'_>) -> Option<Restricted> {
        sees_processes(spec).then(|| Restricted::new(spec, &code::prologue(self.fd())))
    }

    /// Starts to follow forks. The programs it is for are attached by now, so ours see the same events after them.
    pub(crate) fn track(&self) -> Result<Tracking> {
        let Places { child, freed } = Places::find()?;
        Ok(Tracking {
            _fork: self.keep("sched_process_fork", &code::add_child(self.fd(), child))?,
            _free: self.keep("sched_process_free", &code::remove(self.fd(), freed))?,
        })
    }

    /// Loads and attaches one of the programs that keep the map.
    fn keep(&self, event: &str, code: &[Insn]) -> Result<OwnedFd> {
        let spec = ProgLoad::new(ProgType::TRACEPOINT, "skep_scope", code, "GPL");
        let program = owned(load::program(&spec)?)?;
        attach::tracepoint_link(attach::fd(&program), "sched", event)
    }

    /// Lets a process through.
    pub(crate) fn insert(&self, pid: u32) -> Result<()> {
        let (key, value) = (pid.to_ne_bytes(), 1_u32.to_ne_bytes());
        load::command(Command::MapUpdate { map: self.fd(), key: &key, value: &value, flags: 0 }).map(drop)
    }

    /// Lets nothing through any more.
    pub(crate) fn clear(&self) {
        for task in self.tasks() {
            // It may have been removed meanwhile.
            let _ = load::command(Command::MapDelete { map: self.fd(), key: &task.to_ne_bytes() });
        }
    }

    /// The tasks of the tree.
    pub(crate) fn tasks(&self) -> Vec<u32> {
        let mut tasks: Vec<u32> = Vec::new();
        let mut next = [0; 4];
        loop {
            let last = tasks.last().map(|task| task.to_ne_bytes());
            let key = last.as_ref().map(<[u8; 4]>::as_slice);
            let found = load::command(Command::MapGetNextKey { map: self.fd(), key, next: &mut next });
            // A key that vanishes makes the kernel start again from the first one.
            if found.is_err() || tasks.len() > TASKS as usize {
                return tasks;
            }
            tasks.push(u32::from_ne_bytes(next));
        }
    }

    fn fd(&self) -> Fd {
        attach::fd(&self.tasks)
    }
}

/// Where the events that the map follows keep the ids of tasks.
pub(crate) struct Places {
    child: i16,
    freed: i16,
}

impl Places {
    /// Finds them, unless this process is where ids mean other tasks to programs than to us.
    pub(crate) fn find() -> Result<Self> {
        if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own.as_os_str() != INITIAL_PID_NAMESPACE) {
            return Err(Error::unsupported(
                "programs know processes by other ids than this PID namespace, so they cannot be kept to a command",
            )
            .hint("`-a` traces the whole machine, and `--runtime user` the command alone"));
        }
        Ok(Self {
            child: attach::tracepoint_field("sched", "sched_process_fork", "child_pid")?,
            freed: attach::tracepoint_field("sched", "sched_process_free", "pid")?,
        })
    }
}

/// Does a program run on behalf of the process that causes the event? Packets, cgroups and iterators do not.
fn sees_processes(spec: &ProgLoad<'_>) -> bool {
    match spec.prog_type {
        ProgType::KPROBE
        | ProgType::TRACEPOINT
        | ProgType::RAW_TRACEPOINT
        | ProgType::RAW_TRACEPOINT_WRITABLE
        | ProgType::PERF_EVENT => true,
        ProgType::TRACING => spec.expected_attach_type != Some(AttachType::TRACE_ITER),
        // For these 0 says: go on as if there were no program.
        ProgType::LSM => spec.expected_attach_type != Some(AttachType::LSM_CGROUP),
        _ => false,
    }
}

/// A program that begins with the prologue.
#[derive(Debug)]
pub(crate) struct Restricted {
    insns: Vec<Insn>,
    func_info: Vec<u8>,
    line_info: Vec<u8>,
}

impl Restricted {
    fn new(spec: &ProgLoad<'_>, prologue: &[Insn]) -> Self {
        let by = u32::try_from(prologue.len()).unwrap_or(u32::MAX);
        Self {
            insns: [prologue, spec.insns].concat(),
            func_info: moved(spec.func_info, by),
            line_info: moved(spec.line_info, by),
        }
    }

    /// What to load instead of `spec`.
    pub(crate) fn spec<'a>(&'a self, spec: &ProgLoad<'a>) -> ProgLoad<'a> {
        ProgLoad {
            insns: &self.insns,
            func_info: (&self.func_info, spec.func_info.1),
            line_info: (&self.line_info, spec.line_info.1),
            ..spec.clone()
        }
    }
}

/// Records that begin with an instruction's number, moved by as many instructions; the first instruction stays the first.
fn moved((records, record_bytes): (&[u8], u32), by: u32) -> Vec<u8> {
    let mut records = records.to_vec();
    for record in records.chunks_exact_mut((record_bytes as usize).max(4)) {
        let at = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
        if at != 0 {
            record[..4].copy_from_slice(&(at + by).to_ne_bytes());
        }
    }
    records
}
