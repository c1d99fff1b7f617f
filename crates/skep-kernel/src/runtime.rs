//! [`KernelRuntime`]: the waist over bpf(2).

use std::os::fd::OwnedFd;

use skep_isa::uapi::{Cmd, MapType};
use skep_obj::AttachPoint;
use skep_runtime::codec::{Attr, Log};
use skep_runtime::command::ProgLoad;
use skep_runtime::{
    AttachOptions, Command, Error, ErrorKind, EventSource, Fd, Reply, Result, Runtime, RuntimeKind, Scope,
    Session,
};

use crate::perf::PerfBuffers;
use crate::printk::TracePipe;
use crate::ring::RingBuffer;
use crate::sys::{bpf, errno};
use crate::{attach, explain, session};

/// Where the verifier's log begins, and how far it grows; the kernel takes no more (`UINT_MAX >> 2`).
const LOG_BYTES: usize = 64 << 10;
const LOG_BYTES_MAX: usize = (u32::MAX >> 2) as usize;

/// Linux's BPF subsystem. It holds nothing: descriptors are the process's own.
#[derive(Debug, Default)]
pub struct KernelRuntime {}

impl KernelRuntime {
    /// The kernel as it is: programs see the whole machine.
    pub fn new() -> Self {
        Self {}
    }
}

impl Runtime for KernelRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Kernel
    }

    fn bpf(&self, mut command: Command<'_>) -> Result<Reply> {
        if let Command::ProgLoad(spec) = command {
            return load(spec);
        }
        let mut attr = Attr::encode(&mut command, None)?;
        let returned = bpf::bpf(&mut attr);
        match (returned, attr.cmd()) {
            (Ok(returned), _) => Ok(attr.reply(returned)),
            // The end of the map, told together with its last elements.
            (Err(e), Cmd::MAP_LOOKUP_BATCH | Cmd::MAP_LOOKUP_AND_DELETE_BATCH)
                if errno(&e) == libc::ENOENT =>
            {
                match attr.reply(0) {
                    Reply::Batch { count, .. } => Ok(Reply::Batch { count, end: true }),
                    other => Ok(other),
                }
            }
            (Err(e), cmd) => Err(explain::command(cmd, &e)),
        }
    }

    fn close(&self, fd: Fd) {
        bpf::close(fd.0);
    }

    fn attach(&self, prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd> {
        attach::attach(self, prog, point, options)
    }

    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>> {
        let info = MapInfo::of(self, map)?;
        let page_bytes = rustix::param::page_size();
        match info.map_type {
            MapType::RINGBUF => {
                Ok(Box::new(RingBuffer::open(duplicate(map)?, info.max_entries as usize, page_bytes)?))
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

    fn printk(&self) -> Result<Box<dyn EventSource>> {
        Ok(Box::new(TracePipe::open()?))
    }

    fn start(&self, scope: Scope) -> Result<Box<dyn Session>> {
        session::start(scope)
    }
}

/// Loads a program; when the kernel refuses it, once more with a log, as large as the kernel makes it.
fn load(spec: &ProgLoad<'_>) -> Result<Reply> {
    let first = try_load(spec, None);
    let Err(error) = first else { return first };
    if !matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::Full) {
        return Err(error);
    }
    let mut bytes = LOG_BYTES;
    loop {
        let mut buffer = vec![0; bytes];
        match try_load(spec, Some(Log { level: spec.log_level.max(1), buffer: &mut buffer })) {
            Ok(reply) => return Ok(reply),
            Err(e) if e.errno() == libc::ENOSPC && bytes < LOG_BYTES_MAX => {
                bytes = bytes.saturating_mul(4).min(LOG_BYTES_MAX);
            }
            Err(e) => return Err(with_log(e, &buffer)),
        }
    }
}

fn try_load(spec: &ProgLoad<'_>, log: Option<Log<'_>>) -> Result<Reply> {
    let mut command = Command::ProgLoad(spec);
    let mut attr = Attr::encode(&mut command, log)?;
    match bpf::bpf(&mut attr) {
        Ok(returned) => Ok(attr.reply(returned)),
        Err(e) => Err(explain::command(attr.cmd(), &e)),
    }
}

/// A refusal with the verifier's reason, if it gave one.
fn with_log(error: Error, buffer: &[u8]) -> Error {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    let log = String::from_utf8_lossy(&buffer[..end]);
    if log.trim().is_empty() { error } else { Error::rejected(error.errno(), log.trim_end()) }
}

/// What the kernel says of a map (`struct bpf_map_info`).
struct MapInfo {
    map_type: MapType,
    max_entries: u32,
}

impl MapInfo {
    fn of(runtime: &KernelRuntime, map: Fd) -> Result<Self> {
        let mut info = [0; 80];
        runtime.bpf(Command::ObjGetInfo { fd: map, info: &mut info })?;
        let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        Ok(Self { map_type: MapType(word(0)), max_entries: word(16) })
    }
}

/// Another descriptor of the same object, for what must outlive the caller's.
fn duplicate(fd: Fd) -> Result<OwnedFd> {
    let failed =
        |e: std::io::Error| Error::os(errno(&e), format!("descriptor `{}`: {}", fd.0, explain::describe(&e)));
    bpf::duplicate(fd.0).map_err(failed)
}

/// The processors that run now.
fn online_cpus() -> Vec<u32> {
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
