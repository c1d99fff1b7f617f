//! Maps as `struct bpf_map_def` in section `maps`: how they were defined before types could say it.
//!
//! Two longer structures say more: that of the kernel's samples names a template by its place in the section, and
//! `struct bpf_elf_map` of iproute2, which cilium took over, by a number, and says where the map is pinned.

use skep_btf::{Kind, TypeId};
use skep_isa::uapi::MapType;

use super::{MapDef, MapKind, Pinning};
use crate::elf::{Elf, Section, Symbol, SymbolKind};
use crate::error::{Error, Result};
use crate::types::Types;

/// Words of the structure that have a meaning: type, key size, value size, entries, flags.
const WORDS: usize = 5;

/// Words of the samples' structure: a template's place and the memory node come behind.
const SAMPLE_WORDS: usize = 7;
/// Words of `struct bpf_elf_map`: a number, how it is pinned, the number of a template and an index in it come behind.
const ELF_MAP_WORDS: usize = 9;
/// `PIN_GLOBAL_NS` of iproute2.
const PIN_GLOBAL: u32 = 2;

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
    let definitions = symbols.iter().map(|symbol| {
        let (map, words) = one(symbol, each, section, types).map_err(|e| e.symbol(&symbol.name))?;
        Ok((MapDef { place: map.place.map(|(_, at)| (index, at)), ..map }, words))
    });
    Ok(with_templates(definitions.collect::<Result<_>>()?))
}

/// A map, and the words of its definition.
type Defined = (MapDef, Vec<u32>);

/// Gives maps of maps the templates that they name.
fn with_templates(definitions: Vec<Defined>) -> Vec<MapDef> {
    let template = |words: &[u32]| {
        let found = match words.len() {
            SAMPLE_WORDS => definitions.get(words[5] as usize),
            ELF_MAP_WORDS => definitions.iter().find(|(_, other)| words[7] != 0 && other[5] == words[7]),
            _ => None,
        };
        found.map(|(map, _)| Box::new(MapDef { pinning: Pinning::None, place: None, ..map.clone() }))
    };
    let nests = |map: &MapDef| matches!(map.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS);
    let inner: Vec<_> =
        definitions.iter().map(|(map, words)| nests(map).then(|| template(words)).flatten()).collect();
    definitions.into_iter().zip(inner).map(|((map, _), inner)| MapDef { inner, ..map }).collect()
}

fn one(symbol: &Symbol<'_>, each: usize, section: &Section<'_>, types: Option<&Types>) -> Result<Defined> {
    let start = symbol.value as usize;
    let bytes =
        section.data.get(start..).and_then(|rest| rest.get(..each)).ok_or_else(|| {
            Error::corrupt(format!("the definition at byte {start} lies outside the section"))
        })?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let known = match words.len() {
        SAMPLE_WORDS | ELF_MAP_WORDS => bytes.len(),
        _ => bytes.len().min(WORDS * 4),
    };
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
    let word = |n: usize| words.get(n).copied().unwrap_or(0);
    let (key_type, value_type) = types.and_then(|types| annotated(types, &symbol.name)).unwrap_or_default();
    // What iproute2 keeps for one object alone need not be kept.
    let shared = words.len() == ELF_MAP_WORDS && word(6) == PIN_GLOBAL;
    let map = MapDef {
        pinning: if shared { Pinning::ByName } else { Pinning::None },
        numa_node: if words.len() == SAMPLE_WORDS { word(6) } else { 0 },
        key_size: word(1),
        value_size: word(2),
        max_entries: word(3),
        map_flags: word(4),
        key_type,
        value_type,
        place: Some((0, symbol.value)),
        ..MapDef::new(&*symbol.name, MapKind::User, MapType(word(0)))
    };
    Ok((map, words))
}

/// Types that `BPF_ANNOTATE_KV_PAIR` left for a map: the members of a structure named after it.
fn annotated(types: &Types, map: &str) -> Option<(TypeId, TypeId)> {
    let id = types.btf.find(&format!("____btf_map_{map}"), Kind::Struct)?;
    let members = types.btf.type_by_id(id).ok()?.composite()?.members;
    let (key, value) = (members.get(0).ok()?, members.get(1).ok()?);
    Some((key.ty, value.ty))
}
