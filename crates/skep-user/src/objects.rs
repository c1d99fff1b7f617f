//! The objects of a user runtime, behind descriptors and ids as bpf(2) has them.
//!
//! A descriptor holds its object, as does a pin; the last holder gone, the object is gone, and its id with it. Programs hold
//! the maps they use, links hold their programs, and whatever has types holds those. Ids and pins are of a whole
//! [`Registry`]; descriptors ([`Objects`]) are of one of its users.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use skep_btf::Btf;
use skep_isa::uapi::{AttachType, ProgType};
use skep_isa::{CallTarget, Insn, Op, decode};
use skep_runtime::command::ObjectKind;
use skep_runtime::{Error, Fd, Result};
use skep_vm::Map;

use crate::hook::Hook;
use crate::hook::probe::Place;
use crate::iterate::Target;
use crate::pins::Pins;

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Prog {
    pub(crate) id: u32,
    pub(crate) code: Arc<skep_vm::Program>,
    /// For messages and information.
    pub(crate) spec: ProgSpec,
    /// The types that it was loaded with.
    pub(crate) types: Option<Arc<Types>>,
    /// Has a fault of it been told?
    pub(crate) faulted: AtomicBool,
}

/// What was said of a program when it was loaded.
#[derive(Debug)]
pub(crate) struct ProgSpec {
    pub(crate) name: String,
    pub(crate) prog_type: ProgType,
    pub(crate) attach_type: Option<AttachType>,
    pub(crate) insns: Vec<Insn>,
    /// Records of functions and of lines, and bytes of one.
    pub(crate) func_info: (Vec<u8>, u32),
    pub(crate) line_info: (Vec<u8>, u32),
    /// Who loaded it.
    pub(crate) uid: u32,
    pub(crate) gpl_compatible: bool,
    /// What it attaches to, where its type says that by the kernel's BTF.
    pub(crate) attach_btf_id: u32,
    /// Nanoseconds of the boot-time clock.
    pub(crate) load_time: u64,
}

impl ProgSpec {
    /// Does the program call one of these helpers?
    pub(crate) fn calls(&self, helpers: &[u32]) -> bool {
        (0..self.insns.len()).any(|pc| match decode(&self.insns, pc) {
            Ok(Op::Call(CallTarget::Helper(id))) => helpers.contains(&id),
            _ => false,
        })
    }
}

/// A program tied to a hook.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u32,
    prog: RwLock<Arc<Prog>>,
    pub(crate) hook: Hook,
    pub(crate) cookie: u64,
    /// Where in files, for probes.
    pub(crate) places: Vec<Place>,
    /// What `struct bpf_link_info` says beside the program.
    pub(crate) about: About,
}

/// What a link is, in the kernel's terms.
#[derive(Clone, Debug)]
pub(crate) enum About {
    /// A raw tracepoint's name.
    RawTracepoint(String),
    /// Of a program that says by its types where it goes: the type.
    Tracing(u32),
    /// A tracepoint's name.
    Tracepoint(String),
    /// A file, an offset in it, and whether it is the function's return.
    Uprobe { file: String, offset: u32, is_return: bool },
    /// Many places of a file, and flags.
    UprobeMulti { file: String, flags: u32 },
    /// A sampled event.
    PerfEvent,
    /// What an iterator goes through.
    Iterator(Target),
}

impl Link {
    pub(crate) fn new(
        id: u32,
        prog: Arc<Prog>,
        hook: Hook,
        (cookie, places): (u64, Vec<Place>),
        about: About,
    ) -> Self {
        Self { id, prog: RwLock::new(prog), hook, cookie, places, about }
    }

