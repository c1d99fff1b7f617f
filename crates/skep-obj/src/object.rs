//! The object: what the bytes of one file say, before any machine is known.

use std::sync::Arc;

use skep_btf::Btf;
use skep_isa::uapi::ProgType;

use crate::elf::{Elf, Section};
use crate::error::{Error, ErrorKind, Result};
use crate::externs::{self, Extern, ExternKind};
use crate::function::{self, Function};
use crate::map::{self, MapDef, MapKind, Slot};
use crate::program::{self, Program};
use crate::reloc::{self, Tables};
use crate::source::Lines;
use crate::struct_ops;
use crate::types::Types;
use crate::variable::{self, Variable};

/// An eBPF object. It depends on the bytes it was read from alone.
///
/// Programs and maps may be changed before [`link`](Self::link): types, attach points, sizes, what is loaded
/// and created.
#[derive(Clone, Debug)]
pub struct Object {
    /// The file's name without directory and from the first dot on; at most 15 bytes. Data maps are named
    /// after it.
    pub name: String,
    /// The licence, which opens GPL-only helpers; empty when the object has none.
    pub license: String,
    /// What section `version` says: the only kernel that the object claims to run on; 0 when it says nothing.
    pub kern_version: u32,
    /// Programs, in the order of their code.
    pub programs: Vec<Program>,
    /// Maps: defined ones first, then those that hold variables, then `struct_ops`.
    pub maps: Vec<MapDef>,
    /// Global variables, by map and offset.
    pub variables: Vec<Variable>,
    /// What the machine has to supply.
    pub externs: Vec<Extern>,
    /// The object's types, with the offsets of variables filled in.
    pub btf: Option<Arc<Btf>>,
    pub(crate) file: String,
    pub(crate) functions: Vec<Function>,
    pub(crate) lines: Lines,
    /// Contents of `.jumptables`.
    pub(crate) jump_tables: Vec<u8>,
}

impl Object {
    /// Reads an object from the bytes of a file; `file` names it in errors, and gives the object its name.
    pub fn read(bytes: &[u8], file: &str) -> Result<Self> {
        read(bytes, file).map_err(|e| e.file(file))
    }

    /// Checks that there is a program to run.
    pub fn require_programs(&self) -> Result<()> {
        if self.programs.is_empty() {
            let names: Vec<_> = self.functions.iter().map(|f| format!("`{}`", f.name)).take(3).collect();
            let error = Error::invalid("no section holds programs").file(&self.file);
            return Err(match names.is_empty() {
                true => {
                    error.hint("give functions a section, such as `SEC(\"tp/syscalls/sys_enter_openat\")`")
                }
                false => error.hint(format!(
                    "{} have no section: put `SEC(\"…\")` in front, and do not make them `static`",
                    names.join(", ")
                )),
            });
        }
        Ok(())
    }

