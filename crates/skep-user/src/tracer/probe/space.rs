//! Address spaces: which breakpoints are in them, what was there before, and where copies of instructions lie.
//!
//! Threads share a space, and so do processes between vfork(2) and exec. Memory is read and written through
//! `/proc/TID/mem`, which copies a page of the file for this process on the first write; one byte is written at a time, so
//! that threads which run there meanwhile see the old instruction or the breakpoint.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_binary::Binary;

use super::places::Places;
use super::step::{MAX_BYTES, SLOT_BYTES, Step};
use super::{Site, SiteId};
use crate::procfs;
use crate::procfs::maps::Mapping;
use crate::sys::Tid;
use crate::sys::guard::{Guard, Guarded};

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

/// Everything there may be.
pub(super) const ANYWHERE: Range<u64> = 0..u64::MAX;

/// The number of an address space.
pub(in crate::tracer) type SpaceId = u32;

/// What was put into an address space.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    /// Threads in it.
    pub(super) members: Vec<Tid>,
    pub(super) breakpoints: HashMap<u64, Breakpoint>,
    /// Counters that are one higher because of us.
    semaphores: Vec<Raised>,
    /// Puts everything back if we cannot, where the process does not end with us.
    guard: Option<Arc<Guard>>,
    pub(super) copies: Vec<Copies>,
    /// Could no room for copies be made?
    pub(super) no_room: bool,
    /// Has everything been put back?
    pub(super) restored: bool,
}

/// A breakpoint and what it is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Breakpoint {
    original: u8,
    pub(super) site: Option<SiteId>,
    /// Behind a call of a function whose return is waited for.
    pub(super) is_return: bool,
    /// Where the dynamic linker tells debuggers what it has mapped.
    pub(super) is_loader: bool,
    step: Option<Step>,
    pub(super) slot: Option<u64>,
    guarded: Option<Arc<Guarded>>,
}

/// A counter that is one higher because of us.
#[derive(Clone, Debug)]
struct Raised {
    address: u64,
    guarded: Option<Arc<Guarded>>,
}

/// Room for copies of instructions, made by the process itself.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    pub(super) range: Range<u64>,
    /// The addresses whose instructions are in the slots so far.
    pub(super) of: Vec<u64>,
}

impl Copies {
    /// The next free slot.
    pub(super) fn free(&self) -> Option<u64> {
        let slot = self.range.start + self.of.len() as u64 * SLOT_BYTES;
        (slot + SLOT_BYTES <= self.range.end).then_some(slot)
    }
}

/// Opens the memory of a process.
fn memory(tid: Tid) -> Option<File> {
    File::options().read(true).write(true).open(format!("/proc/{tid}/mem")).ok()
}

fn byte_at(memory: &File, address: u64) -> Option<u8> {
    let mut byte = [0];
    memory.read_exact_at(&mut byte, address).ok().map(|()| byte[0])
}

impl Space {
    /// Puts breakpoints at the sites of the mappings in a range, and forgets those of mappings that are gone.
    pub(super) fn scan(&mut self, tid: Tid, range: &Range<u64>, places: &mut Places, sites: &[Site]) {
        let Some(memory) = memory(tid) else { return };
        let mut found = HashMap::new();
        for mapping in Mapping::all(tid) {
            if mapping.range.start < range.end && range.start < mapping.range.end {
                found.extend(places.sites(tid, &mapping));
                for semaphore in places.semaphores(tid, &mapping) {
                    self.raise(tid, &memory, semaphore);
                }
            }
        }
        let whole = *range == ANYWHERE;
        self.breakpoints.retain(|address, known| {
            !range.contains(address) || found.contains_key(address) || (whole && known.site.is_none())
        });
        for (address, site) in found {
            let file = &sites[site];
            if self.insert(tid, &memory, address, || byte_of_file(&file.path, file.offset)) {
                self.breakpoints.entry(address).and_modify(|breakpoint| breakpoint.site = Some(site));
            }
        }
    }

