//! [`UserRuntime`]: bpf(2) objects over the virtual machine, attached to hooks in user space.
//!
//! Links are in [`links`], verification of programs in [`verify`], what `BPF_OBJ_GET_INFO_BY_FD` tells in [`info`],
//! `BPF_PROG_TEST_RUN` in [`test_run`]. What several users of one runtime share is a [`Subsystem`].

mod info;
mod iterators;
mod links;
mod memory;
mod test_run;
mod usdt;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use skep_btf::{Btf, TypeId};
use skep_isa::table::LD_IMM64;
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_isa::{CallTarget, Insn, Op, Reg, decode, helper};
use skep_obj::AttachPoint;
use skep_runtime::command::{BatchOp, LinkData, MapCreate, ObjectKind, ProgLoad};
use skep_runtime::{
    AttachOptions, Command, Error, EventSource, Fd, Memory, PacketRunner, Pin, Producer, Reply, Result,
    Runtime, RuntimeKind, Scope, Session, SharedRuntime,
};
use skep_verifier::special_fields;
use skep_vm::map::MapTypes;
use skep_vm::{Engine, Errno, Map, MapRef, MapSpec, ProgramInfo};

use crate::hook;
use crate::hook::dispatch::{self, Dispatcher};
use crate::iterate::Iteration;
use crate::objects::{Object, Objects, Prog, ProgSpec, Registry, Types};
use crate::output::{PerfSource, Printk, PrintkSource, RingSource, UserRing};
use crate::packets::{self, Runner, World};
use crate::session::{Progress, UserSession, spawn_tracer};
use crate::sys::time::clock_ns;
use crate::tracer::{CommandLine, Interest, Observer, Ready, Tracer};

pub(crate) use info::link_type;

/// Something a person should know that is not the failure of any command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diagnostic {
    /// A set-user-id or set-group-id program ran without gaining its rights, because it is traced.
    SetIdIgnored {
        /// Its process.
        pid: u32,
        /// The program.
        path: String,
    },
    /// A program uses what the verifier cannot judge yet; it runs, with every access checked.
    Unverified {
        /// The program's name.
        program: String,
        /// What that is, and where.
        reason: String,
    },
    /// Breakpoints of probes had been taken away by somebody else and were put back; told once.
    ProbesRepaired {
        /// How many at that moment.
        count: usize,
    },
    /// A BPF program did what it must not, and was ended; told once for each program.
    Fault {
        /// The program's id.
        prog_id: u32,
        /// The instruction.
        insn: usize,
        /// Which program, where, and what it did.
        message: String,
    },
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetIdIgnored { pid, path } => {
                write!(
                    f,
                    "process `{pid}`: `{path}` runs without the rights of its owner, because it is traced"
                )
            }
            Self::Unverified { program, reason } => {
                write!(f, "program `{program}` runs unverified, with every access checked: {reason}")
            }
            Self::ProbesRepaired { count } => write!(
                f,
                "somebody else probes the same places, such as a probe of the kernel: {count} breakpoints had been taken away \
                 and are there again; hits may have been missed"
            ),
            Self::Fault { message, .. } => write!(f, "{message} (this run was ended; told once)"),
        }
    }
}

/// Where diagnostics go; called on the thread that found them.
pub type Diagnostics = Arc<dyn Fn(Diagnostic) + Send + Sync>;

/// What a user runtime is told from outside.
#[derive(Clone, Default)]
pub struct Config {
    /// Hears what a person should know; `None` drops it.
    pub diagnostics: Option<Diagnostics>,
    /// The kernel's types, which lay out what programs read of it; `None` serves a bundled minimum.
    pub btf: Option<Arc<Btf>>,
    /// Runs programs without verifying them, with every access checked: for looking for mistakes.
    pub unverified: bool,
    /// What runs programs that are verified.
    pub engine: Engine,
}

/// A user-space BPF subsystem that several users share, as processes share the kernel's: objects have ids and names that
/// all of them know, while each has descriptors of its own, which end with it.
#[derive(Clone)]
pub struct Subsystem(Arc<Shared>);

/// What users of a subsystem share.
struct Shared {
    config: Config,
    registry: Arc<Registry>,
    printk: Arc<Printk>,
    types: OnceLock<Arc<Btf>>,
    /// How many specifications of static probes each map has, by its id.
    usdt_specs: Mutex<HashMap<u32, u32>>,
}

