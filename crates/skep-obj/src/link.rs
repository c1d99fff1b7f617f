//! Linking: what an object becomes on a given machine.
//!
//! Takes an [`Object`] and a [`Target`]; gives [`Linked`]: instructions that run as they are once the runtime
//! has put its descriptors where map numbers stand. The stages, in order: maps get the sizes and values that
//! depend on the machine; externs are looked up; CO-RE relocations change instructions function by function;
//! every program gets the code of the functions it calls, and its references filled in; `struct_ops`
//! structures take the kernel's shape.
//!
//! What one program lacks fails that program alone; see [`LinkedProgram::result`].

mod btf;
mod code;
mod core;
mod deferred;
mod externs;
mod hooks;
mod jump_table;
mod maps;
mod target;

use std::sync::Arc;

use skep_btf::Btf;
use skep_isa::Insn;
use skep_isa::uapi::{AttachType, ProgType};

use crate::attach::AttachPoint;
use crate::error::{Error, ErrorKind, Result};
use crate::externs::Extern;
use crate::map::{KernelType, MapDef};
use crate::object::Object;
use crate::source::{FuncInfo, LineInfo, SourceLine};
use crate::struct_ops;

pub use deferred::{Deferred, ExternRef, Wanted};
pub use target::{Module, Target};

/// An object, linked.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The object's name.
    pub name: String,
    /// Its licence.
    pub license: String,
    /// `LINUX_VERSION_CODE` for loading: what the object says, or else the target's.
    pub kern_version: u32,
    /// Maps: the object's with their numbers, then those that programs need beside.
    pub maps: Vec<MapDef>,
    /// Programs, with the object's numbers.
    pub programs: Vec<LinkedProgram>,
    /// What the object wanted of the machine.
    pub externs: Vec<Extern>,
    /// Types to load, with externs as the kernel wants them.
    pub btf: Option<Arc<Btf>>,
    /// Names of the target's modules, by number.
    pub modules: Vec<String>,
    /// Modules whose BTF descriptors programs find in their `fd_array`, from index 1 on.
    pub kfunc_modules: Vec<usize>,
}

/// A program, linked.
#[derive(Clone, Debug)]
pub struct LinkedProgram {
    /// Name of its function.
    pub name: String,
    /// Section, without a leading `?`.
    pub section: String,
    /// What kind of program.
    pub prog_type: ProgType,
    /// What the verifier is told about the hook; for `struct_ops`, which member.
    pub expected_attach_type: Option<AttachType>,
    /// Where it is to be attached.
    pub attach: AttachPoint,
    /// Where else.
    pub also: Vec<AttachPoint>,
    /// Why the section's name does not say where, although it should.
    pub attach_error: Option<Error>,
    /// What of the kernel it attaches to, where that is said by type.
    pub attach_btf: Option<KernelType>,
    /// Flags for loading.
    pub flags: u32,
    /// Is the program loaded by default?
    pub autoload: bool,
    /// Its code: its own function first, then those it calls.
    pub insns: Vec<Insn>,
    /// Instructions that refer to maps, by number (`BPF_PSEUDO_MAP_IDX`, `BPF_PSEUDO_MAP_IDX_VALUE`).
    pub map_refs: Vec<MapRef>,
    /// Instructions that refer to variables of kernel modules, and want the descriptor of the module's BTF.
    pub module_refs: Vec<ModuleRef>,
    /// What is to be filled in when the program is loaded; nothing unless [`Target::deferred`] asks for it.
    pub deferred: Deferred,
    /// Functions of the code, with their types.
    pub func_info: Vec<FuncInfo>,
    /// Source lines of the code.
    pub line_info: Vec<LineInfo>,
    /// Instructions that must not be reached, and why; the verifier refuses them only where they can be.
    pub poisoned: Vec<Poison>,
    /// Can the program be loaded? If not, what it lacks.
    pub result: Result<()>,
    /// Strings of the source lines.
    pub(crate) strings: Option<Arc<Btf>>,
}

/// A reference to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRef {
    /// First slot of the `LD_IMM64`.
    pub insn: usize,
    /// Which of [`Linked::maps`].
    pub map: usize,
    /// Offset in the value, for an address; `None` for the map itself.
    pub value_off: Option<u32>,
}

/// A reference to a variable of a kernel module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleRef {
    /// First slot of the `LD_IMM64`; the descriptor goes into the second slot's `imm`.
    pub insn: usize,
    /// Which of the target's modules.
    pub module: usize,
}