    /// Puts a breakpoint somewhere, if it can be. One that is there already without our knowledge was inherited, or belongs
    /// to the program: `original` says what the file has there.
    fn insert(
        &mut self,
        tid: Tid,
        memory: &File,
        address: u64,
        original: impl FnOnce() -> Option<u8>,
    ) -> bool {
        let there = byte_at(memory, address);
        let original = match (there, self.breakpoints.contains_key(&address)) {
            (Some(BREAKPOINT), true) => return true,
            (Some(BREAKPOINT), false) => original().filter(|&byte| byte != BREAKPOINT),
            (byte, _) => byte,
        };
        let Some(original) = original else { return false };
        let guarded = self.guarded(tid, address, original);
        if there != Some(BREAKPOINT) && memory.write_all_at(&[BREAKPOINT], address).is_err() {
            return false;
        }
        // What was known of this address is of another mapping.
        self.breakpoints.insert(address, Breakpoint { original, guarded, ..Breakpoint::default() });
        true
    }

    fn guarded(&self, tid: Tid, address: u64, original: u8) -> Option<Arc<Guarded>> {
        self.guard.as_ref()?.byte(process_of(tid), address, original).map(Arc::new)
    }

    /// Has the guard know of all that a new process has inherited.
    fn guard_inherited(&mut self, tid: Tid) {
        let Some(guard) = self.guard.clone() else { return };
        let pid = process_of(tid);
        for (&address, known) in &mut self.breakpoints {
            known.guarded = guard.byte(pid, address, known.original).map(Arc::new);
        }
        for raised in &mut self.semaphores {
            raised.guarded = guard.counter(pid, raised.address).map(Arc::new);
        }
    }

    /// Puts a breakpoint where a function will return to.
    pub(super) fn insert_return(&mut self, tid: Tid, address: u64) -> bool {
        if let Some(known) = self.breakpoints.get_mut(&address) {
            known.is_return = true;
            return true;
        }
        let inserted = memory(tid).is_some_and(|memory| self.insert(tid, &memory, address, || None));
        self.breakpoints.entry(address).and_modify(|breakpoint| breakpoint.is_return = true);
        inserted
    }

    /// Puts a breakpoint where the dynamic linker reports.
    fn insert_loader(&mut self, tid: Tid, address: u64) {
        if memory(tid).is_some_and(|memory| self.insert(tid, &memory, address, || None)) {
            self.breakpoints.entry(address).and_modify(|breakpoint| breakpoint.is_loader = true);
        }
    }

    /// Knows a breakpoint that was inherited from a process whose breakpoints these are.
    pub(super) fn adopt(&mut self, tid: Tid, address: u64, breakpoint: &Breakpoint) {
        let guarded = self.guarded(tid, address, breakpoint.original);
        self.breakpoints.insert(address, Breakpoint { slot: None, guarded, ..breakpoint.clone() });
    }

    /// After a fork in a process with several threads: another of them may have changed breakpoints meanwhile.
    fn check_inherited(&mut self, tid: Tid) {
        let Some(memory) = memory(tid) else { return };
        self.breakpoints.retain(|&address, known| match byte_at(&memory, address) {
            Some(BREAKPOINT) => true,
            Some(byte) if byte == known.original => memory.write_all_at(&[BREAKPOINT], address).is_ok(),
            _ => false,
        });
    }

    /// Is there a breakpoint in memory?
    pub(super) fn is_breakpoint(tid: Tid, address: u64) -> bool {
        memory(tid).is_some_and(|memory| byte_at(&memory, address) == Some(BREAKPOINT))
    }

    /// How to get past a breakpoint.
    pub(super) fn step(&mut self, tid: Tid, address: u64) -> Option<Step> {
        if let Some(step) = &self.breakpoints.get(&address)?.step {
            return Some(step.clone());
        }
        let mut code = [0; MAX_BYTES];
        let read = crate::sys::memory::read(tid, address, &mut code).unwrap_or(0);
        for (byte, at) in code.iter_mut().zip(address..) {
            if let Some(known) = self.breakpoints.get(&at) {
                *byte = known.original;
            }
        }
        let step = Step::decode(&code[..read], address);
        self.breakpoints.entry(address).and_modify(|known| known.step = Some(step.clone()));
        Some(step)
    }

