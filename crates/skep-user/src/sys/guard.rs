//! Putting back what this process wrote into others, should it be killed.
//!
//! A process that we have started dies with us, but one that we are attached to goes on, and must not run into breakpoints
//! that nobody answers. So a guard knows of each of them: a process of its own, without memory to ask for, that reads a
//! table shared with us when the pipe from us ends. Whoever puts back a breakpoint takes it out of the table first or last,
//! as they like: the guard changes only what is still a breakpoint. Between our end and its work lies about a millisecond.

use std::io::{self, PipeWriter};
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Tid, check};

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

/// Entries that the table has; memory costs where it is touched.
const ENTRIES: usize = 1 << 18;

/// What an entry says.
const FREE: u32 = 0;
const BYTE: u32 = 1;
const COUNTER: u32 = 2;

/// An entry of the table: written by us, read by the guard.
#[repr(C)]
struct Entry {
    kind: AtomicU32,
    pid: AtomicU32,
    address: AtomicU64,
    /// The byte that was there.
    original: AtomicU64,
}

/// The guard of this session.
#[derive(Debug)]
pub(crate) struct Guard {
    table: *const Entry,
    slots: Mutex<Slots>,
    /// Its end is what the guard waits for.
    _alive: PipeWriter,
}

// SAFETY: the table is shared memory whose entries are atomic; which of them are in use is said under a lock.
unsafe impl Send for Guard {}
// SAFETY: as above.
unsafe impl Sync for Guard {}

#[derive(Debug, Default)]
struct Slots {
    free: Vec<usize>,
    used: usize,
}

/// What the guard puts back as long as this lives.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Arc<Guard>,
    slot: usize,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.guard.entry(self.slot).kind.store(FREE, Ordering::Release);
        self.guard.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.slot);
    }
}

impl Guard {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let (until, alive) = io::pipe()?;
        let bytes = ENTRIES * size_of::<Entry>();
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let table =
            unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if table == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let guard = Self { table: table.cast(), slots: Mutex::default(), _alive: alive };
        // SAFETY: the child calls only async-signal-safe functions until it exits.
        match check(i64::from(unsafe { libc::fork() }))? {
            0 => guard.stand(until.as_raw_fd()),
            child => super::ptrace::reap(child as Tid),
        }
        Ok(Arc::new(guard))
    }

    fn entry(&self, slot: usize) -> &Entry {
        assert!(slot < ENTRIES, "invariant: slots are those of the table");
        // SAFETY: inside of the mapping.
        let entry = unsafe { self.table.add(slot) };
        // SAFETY: the mapping lives as long as the guard; zero bytes are a valid entry.
        unsafe { &*entry }
    }

    /// Has a byte of a process put back.
    pub(crate) fn byte(self: &Arc<Self>, pid: Tid, address: u64, original: u8) -> Option<Guarded> {
        self.note(BYTE, pid, address, original.into())
    }

    /// Has a counter of a process lowered.
    pub(crate) fn counter(self: &Arc<Self>, pid: Tid, address: u64) -> Option<Guarded> {
        self.note(COUNTER, pid, address, 0)
    }

    /// Makes an entry, if there is room for one.
    fn note(self: &Arc<Self>, kind: u32, pid: Tid, address: u64, original: u64) -> Option<Guarded> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = slots.used;
            let slot = slots.free.pop().or_else(|| (fresh < ENTRIES).then_some(fresh))?;
            slots.used = fresh.max(slot + 1);
            slot
        };
        let entry = self.entry(slot);
        entry.pid.store(pid.cast_unsigned(), Ordering::Relaxed);
        entry.address.store(address, Ordering::Relaxed);
        entry.original.store(original, Ordering::Relaxed);
        entry.kind.store(kind, Ordering::Release);
        Some(Guarded { guard: Arc::clone(self), slot })
    }

    /// The first child's side of [`start`](Self::start): makes the guard, which is then nobody's child that is waited for.
    fn stand(&self, until: i32) -> ! {
        // SAFETY: as for the first fork.
        if unsafe { libc::fork() } != 0 {
            super::process::exit_now(0);
        }
        leave(until);
        super::process::wait_for_end(0);
        for slot in 0..ENTRIES {
            let entry = self.entry(slot);
            match entry.kind.load(Ordering::Acquire) {
                FREE if entry.address.load(Ordering::Relaxed) == 0 => break,
                FREE => {}
                kind => entry.put_back(kind),
            }
        }
        super::process::exit_now(0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: our mapping, which no entry of refers to any more: all of them hold the guard.
        unsafe { libc::munmap(self.table.cast_mut().cast(), ENTRIES * size_of::<Entry>()) };
    }
}

impl Entry {
    /// Puts back what is still as we left it. There is nobody to tell when that fails.
    fn put_back(&self, kind: u32) {
        let mut path = [0; 32];
        mem_path(self.pid.load(Ordering::Relaxed), &mut path);
        let at = self.address.load(Ordering::Relaxed).cast_signed();
        let mut bytes = [0u8; 2];
        let len = if kind == BYTE { 1 } else { 2 };
        // SAFETY: the path ends with a zero.
        let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDWR | libc::O_CLOEXEC) };
        // SAFETY: the buffer has room for both lengths.
        if fd == -1 || unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), len, at) } != len as isize {
            return;
        }
        match kind {
            BYTE if bytes[0] != BREAKPOINT => return,
            BYTE => bytes[0] = self.original.load(Ordering::Relaxed) as u8,
            _ => bytes = u16::from_ne_bytes(bytes).wrapping_sub(1).to_ne_bytes(),
        }
        // SAFETY: as above, and the descriptor is ours.
        unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), len, at) };
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// `/proc/PID/mem`, without taking memory.
fn mem_path(pid: u32, path: &mut [u8; 32]) {
    let mut digits = [0; 10];
    let mut left = pid;
    let mut first = digits.len();
    while first == digits.len() || left > 0 {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let parts = b"/proc/".iter().chain(&digits[first..]).chain(b"/mem\0");
    path.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
}

/// Lets go of everything but the pipe's end, and of what is sent to our terminal or group.
fn leave(until: i32) {
    super::process::keep_only(until);
    // SAFETY: changes nothing but this process.
    unsafe { libc::setsid() };
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        super::signal::ignore(signal);
    }
    // SAFETY: a live, terminated name of at most sixteen bytes. It is for people who look.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"skep-guard".as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::mem_path;

    #[test]
    fn paths_need_no_memory() {
        for (pid, expected) in
            [(0, &b"/proc/0/mem\0"[..]), (7, b"/proc/7/mem\0"), (4_194_304, b"/proc/4194304/mem\0")]
        {
            let mut path = [0; 32];
            mem_path(pid, &mut path);
            assert_eq!(&path[..expected.len()], expected);
        }
    }
}
