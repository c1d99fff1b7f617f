//! Linked object → maps and programs of a runtime.
//!
//! Order matters: maps exist before programs refer to them, constants are frozen before the verifier reads them, and
//! elements that refer to programs are written last. What fails drops everything made so far.

use std::sync::Arc;

use skep_btf::{Btf, TypeId};
use skep_isa::uapi::MapType;
use skep_isa::{Insn, Reg};
use skep_obj::map::{MapDef, MapKind, SlotTarget};
use skep_obj::source::{FuncInfo, LineInfo};
use skep_obj::{AttachPoint, Linked, LinkedProgram, Object, Variable};
use skep_runtime::command::{Command, MapCreate, ProgLoad, Reply};
use skep_runtime::{AttachOptions, Fd, Handle, Link, Map, Program, SharedRuntime};

use crate::{Error, Result, host};

/// A map with what the object says of it.
#[derive(Debug)]
pub struct LoadedMap {
    /// What the object says.
    pub def: MapDef,
    /// The map.
    pub map: Map,
}

/// A program with what the object says of it.
#[derive(Debug)]
pub struct LoadedProgram {
    /// What the object says.
    pub linked: LinkedProgram,
    /// The program.
    pub program: Program,
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
    /// Programs, with the object's numbers; `None` for those that the object does not want loaded.
    pub programs: Vec<Option<LoadedProgram>>,
    /// The types as the runtime knows them, held for as long as maps and programs refer to them.
    _types: Option<Handle>,
}

/// Loads a linked object: types, maps, initial values, programs, references to programs.
pub fn load(runtime: &SharedRuntime, object: &Object, linked: Linked) -> Result<Loaded> {
    check_programs(&linked)?;
    let types = load_types(runtime, &linked)?;
    let maps = create_maps(runtime, &linked, types.as_ref())?;
    fill_maps(&maps)?;
    let programs = load_programs(runtime, &linked, &maps, types.as_ref())?;
    fill_program_slots(&maps, &programs)?;
    Ok(Loaded { btf: linked.btf, maps, variables: object.variables.clone(), programs, _types: types })
}

impl Loaded {
    /// Attaches every program that names a hook; dropping a link detaches.
    pub fn attach(&self) -> Result<Vec<Link>> {
        self.programs.iter().flatten().flat_map(LoadedProgram::attach).collect()
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
}

impl LoadedMap {
    /// Is it a buffer of records?
    pub fn is_event_buffer(&self) -> bool {
        matches!(self.def.map_type, MapType::RINGBUF | MapType::PERF_EVENT_ARRAY)
            && self.def.kind == MapKind::User
    }
}

impl LoadedProgram {
    /// Is it for the caller to say where the program is to be attached, and nobody has?
    pub fn lacks_target(&self) -> bool {
        self.linked.attach_error.is_none() && self.linked.attach.is_open()
    }

    /// Attaches the program where its section or the caller says; that may be nowhere.
    fn attach(&self) -> Vec<Result<Link>> {
        if let Some(error) = &self.linked.attach_error {
            return vec![Err(error.clone().into())];
        }
        let points = [&self.linked.attach].into_iter().chain(&self.linked.also);
        let attach =
            |point| self.program.attach(point, &AttachOptions::default()).map_err(|e| self.in_program(e));
        points.filter(|point| **point != AttachPoint::None && !point.is_open()).map(attach).collect()
    }

