//! What maps hold: their elements as bytes, and which of them a person wants to see at the end.

use std::sync::Arc;

use skep_btf::Btf;
use skep_isa::uapi::MapType;
use skep_obj::map::{MapDef, MapKind};
use skep_runtime::Map;

use crate::Result;
use crate::load::{Loaded, LoadedMap};

/// One element: key and value as bpf(2) passes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Bytes of the key.
    pub key: Vec<u8>,
    /// Bytes of the value; for per-CPU maps, all processors' slots.
    pub value: Vec<u8>,
}

/// How a map's values are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Elements with keys and values.
    Elements,
    /// One element whose value is a section of variables.
    Variables,
    /// Nothing that user space can list: buffers, references, queues.
    Nothing,
}

/// How the elements of this map are to be read.
pub fn holds(def: &MapDef) -> Holds {
    match (def.kind, def.map_type) {
        // What libbpf's `usdt.bpf.h` knows of the probes is no result.
        _ if def.name.starts_with("__bpf_usdt_") => Holds::Nothing,
        (MapKind::Data | MapKind::Bss, _) => Holds::Variables,
        (MapKind::User, map_type) if lists_elements(map_type) => Holds::Elements,
        _ => Holds::Nothing,
    }
}

fn lists_elements(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::HASH
            | MapType::ARRAY
            | MapType::PERCPU_HASH
            | MapType::PERCPU_ARRAY
            | MapType::LRU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::LPM_TRIE
    )
}

/// Does this kind of map have a slot for each processor in a value?
pub fn is_per_cpu(map_type: MapType) -> bool {
    matches!(map_type, MapType::PERCPU_HASH | MapType::PERCPU_ARRAY | MapType::LRU_PERCPU_HASH)
}

/// Is it where programs put records together? An array of one structure beside buffers of records is; the kernel gives
/// programs too little stack for more than small records.
pub fn is_scratch(loaded: &Loaded, map: &LoadedMap) -> bool {
    let single =
        matches!(map.def.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY) && map.def.max_entries == 1;
    let structure = |btf: &Arc<Btf>| btf.resolve(map.def.value_type).is_ok_and(|ty| ty.composite().is_some());
    single && loaded.maps().any(LoadedMap::is_event_buffer) && loaded.btf.as_ref().is_some_and(structure)
}

/// All elements of a map that holds results, in the map's order. Array elements that are zero throughout hold none.
pub fn elements(loaded: &LoadedMap) -> Result<Vec<Element>> {
    let all = read_all(&loaded.map)?;
    let is_array = matches!(loaded.def.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
    Ok(all.into_iter().filter(|e| !is_array || e.value.iter().any(|&byte| byte != 0)).collect())
}

/// Reads key after key. Elements that vanish between the two look-ups are left out.
fn read_all(map: &Map) -> Result<Vec<Element>> {
    let mut all = Vec::new();
    let mut key: Option<Vec<u8>> = None;
    while let Some(next) = map.next_key(key.as_deref())? {
        if let Some(value) = map.lookup(&next)? {
            all.push(Element { key: next.clone(), value });
        }
        key = Some(next);
    }
    Ok(all)
}
