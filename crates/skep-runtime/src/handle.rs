//! Owned descriptors and their typed methods.

use std::fmt;
use std::path::Path;

use skep_isa::uapi::MapType;
use skep_obj::AttachPoint;

use crate::command::{BatchOp, Command, MapCreate, ProgLoad, Reply, TestRun};
use crate::info::MapInfo;
use crate::link_info::LinkInfo;
use crate::packet::{PacketRunner, TestRunner};
use crate::{AttachOptions, Error, ErrorKind, EventSource, Memory, Producer, Result, SharedRuntime};

/// A descriptor number, as a runtime hands it out. Copying it does not copy the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fd(pub i32);

/// Owns a descriptor and the runtime it belongs to; dropping it closes it.
pub struct Handle {
    runtime: SharedRuntime,
    fd: Fd,
}

impl Handle {
    /// Takes over a descriptor that `runtime` answered.
    pub fn new(runtime: SharedRuntime, fd: Fd) -> Self {
        Self { runtime, fd }
    }

    /// The number, for commands.
    pub fn fd(&self) -> Fd {
        self.fd
    }

    /// Whose it is.
    pub fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.runtime.close(self.fd);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} of the {} runtime)", self.fd.0, self.runtime.kind())
    }
}

/// Runs a command that answers a descriptor.
fn open(runtime: &SharedRuntime, command: Command<'_>) -> Result<Handle> {
    match runtime.bpf(command)? {
        Reply::Fd(fd) => Ok(Handle::new(runtime.clone(), fd)),
        other => Err(Error::os(22, format!("expected a descriptor, got {other:?}"))),
    }
}

/// A map and the shape its bytes have.
#[derive(Debug)]
pub struct Map {
    handle: Handle,
    map_type: MapType,
    key_size: u32,
    /// Bytes of one value as bpf(2) passes it: for per-CPU maps, all processors' slots, each rounded up to eight.
    value_stride: usize,
}

impl Map {
    /// Creates a map (`BPF_MAP_CREATE`). `cpus` is the number of possible processors, for the per-CPU types.
    pub fn create(runtime: &SharedRuntime, spec: &MapCreate<'_>, cpus: usize) -> Result<Self> {
        let handle = open(runtime, Command::MapCreate(spec))
            .map_err(|e| e.context(format_args!("map `{}`", spec.name)))?;
        Ok(Self {
            handle,
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_stride: value_stride(spec.map_type, spec.value_size, cpus),
        })
    }