    /// The program that runs now.
    pub(crate) fn prog(&self) -> Arc<Prog> {
        Arc::clone(&self.prog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another program in its place.
    pub(crate) fn replace(&self, prog: Arc<Prog>) {
        *self.prog.write().unwrap_or_else(PoisonError::into_inner) = prog;
    }
}

/// A BTF object: the types that maps and programs refer to.
#[derive(Debug)]
pub(crate) struct Types {
    pub(crate) id: u32,
    pub(crate) btf: Arc<Btf>,
}

/// What a descriptor leads to.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Map(Arc<Map>),
    Prog(Arc<Prog>),
    Link(Arc<Link>),
    Btf(Arc<Types>),
}

/// An object that is held elsewhere.
#[derive(Debug)]
enum Known {
    /// With its types, which it holds.
    Map(
        Weak<Map>,
        #[expect(dead_code, reason = "types are held, for those who ask by id")] Option<Arc<Types>>,
    ),
    Prog(Weak<Prog>),
    Link(Weak<Link>),
    Btf(Weak<Types>),
}

impl Known {
    fn is_held(&self) -> bool {
        let holders = match self {
            Self::Map(map, _) => map.strong_count(),
            Self::Prog(prog) => prog.strong_count(),
            Self::Link(link) => link.strong_count(),
            Self::Btf(btf) => btf.strong_count(),
        };
        holders > 0
    }

    fn object(&self) -> Option<Object> {
        match self {
            Self::Map(map, _) => map.upgrade().map(Object::Map),
            Self::Prog(prog) => prog.upgrade().map(Object::Prog),
            Self::Link(link) => link.upgrade().map(Object::Link),
            Self::Btf(btf) => btf.upgrade().map(Object::Btf),
        }
    }
}

impl Object {
    pub(crate) fn kind(&self) -> ObjectKind {
        match self {
            Self::Map(_) => ObjectKind::Map,
            Self::Prog(_) => ObjectKind::Prog,
            Self::Link(_) => ObjectKind::Link,
            Self::Btf(_) => ObjectKind::Btf,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Map(map) => map.spec().id,
            Self::Prog(prog) => prog.id,
            Self::Link(link) => link.id,
            Self::Btf(btf) => btf.id,
        }
    }

    fn known(&self) -> Known {
        match self {
            Self::Map(map) => Known::Map(Arc::downgrade(map), None),
            Self::Prog(prog) => Known::Prog(Arc::downgrade(prog)),
            Self::Link(link) => Known::Link(Arc::downgrade(link)),
            Self::Btf(btf) => Known::Btf(Arc::downgrade(btf)),
        }
    }
}

/// Descriptors begin here, so that they are not taken for those of the process.
const FIRST_FD: i32 = 1000;

/// Objects by kind and id.
type Ids = [BTreeMap<u32, Known>; 4];

/// What all users of a runtime share: the objects that there are, and names that keep them.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    ids: Mutex<Ids>,
    next_id: [AtomicU32; 4],
    pub(crate) pins: Pins,
}

impl Registry {
    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All objects of a kind that there are, by their ids.
    pub(crate) fn all(&self, kind: ObjectKind) -> Vec<Object> {
        self.alive()[kind as usize].values().filter_map(Known::object).collect()
    }

    /// Forgets what nobody holds any more. Maps first: they hold types.
    fn alive(&self) -> MutexGuard<'_, Ids> {
        self.pins.forget_removed();
        let mut ids = self.ids();
        for kind in [ObjectKind::Map, ObjectKind::Prog, ObjectKind::Link, ObjectKind::Btf] {
            ids[kind as usize].retain(|_, known| known.is_held());
        }
        ids
    }
}

/// All objects of a runtime, as one of its users knows them: by descriptors of its own.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    fds: Mutex<BTreeMap<i32, Object>>,
    registry: Arc<Registry>,
}

impl Objects {
    /// For another user.
    pub(crate) fn of(registry: Arc<Registry>) -> Self {
        Self { fds: Mutex::default(), registry }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.registry.pins
    }

