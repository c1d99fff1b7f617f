//! Jump tables: where `gotox` may go, as maps of instruction numbers.

use skep_isa::Insn;
use skep_isa::uapi::MapType;

use super::code::Layout;
use crate::error::{Error, Result};
use crate::map::{MapDef, MapKind};
use crate::object::Object;

/// `BPF_MAP_TYPE_INSN_ARRAY` of Linux 6.19.
const INSN_ARRAY: MapType = MapType(34);
/// Bytes of an element (`struct bpf_insn_array_value`); the first word is the instruction.
const VALUE_BYTES: usize = 16;
/// Bytes of an entry in the object: the byte offset of an instruction in its section.
const ENTRY_BYTES: usize = 8;

/// The map for the table at `offset` of `.jumptables`, as the instruction `insn` of a program needs it.
pub(super) fn build(object: &Object, layout: &Layout, insn: usize, offset: u64, size: u64) -> Result<MapDef> {
    let entries =
        usize::try_from(offset).ok().and_then(|at| object.jump_tables.get(at..)?.get(..size as usize));
    let Some(entries) = entries.filter(|entries| entries.len().is_multiple_of(ENTRY_BYTES)) else {
        return Err(Error::corrupt(format!(
            "a jump table of {size} bytes at byte {offset} of `.jumptables`"
        )));
    };
    let after = layout.placed.partition_point(|(_, start)| *start <= insn);
    let (function, start) = layout.placed[after.saturating_sub(1)];
    let function = &object.functions[function];
    let mut data = vec![0; entries.len() / ENTRY_BYTES * VALUE_BYTES];
    for (value, entry) in data.chunks_exact_mut(VALUE_BYTES).zip(entries.as_chunks().0) {
        let slot = (u64::from_le_bytes(*entry) / Insn::SIZE as u64) as usize;
        if !function.range().contains(&slot) {
            return Err(Error::corrupt(format!("a jump table leads to slot {slot}, outside the function")));
        }
        value[..4].copy_from_slice(&((slot - function.start + start) as u32).to_le_bytes());
    }
    Ok(MapDef {
        key_size: 4,
        value_size: VALUE_BYTES as u32,
        max_entries: (entries.len() / ENTRY_BYTES) as u32,
        data,
        ..MapDef::new(".jumptables", MapKind::JumpTable, INSN_ARRAY)
    })
}

/// The number of a map, which is added unless there is one like it.
pub(super) fn add(maps: &mut Vec<MapDef>, table: MapDef) -> usize {
    maps.iter().position(|map| *map == table).unwrap_or_else(|| {
        maps.push(table);
        maps.len() - 1
    })
}
