//! Linked object → maps and programs of a runtime.
//!
//! Order matters: maps exist before programs refer to them, constants are frozen before the verifier reads them, and
//! elements that refer to programs are written last. What fails drops everything made so far. A program that lacks
//! something of this machine (a kernel function, a symbol, a hook) is left out and says why; the others are loaded.

mod extend;
mod maps;
mod pin;
mod programs;
mod refusal;
mod types;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use skep_btf::Btf;
use skep_isa::Reg;
use skep_isa::uapi::MapType;
use skep_obj::map::{F_LINK, F_MMAPABLE, MapDef, MapKind};
use skep_obj::{AttachPoint, Linked, LinkedProgram, Object, Variable};
use skep_runtime::{AttachOptions, AttachTarget, Fd, Handle, Link, Map, Memory, Program, SharedRuntime};

use crate::{Error, Result};
use types::Types;

/// How an object is loaded, apart from what it says itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where maps that are shared under their names (`LIBBPF_PIN_BY_NAME`) are pinned: a directory of a BPF file system.
    pub pin_directory: PathBuf,
    /// For programs that extend or trace a function of another program: its name in the object, and the other program.
    pub extends: Vec<(String, Fd)>,
    /// Maps that are there already, to be used in place of new ones: the name in the object, and the id.
    pub maps: Vec<(String, u32)>,
    /// A token of [`TokenCreate`](skep_runtime::Command::TokenCreate), for callers who may use bpf(2) by delegation only.
    pub token: Option<Fd>,
}

impl Default for Options {
    fn default() -> Self {
        Self { pin_directory: "/sys/fs/bpf".into(), extends: Vec::new(), maps: Vec::new(), token: None }
    }
}

/// A map with what the object says of it.
#[derive(Debug)]
pub struct LoadedMap {
    /// What the object says.
    pub def: MapDef,
    /// The map.
    pub map: Map,
    /// Was it there before, pinned under its name?
    pub reused: bool,
    /// Its values as memory, once somebody has asked for it.
    memory: OnceLock<Option<Box<dyn Memory>>>,
}

/// A program with what the object says of it.
#[derive(Debug)]
pub struct LoadedProgram {
    /// What the object says.
    pub linked: LinkedProgram,
    /// The program.
    pub program: Program,
}

/// A program that this machine cannot run.
#[derive(Debug)]
pub struct LeftOut {
    /// Its name.
    pub program: String,
    /// What it lacks.
    pub reason: Error,
}

/// An object in a runtime. Dropping it unloads what is not pinned or attached.
#[derive(Debug)]
pub struct Loaded {
    /// The object's own types.
    pub btf: Option<Arc<Btf>>,
    /// Maps, with the object's numbers; `None` for those that the object does not want created.
    pub maps: Vec<Option<LoadedMap>>,
    /// The object's global variables.
    pub variables: Vec<Variable>,
    /// Programs, with the object's numbers; `None` for those that the object does not want loaded, or that are left out.
    pub programs: Vec<Option<LoadedProgram>>,
    /// Programs that the object wants and this machine cannot run.
    pub left_out: Vec<LeftOut>,
    /// The types as the runtime knows them, held for as long as maps and programs refer to them.
    _types: Types,
}

/// What holds a part of an object in its place; dropping it takes it out again.
#[derive(Debug)]
pub enum Attached {
    /// A program on its hook, or a `struct_ops` structure by a link.
    Link(Link),
    /// A `struct_ops` structure that is registered without a link.
    Registered(Registered),
}

/// A `struct_ops` structure that the kernel uses until this is dropped.
#[derive(Debug)]
pub struct Registered {
    map: Handle,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Nothing can be done about a structure that does not go.
        let _ = maps::unregister(&self.map);
    }
}

/// Loads a linked object: types, maps, initial values, programs, references to programs.
pub fn load(runtime: &SharedRuntime, object: &Object, linked: Linked) -> Result<Loaded> {
    load_with(runtime, object, linked, &Options::default())
}

/// Loads a linked object as the options say.
pub fn load_with(
    runtime: &SharedRuntime,
    object: &Object,
    linked: Linked,
    options: &Options,
) -> Result<Loaded> {
    let left_out = left_out(&linked)?;
    let types = Types::load(runtime, &linked, options)?;
    let mut maps = maps::create(runtime, &linked, &types, options)?;
    maps::fill(&maps)?;
    let programs = programs::load(runtime, &linked, &maps, &types, options)?;
    maps::refer_to_programs(&mut maps, &programs)?;
    Ok(Loaded {
        btf: linked.btf,
        maps,
        variables: object.variables.clone(),
        programs,
        left_out,
        _types: types,
    })
}

/// The wanted programs that cannot be linked here. That none is left is an error: that of the first one.
fn left_out(linked: &Linked) -> Result<Vec<LeftOut>> {
    let wanted = || linked.programs.iter().filter(|program| program.autoload);
    let left_out: Vec<LeftOut> = wanted()
        .filter_map(|program| {
            let reason = program.result.clone().err()?.into();
            Some(LeftOut { program: program.name.clone(), reason })
        })
        .collect();
    if left_out.is_empty() || wanted().any(|program| program.result.is_ok()) {
        return Ok(left_out);
    }
    left_out.into_iter().next().map_or(Ok(Vec::new()), |first| Err(first.reason))
}

