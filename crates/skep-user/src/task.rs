//! A traced thread as programs see it: its ids, and what of /proc is kept between two looks.
//!
//! The name can change behind our back (by a write to `/proc/…/comm`), so it is read each time, through a file that stays
//! open. Credentials change only by system calls of the thread itself, which the tracer watches, so they are kept. All else
//! is true for one stop only.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::procfs::{Stat, Status};
use crate::sys::Tid;
use crate::tracer::{Call, CallSet};

/// Calls after which credentials must be read again.
const CREDENTIAL_CALLS: &[i64] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
];

/// Comm files that may be open at a time; beyond that they are opened for each look.
const OPEN_FILES: usize = 256;
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A traced thread.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) tid: Tid,
    pub(crate) tgid: Tid,
    comm: Option<KeptFile>,
    status: Option<Status>,
    stat: Option<Stat>,
    /// Its name before it ended.
    last_name: Option<[u8; 16]>,
}

/// A file that counts against [`OPEN_FILES`].
#[derive(Debug)]
struct KeptFile(File);

impl Drop for KeptFile {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Task {
    /// A thread of which nothing else is known.
    pub(crate) fn new(tid: Tid) -> Self {
        let status = Status::read(tid);
        let tgid = status.as_ref().map_or(tid, |status| status.tgid);
        Self { tid, tgid, comm: None, status, stat: None, last_name: None }
    }

    /// The sender of a signal, which may have ended since; then its name is known from before.
    pub(crate) fn sender(tid: Tid, name: Option<[u8; 16]>) -> Self {
        Self { last_name: name, ..Self::new(tid) }
    }

    /// A thread that `parent` has just made.
    pub(crate) fn child(tid: Tid, parent: Option<&Self>) -> Self {
        let thread =
            |parent: &&Self| fs::exists(format!("/proc/{}/task/{tid}", parent.tgid)).unwrap_or(false);
        let tgid = parent.filter(thread).map_or(tid, |parent| parent.tgid);
        Self { tid, tgid, comm: None, status: None, stat: None, last_name: None }
    }

    /// The calls the tracer has to watch so that what is kept stays true.
    pub(crate) fn watched() -> CallSet {
        let mut calls = CallSet::default();
        CREDENTIAL_CALLS.iter().for_each(|&nr| calls.insert(nr as u32));
        calls
    }

    /// The thread is in another stop than before; `watched` says that the calls which change credentials were seen.
    pub(crate) fn refresh(&mut self, watched: bool) {
        self.stat = None;
        if !watched {
            self.status = None;
        }
    }

    /// The thread is going to execute a system call.
    pub(crate) fn call_follows(&mut self, call: &Call) {
        if call.foreign || CREDENTIAL_CALLS.contains(&call.nr) {
            self.status = None;
        }
    }

    /// The thread has executed another program.
    pub(crate) fn executed(&mut self) {
        self.status = None;
    }

    /// Its name, padded with zeroes.
    pub(crate) fn comm(&mut self) -> [u8; 16] {
        if let Some(name) = self.last_name {
            return name;
        }
        let mut name = [0; 16];
        let length = match &self.comm {
            Some(file) => file.0.read_at(&mut name, 0),
            None => self.open_comm(&mut name),
        };
        // The file ends with a newline, and the kernel's array with a zero.
        name[length.unwrap_or(0).saturating_sub(1).min(15)..].fill(0);
        name
    }

    fn open_comm(&mut self, name: &mut [u8; 16]) -> std::io::Result<usize> {
        let file = File::open(format!("/proc/{}/comm", self.tid))?;
        let length = file.read_at(name, 0);
        if OPEN.fetch_add(1, Ordering::Relaxed) < OPEN_FILES {
            self.comm = Some(KeptFile(file));
        } else {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
        length
    }

    /// Credentials and namespace ids; zeroes where /proc does not say.
    pub(crate) fn status(&mut self) -> &Status {
        self.status.get_or_insert_with(|| Status::read(self.tid).unwrap_or_default())
    }

    /// Times, parent, flags; zeroes where /proc does not say.
    pub(crate) fn stat(&mut self) -> &Stat {
        self.stat.get_or_insert_with(|| Stat::read(self.tid).unwrap_or_default())
    }
}
