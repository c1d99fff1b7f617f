//! What /proc says of a thread (proc(5)): inert values, read whole, missing where the kernel hides them.

pub(crate) mod maps;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sys::Tid;
use crate::sys::time::ticks_per_second;

/// `/proc/TID/stat`, the fields that the kernel keeps in `task_struct` and its neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) comm: Vec<u8>,
    pub(crate) ppid: Tid,
    pub(crate) pgrp: Tid,
    pub(crate) session: Tid,
    pub(crate) flags: u32,
    pub(crate) min_flt: u64,
    pub(crate) maj_flt: u64,
    /// Clock ticks.
    pub(crate) utime: u64,
    /// Clock ticks.
    pub(crate) stime: u64,
    /// As the kernel's `prio - MAX_RT_PRIO`.
    pub(crate) priority: i64,
    pub(crate) nice: i64,
    pub(crate) threads: u32,
    /// Clock ticks since boot, on the boot-time clock.
    pub(crate) start_time: u64,
    pub(crate) exit_signal: i32,
    pub(crate) processor: u32,
    pub(crate) rt_priority: u32,
    pub(crate) policy: u32,
    /// Bounds of code, data, heap, arguments and environment; zero where the reader may not know them.
    pub(crate) memory: MemoryBounds,
}

/// The address-space bounds of `mm_struct`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryBounds {
    pub(crate) start_code: u64,
    pub(crate) end_code: u64,
    pub(crate) start_stack: u64,
    pub(crate) start_data: u64,
    pub(crate) end_data: u64,
    pub(crate) start_brk: u64,
    pub(crate) arg_start: u64,
    pub(crate) arg_end: u64,
    pub(crate) env_start: u64,
    pub(crate) env_end: u64,
}

impl Stat {
    /// Reads the file of a thread.
    pub(crate) fn read(tid: Tid) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{tid}/stat")).ok()?)
    }

    /// `PID (COMM) STATE FIELD…`: the name may hold anything, parentheses too, so fields count from the last `)`.
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|&b| b == b'(')?;
        let close = line.iter().rposition(|&b| b == b')')?;
        let fields: Vec<&str> =
            std::str::from_utf8(line.get(close + 1..)?).ok()?.split_whitespace().collect();
        // Fields are numbered from 1 in proc(5); the first after the name is 3.
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or("0");
        let unsigned = |number| field(number).parse::<u64>().unwrap_or(0);
        let signed = |number| field(number).parse::<i64>().unwrap_or(0);
        Some(Self {
            comm: line.get(open + 1..close)?.to_vec(),
            ppid: signed(4) as Tid,
            pgrp: signed(5) as Tid,
            session: signed(6) as Tid,
            flags: unsigned(9) as u32,
            min_flt: unsigned(10),
            maj_flt: unsigned(12),
            utime: unsigned(14),
            stime: unsigned(15),
            priority: signed(18),
            nice: signed(19),
            threads: unsigned(20) as u32,
            start_time: unsigned(22),
            exit_signal: signed(38) as i32,
            processor: unsigned(39) as u32,
            rt_priority: unsigned(40) as u32,
            policy: unsigned(41) as u32,
            memory: MemoryBounds {
                start_code: unsigned(26),
                end_code: unsigned(27),
                start_stack: unsigned(28),
                start_data: unsigned(45),
                end_data: unsigned(46),
                start_brk: unsigned(47),
                arg_start: unsigned(48),
                arg_end: unsigned(49),
                env_start: unsigned(50),
                env_end: unsigned(51),
            },
        })
    }
}

/// `/proc/TID/status`, the fields that programs can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) tgid: Tid,
    /// Real, effective, saved, file system.
    pub(crate) uids: [u32; 4],
    /// Real, effective, saved, file system.
    pub(crate) gids: [u32; 4],
    /// Inheritable, permitted, effective, bounding, ambient.
    pub(crate) capabilities: [u64; 5],
    /// The thread's id in each nested pid namespace, outermost first.
    pub(crate) ns_tids: Vec<Tid>,
    /// The process's id in each nested pid namespace, outermost first.
    pub(crate) ns_tgids: Vec<Tid>,
    pub(crate) no_new_privs: bool,
    /// How many processors it may run on.
    pub(crate) allowed_cpus: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}