    /// Writes a copy of an instruction into a slot, which is that instruction's from now on.
    pub(super) fn fill_slot(&mut self, tid: Tid, copies: usize, address: u64, step: &Step) -> Option<u64> {
        let slot = self.copies.get(copies)?.free()?;
        let code = step.copy_to(slot)?;
        memory(tid)?.write_all_at(&code, slot).ok()?;
        self.copies[copies].of.push(address);
        self.breakpoints.get_mut(&address)?.slot = Some(slot);
        Some(slot)
    }

    /// Whose copy an address lies in, and how far.
    pub(super) fn copy_at(&self, address: u64) -> Option<(u64, u64)> {
        let copies = self.copies.iter().find(|copies| copies.range.contains(&address))?;
        let offset = address - copies.range.start;
        copies.of.get((offset / SLOT_BYTES) as usize).map(|&of| (of, offset % SLOT_BYTES))
    }

    /// Takes a breakpoint away for a moment, or puts it back.
    pub(super) fn lift(&self, tid: Tid, address: u64, away: bool) {
        if let (Some(known), Some(memory)) = (self.breakpoints.get(&address), memory(tid)) {
            let _ = memory.write_all_at(&[if away { known.original } else { BREAKPOINT }], address);
        }
    }

    /// Puts breakpoints back that somebody else has taken away; answers how many. The kernel does so when a probe of its own
    /// at the same place ends.
    fn repair(&self) -> usize {
        let memory = self.members.iter().find_map(|&tid| memory(tid).filter(|m| self.leads(m)));
        let Some(memory) = memory.filter(|_| !self.restored) else { return 0 };
        let is_gone =
            |(address, known): &(&u64, &Breakpoint)| byte_at(&memory, **address) == Some(known.original);
        let put_back =
            |(&address, _): (&u64, &Breakpoint)| memory.write_all_at(&[BREAKPOINT], address).is_ok();
        self.breakpoints.iter().filter(is_gone).filter(|gone| put_back(*gone)).count()
    }

    fn raise(&mut self, tid: Tid, memory: &File, address: u64) {
        if !self.semaphores.iter().any(|known| known.address == address) && add(memory, address, 1) {
            let guarded =
                self.guard.as_ref().and_then(|guard| guard.counter(process_of(tid), address)).map(Arc::new);
            self.semaphores.push(Raised { address, guarded });
        }
    }

    /// Puts everything back as it was.
    fn restore(&mut self) {
        if std::mem::replace(&mut self.restored, true) {
            return;
        }
        // A thread that has ended cannot lead to the memory it shared.
        let Some(memory) = self.members.iter().find_map(|&tid| memory(tid).filter(|m| self.leads(m))) else {
            return;
        };
        for (&address, known) in &mut self.breakpoints {
            if byte_at(&memory, address) == Some(BREAKPOINT) {
                let _ = memory.write_all_at(&[known.original], address);
            }
            known.guarded = None;
        }
        for raised in self.semaphores.drain(..) {
            add(&memory, raised.address, u16::MAX);
        }
    }

    /// Can this memory still be read?
    fn leads(&self, memory: &File) -> bool {
        let counters = self.semaphores.iter().map(|raised| &raised.address);
        self.breakpoints.keys().chain(counters).any(|&address| byte_at(memory, address).is_some())
    }
}

/// The process of a thread, whose memory stays when the thread ends.
fn process_of(tid: Tid) -> Tid {
    procfs::Status::read(tid).map_or(tid, |status| status.tgid)
}

/// Adds to a counter in memory.
fn add(memory: &File, address: u64, value: u16) -> bool {
    let mut bytes = [0; 2];
    memory.read_exact_at(&mut bytes, address).is_ok()
        && memory.write_all_at(&u16::from_ne_bytes(bytes).wrapping_add(value).to_ne_bytes(), address).is_ok()
}