impl Subsystem {
    /// A subsystem without any objects.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self(Arc::new(Shared {
            config,
            registry: Arc::default(),
            printk: Arc::new(Printk::new()?),
            types: OnceLock::new(),
            usdt_specs: Mutex::default(),
        })))
    }

    /// Another user of it, without descriptors; what it holds when it is dropped is let go.
    pub fn user(&self) -> SharedRuntime {
        let objects = Objects::of(Arc::clone(&self.0.registry));
        Arc::new(UserRuntime { shared: Arc::clone(&self.0), objects, readings: Mutex::default() })
    }
}

/// The user runtime, as one of its users knows it.
pub struct UserRuntime {
    shared: Arc<Shared>,
    objects: Objects,
    /// Readings of iterators, by their descriptors.
    readings: Mutex<BTreeMap<i32, Arc<Mutex<Iteration>>>>,
}

impl UserRuntime {
    /// A runtime without any objects, for one user.
    #[expect(clippy::new_ret_no_self, reason = "everything above holds runtimes as trait objects")]
    pub fn new(config: Config) -> Result<SharedRuntime> {
        Subsystem::new(config).map(|subsystem| subsystem.user())
    }
}

impl Runtime for UserRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::User
    }

    fn bpf(&self, command: Command<'_>) -> Result<Reply> {
        match command {
            Command::MapCreate(spec) => self.create_map(spec).map(Reply::Fd),
            Command::ProgLoad(spec) => self.load(spec).map(Reply::Fd),
            Command::BtfLoad { data, .. } => self.load_types(data).map(Reply::Fd),
            Command::MapLookup { map, key, value, flags } => {
                self.on_map(map, |map| map.lookup(key, value, flags))
            }
            Command::MapLookupAndDelete { map, key, value, flags } => {
                self.on_map(map, |map| map.lookup_and_delete(key, value, flags))
            }
            Command::MapUpdate { map, key, value, flags } => self.update(map, key, value, flags),
            Command::MapDelete { map, key } => self.on_map(map, |map| map.delete(key)),
            Command::MapGetNextKey { map, key, next } => self.on_map(map, |map| map.next_key(key, next)),
            Command::MapFreeze { map } => self.on_map(map, Map::freeze),
            Command::MapBatch { map, op } => batch(&*self.objects.map(map)?, op),
            Command::ProgTestRun { prog, run } => self.test_run(prog, run),
            Command::RawTracepointOpen { prog, name, cookie } => self.raw_tracepoint_open(prog, name, cookie),
            Command::LinkCreate { prog, attach_type: AttachType::TRACE_ITER, data, .. } => {
                let info = if let LinkData::Iter { info } = data { info } else { &[] };
                self.create_iterator(prog, info).map(Reply::Fd)
            }
            Command::IterCreate { link } => self.iter_create(link),
            Command::LinkCreate { prog, attach_type, data, .. } => {
                let cookie = match data {
                    LinkData::PerfEvent { cookie } | LinkData::Tracing { cookie, .. } => cookie,
                    _ => 0,
                };
                self.link_create(prog, attach_type, cookie)
            }
            Command::LinkUpdate { link, new_prog, old_prog } => self.link_update(link, new_prog, old_prog),
            Command::LinkDetach { link } => {
                self.objects.link(link)?;
                Err(Error::os(
                    libc::EOPNOTSUPP,
                    "links of this kind are not detached while somebody holds them, as in Linux",
                )
                .hint("they end when their pins are removed and their holders are gone"))
            }
            Command::ObjPin { fd, path } => {
                self.objects.pins().pin(self.objects.any(fd)?, path)?;
                Ok(Reply::Done)
            }
            Command::ObjGet { path } => {
                self.objects.pins().get(path).map(|found| Reply::Fd(self.objects.open(found)))
            }
            Command::ObjGetInfo { fd, info, arrays } => self.obj_get_info(fd, info, arrays),
            Command::GetNextId { kind, id } => self.objects.next_id(kind, id).map(Reply::Id),
            Command::GetFdById { kind, id } => self.objects.open_by_id(kind, id).map(Reply::Fd),
            other => Err(Error::unsupported_command(other.cmd(), RuntimeKind::User)),
        }
    }

    fn close(&self, fd: Fd) {
        self.objects.close(fd);
        self.close_reading(fd);
    }

    fn read(&self, iterator: Fd, buffer: &mut [u8]) -> Result<usize> {
        self.read_iterator(iterator, buffer)
    }

    fn attach(&self, prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd> {
        self.attach_point(prog, point, options)
    }

    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>> {
        let map = self.objects.map(map)?;
        match map.map_type() {
            MapType::RINGBUF => Ok(Box::new(RingSource(map))),
            MapType::PERF_EVENT_ARRAY => Ok(Box::new(PerfSource::open(map))),
            other => Err(Error::os(libc::EINVAL, format!("a map of type `{other}` holds no records"))),
        }
    }

    fn memory(&self, map: Fd, bytes: usize, _address: u64, writable: bool) -> Result<Box<dyn Memory>> {
        let memory = self.objects.map(map)?.memory(writable).map_err(of_errno)?;
        Ok(Box::new(memory::Shared::new(memory, bytes, writable)?))
    }

    fn producer(&self, map: Fd, bytes: usize) -> Result<Box<dyn Producer>> {
        Ok(Box::new(UserRing::open(self.objects.map(map)?, bytes)?))
    }

    fn packets(&self, prog: Fd) -> Result<Option<Box<dyn PacketRunner>>> {
        let runner = Runner::new(self.objects.prog(prog)?, self.world())?;
        Ok(Some(Box::new(runner)))
    }

    fn printk(&self) -> Result<Box<dyn EventSource>> {
        Ok(Box::new(PrintkSource(Arc::clone(&self.shared.printk))))
    }

    fn fdinfo(&self, fd: Fd) -> String {
        self.objects
            .map(fd)
            .map_or_else(|_| String::new(), |map| format!("frozen:\t{}\n", u8::from(map.is_frozen())))
    }

    fn pins(&self) -> Result<Vec<Pin>> {
        Ok(self.objects.pins().list())
    }

    fn start(&self, scope: Scope) -> Result<Box<dyn Session>> {
        let links = self.objects.attached();
        let interest = dispatch::interest(&links);
        let btf = Arc::clone(self.types());
        let (printk, diagnostics) = (Arc::clone(&self.shared.printk), self.shared.config.diagnostics.clone());
        observe(scope, interest, Box::new(Dispatcher::new(&links, btf, printk, diagnostics)))
    }
}