    /// The error with the program it happened in.
    fn in_program(&self, error: skep_runtime::Error) -> Error {
        in_program(&self.linked, error)
    }
}

/// The first thing that keeps a wanted program from loading ends it all, before anything is made.
fn check_programs(linked: &Linked) -> Result<()> {
    for program in linked.programs.iter().filter(|p| p.autoload) {
        program.result.clone()?;
    }
    Ok(())
}

/// Hands the object's types to the runtime; one that does not take any gets none.
fn load_types(runtime: &SharedRuntime, linked: &Linked) -> Result<Option<Handle>> {
    let Some(btf) = &linked.btf else {
        return Ok(None);
    };
    match runtime.bpf(Command::BtfLoad { data: btf.bytes() }) {
        Ok(Reply::Fd(fd)) => Ok(Some(Handle::new(Arc::clone(runtime), fd))),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == skep_runtime::ErrorKind::Unsupported => Ok(None),
        Err(e) => Err(e.context("types of the object").into()),
    }
}

fn create_maps(
    runtime: &SharedRuntime,
    linked: &Linked,
    types: Option<&Handle>,
) -> Result<Vec<Option<LoadedMap>>> {
    let cpus = host::possible_cpus();
    let create = |def: &MapDef| -> Result<Option<LoadedMap>> {
        if !def.autocreate {
            return Ok(None);
        }
        let map = create_map(runtime, def, types.map(Handle::fd), cpus)?;
        Ok(Some(LoadedMap { def: def.clone(), map }))
    };
    linked.maps.iter().map(create).collect()
}

/// Creates one map, after a template of the maps it holds.
fn create_map(runtime: &SharedRuntime, def: &MapDef, types: Option<Fd>, cpus: usize) -> Result<Map> {
    let template = def.inner.as_deref().map(|inner| create_map(runtime, inner, types, cpus)).transpose()?;
    let spec = MapCreate {
        map_flags: def.map_flags,
        map_extra: def.map_extra,
        numa_node: def.numa_node,
        inner_map: template.as_ref().map(Map::fd),
        btf: types.filter(|_| takes_types(def)).map(|fd| (fd, def.key_type.0, def.value_type.0)),
        btf_vmlinux_value_type_id: def.kernel_value_type.map_or(0, |ty| ty.id.0),
        ..MapCreate::new(def.map_type, &def.name, def.key_size, def.value_size, def.max_entries)
    };
    Ok(Map::create(runtime, &spec, cpus)?)
}

/// The kernel takes types only for maps whose elements are plain bytes (`map_check_btf` of each map type).
fn takes_types(def: &MapDef) -> bool {
    let plain = matches!(
        def.map_type,
        MapType::HASH
            | MapType::ARRAY
            | MapType::PERCPU_HASH
            | MapType::PERCPU_ARRAY
            | MapType::LRU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::LPM_TRIE
            | MapType::CGROUP_STORAGE
            | MapType::PERCPU_CGROUP_STORAGE
            | MapType::SK_STORAGE
            | MapType::INODE_STORAGE
            | MapType::TASK_STORAGE
            | MapType::CGRP_STORAGE
            | MapType::STRUCT_OPS
    );
    plain && def.value_type != TypeId::VOID
}

/// Writes initial values and references to maps, and freezes constants.
fn fill_maps(maps: &[Option<LoadedMap>]) -> Result<()> {
    for loaded in maps.iter().flatten() {
        let in_map = |e: skep_runtime::Error| e.context(format_args!("map `{}`", loaded.def.name));
        if loaded.def.is_data() && !loaded.def.data.is_empty() {
            loaded.map.update(&0u32.to_ne_bytes(), &loaded.def.data, 0).map_err(in_map)?;
        }
        for slot in &loaded.def.slots {
            if let SlotTarget::Map(target) = slot.target
                && loaded.def.kind == MapKind::User
                && let Some(target) = &maps[target]
            {
                loaded
                    .map
                    .update(&slot.at.to_ne_bytes(), &target.map.fd().0.to_ne_bytes(), 0)
                    .map_err(in_map)?;
            }
        }
        if loaded.def.is_frozen() {
            loaded.map.freeze().map_err(in_map)?;
        }
    }
    Ok(())
}

fn load_programs(
    runtime: &SharedRuntime,
    linked: &Linked,
    maps: &[Option<LoadedMap>],
    types: Option<&Handle>,
) -> Result<Vec<Option<LoadedProgram>>> {
    let load = |program: &LinkedProgram| -> Result<Option<LoadedProgram>> {
        if !program.autoload {
            return Ok(None);
        }
        let insns = resolve_maps(program, maps)?;
        let (functions, lines) = (program.func_info_bytes(), program.line_info_bytes());
        let spec = ProgLoad {
            expected_attach_type: program.expected_attach_type,
            kern_version: linked.kern_version,
            prog_flags: program.flags,
            btf: types.map(Handle::fd),
            func_info: (&functions, FuncInfo::SIZE),
            line_info: (&lines, LineInfo::SIZE),
            attach_btf_id: program.attach_btf.map_or(0, |ty| ty.id.0),
            ..ProgLoad::new(program.prog_type, &program.name, &insns, &linked.license)
        };
        let loaded = Program::load(runtime, &spec).map_err(|e| in_program(program, e))?;
        Ok(Some(LoadedProgram { linked: program.clone(), program: loaded }))
    };
    linked.programs.iter().map(load).collect()
}

/// Opcode of a call, of a helper where the source is 0 (RFC 9669 section 4.3.1), and numbers of helpers.
const CALL: u8 = 0x85;
const TRACE_PRINTK: i32 = 6;
const TRACE_VPRINTK: i32 = 177;

/// Pseudo sources of `LD_IMM64` (`include/uapi/linux/bpf.h`).
const PSEUDO_MAP_FD: Reg = Reg(1);
const PSEUDO_MAP_VALUE: Reg = Reg(2);

/// The program's code with descriptors in place of map numbers.
fn resolve_maps(program: &LinkedProgram, maps: &[Option<LoadedMap>]) -> Result<Vec<Insn>> {
    let mut insns = program.insns.clone();
    for reference in &program.map_refs {
        let Some(loaded) = &maps[reference.map] else {
            return Err(Error::usage(
                format!("program `{}` uses a map that the object does not want created", program.name),
                "leave the program out as well",
            ));
        };
        let pseudo = if reference.value_off.is_some() { PSEUDO_MAP_VALUE } else { PSEUDO_MAP_FD };
        let insn = &mut insns[reference.insn];
        *insn = Insn { imm: loaded.map.fd().0, ..insn.with_src(pseudo) };
    }
    Ok(insns)
}

/// Writes the initial elements of program arrays.
fn fill_program_slots(maps: &[Option<LoadedMap>], programs: &[Option<LoadedProgram>]) -> Result<()> {
    for loaded in maps.iter().flatten().filter(|m| m.def.kind == MapKind::User) {
        for slot in &loaded.def.slots {
            if let SlotTarget::Program(target) = slot.target
                && let Some(target) = &programs[target]
            {
                let value = target.program.fd().0.to_ne_bytes();
                let in_map = |e: skep_runtime::Error| e.context(format_args!("map `{}`", loaded.def.name));
                loaded.map.update(&slot.at.to_ne_bytes(), &value, 0).map_err(in_map)?;
            }
        }
    }
    Ok(())
}

fn in_program(program: &LinkedProgram, error: skep_runtime::Error) -> Error {
    error.context(format_args!("section `{}`: program `{}`", program.section, program.name)).into()
}