impl Loaded {
    /// Attaches every program that names a hook, and every `struct_ops` structure; dropping the answer detaches.
    pub fn attach(&self) -> Result<Vec<Attached>> {
        let mut attached = Vec::new();
        for program in self.programs.iter().flatten() {
            attached.extend(program.attach()?.into_iter().map(Attached::Link));
        }
        attached.extend(self.attach_structs()?);
        Ok(attached)
    }

    /// Has the kernel use every `struct_ops` structure; dropping the answer ends that.
    pub fn attach_structs(&self) -> Result<Vec<Attached>> {
        let structures = self.maps().filter(|map| map.def.kind == MapKind::StructOps);
        structures.map(LoadedMap::register).collect()
    }

    /// Does some program write lines with `bpf_trace_printk` or `bpf_trace_vprintk`?
    pub fn writes_lines(&self) -> bool {
        let mut insns = self.programs.iter().flatten().flat_map(|program| &program.linked.insns);
        insns.any(|insn| {
            insn.code == CALL && insn.src() == Reg(0) && matches!(insn.imm, TRACE_PRINTK | TRACE_VPRINTK)
        })
    }

    /// The maps there are.
    pub fn maps(&self) -> impl Iterator<Item = &LoadedMap> {
        self.maps.iter().flatten()
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<&LoadedMap> {
        self.maps().find(|map| map.def.name == name)
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&LoadedProgram> {
        self.programs.iter().flatten().find(|program| program.linked.name == name)
    }
}

/// Something of that name is there.
const EEXIST: i32 = 17;

/// Opcode of a call, of a helper where the source is 0 (RFC 9669 section 4.3.1), and numbers of helpers.
const CALL: u8 = 0x85;
const TRACE_PRINTK: i32 = 6;
const TRACE_VPRINTK: i32 = 177;

impl LoadedMap {
    /// Is it a buffer of records?
    pub fn is_event_buffer(&self) -> bool {
        matches!(self.def.map_type, MapType::RINGBUF | MapType::PERF_EVENT_ARRAY)
            && self.def.kind == MapKind::User
    }

    /// Its values as memory that is shared with the programs: of arenas, and of global variables where the runtime shares
    /// them. Constants are only read.
    pub fn memory(&self) -> Option<&dyn Memory> {
        let shared = self.def.is_data() && self.def.map_flags & F_MMAPABLE != 0;
        let map = || {
            let open = || self.map.memory(self.def.value_size as usize, 0, !self.def.is_frozen());
            shared.then(open).and_then(skep_runtime::Result::ok)
        };
        self.memory.get_or_init(map).as_deref()
    }

    /// Has the kernel use a `struct_ops` structure: by a link where the object asks for one, for as long as that lives.
    fn register(&self) -> Result<Attached> {
        let in_map = |e: skep_runtime::Error| {
            let e = e.context(format_args!("`struct_ops` map `{}`", self.def.name));
            match e.errno() {
                EEXIST => e.hint(
                    "a structure of that name is registered: `skep struct_ops list` shows those of programs; one whose \
                     loader has just ended takes a moment to go",
                ),
                _ => e,
            }
        };
        self.map.update(&0_u32.to_ne_bytes(), &self.def.data, 0).map_err(in_map)?;
        if self.def.map_flags & F_LINK != 0 {
            let options =
                AttachOptions { target: Some(AttachTarget::Map(self.map.fd())), ..AttachOptions::default() };
            let runtime = self.map.handle().runtime();
            let fd = runtime.attach(self.map.fd(), &AttachPoint::StructOps, &options).map_err(in_map)?;
            return Ok(Attached::Link(Link::new(Handle::new(Arc::clone(runtime), fd))));
        }
        let map = maps::another_handle(self.map.handle()).map_err(in_map)?;
        Ok(Attached::Registered(Registered { map }))
    }
}

impl LoadedProgram {
    /// Attaches the program where its section or the caller says; that may be nowhere. Dropping the links detaches.
    pub fn attach(&self) -> Result<Vec<Link>> {
        if let Some(error) = &self.linked.attach_error {
            return Err(error.clone().into());
        }
        let points = [&self.linked.attach].into_iter().chain(&self.linked.also);
        let attach = |point| {
            let link = self.program.attach(point, &AttachOptions::default());
            link.map_err(|e| refusal::in_program(&self.linked, e))
        };
        let is_place = |point: &&AttachPoint| {
            !point.is_open() && !matches!(point, AttachPoint::None | AttachPoint::StructOps)
        };
        points.filter(is_place).map(attach).collect()
    }

    /// Does its section name a kind of hook without a target, and nobody else says where?
    pub fn lacks_target(&self) -> bool {
        self.linked.attach_error.is_none() && self.linked.attach.is_open()
    }
}