impl UserRuntime {
    /// The kernel's types as programs know them.
    fn types(&self) -> &Arc<Btf> {
        let shared = &self.shared;
        shared.types.get_or_init(|| shared.config.btf.clone().unwrap_or_else(crate::bundled_types))
    }

    /// The world of programs that run on what their caller gives them.
    fn world(&self) -> World {
        let (printk, diagnostics) = (Arc::clone(&self.shared.printk), self.shared.config.diagnostics.clone());
        World::new(Arc::clone(self.types()), printk, diagnostics)
    }

    fn create_map(&self, spec: &MapCreate<'_>) -> Result<Fd> {
        let inner = spec.inner_map.map(|fd| self.objects.map(fd)).transpose()?;
        let types = spec.btf.map(|(fd, key, value)| self.objects.types(fd).map(|btf| (btf, key, value)));
        let types = types.transpose()?;
        let fields = types.as_ref().filter(|(.., value)| *value != 0).map_or_else(Vec::new, |of| {
            let (btf, _, value) = of;
            special_fields(Arc::clone(&btf.btf), TypeId(*value))
        });
        let spec = MapSpec {
            id: self.objects.new_id(ObjectKind::Map),
            map_flags: spec.map_flags,
            map_extra: spec.map_extra,
            inner,
            types: types.as_ref().map(|(btf, key, value)| MapTypes {
                btf_id: btf.id,
                key: *key,
                value: *value,
            }),
            ..MapSpec::new(spec.map_type, spec.name, spec.key_size, spec.value_size, spec.max_entries)
        };
        let map = Map::create(spec.with_fields(fields)).map_err(|e| Error::os(e.errno().0, e.to_string()))?;
        Ok(self.objects.open_map(map, types.map(|(btf, ..)| btf)))
    }