    /// Leaves out programs that have nothing to do with running the one of this name, which is asked for even if its section
    /// begins with `?`. Those that are in an array of programs from the beginning it may call; those that trace see a function run
    /// together.
    pub fn load_for(&mut self, name: &str) {
        let prog_type = self.program(name).map(|program| program.prog_type);
        let callable: Vec<usize> =
            self.maps.iter().flat_map(|map| &map.slots).filter_map(Slot::program).collect();
        for (number, program) in self.programs.iter_mut().enumerate() {
            let together = prog_type == Some(ProgType::TRACING) || callable.contains(&number);
            let runs = together && Some(program.prog_type) == prog_type;
            program.autoload = program.name == name || (program.autoload && runs);
        }
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|p| p.name == name)
    }

    /// What kind of program takes such a context as this one does, by the type of its argument; for programs whose
    /// section does not say what they are.
    pub fn type_by_context(&self, program: &Program) -> Option<ProgType> {
        program::type_by_context(self.btf.as_ref()?, &program.name)
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<&MapDef> {
        self.maps.iter().find(|m| m.name == name)
    }

    /// The variable of this name; the error names those there are.
    pub fn variable(&self, name: &str) -> Result<&Variable> {
        self.variables.iter().find(|v| v.name == name).ok_or_else(|| {
            let error = Error::not_found(format!("no global variable `{name}`")).file(&self.file);
            let mut known: Vec<_> =
                self.variables.iter().filter(|v| v.global).map(|v| v.name.as_str()).collect();
            known.sort_unstable();
            match known.is_empty() {
                true => error.hint("the object has no global variables"),
                false => error.hint(format!("it has: {}", known.join(", "))),
            }
        })
    }

    /// The initial value of a variable.
    pub fn variable_bytes(&self, name: &str) -> Result<Vec<u8>> {
        let variable = self.variable(name)?;
        Ok(variable.read(&self.maps[variable.map].data))
    }

    /// Sets the initial value of a variable; the bytes are as many as its type has.
    pub fn set_variable_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let variable = self.variable(name)?.clone();
        variable.write(&mut self.maps[variable.map].data, bytes).map_err(|e| e.file(&self.file))
    }

    /// Does linking want the kernel's types? For CO-RE, for hooks, functions and variables that are named by type, and for
    /// `struct_ops`.
    pub fn wants_kernel_types(&self) -> bool {
        let by_type = |program: &Program| {
            matches!(
                program.prog_type,
                ProgType::TRACING | ProgType::LSM | ProgType::EXT | ProgType::STRUCT_OPS
            )
        };
        let typed = |wanted: &Extern| matches!(wanted.kind, ExternKind::Kvar(_) | ExternKind::Kfunc(_));
        !self.lines.core.is_empty()
            || self.programs.iter().any(by_type)
            || self.externs.iter().any(typed)
            || self.maps.iter().any(|map| map.kind == MapKind::StructOps)
    }

    /// Addresses of kernel symbols that linking wants in [`Target::ksyms`](crate::Target::ksyms).
    pub fn wanted_ksyms(&self) -> impl Iterator<Item = &str> {
        self.externs.iter().filter(|e| e.kind == ExternKind::Ksym).map(|e| e.name.as_str())
    }

    /// Values of the kernel's configuration that linking wants in
    /// [`Target::kconfig`](crate::Target::kconfig).
    pub fn wanted_kconfig(&self) -> impl Iterator<Item = &str> {
        let wanted =
            |e: &&Extern| matches!(e.kind, ExternKind::Kconfig { .. }) && e.name.starts_with("CONFIG_");
        self.externs.iter().filter(wanted).map(|e| e.name.as_str())
    }
}

fn read(bytes: &[u8], file: &str) -> Result<Object> {
    let elf = Elf::parse(bytes)?;
    let name = object_name(file);
    let types = Types::read(&elf)?;
    let lines = Lines::read(&elf, types.as_ref())?;
    let mut functions = function::collect(&elf)?;
    let externs = externs::collect(&elf, types.as_ref())?;
    let mut maps = map::collect(&elf, types.as_ref(), &name)?;
    map::fill_slots(&elf, types.as_ref(), &functions, &mut maps)?;
    let variables = variable::collect(&elf, types.as_ref(), &maps)?;
    maps.extend(kconfig_map(&externs.list, types.as_ref(), &name));
    maps.extend(struct_ops::collect(&elf, types.as_ref(), &functions)?);
    let tables = Tables { elf: &elf, maps: &maps, externs: &externs.by_symbol, lines: &lines };
    reloc::resolve(&mut functions, &tables)?;
    Ok(Object {
        license: text(elf.section("license")),
        kern_version: version(elf.section("version"))?,
        programs: program::collect(&functions),
        maps,
        variables,
        externs: externs.list,
        btf: types.map(|types| types.btf),
        file: file.to_owned(),
        functions,
        lines,
        jump_tables: elf.section(".jumptables").map(|(_, s)| s.data.to_vec()).unwrap_or_default(),
        name,
    })
}

/// As libbpf names objects: `/dir/opensnoop.bpf.o` is `opensnoop`.
fn object_name(file: &str) -> String {
    const NAME_BYTES: usize = 15;
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = base.split('.').next().unwrap_or(base);
    let end = (0..=NAME_BYTES.min(stem.len())).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or(0);
    stem[..end].to_owned()
}

/// The text of a section, up to its first NUL.
fn text(section: Option<(usize, &Section<'_>)>) -> String {
    let bytes = section.map(|(_, s)| s.data).unwrap_or_default();
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn version(section: Option<(usize, &Section<'_>)>) -> Result<u32> {
    match section {
        None => Ok(0),
        Some((_, section)) => match <[u8; 4]>::try_from(section.data) {
            Ok(bytes) => Ok(u32::from_le_bytes(bytes)),
            Err(_) => {
                Err(Error::new(ErrorKind::Corrupt, format!("{} bytes instead of 4", section.data.len()))
                    .section("version"))
            }
        },
    }
}

/// The map that configuration values live in, if the object wants any.
fn kconfig_map(externs: &[Extern], types: Option<&Types>, name: &str) -> Option<MapDef> {
    let size = externs::kconfig_size(externs);
    (size > 0).then(|| map::variables_map(MapKind::Kconfig, ".kconfig", size, Vec::new(), types, name))
}