impl Status {
    /// Reads the file of a thread.
    pub(crate) fn read(tid: Tid) -> Option<Self> {
        // Names may hold any bytes; all that is wanted here is ASCII.
        let bytes = fs::read(format!("/proc/{tid}/status")).ok()?;
        Some(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(text: &str) -> Self {
        const CAPABILITIES: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        let mut status = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let mut numbers = value.split_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
            match name {
                "Tgid" => status.tgid = first(numbers) as Tid,
                "Uid" => status.uids = [(); 4].map(|()| numbers.next().unwrap_or(0) as u32),
                "Gid" => status.gids = [(); 4].map(|()| numbers.next().unwrap_or(0) as u32),
                "NSpid" => status.ns_tids = numbers.map(|n| n as Tid).collect(),
                "NStgid" => status.ns_tgids = numbers.map(|n| n as Tid).collect(),
                "NoNewPrivs" => status.no_new_privs = first(numbers) != 0,
                "Cpus_allowed" => status.allowed_cpus = members(value),
                "voluntary_ctxt_switches" => status.voluntary_switches = first(numbers),
                "nonvoluntary_ctxt_switches" => status.involuntary_switches = first(numbers),
                _ => {
                    if let Some(set) = CAPABILITIES.iter().position(|&capabilities| capabilities == name) {
                        status.capabilities[set] = u64::from_str_radix(value.trim(), 16).unwrap_or(0);
                    }
                }
            }
        }
        status
    }
}

/// How many are in a set, written as words of hexadecimal digits with commas between them.
fn members(set: &str) -> u64 {
    set.chars().filter_map(|digit| digit.to_digit(16)).map(|bits| u64::from(bits.count_ones())).sum()
}

/// A line of `/proc/TID/status`.
fn status_line(tid: Tid, name: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{tid}/status")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}

/// Is a signal pending for a thread alone?
pub(crate) fn is_pending(tid: Tid, signal: i32) -> bool {
    let pending = status_line(tid, "SigPnd").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    pending.is_some_and(|mask| mask & 1 << (signal - 1) != 0)
}

/// Is a signal about to be delivered to a thread: pending for it or its process, and not blocked?
pub(crate) fn is_signalled(tid: Tid) -> bool {
    let mask = |name| status_line(tid, name).and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let pending = mask("SigPnd").unwrap_or(0) | mask("ShdPnd").unwrap_or(0);
    pending & !mask("SigBlk").unwrap_or(0) != 0
}

/// Nanoseconds of processor time that a thread has used, as of the last tick of its processor.
pub(crate) fn used_ns(tid: Tid) -> Option<u64> {
    let exact = || fs::read_to_string(format!("/proc/{tid}/schedstat")).ok()?.split(' ').next()?.parse().ok();
    // A kernel without scheduler statistics says it in ticks.
    let ticks = || Stat::read(tid).map(|stat| (stat.utime + stat.stime) * 1_000_000_000 / ticks_per_second());
    exact().filter(|used| *used != 0).or_else(ticks)
}

/// Does a thread run, or wait for nothing but a processor?
pub(crate) fn is_running(tid: Tid) -> bool {
    let line = fs::read(format!("/proc/{tid}/stat")).unwrap_or_default();
    let behind_name = line.iter().rposition(|&byte| byte == b')');
    behind_name.is_some_and(|end| line.get(end + 2) == Some(&b'R'))
}

/// How many seccomp filters a thread has; Linux says so since 5.9.
pub(crate) fn seccomp_filters(tid: Tid) -> u64 {
    status_line(tid, "Seccomp_filters").and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn first(mut numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.next().unwrap_or(0)
}

/// Inode number of a namespace of a thread (`mnt`, `pid`, `net`, `uts`, `ipc`, `cgroup`, `user`, `time`).
pub(crate) fn namespace(tid: Tid, kind: &str) -> Option<u32> {
    let link = fs::read_link(format!("/proc/{tid}/ns/{kind}")).ok()?;
    let link = link.to_str()?;
    link.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// Where the unified hierarchy of cgroups may be mounted.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A thread's directory in the unified hierarchy, relative to its root.
fn cgroup_path(tid: Tid) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{tid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::/")).map(PathBuf::from)
}

/// The id that `bpf_get_current_cgroup_id` gives: the inode of the thread's directory.
pub(crate) fn cgroup_id(tid: Tid) -> Option<u64> {
    cgroup_inode(&cgroup_path(tid)?)
}

/// The id of the ancestor at a level; the root's level is 0.
pub(crate) fn ancestor_cgroup_id(tid: Tid, level: usize) -> Option<u64> {
    let path = cgroup_path(tid)?;
    let ancestor: PathBuf = path.iter().take(level).collect();
    (ancestor.iter().count() == level).then(|| cgroup_inode(&ancestor)).flatten()
}

fn cgroup_inode(path: &Path) -> Option<u64> {
    let unified = |root: &&&str| fs::exists(Path::new(root).join("cgroup.procs")).unwrap_or(false);
    let root = CGROUP_ROOTS.iter().find(unified)?;
    fs::metadata(Path::new(root).join(path)).ok().map(|metadata| metadata.ino())
}

/// How far below the root a thread's cgroup is.
pub(crate) fn cgroup_level(tid: Tid) -> Option<u64> {
    cgroup_path(tid).map(|path| path.iter().count() as u64)
}

/// The last component of its path; the root has none, and the kernel calls it `/`.
pub(crate) fn cgroup_name(tid: Tid) -> Option<Vec<u8>> {
    let path = cgroup_path(tid)?;
    Some(path.file_name().map_or_else(|| b"/".to_vec(), |name| name.as_bytes().to_vec()))
}

/// The user that logged in, as the audit system knows it.
pub(crate) fn login_uid(tid: Tid) -> Option<u32> {
    number(&format!("/proc/{tid}/loginuid"))
}

/// How much the out-of-memory killer is to like a process.
pub(crate) fn oom_score_adj(tid: Tid) -> Option<i64> {
    number(&format!("/proc/{tid}/oom_score_adj"))
}

fn number<T: FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The session of a login, as the audit system numbers it.
pub(crate) fn session_id(tid: Tid) -> Option<u32> {
    number(&format!("/proc/{tid}/sessionid"))
}

/// A pointer of the auxiliary vector that the kernel gave to the program (`AT_*`).
pub(crate) fn auxiliary(tid: Tid, kind: u64) -> Option<u64> {
    let bytes = fs::read(format!("/proc/{tid}/auxv")).ok()?;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
    bytes.chunks_exact(16).find(|entry| word(&entry[..8]) == Some(kind)).and_then(|entry| word(&entry[8..]))
}

/// What is executed by a process.
pub(crate) fn executable(tid: Tid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{tid}/exe")).ok()
}

/// Whose rights the executed file gives, if it is set-user-id.
pub(crate) fn set_id_owner(tid: Tid) -> Option<u32> {
    let metadata = fs::metadata(format!("/proc/{tid}/exe")).ok()?;
    (metadata.mode() & libc::S_ISUID != 0).then(|| metadata.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_hostile_names() {
        let stat =
            Stat::parse(b"42 (a) R (b) S 7 42 41 0 -1 4194560 100 0 3 0 11 12 0 0 20 0 5 0 999 1 2 3 0x")
                .expect("a well-formed line");
        assert_eq!(stat.comm, b"a) R (b");
        assert_eq!((stat.ppid, stat.pgrp, stat.session), (7, 42, 41));
        assert_eq!(
            (stat.utime, stat.stime, stat.priority, stat.threads, stat.start_time),
            (11, 12, 20, 5, 999)
        );
        assert!(Stat::parse(b"42 no name").is_none());
        assert!(Stat::parse(b"").is_none());
    }

    #[test]
    fn sets_are_counted() {
        assert_eq!((members("\t3"), members("ff,00000001"), members("0")), (2, 9, 0));
    }

    #[test]
    fn own_files_parse() {
        let pid = std::process::id() as Tid;
        let status = Status::read(pid).expect("own status");
        let stat = Stat::read(pid).expect("own stat");
        assert_eq!(status.tgid, pid);
        assert_eq!(status.ns_tids.first(), Some(&pid));
        assert!(status.allowed_cpus > 0, "{status:?}");
        assert!(stat.ppid > 0 && stat.start_time > 0 && stat.memory.arg_end > stat.memory.arg_start);
        assert!(namespace(pid, "mnt").is_some_and(|inum| inum > 0));
        assert!(namespace(pid, "nonsense").is_none());
        assert!(auxiliary(pid, libc::AT_EXECFN).is_some());
    }
}
