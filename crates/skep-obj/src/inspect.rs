//! What an object is made of, for those who look at it: sections, functions with what their instructions refer to, and what
//! depends on the target's types.

use skep_btf::core::Relo;
use skep_isa::Insn;

use crate::elf::{Elf, SectionKind};
use crate::error::{Error, Result};
use crate::function;
use crate::object::Object;
use crate::reloc::Target;

/// A section of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionView {
    /// Its name.
    pub name: String,
    /// `code`, `data`, `zero` or `table`.
    pub kind: &'static str,
    /// Bytes in memory.
    pub bytes: u64,
    /// How many references its bytes have to symbols.
    pub relocations: usize,
    /// How many functions begin in it.
    pub functions: usize,
}

/// A function of an object.
#[derive(Clone, Debug)]
pub struct FunctionView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub section: &'a str,
    /// Its instructions, as compiled.
    pub insns: &'a [Insn],
    /// Is it a program, rather than something that programs call?
    pub is_program: bool,
    /// `static`, `global` or `hidden`.
    pub linkage: &'static str,
    /// What its instructions refer to, in their order.
    pub references: Vec<Reference>,
}

/// What an instruction refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Slot in the function.
    pub insn: usize,
    /// `map`, `variable`, `function`, `extern`, `jump table` or `type`.
    pub kind: &'static str,
    /// What it is called; for types, what is asked.
    pub name: String,
}

/// The sections of a file, without the tables of the file format.
pub fn sections(bytes: &[u8], file: &str) -> Result<Vec<SectionView>> {
    let elf = Elf::parse(bytes).map_err(|e| e.file(file))?;
    let functions = function::collect(&elf).map_err(|e: Error| e.file(file))?;
    let view = |(number, section): (usize, &crate::elf::Section<'_>)| SectionView {
        name: section.name.to_string(),
        kind: match section.kind {
            SectionKind::Code => "code",
            SectionKind::Data => "data",
            SectionKind::Zero => "zero",
            SectionKind::Other => "table",
        },
        bytes: section.size,
        relocations: section.relocs.len(),
        functions: functions.iter().filter(|function| function.section == number).count(),
    };
    Ok(elf.sections.iter().enumerate().skip(1).map(view).collect())
}

impl Object {
    /// All functions in the order of their code, programs and others.
    pub fn functions(&self) -> Vec<FunctionView<'_>> {
        let mut views: Vec<FunctionView<'_>> = self
            .functions
            .iter()
            .map(|function| FunctionView {
                name: &function.name,
                section: &function.section_name,
                insns: &function.insns,
                is_program: function.is_entry(),
                linkage: match (function.global, function.hidden) {
                    (false, _) => "static",
                    (true, false) => "global",
                    (true, true) => "hidden",
                },
                references: function
                    .relocs
                    .iter()
                    .map(|reloc| {
                        let (kind, name) = self.describe_target(&reloc.target);
                        Reference { insn: reloc.insn, kind, name }
                    })
                    .collect(),
            })
            .collect();
        for (index, reference) in self.type_references() {
            views[index].references.push(reference);
        }
        views.iter_mut().for_each(|view| view.references.sort_by_key(|reference| reference.insn));
        views
    }

    /// What depends on the target's types, by function.
    fn type_references(&self) -> Vec<(usize, Reference)> {
        let Some(btf) = &self.btf else { return Vec::new() };
        let of = |(section, slot, record): &(usize, usize, skep_btf::ext::CoreRelo)| {
            let index = function::containing(&self.functions, *section, *slot)?;
            let insn = slot - self.functions[index].start;
            let name = match Relo::read(btf, record) {
                Ok(relo) => relo.describe(btf),
                Err(e) => e.to_string(),
            };
            Some((index, Reference { insn, kind: "type", name }))
        };
        self.lines.core.iter().filter_map(of).collect()
    }

    fn describe_target(&self, target: &Target) -> (&'static str, String) {
        match target {
            Target::Map(map) => ("map", self.maps.get(*map).map_or_else(String::new, |map| map.name.clone())),
            Target::Data { map, offset } => ("variable", self.describe_data(*map, *offset)),
            Target::Function(function) => {
                ("function", self.functions.get(*function).map_or_else(String::new, |f| f.name.clone()))
            }
            Target::Extern(wanted) => {
                ("extern", self.externs.get(*wanted).map_or_else(String::new, |wanted| wanted.name.clone()))
            }
            Target::JumpTable { offset, size } => ("jump table", format!("{size} bytes at {offset}")),
        }
    }

    /// `limit`, `table+8`, or, where there is no variable, the map with the offset.
    fn describe_data(&self, map: usize, offset: u32) -> String {
        let holds = |variable: &&crate::Variable| {
            variable.map == map
                && (variable.offset..variable.offset.saturating_add(variable.size.max(1))).contains(&offset)
        };
        let (name, by) = match self.variables.iter().find(holds) {
            Some(variable) => (variable.name.clone(), offset - variable.offset),
            None => (self.maps.get(map).map_or_else(String::new, |map| map.name.clone()), offset),
        };
        if by == 0 { name } else { format!("{name}+{by}") }
    }
}