fn byte_of_file(path: &Path, offset: u64) -> Option<u8> {
    byte_at(&File::open(path).ok()?, offset)
}

/// All address spaces of a session. Dropping it puts back what is not yet.
#[derive(Debug)]
pub(in crate::tracer) struct Spaces {
    pub(super) all: HashMap<SpaceId, Space>,
    next: SpaceId,
    /// Offsets at which dynamic linkers report, by file.
    loaders: HashMap<PathBuf, Option<u64>>,
    /// Are mappings learned of from the dynamic linker, because no system call stops?
    pub(super) follow_loader: bool,
    /// For processes that go on when we are killed.
    guard: Option<Arc<Guard>>,
}

impl Spaces {
    /// No spaces yet.
    pub(in crate::tracer) fn new(follow_loader: bool) -> Self {
        Self { all: HashMap::new(), next: 0, loaders: HashMap::new(), follow_loader, guard: None }
    }

    /// Has a guard put everything back if we are killed.
    pub(in crate::tracer) fn start_guard(&mut self) -> io::Result<()> {
        self.guard = Some(Guard::start()?);
        Ok(())
    }

    /// A space that holds nothing of ours.
    pub(super) fn fresh(&mut self, members: Vec<Tid>) -> SpaceId {
        self.add(Space { members, guard: self.guard.clone(), ..Space::default() })
    }

    fn add(&mut self, space: Space) -> SpaceId {
        self.next += 1;
        self.all.insert(self.next, space);
        self.next
    }

    /// The space of a thread that was made in another one: the same, or a copy of it.
    pub(super) fn child(&mut self, parent: SpaceId, child: Tid, shares: bool) -> Option<SpaceId> {
        let space = self.all.get_mut(&parent)?;
        if shares {
            space.members.push(child);
            return Some(parent);
        }
        let mut copy = Space { members: vec![child], ..space.clone() };
        if space.members.len() > 1 {
            copy.check_inherited(child);
        }
        copy.guard_inherited(child);
        Some(self.add(copy))
    }

    /// A thread is gone from a space; the last one takes it along.
    pub(super) fn leave(&mut self, id: SpaceId, tid: Tid) {
        if let Some(space) = self.all.get_mut(&id) {
            space.members.retain(|&member| member != tid);
            if space.members.is_empty() {
                self.all.remove(&id);
            }
        }
    }

    /// Watches the dynamic linker of a process.
    pub(super) fn watch_loader(&mut self, id: SpaceId, tid: Tid) {
        let (Some(base), Some(space)) =
            (procfs::auxiliary(tid, libc::AT_BASE).filter(|&base| base != 0), self.all.get_mut(&id))
        else {
            return;
        };
        let mappings = Mapping::all(tid);
        let Some(first) = mappings.iter().find(|mapping| mapping.range.contains(&base)) else { return };
        let offset = *self.loaders.entry(first.path.clone()).or_insert_with_key(|path| {
            let path =
                Path::new("/proc").join(tid.to_string()).join("root").join(path.strip_prefix("/").ok()?);
            Binary::read(&path).and_then(|binary| binary.function("_dl_debug_state")).ok()
        });
        let of_loader = mappings.iter().filter(|mapping| mapping.file == first.file && mapping.executable);
        let address = offset.and_then(|offset| of_loader.into_iter().find_map(|m| m.address_of(offset)));
        if let Some(address) = address {
            space.insert_loader(tid, address);
        }
    }

    /// Puts breakpoints back that somebody else has taken away; answers how many.
    pub(in crate::tracer) fn repair(&self) -> usize {
        self.all.values().map(Space::repair).sum()
    }

    /// Puts everything back everywhere.
    pub(in crate::tracer) fn restore(&mut self) {
        self.all.values_mut().for_each(Space::restore);
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        self.restore();
    }
}
