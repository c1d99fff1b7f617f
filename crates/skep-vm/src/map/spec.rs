//! What a map is created from, and which combinations the kernel accepts.

use std::fmt;
use std::sync::Arc;

use skep_isa::uapi::MapType;
use skep_verifier::SpecialField;

use super::{Map, group_storage, pages};
use crate::Errno;

/// Creation flags (`BPF_F_*`, `include/uapi/linux/bpf.h`).
pub mod flags {
    /// Elements are allocated when they are made.
    pub const NO_PREALLOC: u32 = 1 << 0;
    /// Least-recently-used lists by processor.
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// The memory node is given.
    pub const NUMA_NODE: u32 = 1 << 2;
    /// bpf(2) may only read.
    pub const RDONLY: u32 = 1 << 3;
    /// bpf(2) may only write.
    pub const WRONLY: u32 = 1 << 4;
    /// Stack traces hold build ids and offsets.
    pub const STACK_BUILD_ID: u32 = 1 << 5;
    /// The hash has no random seed.
    pub const ZERO_SEED: u32 = 1 << 6;
    /// Programs may only read.
    pub const RDONLY_PROG: u32 = 1 << 7;
    /// Programs may only write.
    pub const WRONLY_PROG: u32 = 1 << 8;
    /// A socket's storage goes to the sockets that it accepts.
    pub const CLONE: u32 = 1 << 9;
    /// User space may map the values.
    pub const MMAPABLE: u32 = 1 << 10;
    /// Perf events stay when the descriptor is closed.
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    /// Inner arrays of other lengths may take its place.
    pub const INNER_MAP: u32 = 1 << 12;
    /// A token lends its rights.
    pub const TOKEN_FD: u32 = 1 << 16;
    /// User space gets no page of an arena that no program asked for.
    pub const SEGV_ON_FAULT: u32 = 1 << 17;
    /// Programs do not hand addresses of an arena to user space.
    pub const NO_USER_CONV: u32 = 1 << 18;
}

/// Flags of an update (`enum` of `BPF_ANY` and its like).
pub mod update {
    /// Make a new element or change an existing one.
    pub const ANY: u64 = 0;
    /// Only make a new element.
    pub const NOEXIST: u64 = 1;
    /// Only change an existing one.
    pub const EXIST: u64 = 2;
    /// Hold the spin lock of the value.
    pub const LOCK: u64 = 4;
}

/// What to create: the fields of `BPF_MAP_CREATE` that matter here.
#[derive(Clone, Debug)]
pub struct MapSpec {
    /// What kind of map.
    pub map_type: MapType,
    /// Its name, for messages.
    pub name: String,
    /// The number that user space sees where a map is an element of another.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value, of one processor.
    pub value_size: u32,
    /// Elements at most; bytes for ring buffers.
    pub max_entries: u32,
    /// Creation flags, see [`flags`].
    pub map_flags: u32,
    /// Type-dependent: number of bloom filter hashes.
    pub map_extra: u64,
    /// Processors that there can be: the slots of per-CPU maps.
    pub cpus: u32,
    /// Template of the maps that it holds.
    pub inner: Option<Arc<Map>>,
    /// Where a value has a `struct bpf_spin_lock`, if it has one.
    pub spin_lock_off: Option<u32>,
    /// Other fields of values that only the kernel's own functions may touch, see [`with_fields`](Self::with_fields).
    pub special: Vec<SpecialField>,
    /// Types of keys and values, if they were told.
    pub types: Option<MapTypes>,
}

/// Types of a map's keys and values: numbers that mean something to who made the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapTypes {
    /// The BTF object.
    pub btf_id: u32,
    /// The key's type in it.
    pub key: u32,
    /// The value's.
    pub value: u32,
}

impl MapSpec {
    /// A map with no flags, for the processors that this machine has.
    pub fn new(map_type: MapType, name: &str, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        Self {
            map_type,
            name: name.to_owned(),
            id: 0,
            key_size,
            value_size,
            max_entries,
            map_flags: 0,
            map_extra: 0,
            cpus: crate::clock::possible_cpus(),
            inner: None,
            spin_lock_off: None,
            special: Vec::new(),
            types: None,
        }
    }

    /// The same with creation flags.
    #[must_use]
    pub fn flags(mut self, map_flags: u32) -> Self {
        self.map_flags = map_flags;
        self
    }

