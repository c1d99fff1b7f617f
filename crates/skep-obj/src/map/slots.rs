//! Static initialisers of maps: which maps and programs an array of maps or of programs starts with.

use skep_isa::uapi::MapType;

use super::{MapDef, Slot, SlotTarget};
use crate::elf::{Elf, Symbol, SymbolPlace};
use crate::error::{Error, Result};
use crate::function::{self, Function};
use crate::types::Types;

/// A pointer in an object file.
const POINTER_BYTES: u64 = 8;

/// Reads the relocations of `.maps`, each of which puts one reference into one map.
pub(crate) fn fill(
    elf: &Elf<'_>,
    types: Option<&Types>,
    functions: &[Function],
    maps: &mut [MapDef],
) -> Result<()> {
    let (Some((index, section)), Some(types)) = (elf.section(".maps"), types) else {
        return Ok(());
    };
    if section.relocs.is_empty() {
        return Ok(());
    }
    let definitions = types.variables(".maps")?;
    for raw in &section.relocs {
        let symbol = &elf.symbols[raw.symbol];
        let definition = definitions.iter().find(|v| {
            u64::from(v.offset) <= raw.offset
                && raw.offset + POINTER_BYTES <= u64::from(v.offset) + u64::from(v.size)
        });
        let found = definition.and_then(|v| {
            maps.iter().position(|m| m.place == Some((index, v.offset.into()))).map(|map| (v, map))
        });
        let Some((definition, map)) = found else {
            return Err(Error::corrupt(format!(
                "a relocation at byte {}, where no map is defined",
                raw.offset
            ))
            .section(".maps"));
        };
        let values = types.last_member_offset(definition.type_id)?;
        let at = raw.offset - u64::from(definition.offset);
        let slot =
            at.checked_sub(values).filter(|at| at.is_multiple_of(POINTER_BYTES)).map(|at| at / POINTER_BYTES);
        let slot = slot.and_then(|slot| u32::try_from(slot).ok()).ok_or_else(|| {
            Error::corrupt(format!("a reference at byte {at} of the definition, which is no element"))
                .section(".maps")
                .symbol(&definition.name)
        })?;
        let target = target(symbol, &maps[map], index, maps, functions)
            .map_err(|e| e.section(".maps").symbol(&definition.name))?;
        maps[map].slots.push(Slot { at: slot, target });
    }
    Ok(())
}

fn target(
    symbol: &Symbol<'_>,
    map: &MapDef,
    section: usize,
    maps: &[MapDef],
    functions: &[Function],
) -> Result<SlotTarget> {
    if map.holds_maps() {
        if map.map_type == MapType::HASH_OF_MAPS && map.key_size != 4 {
            return Err(Error::unsupported(format!("initial elements, with keys of {} bytes", map.key_size))
                .hint("elements are numbered, so the key has to be an `int`"));
        }
        let inner =
            maps.iter().position(|m| m.place == Some((section, symbol.value)) && symbol.is_in(section));
        return inner
            .map(SlotTarget::Map)
            .ok_or_else(|| Error::corrupt(format!("`{}` is no map", symbol.name)));
    }
    if map.map_type == MapType::PROG_ARRAY {
        return program(symbol, functions)
            .map(SlotTarget::Program)
            .ok_or_else(|| Error::corrupt(format!("`{}` is no program", symbol.name)));
    }
    Err(Error::corrupt(format!("a reference to `{}` in a map that holds none", symbol.name)))
}

/// The program that begins where a symbol points.
pub(crate) fn program(symbol: &Symbol<'_>, functions: &[Function]) -> Option<usize> {
    let SymbolPlace::Section(section) = symbol.place else {
        return None;
    };
    let slot = symbol.value.is_multiple_of(8).then_some((symbol.value / 8) as usize)?;
    let index = function::starting_at(functions, section, slot)?;
    functions[index].is_entry().then(|| crate::program::number(functions, index))
}
