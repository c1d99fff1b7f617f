//! [`KernelRuntime`]: the waist over bpf(2).

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, IntoRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_obj::AttachPoint;
use skep_runtime::command::ProgLoad;
use skep_runtime::{
    AttachOptions, AttachTarget, Command, Error, EventSource, Fd, Hook, Memory, Producer, Reply, Result,
    Runtime, RuntimeKind, Scope, Session,
};

use crate::attach::Attachment;
use crate::composite::Composite;
use crate::info::MapInfo;
use crate::losses::Losses;
use crate::memory::MapMemory;
use crate::perf::PerfBuffers;
use crate::printk::TracePipe;
use crate::ring::RingBuffer;
use crate::scope::{Filter, Places};
use crate::shapes::Shapes;
use crate::sys::{bpf, errno};
use crate::user_ring::UserRing;
use crate::{attach, explain, load, scope, session};

/// Room for what is said of a descriptor.
const FDINFO_BYTES: usize = 1024;

/// Linux's BPF subsystem. Descriptors are the process's own.
#[derive(Debug, Default)]
pub struct KernelRuntime {
    /// What keeps programs to a process tree; `None` lets them see the machine.
    filter: Option<OnceLock<Arc<Filter>>>,
    /// What counts the records that do not fit into ring buffers, if that is wanted.
    losses: Option<Losses>,
    /// What has to stay open beside a link's descriptor, until that is closed.
    composites: Mutex<HashMap<Fd, Composite>>,
    /// Sizes of keys and values.
    shapes: Shapes,
}

impl KernelRuntime {
    /// The kernel as it is: programs see the whole machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kernel, kept to one process tree: tracing programs that are loaded through this runtime see nothing until a
    /// session [starts](Runtime::start) a command or names a process, and from then on that process and its children.
    ///
    /// The programs begin with a few instructions more than their object says; see `ARCHITECTURE.md`. Programs on packets,
    /// cgroups and sockets, and iterators, are not restricted.
    pub fn scoped() -> Self {
        Self { filter: Some(OnceLock::new()), ..Self::default() }
    }

    /// Counts the records that do not fit into ring buffers: they come as [`Event::Lost`](skep_runtime::Event::Lost), as those
    /// of perf buffers do. Linux keeps no count, so the programs that are loaded through this runtime get some instructions
    /// more behind each call of `bpf_ringbuf_reserve`, `bpf_ringbuf_output` and `bpf_ringbuf_reserve_dynptr`.
    ///
    /// A call is left as it is where its code does not tell which of several ring buffers it writes to, and a program where
    /// the kernel refuses it with more instructions.
    #[must_use]
    pub fn counting_losses(self) -> Self {
        Self { losses: Some(Losses::default()), ..self }
    }

    /// May this process load and attach tracing programs, and keep them to a process tree if it is to? What is in the way
    /// (privileges, seccomp, lockdown, an unmounted tracefs) is the error. Nothing stays behind.
    pub fn probe(&self) -> Result<()> {
        let code = scope::nothing();
        let spec = ProgLoad::new(ProgType::TRACEPOINT, "skep_probe", &code, "GPL");
        attach::owned(load::program(&spec)?)?;
        if self.filter.is_some() {
            Places::find()?;
        }
        Ok(())
    }

    fn load_program(&self, spec: &ProgLoad<'_>) -> Result<Reply> {
        let counted = self.losses.as_ref().and_then(|losses| losses.count(spec));
        load::changed_program(spec, counted.as_ref(), self.filter()?.map(Arc::as_ref))
    }

    fn composites(&self) -> MutexGuard<'_, HashMap<Fd, Composite>> {
        self.composites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter, made when it is first wanted.
    fn filter(&self) -> Result<Option<&Arc<Filter>>> {
        let Some(cell) = &self.filter else { return Ok(None) };
        if cell.get().is_none() {
            // Another thread may have been faster; its filter stays, and ours is closed.
            let _ = cell.set(Arc::new(Filter::new()?));
        }
        Ok(cell.get())
    }
}