    /// The same with room for so many elements.
    fn entries(mut self, max_entries: u32) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// The same with a template of inner maps.
    #[must_use]
    pub fn inner(mut self, template: Arc<Map>) -> Self {
        self.inner = Some(template);
        self
    }

    /// The same with special fields in values: locks, timers, work queues, pointers. bpf(2) sees zeros there, and its
    /// updates leave them alone.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<SpecialField>) -> Self {
        self.spin_lock_off =
            fields.iter().find(|field| field.name == "bpf_spin_lock").map(|lock| lock.offset);
        self.special = fields;
        self.special.retain(|field| field.name != "bpf_spin_lock");
        self
    }

    /// Does each processor have its own value?
    pub fn is_percpu(&self) -> bool {
        matches!(
            self.map_type,
            MapType::PERCPU_ARRAY
                | MapType::PERCPU_HASH
                | MapType::LRU_PERCPU_HASH
                | MapType::PERCPU_CGROUP_STORAGE
        )
    }

    /// Bytes of a value as bpf(2) passes it (`bpf_map_value_size`, `kernel/bpf/syscall.c`).
    pub fn value_stride(&self) -> usize {
        let value = self.value_size as usize;
        match self.map_type {
            _ if self.is_percpu() => value.next_multiple_of(8) * self.cpus as usize,
            MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::PROG_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::PERF_EVENT_ARRAY => 4,
            _ => value,
        }
    }

    pub(super) fn error(&self, errno: Errno) -> MapError {
        MapError { errno, message: self.complaint(errno) }
    }

    fn complaint(&self, errno: Errno) -> String {
        let Self { map_type, name, key_size, value_size, max_entries, map_flags, .. } = self;
        if errno == Errno::EOPNOTSUPP {
            return format!("map `{name}`: user space does not serve maps of type `{map_type}`");
        }
        if *max_entries == 0 && self.clone().entries(1).check().is_ok() {
            return format!(
                "map `{name}`: {errno}: `max_entries` is 0, so a map of type `{map_type}` has no room"
            );
        }
        format!(
            "map `{name}`: {errno}: type `{map_type}`, key {key_size}, value {value_size}, \
             entries {max_entries}, flags {map_flags:#x}"
        )
    }
}

/// Why a map cannot be created.
#[derive(Clone, Debug)]
pub struct MapError {
    errno: Errno,
    message: String,
}