    /// Loads a program: verifies it, and makes it ready to run.
    fn load(&self, spec: &ProgLoad<'_>) -> Result<Fd> {
        check_prog_type(spec.prog_type, spec.expected_attach_type)?;
        self.iterated(spec.expected_attach_type, spec.attach_btf_id)?;
        let id = self.objects.new_id(ObjectKind::Prog);
        let engine = self.shared.config.engine;
        let info = ProgramInfo { id, engine, ..ProgramInfo::new(spec.name, spec.prog_type) };
        let code = self.prepare(spec, info)?;
        let said = ProgSpec {
            name: spec.name.to_owned(),
            prog_type: spec.prog_type,
            attach_type: spec.expected_attach_type,
            insns: self.listed(spec),
            func_info: (spec.func_info.0.to_vec(), spec.func_info.1),
            line_info: (spec.line_info.0.to_vec(), spec.line_info.1),
            uid: rustix::process::getuid().as_raw(),
            gpl_compatible: GPL_COMPATIBLE.contains(&spec.license),
            attach_btf_id: spec.attach_btf_id,
            load_time: clock_ns(libc::CLOCK_BOOTTIME),
        };
        let types = spec.btf.map(|fd| self.objects.types(fd)).transpose()?;
        let prog = Prog { id, code: code.share(), spec: said, types, faulted: AtomicBool::new(false) };
        Ok(self.objects.open(Object::Prog(Arc::new(prog))))
    }

    /// The instructions as they are shown: referring to maps by id, because descriptors are their loader's own.
    fn listed(&self, spec: &ProgLoad<'_>) -> Vec<Insn> {
        let mut insns = spec.insns.to_vec();
        for insn in insns.iter_mut().filter(|insn| insn.code == LD_IMM64) {
            let (kind, reference) = match insn.src() {
                kind @ (MAP_FD | MAP_VALUE) => (kind, MapRef::Fd(insn.imm)),
                MAP_IDX => (MAP_FD, MapRef::Index(insn.imm)),
                MAP_IDX_VALUE => (MAP_VALUE, MapRef::Index(insn.imm)),
                _ => continue,
            };
            let id = self.map_of(reference, spec).map_or(0, |map| map.spec().id);
            *insn = Insn { imm: id.cast_signed(), ..insn.with_src(kind) };
        }
        insns
    }

    /// Types are kept for those who ask for them by id.
    fn load_types(&self, data: &[u8]) -> Result<Fd> {
        let btf = Btf::parse(Arc::new(data.to_vec())).map_err(|e| Error::os(libc::EINVAL, e.to_string()))?;
        let types = Types { id: self.objects.new_id(ObjectKind::Btf), btf: Arc::new(btf) };
        Ok(self.objects.open(Object::Btf(Arc::new(types))))
    }

    fn on_map(&self, map: Fd, command: impl FnOnce(&Map) -> Result<(), Errno>) -> Result<Reply> {
        command(&*self.objects.map(map)?).map_err(of_errno)?;
        Ok(Reply::Done)
    }

    /// An update; the values of some maps are descriptors of this runtime.
    fn update(&self, map: Fd, key: &[u8], value: &[u8], flags: u64) -> Result<Reply> {
        let map = self.objects.map(map)?;
        let descriptor = || <[u8; 4]>::try_from(value).map(i32::from_ne_bytes).map(Fd);
        let invalid = |_| of_errno(Errno::EINVAL);
        map.check_slot(key, flags).map_err(of_errno)?;
        let index = || <[u8; 4]>::try_from(key).map(u32::from_ne_bytes).map_err(invalid);
        let done = match map.map_type() {
            MapType::PROG_ARRAY => {
                let prog = self.objects.prog(descriptor().map_err(invalid)?)?;
                map.set_program(index()?, Arc::clone(&prog.code), flags)
            }
            MapType::CGROUP_ARRAY => map.set_cgroup(index()?, group(descriptor().map_err(invalid)?)?, flags),
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => {
                let inner = self.objects.map(descriptor().map_err(invalid)?)?;
                map.set_inner(key, inner, flags)
            }
            MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::CPUMAP => {
                map.update(key, &self.target(map.map_type(), value)?, flags)
            }
            MapType::XSKMAP | MapType::SOCKMAP | MapType::SOCKHASH => match map.update(key, value, flags) {
                Err(Errno::EOPNOTSUPP) => Err(self.not_a_socket(map.map_type(), value)),
                done => done,
            },
            _ => map.update(key, value, flags),
        };
        done.map_err(of_errno)?;
        Ok(Reply::Done)
    }
}