    fn fds(&self) -> MutexGuard<'_, BTreeMap<i32, Object>> {
        self.fds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id for a new object of this kind; ids begin with 1 and are not used again.
    pub(crate) fn new_id(&self, kind: ObjectKind) -> u32 {
        self.registry.next_id[kind as usize].fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Gives an object the lowest free descriptor.
    pub(crate) fn open(&self, object: Object) -> Fd {
        let known = || object.known();
        self.registry.ids()[object.kind() as usize].entry(object.id()).or_insert_with(known);
        let mut fds = self.fds();
        let taken = fds.keys().copied();
        let fd = (FIRST_FD..).zip(taken.map(Some).chain(std::iter::repeat(None)));
        let fd =
            fd.into_iter().find(|(free, taken)| Some(*free) != *taken).map_or(FIRST_FD, |(free, _)| free);
        fds.insert(fd, object);
        Fd(fd)
    }

    /// The same for a map, which holds its types.
    pub(crate) fn open_map(&self, map: Arc<Map>, types: Option<Arc<Types>>) -> Fd {
        let id = map.spec().id;
        self.registry.ids()[ObjectKind::Map as usize].insert(id, Known::Map(Arc::downgrade(&map), types));
        self.open(Object::Map(map))
    }

    /// Takes a descriptor back. What it held may end here, after the tables are free again.
    pub(crate) fn close(&self, fd: Fd) {
        let object = self.fds().remove(&fd.0);
        drop(object);
    }

    fn get(&self, fd: Fd) -> Result<Object> {
        let object = self.fds().get(&fd.0).cloned();
        object.ok_or_else(|| Error::os(libc::EBADF, format!("there is no descriptor `{}`", fd.0)))
    }

    pub(crate) fn any(&self, fd: Fd) -> Result<Object> {
        self.get(fd)
    }

    pub(crate) fn map(&self, fd: Fd) -> Result<Arc<Map>> {
        match self.get(fd)? {
            Object::Map(map) => Ok(map),
            _ => Err(not_a(fd, "map")),
        }
    }

    pub(crate) fn prog(&self, fd: Fd) -> Result<Arc<Prog>> {
        match self.get(fd)? {
            Object::Prog(prog) => Ok(prog),
            _ => Err(not_a(fd, "program")),
        }
    }

    pub(crate) fn types(&self, fd: Fd) -> Result<Arc<Types>> {
        match self.get(fd)? {
            Object::Btf(types) => Ok(types),
            _ => Err(not_a(fd, "BTF object")),
        }
    }

    pub(crate) fn link(&self, fd: Fd) -> Result<Arc<Link>> {
        match self.get(fd)? {
            Object::Link(link) => Ok(link),
            _ => Err(not_a(fd, "link")),
        }
    }

    /// The id after `id` of an object that still exists.
    pub(crate) fn next_id(&self, kind: ObjectKind, id: u32) -> Result<u32> {
        let ids = self.registry.alive();
        let next = ids[kind as usize].range(id.saturating_add(1)..).next().map(|(id, _)| *id);
        next.ok_or_else(|| Error::os(libc::ENOENT, "no more ids"))
    }

    /// A new descriptor of the object with this id.
    pub(crate) fn open_by_id(&self, kind: ObjectKind, id: u32) -> Result<Fd> {
        let object = self.registry.alive()[kind as usize].get(&id).and_then(Known::object);
        let object =
            object.ok_or_else(|| Error::os(libc::ENOENT, format!("there is no object with id `{id}`")))?;
        Ok(self.open(object))
    }

    /// The links that are attached now, oldest first.
    pub(crate) fn attached(&self) -> Vec<Arc<Link>> {
        let links = self.registry.all(ObjectKind::Link).into_iter();
        links
            .filter_map(|object| match object {
                Object::Link(link) => Some(link),
                _ => None,
            })
            .collect()
    }
}

fn not_a(fd: Fd, what: &str) -> Error {
    Error::os(libc::EINVAL, format!("descriptor `{}` is no {what}", fd.0))
}