impl MapError {
    /// What the kernel answers in this case; `EOPNOTSUPP` when the type is not served.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MapError {}

/// Bytes that one per-CPU value may take (`PCPU_MIN_UNIT_SIZE`).
pub(super) const PERCPU_MAX: u32 = 32 << 10;

/// Largest value of a storage (`BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`): 16 bits less the kernel's own.
pub(super) const STORAGE_MAX: u32 = 65535 - 128;

/// Largest allocation of the kernel's slab (`KMALLOC_MAX_SIZE`), which bounds keys and values together.
const KMALLOC_MAX: u64 = 4 << 20;

/// Bytes of the kernel's `struct htab_elem` before the key.
const HTAB_ELEM: u64 = 48;

const ACCESS: u32 = flags::RDONLY | flags::WRONLY | flags::RDONLY_PROG | flags::WRONLY_PROG;

impl MapSpec {
    /// Can there be such a map? A token is looked at last, and here are none.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if self.map_flags & flags::TOKEN_FD == 0 {
            return self.alloc_check();
        }
        let without = Self { map_flags: self.map_flags & !flags::TOKEN_FD, ..self.clone() };
        without.alloc_check().and(Err(Errno::EINVAL))
    }

    /// The `map_alloc_check` of each type. It says nothing about privileges: this process has its own maps.
    fn alloc_check(&self) -> Result<(), Errno> {
        let both = |a: u32, b: u32| self.map_flags & a != 0 && self.map_flags & b != 0;
        if both(flags::RDONLY, flags::WRONLY) || both(flags::RDONLY_PROG, flags::WRONLY_PROG) {
            return Err(Errno::EINVAL);
        }
        require(self.cpus != 0)?;
        if self.map_extra != 0 && ![MapType::BLOOM_FILTER, MapType::ARENA].contains(&self.map_type) {
            return Err(Errno::EINVAL);
        }
        match self.map_type {
            MapType::ARRAY | MapType::PERCPU_ARRAY => self.check_array(),
            MapType::PERF_EVENT_ARRAY | MapType::PROG_ARRAY | MapType::CGROUP_ARRAY => self.check_fd_array(),
            MapType::ARRAY_OF_MAPS => self.inner_fits().and_then(|()| self.check_fd_array()),
            MapType::HASH | MapType::PERCPU_HASH | MapType::LRU_HASH | MapType::LRU_PERCPU_HASH => {
                self.check_hash()
            }
            MapType::HASH_OF_MAPS => self.check_hash_of_maps(),
            MapType::RINGBUF | MapType::USER_RINGBUF => self.check_ring(),
            MapType::QUEUE | MapType::STACK => self.check_queue(),
            MapType::BLOOM_FILTER => self.check_bloom(),
            MapType::LPM_TRIE => self.check_lpm(),
            MapType::STACK_TRACE => self.check_stack_trace(),
            MapType::TASK_STORAGE | MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::CGRP_STORAGE => {
                self.check_storage()
            }
            MapType::ARENA => pages::check(self),
            MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => {
                group_storage::check(self)?;
                self.only_flags(flags::NUMA_NODE | ACCESS)
            }
            MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::CPUMAP | MapType::XSKMAP | MapType::SOCKMAP => {
                self.check_targets()
            }
            MapType::SOCKHASH => self.check_sock_hash(),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn only_flags(&self, allowed: u32) -> Result<(), Errno> {
        require(self.map_flags & !allowed == 0)
    }

    fn check_array(&self) -> Result<(), Errno> {
        let preserve = if self.map_type == MapType::PERF_EVENT_ARRAY { flags::PRESERVE_ELEMS } else { 0 };
        let plain = if self.map_type == MapType::ARRAY { flags::MMAPABLE | flags::INNER_MAP } else { 0 };
        self.only_flags(flags::NUMA_NODE | ACCESS | preserve | plain)?;
        require(self.max_entries != 0 && self.key_size == 4 && self.value_size != 0)?;
        require(!(self.is_percpu() && self.map_flags & flags::NUMA_NODE != 0))?;
        self.percpu_fits()?;
        if self.value_size > i32::MAX as u32 { Err(Errno::E2BIG) } else { Ok(()) }
    }

    fn check_fd_array(&self) -> Result<(), Errno> {
        require(self.value_size == 4)?;
        require(self.map_flags & (flags::RDONLY_PROG | flags::WRONLY_PROG) == 0)?;
        self.check_array()
    }

    fn check_hash(&self) -> Result<(), Errno> {
        let lru = matches!(self.map_type, MapType::LRU_HASH | MapType::LRU_PERCPU_HASH);
        let allowed = flags::NO_PREALLOC | flags::NO_COMMON_LRU | flags::NUMA_NODE | flags::ZERO_SEED;
        self.only_flags(allowed | ACCESS)?;
        require(lru || self.map_flags & flags::NO_COMMON_LRU == 0)?;
        if lru && self.map_flags & flags::NO_PREALLOC != 0 {
            return Err(Errno::ENOTSUPP);
        }
        let own_node = self.is_percpu() || self.map_flags & flags::NO_COMMON_LRU != 0;
        require(!(own_node && self.map_flags & flags::NUMA_NODE != 0))?;
        require(self.max_entries != 0 && self.key_size != 0 && self.value_size != 0)?;
        self.percpu_fits()?;
        let bytes = u64::from(self.key_size) + u64::from(self.value_size);
        if bytes >= KMALLOC_MAX - HTAB_ELEM || self.max_entries > 1 << 31 {
            return Err(Errno::E2BIG);
        }
        Ok(())
    }

    fn percpu_fits(&self) -> Result<(), Errno> {
        let too_big = self.is_percpu() && self.value_size > PERCPU_MAX;
        if too_big { Err(Errno::E2BIG) } else { Ok(()) }
    }

    fn check_hash_of_maps(&self) -> Result<(), Errno> {
        self.inner_fits()?;
        require(self.value_size == 4)?;
        self.check_hash()
    }

    /// A map of maps needs a template, which holds no maps itself.
    fn inner_fits(&self) -> Result<(), Errno> {
        let inner = self.inner.as_deref().ok_or(Errno::EBADF)?;
        let no_inner = matches!(
            inner.map_type(),
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS | MapType::PROG_ARRAY | MapType::TASK_STORAGE
        );
        if no_inner { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn check_ring(&self) -> Result<(), Errno> {
        self.only_flags(flags::NUMA_NODE)?;
        let pages = self.max_entries.is_power_of_two() && self.max_entries.is_multiple_of(4096);
        require(self.key_size == 0 && self.value_size == 0 && pages)
    }

    fn check_queue(&self) -> Result<(), Errno> {
        self.only_flags(flags::NUMA_NODE | ACCESS)?;
        require(self.max_entries != 0 && self.value_size != 0 && self.key_size == 0)?;
        if u64::from(self.value_size) > KMALLOC_MAX { Err(Errno::E2BIG) } else { Ok(()) }
    }

    fn check_bloom(&self) -> Result<(), Errno> {
        self.only_flags(flags::NUMA_NODE | flags::ZERO_SEED | ACCESS)?;
        require(self.key_size == 0 && self.value_size != 0 && self.max_entries != 0)?;
        require(self.map_extra & !0xf == 0)?;
        if u64::from(self.value_size) > KMALLOC_MAX { Err(Errno::E2BIG) } else { Ok(()) }
    }

    fn check_lpm(&self) -> Result<(), Errno> {
        self.only_flags(flags::NO_PREALLOC | flags::NUMA_NODE | ACCESS)?;
        require(self.max_entries != 0 && self.map_flags & flags::NO_PREALLOC != 0)?;
        require((4 + 1..=4 + 256).contains(&self.key_size))?;
        require(self.value_size != 0 && u64::from(self.value_size) <= KMALLOC_MAX - 256 - 64)
    }

    fn check_stack_trace(&self) -> Result<(), Errno> {
        self.only_flags(flags::NUMA_NODE | flags::STACK_BUILD_ID | flags::RDONLY | flags::WRONLY)?;
        let entry = if self.map_flags & flags::STACK_BUILD_ID != 0 { 32 } else { 8 };
        require(self.max_entries != 0 && self.key_size == 4)?;
        require(self.value_size >= 8 && self.value_size.is_multiple_of(entry))?;
        require(self.value_size / entry <= MAX_STACK_DEPTH)?;
        if self.max_entries > 1 << 31 { Err(Errno::E2BIG) } else { Ok(()) }
    }

    fn check_targets(&self) -> Result<(), Errno> {
        /// Processors that a kernel may be built for.
        const NR_CPUS: u32 = 8192;
        let access = flags::RDONLY | flags::WRONLY;
        let allowed = if self.map_type == MapType::CPUMAP { 0 } else { access };
        self.only_flags(flags::NUMA_NODE | allowed)?;
        let program_too = self.value_size == 8 && self.map_type != MapType::XSKMAP;
        require(self.max_entries != 0 && self.key_size == 4 && (self.value_size == 4 || program_too))?;
        match self.map_type {
            MapType::CPUMAP if self.max_entries > NR_CPUS => Err(Errno::E2BIG),
            MapType::DEVMAP_HASH => require(self.max_entries <= 1 << 31),
            _ => Ok(()),
        }
    }

    fn check_sock_hash(&self) -> Result<(), Errno> {
        /// Bytes of a program's stack (`MAX_BPF_STACK`), where keys lie.
        const MAX_KEY: u32 = 512;
        self.only_flags(flags::NUMA_NODE | flags::RDONLY | flags::WRONLY)?;
        require(
            self.max_entries != 0 && self.key_size != 0 && (self.value_size == 4 || self.value_size == 8),
        )?;
        if self.key_size > MAX_KEY {
            return Err(Errno::E2BIG);
        }
        require(self.max_entries <= 1 << 28)
    }

    fn check_storage(&self) -> Result<(), Errno> {
        let clone = if self.map_type == MapType::SK_STORAGE { flags::CLONE } else { 0 };
        self.only_flags(flags::NO_PREALLOC | clone)?;
        require(self.map_flags & flags::NO_PREALLOC != 0 && self.max_entries == 0)?;
        require(self.key_size == 4 && self.value_size != 0)?;
        if self.value_size > STORAGE_MAX { Err(Errno::E2BIG) } else { Ok(()) }
    }
}

/// Frames of a stack trace (`kernel.perf_event_max_stack`).
pub(crate) const MAX_STACK_DEPTH: u32 = 127;

fn require(condition: bool) -> Result<(), Errno> {
    if condition { Ok(()) } else { Err(Errno::EINVAL) }
}
