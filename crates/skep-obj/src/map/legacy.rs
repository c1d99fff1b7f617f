//! Maps as `struct bpf_map_def` in section `maps`: how they were defined before types could say it.

use skep_btf::{Kind, TypeId};
use skep_isa::uapi::MapType;

use super::{MapDef, MapKind};
use crate::elf::{Elf, Section, Symbol, SymbolKind};
use crate::error::{Error, Result};
use crate::types::Types;

/// Words of the structure that have a meaning: type, key size, value size, entries, flags.
const WORDS: usize = 5;

/// Reads the maps of the section; each has a symbol, and all structures have the same size.
pub(super) fn collect(
    elf: &Elf<'_>,
    index: usize,
    section: &Section<'_>,
    types: Option<&Types>,
) -> Result<Vec<MapDef>> {
    let mut symbols: Vec<_> = elf
        .symbols
        .iter()
        .filter(|s| s.is_in(index) && !s.name.is_empty() && s.kind != SymbolKind::Section)
        .collect();
    symbols.sort_by_key(|s| s.value);
    symbols.dedup_by_key(|s| s.value);
    let size = section.data.len();
    if symbols.is_empty() || !size.is_multiple_of(symbols.len()) {
        return Err(Error::corrupt(format!("{} map symbols for {size} bytes of definitions", symbols.len())));
    }
    let each = size / symbols.len();
    symbols
        .iter()
        .map(|symbol| one(symbol, each, section, types).map_err(|e| e.symbol(&symbol.name)))
        .map(|map| map.map(|map| MapDef { place: map.place.map(|(_, at)| (index, at)), ..map }))
        .collect()
}

fn one(symbol: &Symbol<'_>, each: usize, section: &Section<'_>, types: Option<&Types>) -> Result<MapDef> {
    let start = symbol.value as usize;
    let bytes =
        section.data.get(start..).and_then(|rest| rest.get(..each)).ok_or_else(|| {
            Error::corrupt(format!("the definition at byte {start} lies outside the section"))
        })?;
    let known = bytes.len().min(WORDS * 4);
    if known < (WORDS - 1) * 4 {
        return Err(Error::corrupt(format!(
            "a definition of {each} bytes; `struct bpf_map_def` has at least 16"
        )));
    }
    if let Some(at) = bytes[known..].iter().position(|b| *b != 0) {
        return Err(Error::unsupported(format!(
            "the definition says something at byte {}, of unknown meaning",
            known + at
        ))
        .hint("define the map in `SEC(\".maps\")`, where each property has a name"));
    }
    let word =
        |n: usize| bytes.get(n * 4..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
    let (key_type, value_type) = types.and_then(|types| annotated(types, &symbol.name)).unwrap_or_default();
    Ok(MapDef {
        key_size: word(1),
        value_size: word(2),
        max_entries: word(3),
        map_flags: word(4),
        key_type,
        value_type,
        place: Some((0, symbol.value)),
        ..MapDef::new(&*symbol.name, MapKind::User, MapType(word(0)))
    })
}

/// Types that `BPF_ANNOTATE_KV_PAIR` left for a map: the members of a structure named after it.
fn annotated(types: &Types, map: &str) -> Option<(TypeId, TypeId)> {
    let id = types.btf.find(&format!("____btf_map_{map}"), Kind::Struct)?;
    let members = types.btf.type_by_id(id).ok()?.composite()?.members;
    let (key, value) = (members.get(0).ok()?, members.get(1).ok()?);
    Some((key.ty, value.ty))
}
