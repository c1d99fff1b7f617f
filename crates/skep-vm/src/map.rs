//! Maps: what programs and user space share, with the kernel's shapes, limits, flags and errors.
//!
//! A [`Map`] has two sides. User space speaks bpf(2): whole values are copied in and out, errors are its errnos
//! (`kernel/bpf/syscall.c`). Programs get addresses of values, which stay valid as long as the map lives: deleting an
//! element makes its memory free for the next one, as the kernel's preallocated maps do, but never unmaps it.
//!
//! Everything here may be used from many threads at once.

mod array;
mod batch;
mod bloom;
mod elements;
mod group_storage;
mod hash;
mod lock;
mod lpm;
mod nested;
mod pages;
mod perf;
mod queue;
mod redirect;
pub(crate) mod ring;
mod shared;
mod sock_hash;
mod spec;
mod stack_trace;
mod storage;
mod user_ring;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skep_isa::uapi::MapType;

use crate::Errno;
use crate::memory::Window;
use crate::program::Program;

pub use batch::BatchCursor;
pub(crate) use elements::{Elements, Entry};
pub use nested::{CgroupArray, ProgArray};
pub use perf::{PerfEvent, PerfEventArray};
pub use ring::{Reservation, RingBuf};
pub use shared::MapMemory;
pub(crate) use spec::MAX_STACK_DEPTH;
pub use spec::{MapError, MapSpec, MapTypes, flags, update};
pub(crate) use stack_trace::StackTraces;
pub use user_ring::UserRingBuf;

use array::Array;
pub(crate) use array::Layout;
use bloom::Bloom;
use group_storage::GroupStorage;
use hash::Hash;
use lpm::LpmTrie;
use nested::{ArrayOfMaps, HashOfMaps};
use pages::Pages;
use queue::Queue;
use redirect::Targets;
use sock_hash::SockHash;
use storage::Storage;

/// A map. Share it by `Arc`; programs that use it hold one.
pub struct Map {
    spec: MapSpec,
    frozen: AtomicBool,
    kind: Kind,
}

/// What holds the elements.
enum Kind {
    Array(Array),
    Hash(Hash),
    Perf(PerfEventArray),
    Ring(RingBuf),
    UserRing(UserRingBuf),
    Queue(Queue),
    Bloom(Bloom),
    Lpm(LpmTrie),
    StackTrace(StackTraces),
    Programs(ProgArray),
    Cgroups(CgroupArray),
    ArrayOfMaps(ArrayOfMaps),
    HashOfMaps(HashOfMaps),
    Storage(Storage),
    GroupStorage(GroupStorage),
    Pages(Pages),
    Targets(Targets),
    SockHash(SockHash),
}

impl Map {
    /// Creates a map (`BPF_MAP_CREATE`). The error has the kernel's errno, and `EOPNOTSUPP` for a type not served here.
    pub fn create(spec: MapSpec) -> Result<Arc<Self>, MapError> {
        let kind = spec.check().and_then(|()| Kind::new(&spec)).map_err(|errno| spec.error(errno))?;
        Ok(Arc::new(Self { spec, frozen: AtomicBool::new(false), kind }))
    }

    /// What it was created from.
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// What kind of map it is.
    pub fn map_type(&self) -> MapType {
        self.spec.map_type
    }

