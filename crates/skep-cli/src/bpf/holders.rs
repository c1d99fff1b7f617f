//! Which processes hold an object: the descriptors in /proc that lead to one.
//!
//! A process whose descriptors may not be read is counted, so that what is missing can be told.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, readlinkat_raw};
use rustix::io::Errno;
use skep::runtime::command::ObjectKind;
use skep::runtime::{Command, RuntimeKind, SharedRuntime};

use super::json::Json;

/// Room for where a descriptor leads; what is longer leads to a file.
const LINK_BYTES: usize = 64;
/// Room for the names of processes that are read at a time.
const ENTRIES_BYTES: usize = 32 << 10;

/// A process with a descriptor of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) comm: String,
}

/// Holders by the object's id.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    by_id: BTreeMap<u32, Vec<Holder>>,
    /// Processes whose descriptors could not be read.
    pub(crate) hidden: usize,
}

impl Holders {
    /// Looks at every process but this one; only the kernel's objects are held by processes.
    pub(crate) fn find(runtime: &SharedRuntime, kind: ObjectKind) -> Self {
        let mut holders = Self::default();
        // Where there are no objects, nobody holds one.
        let has_objects = || runtime.bpf(Command::GetNextId { kind, id: 0 }).is_ok();
        if runtime.kind() != RuntimeKind::Kernel || !has_objects() {
            return holders;
        }
        let own = std::process::id();
        let Ok(proc) = rustix::fs::open(c"/proc", DIRECTORY, Mode::empty()) else { return holders };
        let counts = descriptors(&proc, own).is_some_and(|count| count > 0);
        let mut room = Vec::with_capacity(ENTRIES_BYTES);
        let mut processes = RawDir::new(&proc, room.spare_capacity_mut());
        while let Some(Ok(process)) = processes.next() {
            let pid = process.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok());
            let Some(pid) = pid.filter(|&pid| pid != own) else { continue };
            let count = counts.then(|| descriptors(&proc, pid)).flatten();
            // Most processes are the kernel's own, and have no descriptors.
            if count != Some(0) {
                holders.look_at(&proc, pid, kind, count);
            }
        }
        holders
    }

    /// Looks at the descriptors of a process, of which there are `count` where that is known.
    fn look_at(&mut self, proc: &OwnedFd, pid: u32, kind: ObjectKind, count: Option<u64>) {
        let directory = rustix::fs::openat(proc, format!("{pid}/fd"), DIRECTORY, Mode::empty());
        let looked = directory.and_then(|directory| {
            let process = Process { directory, pid, kind };
            // Mostly they are the first numbers, and asking for these costs less than having them listed.
            let mut first = 0;
            while count.is_some_and(|count| first < count) && process.look_at(&number_text(first), self)? {
                first += 1;
            }
            if count.is_some_and(|count| first == count) {
                return Ok(());
            }
            let mut entries = [MaybeUninit::uninit(); 4096];
            let mut listed = RawDir::new(&process.directory, &mut entries);
            let mut left = count.map_or(u64::MAX, |count| count - first);
            // Reading on behind the last one only to learn that it was takes a system call for every process.
            while left > 0
                && let Some(Ok(entry)) = listed.next()
            {
                let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<u64>().ok());
                if number.is_some_and(|number| number >= first) {
                    left -= 1;
                    process.look_at(entry.file_name(), self)?;
                }
            }
            Ok(())
        });
        self.hidden += usize::from(matches!(looked, Err(Errno::ACCESS | Errno::PERM)));
    }

    fn add(&mut self, id: u32, pid: u32) {
        let holders = self.by_id.entry(id).or_default();
        if holders.iter().all(|holder| holder.pid != pid) {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            holders.push(Holder { pid, comm: comm.trim_end().to_owned() });
        }
    }

    /// Who holds the object with that id.
    pub(crate) fn of(&self, id: u32) -> &[Holder] {
        self.by_id.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Writes `"pids": [{"pid": …, "comm": …}]` where there are any.
    pub(crate) fn write_json(&self, json: &mut Json, id: u32) {
        if self.of(id).is_empty() {
            return;
        }
        json.name("pids");
        json.begin_array();
        for holder in self.of(id) {
            json.begin_object();
            json.unsigned_field("pid", holder.pid);
            json.string_field("comm", &holder.comm);
            json.end_object();
        }
        json.end_array();
    }

    /// `sh(1), cat(2)`, on a line of its own.
    pub(crate) fn write_text(&self, json: &mut Json, id: u32) {
        let list: Vec<String> =
            self.of(id).iter().map(|holder| format!("{}({})", holder.comm, holder.pid)).collect();
        if !list.is_empty() {
            json.text(format_args!("\n\tpids {}", list.join(", ")));
        }
    }

    /// Tells on stderr what could not be seen.
    pub(crate) fn tell_hidden(&self) {
        if self.hidden > 0 {
            crate::term::warning(format_args!(
                "the descriptors of {} processes may not be read: `pids` lacks them",
                self.hidden
            ));
        }
    }
}

/// A process whose descriptors are looked at.
struct Process {
    directory: OwnedFd,
    pid: u32,
    kind: ObjectKind,
}

impl Process {
    /// Looks at the descriptor of that number; false where there is none.
    fn look_at(&self, number: &CStr, holders: &mut Holders) -> Result<bool, Errno> {
        let (target, field) = marks(self.kind);
        let mut room = [MaybeUninit::uninit(); LINK_BYTES];
        // Names relative to the directory spare the kernel the way there, for every descriptor.
        match readlinkat_raw(&self.directory, number, &mut room) {
            Ok((link, _)) if link == target.as_bytes() => {
                let number = number.to_string_lossy();
                if let Some(id) = fdinfo(&format!("{}/fdinfo/{number}", self.pid), field) {
                    holders.add(id, self.pid);
                }
                Ok(true)
            }
            Ok(_) => Ok(true),
            // A process that lets its descriptors be counted may still not let us see where they lead.
            Err(Errno::ACCESS) => Err(Errno::ACCESS),
            // No link, or closed by now.
            Err(_) => Ok(false),
        }
    }
}

/// A number as the name of a file.
fn number_text(number: u64) -> CString {
    CString::new(number.to_string()).unwrap_or_default()
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How many descriptors a process has, as the size of its directory; since Linux 6.2, before that 0 for every process.
fn descriptors(proc: &OwnedFd, pid: u32) -> Option<u64> {
    let stat = rustix::fs::statat(proc, format!("{pid}/fd"), AtFlags::empty()).ok()?;
    u64::try_from(stat.st_size).ok()
}

/// The file that descriptors of a kind lead to, and the line of fdinfo that has the id.
fn marks(kind: ObjectKind) -> (&'static str, &'static str) {
    match kind {
        ObjectKind::Map => ("anon_inode:bpf-map", "map_id:"),
        ObjectKind::Prog => ("anon_inode:bpf-prog", "prog_id:"),
        ObjectKind::Btf => ("anon_inode:btf", "btf_id:"),
        ObjectKind::Link => ("anon_inode:bpf-link", "link_id:"),
    }
}

/// The value of a line of `/proc/PATH`.
fn fdinfo(path: &str, field: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{path}")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().parse().ok()
}

/// A number of what is said of a descriptor beside its object's information.
pub(crate) fn number(fdinfo: &str, field: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