impl UserRuntime {
    /// Why a descriptor cannot be put into a map of sockets.
    fn not_a_socket(&self, map_type: MapType, value: &[u8]) -> Errno {
        let mut word = [0; 8];
        word[..value.len().min(8)].copy_from_slice(&value[..value.len().min(8)]);
        let fd = match i32::try_from(u64::from_ne_bytes(word)) {
            Ok(fd) => fd,
            Err(_) if map_type == MapType::XSKMAP => return Errno::EBADF,
            Err(_) => return Errno::EINVAL,
        };
        if self.objects.any(Fd(fd)).is_ok() {
            return Errno::ENOTSOCK;
        }
        match std::fs::metadata(of_process(Fd(fd))) {
            Ok(file) if file.file_type().is_socket() => Errno::EOPNOTSUPP,
            Ok(_) => Errno::ENOTSOCK,
            Err(_) => Errno::EBADF,
        }
    }

    /// A target of redirection as maps keep it: the device exists, and a program is its id.
    fn target(&self, map_type: MapType, value: &[u8]) -> Result<Vec<u8>> {
        let mut target = value.to_vec();
        let (first, rest) = value.split_first_chunk::<4>().ok_or_else(|| of_errno(Errno::EINVAL))?;
        let first = u32::from_ne_bytes(*first);
        let prog = rest.first_chunk::<4>().map_or(-1, |fd| i32::from_ne_bytes(*fd));
        let devices = map_type != MapType::CPUMAP;
        if devices && first != 0 && !packets::device_exists(first) {
            return Err(Error::os(libc::EINVAL, format!("there is no network device {first}")));
        }
        if prog > 0 {
            let wanted = if devices { AttachType::XDP_DEVMAP } else { AttachType::XDP_CPUMAP };
            let prog = self.objects.prog(Fd(prog))?;
            if first == 0 || prog.spec.attach_type != Some(wanted) {
                return Err(Error::os(
                    libc::EINVAL,
                    format!("program `{}` is not one of `{wanted}`", prog.spec.name),
                ));
            }
            target[4..8].copy_from_slice(&prog.id.to_ne_bytes());
        } else if target.len() == 8 {
            target[4..8].fill(0);
        }
        Ok(target)
    }
}

/// A descriptor of this process, as a file.
fn of_process(fd: Fd) -> String {
    format!("/proc/self/fd/{}", fd.0)
}

/// The id of the control group whose directory is open at a descriptor of this process.
fn group(fd: Fd) -> Result<u64> {
    /// `CGROUP2_SUPER_MAGIC`.
    const CGROUP2: u64 = 0x6367_7270;
    let path = of_process(fd);
    let none = || Error::os(libc::EBADF, format!("descriptor `{}` is no control group", fd.0));
    let system = rustix::fs::statfs(&path).map_err(|_| none())?;
    if system.f_type as u64 != CGROUP2 {
        return Err(none());
    }
    std::fs::metadata(&path).map(|directory| directory.ino()).map_err(|_| none())
}

fn of_errno(errno: Errno) -> Error {
    Error::os(errno.0, errno.to_string())
}

fn batch(map: &Map, op: BatchOp<'_>) -> Result<Reply> {
    let (count, done) = match op {
        BatchOp::Lookup { in_batch, out_batch, keys, values, count, delete, elem_flags } => {
            let (count, done) =
                map.lookup_batch(in_batch, out_batch, keys, values, count, delete, elem_flags);
            if done == Err(Errno::ENOENT) {
                return Ok(Reply::Batch { count, end: true });
            }
            (count, done)
        }
        BatchOp::Update { keys, values, count, elem_flags } => {
            map.update_batch(keys, values, count, elem_flags)
        }
        BatchOp::Delete { keys, count, elem_flags } => map.delete_batch(keys, count, elem_flags),
    };
    done.map_err(of_errno)?;
    Ok(Reply::Batch { count, end: false })
}