    /// Copies the value of a key (`BPF_MAP_LOOKUP_ELEM`); per-CPU maps give the slots of all processors, each rounded up
    /// to eight bytes. `value` has [`MapSpec::value_stride`] bytes.
    pub fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        if flags & !update::LOCK != 0 {
            return Err(Errno::EINVAL);
        }
        self.sys_permits(flags::WRONLY)?;
        if flags != 0 && self.spec.spin_lock_off.is_none() {
            return Err(Errno::EINVAL);
        }
        self.sized(key, value.len())?;
        self.elements().read(key, value, flags)
    }

    /// Copies the value of a key and removes it (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    pub fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        if flags & !update::LOCK != 0 {
            return Err(Errno::EINVAL);
        }
        self.sys_permits(flags::WRONLY)?;
        self.sys_writable()?;
        let queue = matches!(self.kind, Kind::Queue(_));
        if flags != 0 && (queue || self.spec.spin_lock_off.is_none()) {
            return Err(Errno::EINVAL);
        }
        self.sized(key, value.len())?;
        self.elements().take(key, value, flags)
    }

    /// Writes a value (`BPF_MAP_UPDATE_ELEM`); see [`update`] for the flags.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.sys_writable()?;
        if flags & update::LOCK != 0 && self.spec.spin_lock_off.is_none() {
            return Err(Errno::EINVAL);
        }
        self.sized(key, value.len())?;
        self.elements().write(key, value, flags)
    }

    /// Removes a key (`BPF_MAP_DELETE_ELEM`).
    pub fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.sys_writable()?;
        self.key_sized(key)?;
        self.elements().delete(key)
    }

    /// The key after `key`, or the first when there is none or it is not in the map (`BPF_MAP_GET_NEXT_KEY`);
    /// `ENOENT` after the last.
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        self.sys_permits(flags::WRONLY)?;
        key.map_or(Ok(()), |key| self.key_sized(key))?;
        self.key_sized(next)?;
        self.elements().next_key(key, next)
    }

    /// Makes the map read-only for bpf(2) (`BPF_MAP_FREEZE`); `EPERM` when it is so already.
    pub fn freeze(&self) -> Result<(), Errno> {
        if self.spec.spin_lock_off.is_some() {
            return Err(Errno::ENOTSUPP);
        }
        self.sys_writable()?;
        if self.frozen.swap(true, Ordering::SeqCst) { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// Was it frozen?
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// The ring buffer that it is.
    pub fn ring(&self) -> Option<&RingBuf> {
        if let Kind::Ring(ring) = &self.kind { Some(ring) } else { None }
    }

    /// The user ring buffer that it is.
    pub fn user_ring(&self) -> Option<&UserRingBuf> {
        if let Kind::UserRing(ring) = &self.kind { Some(ring) } else { None }
    }

    /// The perf event array that it is.
    pub fn perf(&self) -> Option<&PerfEventArray> {
        if let Kind::Perf(perf) = &self.kind { Some(perf) } else { None }
    }

    /// Begins a run anew where the map's values last as long as a run: storage of the group that a program is attached to.
    pub fn begin_run(&self) {
        if let Kind::GroupStorage(storage) = &self.kind {
            storage.clear();
        }
    }

    /// May an element be written whose value is a descriptor? Linux asks this before it looks at the descriptor: `EINVAL`
    /// for flags that do not fit, `E2BIG` behind the end of an array.
    pub fn check_slot(&self, key: &[u8], flags: u64) -> Result<(), Errno> {
        self.sys_writable()?;
        self.key_sized(key)?;
        if flags & update::LOCK != 0 && self.spec.spin_lock_off.is_none() {
            return Err(Errno::EINVAL);
        }
        match self.kind {
            Kind::Programs(_) | Kind::Cgroups(_) | Kind::Perf(_) | Kind::ArrayOfMaps(_) => {
                nested::slot(key, flags, self.spec.max_entries).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Puts a program into a program array, for tail calls.
    pub fn set_program(&self, index: u32, program: Arc<Program>, flags: u64) -> Result<(), Errno> {
        self.sys_writable()?;
        let Kind::Programs(programs) = &self.kind else { return Err(Errno::EINVAL) };
        programs.set(index, program, flags)
    }

    /// Puts a control group into a cgroup array, by its id.
    pub fn set_cgroup(&self, index: u32, id: u64, flags: u64) -> Result<(), Errno> {
        self.sys_writable()?;
        let Kind::Cgroups(cgroups) = &self.kind else { return Err(Errno::EINVAL) };
        cgroups.set(index, id, flags)
    }

    /// Puts a map into an array or hash of maps. It must be of the template's shape.
    pub fn set_inner(&self, key: &[u8], inner: Arc<Self>, flags: u64) -> Result<(), Errno> {
        self.sys_writable()?;
        self.key_sized(key)?;
        let template = self.spec.inner.as_deref().ok_or(Errno::EINVAL)?;
        self.check_slot(key, flags)?;
        if !nested::fits(template, &inner) {
            return Err(Errno::EINVAL);
        }
        match &self.kind {
            Kind::ArrayOfMaps(maps) => maps.set(key, inner, flags),
            Kind::HashOfMaps(maps) => maps.set(key, inner, flags),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Does bpf(2) lack the right to read (or write) because of how the map was created?
    fn sys_permits(&self, forbidden: u32) -> Result<(), Errno> {
        if self.spec.map_flags & forbidden != 0 { Err(Errno::EPERM) } else { Ok(()) }
    }

    fn sys_writable(&self) -> Result<(), Errno> {
        if self.is_frozen() { Err(Errno::EPERM) } else { self.sys_permits(flags::RDONLY) }
    }

    fn key_sized(&self, key: &[u8]) -> Result<(), Errno> {
        if key.len() == self.spec.key_size as usize { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn sized(&self, key: &[u8], value_len: usize) -> Result<(), Errno> {
        self.key_sized(key)?;
        if value_len == self.spec.value_stride() { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// What programs and helpers use.
impl Map {
    pub(crate) fn elements(&self) -> &dyn Elements {
        match &self.kind {
            Kind::Array(it) => it,
            Kind::Hash(it) => it,
            Kind::Perf(it) => it,
            Kind::Ring(it) => it,
            Kind::UserRing(it) => it,
            Kind::Queue(it) => it,
            Kind::Bloom(it) => it,
            Kind::Lpm(it) => it,
            Kind::StackTrace(it) => it,
            Kind::Programs(it) => it,
            Kind::Cgroups(it) => it,
            Kind::ArrayOfMaps(it) => it,
            Kind::HashOfMaps(it) => it,
            Kind::Storage(it) => it,
            Kind::GroupStorage(it) => it,
            Kind::Pages(it) => it,
            Kind::Targets(it) => it,
            Kind::SockHash(it) => it,
        }
    }

    /// The memory that programs may reach through this map.
    pub(crate) fn windows(&self) -> Vec<Window> {
        let windows = self.elements().windows();
        if self.spec.map_flags & flags::RDONLY_PROG == 0 {
            return windows;
        }
        windows.into_iter().map(Window::read_only).collect()
    }

    /// What programs know the map by: its address.
    pub(crate) fn handle(self: &Arc<Self>) -> u64 {
        Arc::as_ptr(self).addr() as u64
    }

    /// Address of a byte of an array's first value: what `BPF_PSEUDO_MAP_VALUE` loads.
    pub(crate) fn direct_value(&self, off: u32) -> Option<u64> {
        match &self.kind {
            Kind::Array(array) => array.direct_value(off),
            Kind::Pages(pages) => pages.direct_value(off),
            _ => None,
        }
    }

    /// Where the elements of an array lie.
    pub(crate) fn layout(&self) -> Option<Layout> {
        if let Kind::Array(array) = &self.kind { Some(array.layout()) } else { None }
    }

    /// Is it an array of words that are the same for all processors, of which nothing is special?
    pub(crate) fn is_of_words(&self) -> bool {
        matches!(&self.kind, Kind::Array(array) if array.is_of_words())
    }

    /// The address of a value, as programs get it from `bpf_map_lookup_elem`: it stays valid as long as the map lives.
    #[inline]
    pub fn value_addr(&self, key: &[u8], cpu: u32) -> Option<u64> {
        match &self.kind {
            Kind::Array(array) => array.addr(key, cpu),
            Kind::Hash(hash) => hash.addr(key, cpu),
            _ => self.elements().addr(key, cpu),
        }
    }

    /// Writes a value as programs do by `bpf_map_update_elem`: of per-CPU maps that of one processor.
    #[inline]
    pub fn put(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        match &self.kind {
            Kind::Array(array) => array.put(key, value, flags, cpu),
            Kind::Hash(hash) => hash.put(key, value, flags, cpu),
            _ => self.elements().put(key, value, flags, cpu),
        }
    }

    pub(crate) fn programs(&self) -> Option<&ProgArray> {
        if let Kind::Programs(programs) = &self.kind { Some(programs) } else { None }
    }

    pub(crate) fn cgroups(&self) -> Option<&CgroupArray> {
        if let Kind::Cgroups(cgroups) = &self.kind { Some(cgroups) } else { None }
    }

    pub(crate) fn inner(&self, key: &[u8]) -> Option<Arc<Self>> {
        match &self.kind {
            Kind::ArrayOfMaps(maps) => maps.get(key),
            Kind::HashOfMaps(maps) => maps.get(key),
            _ => None,
        }
    }

    pub(crate) fn stack_traces(&self) -> Option<&StackTraces> {
        if let Kind::StackTrace(traces) = &self.kind { Some(traces) } else { None }
    }

    /// The storage of this kind that it is.
    pub(crate) fn storage(&self, map_type: MapType) -> Option<&Storage> {
        match &self.kind {
            Kind::Storage(storage) if self.spec.map_type == map_type => Some(storage),
            _ => None,
        }
    }

    /// The storage of the group that a program is attached to, that it is.
    pub(crate) fn group_storage(&self) -> Option<&GroupStorage> {
        if let Kind::GroupStorage(storage) = &self.kind { Some(storage) } else { None }
    }

    /// The arena that it is.
    pub(crate) fn pages(&self) -> Option<&Pages> {
        if let Kind::Pages(pages) = &self.kind { Some(pages) } else { None }
    }

    pub(crate) fn targets(&self) -> Option<&Targets> {
        if let Kind::Targets(targets) = &self.kind { Some(targets) } else { None }
    }

    /// Does a lookup answer a map instead of a value?
    pub(crate) fn holds_maps(&self) -> bool {
        matches!(self.kind, Kind::ArrayOfMaps(_) | Kind::HashOfMaps(_))
    }
}

impl Kind {
    fn new(spec: &MapSpec) -> Result<Self, Errno> {
        Ok(match spec.map_type {
            MapType::ARRAY | MapType::PERCPU_ARRAY => Self::Array(Array::new(spec)?),
            MapType::HASH | MapType::PERCPU_HASH | MapType::LRU_HASH | MapType::LRU_PERCPU_HASH => {
                Self::Hash(Hash::new(spec)?)
            }
            MapType::PERF_EVENT_ARRAY => Self::Perf(PerfEventArray::new(spec)?),
            MapType::RINGBUF => Self::Ring(RingBuf::new(spec)?),
            MapType::USER_RINGBUF => Self::UserRing(UserRingBuf::new(spec)?),
            MapType::QUEUE | MapType::STACK => Self::Queue(Queue::new(spec)),
            MapType::BLOOM_FILTER => Self::Bloom(Bloom::new(spec)?),
            MapType::LPM_TRIE => Self::Lpm(LpmTrie::new(spec)?),
            MapType::STACK_TRACE => Self::StackTrace(StackTraces::new(spec)?),
            MapType::PROG_ARRAY => Self::Programs(ProgArray::new(spec)),
            MapType::CGROUP_ARRAY => Self::Cgroups(CgroupArray::new(spec)),
            MapType::ARRAY_OF_MAPS => Self::ArrayOfMaps(ArrayOfMaps::new(spec)),
            MapType::HASH_OF_MAPS => Self::HashOfMaps(HashOfMaps::new(spec)),
            MapType::TASK_STORAGE | MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::CGRP_STORAGE => {
                Self::Storage(Storage::new(spec)?)
            }
            MapType::ARENA => Self::Pages(Pages::new(spec)?),
            MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => {
                Self::GroupStorage(GroupStorage::new(spec)?)
            }
            MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::CPUMAP | MapType::XSKMAP | MapType::SOCKMAP => {
                Self::Targets(Targets::new(spec)?)
            }
            MapType::SOCKHASH => Self::SockHash(SockHash::new(spec)),
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("spec", &self.spec).field("frozen", &self.frozen).finish_non_exhaustive()
    }
}
