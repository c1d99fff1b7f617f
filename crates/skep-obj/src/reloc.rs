//! What instructions refer to: maps, variables, functions, externs.
//!
//! The compiler leaves a relocation (a symbol for an instruction) or, for calls within a section, a distance.
//! Both become a [`Reloc`] here, whose target is a number in one of the object's own tables. Nothing is
//! patched yet.

use std::collections::HashMap;

use skep_isa::table::{CALL, LD_IMM64};
use skep_isa::{Insn, Reg};

use crate::elf::{Elf, RawReloc, SectionKind, Symbol, SymbolKind, SymbolPlace};
use crate::error::{Error, Result};
use crate::function::{self, Function};
use crate::map::{MapDef, MapKind};
use crate::source::Lines;

/// `BPF_PSEUDO_CALL`: the call is to a function of this program.
pub(crate) const PSEUDO_CALL: Reg = Reg(1);
/// `BPF_PSEUDO_KFUNC_CALL`: the call is to a function of the kernel.
pub(crate) const PSEUDO_KFUNC_CALL: Reg = Reg(2);
/// `BPF_PSEUDO_BTF_ID`: the address of a kernel variable.
pub(crate) const PSEUDO_BTF_ID: Reg = Reg(3);
/// `BPF_PSEUDO_FUNC`: the address of a function of this program.
pub(crate) const PSEUDO_FUNC: Reg = Reg(4);
/// `BPF_PSEUDO_MAP_IDX`: a map, by its number.
pub(crate) const PSEUDO_MAP_IDX: Reg = Reg(5);
/// `BPF_PSEUDO_MAP_IDX_VALUE`: an address in a map's value, by the map's number.
pub(crate) const PSEUDO_MAP_IDX_VALUE: Reg = Reg(6);

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reloc {
    /// Slot in the function.
    pub(crate) insn: usize,
    pub(crate) target: Target,
}

/// What is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A map.
    Map(usize),
    /// A byte of a data map's value.
    Data { map: usize, offset: u32 },
    /// A function, called or loaded.
    Function(usize),
    /// Something the target machine has to supply.
    Extern(usize),
    /// A table of jump targets: bytes of the section that holds them.
    JumpTable { offset: u64, size: u64 },
}

/// The tables that targets are looked up in.
pub(crate) struct Tables<'a> {
    pub(crate) elf: &'a Elf<'a>,
    pub(crate) maps: &'a [MapDef],
    /// Extern of each symbol that is one.
    pub(crate) externs: &'a HashMap<usize, usize>,
    /// For errors.
    pub(crate) lines: &'a Lines,
}

/// Finds out what each function's instructions refer to.
pub(crate) fn resolve(functions: &mut [Function], tables: &Tables<'_>) -> Result<()> {
    for index in 0..functions.len() {
        let relocs = of_function(functions, index, tables)?;
        functions[index].relocs = relocs;
    }
    Ok(())
}

fn of_function(functions: &[Function], index: usize, tables: &Tables<'_>) -> Result<Vec<Reloc>> {
    let function = &functions[index];
    let mut relocs = Vec::new();
    let slot = |raw: &RawReloc| (raw.offset / Insn::SIZE as u64) as usize;
    let all = &tables.elf.sections[function.section].relocs;
    let first = all.partition_point(|raw| slot(raw) < function.start);
    for raw in all[first..].iter().take_while(|raw| function.range().contains(&slot(raw))) {
        let slot = slot(raw);
        let insn = slot - function.start;
        let target = if !raw.offset.is_multiple_of(Insn::SIZE as u64) {
            Err(Error::corrupt(format!("a relocation at byte {}, within an instruction", raw.offset)))
        } else {
            target(functions, function, insn, raw.symbol, tables)
        };
        let target =
            target.map_err(|e| function.at(e, insn).source(tables.lines.at(function.section, slot)))?;
        relocs.push(Reloc { insn, target });
    }
    relocs.sort_by_key(|reloc| reloc.insn);
    relocs.dedup_by_key(|reloc| reloc.insn);
    add_near_calls(functions, function, tables.lines, &mut relocs)?;
    Ok(relocs)
}

/// Calls within one section need no relocation; the distance in the instruction says it all.
fn add_near_calls(
    functions: &[Function],
    function: &Function,
    lines: &Lines,
    relocs: &mut Vec<Reloc>,
) -> Result<()> {
    let mut found = Vec::new();
    let mut insn = 0;
    while let Some(slot) = function.insns.get(insn) {
        let related = || relocs.binary_search_by_key(&insn, |reloc| reloc.insn).is_ok();
        if slot.code == CALL && slot.src() == PSEUDO_CALL && !related() {
            let to = (function.start + insn) as i64 + i64::from(slot.imm) + 1;
            let target = usize::try_from(to)
                .ok()
                .and_then(|to| function::starting_at(functions, function.section, to))
                .ok_or_else(|| {
                    let error = Error::corrupt(format!("a call of slot {to}, where no function begins"));
                    function.at(error, insn).source(lines.at(function.section, function.start + insn))
                })?;
            found.push(Reloc { insn, target: Target::Function(target) });
        }
        insn += if slot.code == LD_IMM64 { 2 } else { 1 };
    }
    relocs.extend(found);
    relocs.sort_by_key(|reloc| reloc.insn);
    Ok(())
}

