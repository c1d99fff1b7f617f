//! What of maps depends on the machine: sizes.

use skep_isa::uapi::MapType;

use super::Target;
use crate::error::{Error, Result};
use crate::map::{MapDef, MapKind};
use crate::object::Object;

/// Bytes that a variable section may have; it becomes one value of an array.
const MAX_VARIABLE_BYTES: u32 = 1 << 30;

/// The object's maps with machine-dependent sizes.
pub(super) fn finish(object: &Object, target: &Target) -> Result<Vec<MapDef>> {
    let mut maps = object.maps.clone();
    for map in &mut maps {
        size(map, target);
        if let Some(inner) = &mut map.inner {
            size(inner, target);
        }
        if map.is_data() {
            if map.value_size > MAX_VARIABLE_BYTES {
                return Err(
                    Error::invalid(format!("{} bytes of global variables", map.value_size)).symbol(&map.name)
                );
            }
            // A map is zero when it is created, so variables that are need no bytes.
            if !map.data.is_empty() || map.kind == MapKind::Kconfig {
                map.data.resize(map.value_size as usize, 0);
            }
        }
        if map.kind == MapKind::Arena {
            check_arena(map, target)?;
        }
    }
    Ok(maps)
}

fn size(map: &mut MapDef, target: &Target) {
    match map.map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF => {
            map.max_entries = ring_bytes(map.max_entries, target.page_bytes);
        }
        MapType::PERF_EVENT_ARRAY if map.max_entries == 0 => map.max_entries = target.cpus,
        _ => {}
    }
}

/// A ring buffer has a power of two of pages: the next larger one, or what was asked for where there is none.
fn ring_bytes(bytes: u32, page_bytes: u32) -> u32 {
    if bytes == 0 || page_bytes == 0 {
        return bytes;
    }
    let pages = bytes.div_ceil(page_bytes).checked_next_power_of_two();
    pages.and_then(|pages| pages.checked_mul(page_bytes)).unwrap_or(bytes)
}

fn check_arena(map: &MapDef, target: &Target) -> Result<()> {
    let room = u64::from(map.max_entries) * u64::from(target.page_bytes);
    if map.data.len() as u64 > room {
        return Err(Error::invalid(format!("{} bytes of variables in an arena of {room}", map.data.len()))
            .symbol(&map.name)
            .hint("give the arena more pages in `max_entries`"));
    }
    Ok(())
}