/// An instruction that the target cannot give a meaning; in its place stands a call of a helper that does not
/// exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// The instruction.
    pub insn: usize,
    /// What is missing.
    pub reason: String,
}

impl Linked {
    /// The modules whose BTF descriptors are wanted for loading, by number.
    pub fn used_modules(&self) -> Vec<usize> {
        let hooks = self.programs.iter().filter_map(|program| program.attach_btf?.module);
        let variables = self.programs.iter().flat_map(|program| program.module_refs.iter().map(|m| m.module));
        let structures = self.maps.iter().filter_map(|map| map.kernel_value_type?.module);
        let functions = self.kfunc_modules.iter().copied();
        let mut used: Vec<usize> = hooks.chain(variables).chain(structures).chain(functions).collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// Does something lack types that a module of the kernel may have?
    pub fn lacks_types(&self) -> bool {
        let lacks = |program: &LinkedProgram| {
            let unresolved = program.result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unresolved);
            program.autoload && (unresolved || !program.poisoned.is_empty())
        };
        self.programs.iter().any(lacks)
    }

    /// The types to load without the kinds that kernels before 5.2 to 6.0 do not know.
    pub fn plain_types(&self) -> Result<Option<Btf>> {
        self.btf.as_deref().map(btf::plain).transpose()
    }
}

impl LinkedProgram {
    /// The source line of an instruction, if the object keeps lines.
    pub fn source_line(&self, insn: usize) -> Option<SourceLine> {
        let after = self.line_info.partition_point(|line| line.insn as usize <= insn);
        let line = self.line_info.get(after.checked_sub(1)?)?;
        line.source(self.strings.as_deref()?)
    }

    /// All source lines with the instructions they begin at, in order.
    pub fn source_lines(&self) -> impl Iterator<Item = (usize, SourceLine)> + '_ {
        let strings = self.strings.as_deref();
        self.line_info.iter().filter_map(move |line| Some((line.insn as usize, line.source(strings?)?)))
    }

    /// Functions' types as bpf(2) takes them, in records of [`FuncInfo::SIZE`] bytes; empty when some
    /// function has none.
    pub fn func_info_bytes(&self) -> Vec<u8> {
        self.func_info.iter().flat_map(|info| info.to_bytes()).collect()
    }

    /// Source lines as bpf(2) takes them, in records of [`LineInfo::SIZE`] bytes; empty when some function
    /// has none.
    pub fn line_info_bytes(&self) -> Vec<u8> {
        let begins =
            |info: &FuncInfo| self.line_info.binary_search_by_key(&info.insn, |line| line.insn).is_ok();
        if !self.func_info.iter().all(begins) {
            return Vec::new();
        }
        self.line_info.iter().flat_map(|info| info.to_bytes()).collect()
    }

    /// Why an instruction was poisoned, if it was.
    pub fn poison(&self, insn: usize) -> Option<&str> {
        self.poisoned.iter().find(|p| p.insn == insn).map(|p| p.reason.as_str())
    }
}

impl Object {
    /// Links the object for a machine.
    pub fn link(&self, target: &Target) -> Result<Linked> {
        link(self, target).map_err(|e| e.file(&self.file))
    }
}

fn link(object: &Object, target: &Target) -> Result<Linked> {
    let mut maps = maps::finish(object, target)?;
    let externs = externs::resolve(object, target, &mut maps);
    let functions = core::relocate(object, target);
    let callbacks = object.btf.as_deref().map(btf::exception_callbacks).unwrap_or_default();
    let mut linker = code::Linker { object, functions, externs, maps, callbacks };
    let mut programs: Vec<_> = (0..object.programs.len()).map(|index| linker.program(index)).collect();
    for program in &mut programs {
        hooks::resolve(program, target, &object.file);
    }
    if !target.deferred {
        struct_ops::fit_all(object, &mut linker.maps, &mut programs, target);
    }
    Ok(Linked {
        name: object.name.clone(),
        license: object.license.clone(),
        kern_version: if object.kern_version == 0 { target.kernel_version } else { object.kern_version },
        maps: linker.maps,
        programs,
        externs: object.externs.clone(),
        btf: btf::to_load(object)?,
        modules: target.modules.iter().map(|module| module.name.clone()).collect(),
        kfunc_modules: linker.externs.modules,
    })
}