/// What one relocated instruction refers to.
fn target(
    functions: &[Function],
    function: &Function,
    insn: usize,
    symbol_index: usize,
    tables: &Tables<'_>,
) -> Result<Target> {
    let slot = function.insns[insn];
    let symbol = &tables.elf.symbols[symbol_index];
    match slot.code {
        CALL => {}
        LD_IMM64 if insn + 1 < function.insns.len() => {}
        LD_IMM64 => return Err(Error::corrupt("a 64-bit load cut off by the function's end")),
        code => {
            return Err(Error::corrupt(format!("a relocation for opcode {code:#04x}, which takes none"))
                .hint("only calls and 64-bit loads can refer to symbols"));
        }
    }
    let section = match symbol.place {
        SymbolPlace::Section(section) => section,
        SymbolPlace::Undefined => {
            return tables
                .externs
                .get(&symbol_index)
                .map(|index| Target::Extern(*index))
                .ok_or_else(|| undefined(symbol));
        }
        SymbolPlace::Special => {
            return Err(Error::unsupported(format!(
                "a reference to the common or absolute symbol `{}`",
                symbol.name
            ))
            .hint("give the variable an initial value, or compile with `-fno-common`"));
        }
    };
    if is_code(tables.elf, section) {
        return code_target(functions, slot, symbol, section);
    }
    if slot.code == CALL {
        return Err(Error::corrupt(format!(
            "a call of `{}`, which is no function",
            label(symbol, tables.elf)
        )));
    }
    data_target(slot, symbol, section, tables)
}

fn undefined(symbol: &Symbol<'_>) -> Error {
    Error::corrupt(format!("a reference to the undefined symbol `{}`", symbol.name))
}

fn is_code(elf: &Elf<'_>, section: usize) -> bool {
    elf.sections[section].kind == SectionKind::Code
}

/// A call counts in slots from the next instruction, an address in bytes; both add to the symbol's place.
fn code_target(functions: &[Function], slot: Insn, symbol: &Symbol<'_>, section: usize) -> Result<Target> {
    let bytes = Insn::SIZE as i64;
    let value = symbol.value as i64;
    let byte = match slot.code {
        CALL if slot.src() != PSEUDO_CALL => {
            return Err(Error::corrupt(format!(
                "a call of function `{}` that is encoded as another call",
                symbol.name
            )));
        }
        CALL => value.saturating_add((i64::from(slot.imm) + 1) * bytes),
        _ => value.saturating_add(i64::from(slot.imm)),
    };
    usize::try_from(byte)
        .ok()
        .filter(|byte| byte.is_multiple_of(Insn::SIZE))
        .and_then(|byte| function::starting_at(functions, section, byte / Insn::SIZE))
        .map(Target::Function)
        .ok_or_else(|| {
            Error::corrupt(format!("a reference to byte {byte} of the code, where no function begins"))
        })
}

fn data_target(slot: Insn, symbol: &Symbol<'_>, section: usize, tables: &Tables<'_>) -> Result<Target> {
    // Static variables are named by their section, and the instruction holds the offset.
    let offset = symbol.value.wrapping_add(slot.imm as u64) as u32;
    let name = &tables.elf.sections[section].name;
    if name == ".jumptables" {
        return Ok(Target::JumpTable { offset: symbol.value, size: symbol.size });
    }
    if name == ".addr_space.1" {
        let arena = tables.maps.iter().position(|m| m.kind == MapKind::Arena);
        return arena.map(|map| Target::Data { map, offset }).ok_or_else(|| {
            Error::invalid("an arena variable, but the object defines no arena map")
                .hint("define a map of type `BPF_MAP_TYPE_ARENA`")
        });
    }
    let by_offset = |m: &MapDef| !m.is_data() && m.place == Some((section, u64::from(offset)));
    if let Some(map) = tables.maps.iter().position(by_offset) {
        return Ok(Target::Map(map));
    }
    if let Some(map) = tables.maps.iter().position(|m| m.is_data() && m.place == Some((section, 0))) {
        return Ok(Target::Data { map, offset });
    }
    let what = label(symbol, tables.elf);
    Err(match tables.maps.iter().any(|m| m.place.is_some_and(|(s, _)| s == section)) {
        true => Error::corrupt(format!("a reference to `{what}`, which is no map")),
        false => Error::unsupported(format!(
            "a reference to `{what}` in section `{name}`, which holds neither maps nor data"
        )),
    })
}

/// Sections have symbols without names.
fn label<'s>(symbol: &'s Symbol<'_>, elf: &'s Elf<'_>) -> &'s str {
    match symbol.place {
        SymbolPlace::Section(section) if symbol.kind == SymbolKind::Section => &elf.sections[section].name,
        _ => &symbol.name,
    }
}
