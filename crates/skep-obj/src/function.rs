//! Functions: the pieces of code that programs are made of.
//!
//! Every function symbol of a code section becomes one [`Function`]. Which of them are programs, by
//! themselves attachable, is said by [`Function::is_entry`]; the others are subprograms, linked into every
//! program that calls them.

use skep_isa::Insn;

use crate::elf::{Bind, Elf, Section, SectionKind, Symbol, SymbolKind};
use crate::error::{Error, Result};
use crate::reloc::Reloc;

/// The section whose functions are never programs.
const TEXT: &str = ".text";

/// One function, as compiled.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// ELF number of its section.
    pub(crate) section: usize,
    pub(crate) section_name: String,
    /// Slot of the section at which it begins.
    pub(crate) start: usize,
    pub(crate) insns: Vec<Insn>,
    /// What its instructions refer to, by ascending instruction.
    pub(crate) relocs: Vec<Reloc>,
    /// Visible to other objects: linkage global or weak.
    pub(crate) global: bool,
    /// Global, but to be verified as if it were static.
    pub(crate) hidden: bool,
}

impl Function {
    /// Is this a program, rather than a function that programs call?
    pub(crate) fn is_entry(&self) -> bool {
        self.global && self.section_name != TEXT
    }

    /// Slots of the section that it takes.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.insns.len()
    }

    /// Puts this function's name and section into an error.
    pub(crate) fn at(&self, error: Error, insn: usize) -> Error {
        error.section(&self.section_name).symbol(&self.name).insn(insn)
    }
}

/// All functions, ordered by section and start, without relocations yet.
pub(crate) fn collect(elf: &Elf<'_>) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        if section.kind == SectionKind::Code && !section.data.is_empty() {
            let in_section = in_section(elf, index, section).map_err(|e| e.section(&section.name))?;
            functions.extend(in_section);
        }
    }
    Ok(functions)
}

/// The function of a section that begins at a slot.
pub(crate) fn starting_at(functions: &[Function], section: usize, slot: usize) -> Option<usize> {
    functions.binary_search_by_key(&(section, slot), |f| (f.section, f.start)).ok()
}

/// The function of a section to which a slot belongs. Code of no function is what a linker left of an
/// overridden one.
pub(crate) fn containing(functions: &[Function], section: usize, slot: usize) -> Option<usize> {
    let after = functions.partition_point(|f| (f.section, f.start) <= (section, slot));
    let index = after.checked_sub(1)?;
    let function = functions.get(index)?;
    (function.section == section && function.range().contains(&slot)).then_some(index)
}

fn in_section(elf: &Elf<'_>, index: usize, section: &Section<'_>) -> Result<Vec<Function>> {
    let len = section.data.len();
    if !len.is_multiple_of(Insn::SIZE) {
        return Err(Error::corrupt(format!("{len} bytes of code are no whole number of instructions"))
            .hint("the file is truncated or damaged: compile or copy it again"));
    }
    let mut symbols = function_symbols(elf, index);
    symbols.sort_by_key(|s| (s.value, s.bind == Bind::Local));
    // Two names of one function: the first, which is the visible one, stands for both.
    symbols.dedup_by_key(|s| s.value);
    let ends = symbols.iter().skip(1).map(|s| s.value).chain([len as u64]).collect::<Vec<_>>();
    symbols
        .iter()
        .zip(ends)
        .map(|(symbol, end)| one(symbol, end, index, section).map_err(|e| e.symbol(&symbol.name)))
        .collect()
}

/// Function symbols of a section. Compilers before LLVM 8 gave programs no type; there, every global symbol
/// is one.
fn function_symbols<'e, 'd>(elf: &'e Elf<'d>, section: usize) -> Vec<&'e Symbol<'d>> {
    let here = || elf.symbols.iter().filter(|s| s.is_in(section));
    let functions: Vec<_> = here().filter(|s| s.kind == SymbolKind::Function).collect();
    if functions.is_empty() {
        return here().filter(|s| s.kind == SymbolKind::None && s.bind != Bind::Local).collect();
    }
    functions
}

/// Cuts one function out of its section; `end` is where the next one begins.
fn one(symbol: &Symbol<'_>, end: u64, index: usize, section: &Section<'_>) -> Result<Function> {
    let typed = symbol.kind == SymbolKind::Function;
    let stop = if typed { symbol.value.saturating_add(symbol.size) } else { end };
    let size = section.data.len() as u64;
    if stop > size {
        return Err(Error::corrupt(format!("the function ends at byte {stop} of a section of {size} bytes")));
    }
    if stop > end {
        return Err(Error::corrupt("the function overlaps the one behind it"));
    }
    if stop <= symbol.value {
        return Err(Error::corrupt("the function has no instructions"));
    }
    let slot = Insn::SIZE as u64;
    if !symbol.value.is_multiple_of(slot) || !stop.is_multiple_of(slot) {
        return Err(Error::corrupt(format!(
            "the function's bytes {} to {stop} are no whole number of instructions",
            symbol.value
        )));
    }
    let code = &section.data[symbol.value as usize..stop as usize];
    Ok(Function {
        name: symbol.name.to_string(),
        section: index,
        section_name: section.name.to_string(),
        start: (symbol.value / slot) as usize,
        insns: code.as_chunks().0.iter().map(|bytes| Insn::from_le_bytes(*bytes)).collect(),
        relocs: Vec::new(),
        global: symbol.bind != Bind::Local,
        hidden: symbol.hidden,
    })
}