    /// A map that is there already, of the shape that `info` says.
    pub fn adopt(handle: Handle, info: &MapInfo, cpus: usize) -> Self {
        Self {
            handle,
            map_type: info.map_type,
            key_size: info.key_size,
            value_stride: value_stride(info.map_type, info.value_size, cpus),
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> Fd {
        self.handle.fd
    }

    /// The descriptor with its runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The first `bytes` of the map's values as memory that is shared with programs: of an array with `BPF_F_MMAPABLE`, and of
    /// an arena, which wants to be at `address` unless that is 0.
    pub fn memory(&self, bytes: usize, address: u64, writable: bool) -> Result<Box<dyn Memory>> {
        self.handle.runtime.memory(self.fd(), bytes, address, writable)
    }

    /// Opens the producer side of a user ring buffer of `bytes` bytes.
    pub fn producer(&self, bytes: usize) -> Result<Box<dyn Producer>> {
        self.handle.runtime.producer(self.fd(), bytes)
    }

    /// What kind of map it is.
    pub fn map_type(&self) -> MapType {
        self.map_type
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.key_size as usize
    }

    /// Bytes of a value as [`lookup`](Self::lookup) gives it.
    pub fn value_stride(&self) -> usize {
        self.value_stride
    }

    fn bpf(&self, command: Command<'_>) -> Result<Reply> {
        self.handle.runtime.bpf(command)
    }

    /// The value of a key, or `None` when it is not there.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.value_stride];
        match self.bpf(Command::MapLookup { map: self.fd(), key, value: &mut value, flags: 0 }) {
            Ok(_) => Ok(Some(value)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes a value; `flags` are `BPF_ANY` 0, `BPF_NOEXIST` 1, `BPF_EXIST` 2, `BPF_F_LOCK` 4.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.bpf(Command::MapUpdate { map: self.fd(), key, value, flags }).map(drop)
    }

    /// Removes a key.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.bpf(Command::MapDelete { map: self.fd(), key }).map(drop)
    }

    /// The key after `key` (`None`: the first), or `None` at the end.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let mut next = vec![0; self.key_size as usize];
        match self.bpf(Command::MapGetNextKey { map: self.fd(), key, next: &mut next }) {
            Ok(_) => Ok(Some(next)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes the map read-only for bpf(2) (`BPF_MAP_FREEZE`).
    pub fn freeze(&self) -> Result<()> {
        self.bpf(Command::MapFreeze { map: self.fd() }).map(drop)
    }

    /// One batch command; see [`BatchOp`].
    pub fn batch(&self, op: BatchOp<'_>) -> Result<Reply> {
        self.bpf(Command::MapBatch { map: self.fd(), op })
    }

    /// Opens the consumer side of a ring buffer or perf event array.
    pub fn events(&self) -> Result<Box<dyn EventSource>> {
        self.handle.runtime.events(self.fd())
    }
}

/// Bytes of one value as bpf(2) passes it (`bpf_map_value_size`, `kernel/bpf/syscall.c`).
pub fn value_stride(map_type: MapType, value_size: u32, cpus: usize) -> usize {
    match map_type {
        MapType::PERCPU_HASH
        | MapType::LRU_PERCPU_HASH
        | MapType::PERCPU_ARRAY
        | MapType::PERCPU_CGROUP_STORAGE => (value_size as usize).next_multiple_of(8) * cpus,
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => 4,
        _ => value_size as usize,
    }
}

/// What a test run gives beside filling buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRan {
    /// What the program returned.
    pub retval: u32,
    /// Average time of one run.
    pub duration_ns: u32,
    /// Bytes of the packet afterwards.
    pub data_size_out: u32,
    /// Bytes of the context afterwards.
    pub ctx_size_out: u32,
}

/// A loaded program.
#[derive(Debug)]
pub struct Program {
    handle: Handle,
    name: String,
}

impl Program {
    /// Loads a program (`BPF_PROG_LOAD`); its instructions hold map descriptors by now.
    pub fn load(runtime: &SharedRuntime, spec: &ProgLoad<'_>) -> Result<Self> {
        Ok(Self { handle: open(runtime, Command::ProgLoad(spec))?, name: spec.name.to_owned() })
    }

    /// The descriptor.
    pub fn fd(&self) -> Fd {
        self.handle.fd
    }

    /// Its name, as the object has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it on what the caller makes up (`BPF_PROG_TEST_RUN`).
    pub fn test_run(&self, run: TestRun<'_>) -> Result<TestRan> {
        match self.handle.runtime.bpf(Command::ProgTestRun { prog: self.fd(), run })? {
            Reply::TestRun { retval, duration_ns, data_size_out, ctx_size_out } => {
                Ok(TestRan { retval, duration_ns, data_size_out, ctx_size_out })
            }
            other => Err(Error::os(22, format!("expected the result of a run, got {other:?}"))),
        }
    }

    /// Runs it on packets; `above_link` for types whose data begins at the network header.
    pub fn packets(&self, above_link: bool) -> Result<Box<dyn PacketRunner + '_>> {
        match self.handle.runtime.packets(self.fd())? {
            Some(runner) => Ok(runner),
            None => Ok(Box::new(TestRunner::new(self, above_link))),
        }
    }

    /// Attaches it; dropping the link detaches.
    pub fn attach(&self, point: &AttachPoint, options: &AttachOptions) -> Result<Link> {
        let runtime = &self.handle.runtime;
        let fd = runtime.attach(self.fd(), point, options)?;
        Ok(Link { handle: Handle::new(runtime.clone(), fd) })
    }
}

/// Bytes read from an iterator at a time; the kernel's own buffer is of eight pages.
const ITERATOR_BYTES: usize = 32 << 10;

/// What holds a program to its hook; dropping it detaches.
#[derive(Debug)]
pub struct Link {
    handle: Handle,
}

impl Link {
    /// A link of which there is a descriptor already.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// The descriptor.
    pub fn fd(&self) -> Fd {
        self.handle.fd
    }

    /// A link that was pinned.
    pub fn open(runtime: &SharedRuntime, path: &Path) -> Result<Self> {
        Ok(Self { handle: open(runtime, Command::ObjGet { path })? })
    }

    /// Keeps the program attached for as long as the file exists (`BPF_OBJ_PIN`); it has to be on a bpf file system.
    pub fn pin(&self, path: &Path) -> Result<()> {
        self.handle.runtime.bpf(Command::ObjPin { fd: self.fd(), path }).map(drop)
    }

    /// Runs another program from now on, without a packet or event in between that sees neither; with `old`, only if that
    /// is the one there now.
    pub fn update(&self, new: &Program, old: Option<&Program>) -> Result<()> {
        let old_prog = old.map(Program::fd);
        self.handle
            .runtime
            .bpf(Command::LinkUpdate { link: self.fd(), new_prog: new.fd(), old_prog })
            .map(drop)
    }

    /// What the runtime says of it.
    pub fn info(&self) -> Result<LinkInfo> {
        LinkInfo::of(&self.handle.runtime, self.fd())
    }

    /// Everything that an iterator writes in one run.
    pub fn iterate(&self) -> Result<Vec<u8>> {
        let runtime = &self.handle.runtime;
        let iterator = open(runtime, Command::IterCreate { link: self.fd() })?;
        let (mut text, mut buffer) = (Vec::new(), vec![0; ITERATOR_BYTES]);
        loop {
            match runtime.read(iterator.fd(), &mut buffer)? {
                0 => return Ok(text),
                bytes => text.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    /// Detaches now, even when the link is pinned or held elsewhere (`BPF_LINK_DETACH`).
    pub fn detach(&self) -> Result<()> {
        self.handle.runtime.bpf(Command::LinkDetach { link: self.fd() }).map(drop)
    }
}