/// What the source register of `LD_IMM64` says of maps: `BPF_PSEUDO_MAP_FD` and its like.
const MAP_FD: Reg = Reg(1);
const MAP_VALUE: Reg = Reg(2);
const MAP_IDX: Reg = Reg(5);
const MAP_IDX_VALUE: Reg = Reg(6);

/// Licences that open GPL-only helpers (`license_is_gpl_compatible`, `include/linux/license.h`).
const GPL_COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// Helpers under the GPL are for programs under the GPL.
fn check_licence(spec: &ProgLoad<'_>) -> Result<()> {
    let mut pc = 0;
    while let Ok(op) = decode(spec.insns, pc) {
        if let Op::Call(CallTarget::Helper(id)) = op
            && !GPL_COMPATIBLE.contains(&spec.license)
            && let Some(called) = helper::by_id(id).filter(|called| called.gpl_only)
        {
            let message = format!("instruction {pc}: `{}` is for programs under the GPL only", called.name);
            return Err(Error::rejected(libc::EINVAL, message)
                .hint(format!("the program's licence is `{}`", spec.license)));
        }
        pc += op.slots();
    }
    Ok(())
}

/// Program types for which this runtime has a hook; others are refused when they are loaded, as their hook would be.
fn check_prog_type(prog_type: ProgType, attach_type: Option<AttachType>) -> Result<()> {
    let served = match prog_type {
        ProgType::TRACEPOINT | ProgType::RAW_TRACEPOINT => true,
        // Kernel probes are of the same type, and are refused when they are attached.
        ProgType::KPROBE | ProgType::PERF_EVENT => true,
        ProgType::TRACING => {
            attach_type.is_none_or(|at| at == AttachType::TRACE_ITER || hook::is_by_type(at))
        }
        ProgType::XDP
        | ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::SOCKET_FILTER
        | ProgType::CGROUP_SKB
        | ProgType::FLOW_DISSECTOR
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL
        | ProgType::SK_LOOKUP
        | ProgType::NETFILTER
        | ProgType::SYSCALL => true,
        _ => false,
    };
    if served {
        return Ok(());
    }
    let attach = attach_type.map_or(String::new(), |attach| format!(" for `{attach}`"));
    Err(Error::unsupported(format!("the user runtime does not run programs of type `{prog_type}`{attach}")).hint(
        "it runs programs on system calls, functions and process events of a traced command, and on packets; others need \
         the kernel runtime, or leave the program out with `--without PROGRAM`",
    ))
}

/// Starts the tracer of a scope on a thread of its own, and waits until what it observes has begun.
fn observe(scope: Scope, interest: Interest, observer: Box<dyn Observer>) -> Result<Box<dyn Session>> {
    let failed =
        |e: std::io::Error| Error::os(e.raw_os_error().unwrap_or(libc::EIO), format!("cannot trace: {e}"));
    let progress = Arc::new(Progress::new().map_err(failed)?);
    let shared = Arc::clone(&progress);
    let (ready, begun) = mpsc::channel();
    match scope {
        Scope::Command(argv) => {
            let command = CommandLine::resolve(argv)?;
            let told = ready.clone();
            let launch = move || Tracer::launch(command, interest, observer, shared, told);
            spawn_tracer(move || trace(launch(), &ready)).map_err(failed)?;
        }
        Scope::Process(pid) => {
            let seize = move || Tracer::seize(pid, interest, observer, shared);
            spawn_tracer(move || {
                let tracer = seize();
                if tracer.is_ok() {
                    let _ = ready.send(Ok(()));
                }
                trace(tracer, &ready);
            })
            .map_err(failed)?;
        }
        _ => {
            return Err(Error::unsupported("the user runtime does not observe the whole machine").hint(
                "give a command (`-- CMD`) or a process (`-p PID`); the kernel runtime observes the machine",
            ));
        }
    }
    begun.recv().unwrap_or_else(|_| Err(Error::os(libc::EIO, "the tracer ended before it began")))?;
    Ok(Box::new(UserSession::new(progress)))
}

/// Runs a tracer that could be made, or says why it could not.
fn trace(tracer: Result<Tracer>, ready: &Ready) {
    match tracer {
        Ok(tracer) => tracer.run(),
        Err(e) => drop(ready.send(Err(e))),
    }
}