impl Runtime for KernelRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Kernel
    }

    fn bpf(&self, command: Command<'_>) -> Result<Reply> {
        self.shapes.check(&command)?;
        match command {
            Command::ProgLoad(spec) => self.load_program(spec),
            Command::ProgTestRun { prog, run } => load::test_run(prog, run),
            Command::LinkDetach { link } => match self.composites().remove(&link) {
                Some(composite) => composite.detach(link),
                None => load::command(command),
            },
            Command::LinkUpdate { link, new_prog, old_prog } => match self.composites().get(&link) {
                Some(composite) => composite.update(link, new_prog, old_prog),
                None => load::command(command),
            },
            Command::ObjPin { fd, path } => match self.composites().get(&fd) {
                Some(composite) => composite.pin(path),
                None => load::command(Command::ObjPin { fd, path }),
            },
            command => load::command(command),
        }
    }

    fn close(&self, fd: Fd) {
        // In a statement of its own: detaching takes a while, and others need not wait for it.
        let composite = self.composites().remove(&fd);
        drop(composite);
        self.shapes.forget(fd);
        bpf::close(fd.0);
    }

    fn attach(&self, prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd> {
        let Attachment { link, rest, has_link } = attach::attach(prog, point, options)?;
        let fd = Fd(link.into_raw_fd());
        if !rest.is_empty() {
            self.composites().insert(fd, Composite { rest, has_link });
        }
        Ok(fd)
    }

    fn query(&self, target: &AttachTarget, attach_type: AttachType) -> Result<Hook> {
        attach::query(target, attach_type)
    }

    fn read(&self, iterator: Fd, buffer: &mut [u8]) -> Result<usize> {
        bpf::read(iterator.0, buffer)
            .map_err(|e| Error::os(errno(&e), format!("cannot read the iterator: {}", explain::describe(&e))))
    }

    fn fdinfo(&self, fd: Fd) -> String {
        let read = || {
            let mut text = vec![0; FDINFO_BYTES];
            let mut file = File::open(format!("/proc/self/fdinfo/{}", fd.0))?;
            let bytes = file.read(&mut text)?;
            text.truncate(bytes);
            // The kernel writes it in one piece, which comes whole where there is room.
            if bytes == FDINFO_BYTES {
                file.read_to_end(&mut text)?;
            }
            String::from_utf8(text).map_err(std::io::Error::other)
        };
        read().unwrap_or_default()
    }

    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>> {
        let info = MapInfo::of(map)?;
        let page_bytes = rustix::param::page_size();
        match info.map_type {
            MapType::RINGBUF => {
                let lost = self.losses.as_ref().map(|losses| losses.of(&info)).transpose()?;
                Ok(Box::new(RingBuffer::open(duplicate(map)?, info.max_entries as usize, page_bytes, lost)?))
            }
            MapType::PERF_EVENT_ARRAY => {
                let online = online_cpus().into_iter().filter(|&cpu| cpu < info.max_entries);
                let set = |cpu: u32, event: i32| {
                    let (key, value) = (cpu.to_ne_bytes(), event.to_ne_bytes());
                    self.bpf(Command::MapUpdate { map, key: &key, value: &value, flags: 0 }).map(drop)
                };
                Ok(Box::new(PerfBuffers::open(page_bytes, online, set)?))
            }
            other => Err(Error::os(libc::EINVAL, format!("a map of type `{other}` holds no records"))),
        }
    }

    fn memory(&self, map: Fd, bytes: usize, address: u64, writable: bool) -> Result<Box<dyn Memory>> {
        Ok(Box::new(MapMemory::open(duplicate(map)?.as_fd(), bytes, address, writable)?))
    }

    fn producer(&self, map: Fd, bytes: usize) -> Result<Box<dyn Producer>> {
        Ok(Box::new(UserRing::open(duplicate(map)?, bytes, rustix::param::page_size())?))
    }

    fn printk(&self) -> Result<Box<dyn EventSource>> {
        Ok(Box::new(TracePipe::open()?))
    }

    fn start(&self, scope: Scope) -> Result<Box<dyn Session>> {
        session::start(scope, self.filter()?.cloned())
    }
}

/// Another descriptor of the same object, for what must outlive the caller's.
fn duplicate(fd: Fd) -> Result<OwnedFd> {
    let failed =
        |e: std::io::Error| Error::os(errno(&e), format!("descriptor `{}`: {}", fd.0, explain::describe(&e)));
    bpf::duplicate(fd.0).map_err(failed)
}

/// The processors that run now.
pub(crate) fn online_cpus() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_else(|_| "0".to_owned());
    text.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
        })
        .flatten()
        .collect()
}
