//! What a program says of itself: constants called `bpf_metadata_*`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use skep::btf::{Btf, Shape, TypeId, value};
use skep::host;
use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, MapInfo, ProgInfo};
use skep::runtime::{Map, SharedRuntime};
use skep_isa::uapi::MapType;

use super::super::btf_value::Values;
use super::super::failure::Outcome;
use super::super::json::Json;
use super::super::select::FullNames;

/// How names of such constants begin.
const PREFIX: &str = "bpf_metadata_";

/// What the maps that were looked at have: programs of one object share them.
#[derive(Default)]
pub(super) struct Known {
    maps: BTreeMap<u32, Option<Rc<Metadata>>>,
}

impl Known {
    /// The constants of a program, looked for among the maps that it uses; one that may not be read has none.
    pub(super) fn of(
        &mut self,
        runtime: &SharedRuntime,
        names: &mut FullNames,
        prog: &ProgInfo,
    ) -> Option<Rc<Metadata>> {
        let ids = prog.map_ids();
        for &id in &ids {
            self.maps.entry(id).or_insert_with(|| Metadata::in_map(runtime, names, id).map(Rc::new));
        }
        ids.iter().find_map(|id| self.maps.get(id)?.clone())
    }
}

/// The constants of an object's programs.
pub(super) struct Metadata {
    btf: Arc<Btf>,
    value: Vec<u8>,
    /// Name, type, and offset in the value.
    variables: Vec<(String, TypeId, u32)>,
}

impl Metadata {
    fn in_map(runtime: &SharedRuntime, names: &mut FullNames, id: u32) -> Option<Self> {
        let handle = info::open_id(runtime, ObjectKind::Map, id).ok()?;
        let map = MapInfo::of(runtime, handle.fd()).ok()?;
        let is_constants = map.map_type == MapType::ARRAY
            && (map.key_size, map.max_entries) == (4, 1)
            && map.btf_value_type_id != 0
            && map.name.contains(".rodata");
        if !is_constants {
            return None;
        }
        let btf = names.types(runtime, map.btf_id)?;
        let variables = variables(&btf, TypeId(map.btf_value_type_id))?;
        let value = Map::adopt(handle, &map, host::possible_cpus()).lookup(&[0; 4]).ok()??;
        Some(Self { btf, value, variables }).filter(|metadata| !metadata.variables.is_empty())
    }

    pub(super) fn write_json(&self, json: &mut Json) -> Outcome {
        json.name("metadata");
        json.begin_object();
        for (name, ty, offset) in &self.variables {
            json.name(name);
            self.value(json, *ty, *offset)?;
        }
        json.end_object();
        Ok(())
    }

    pub(super) fn write_text(&self, json: &mut Json) -> Outcome {
        json.text(format_args!("\tmetadata:\n"));
        for (name, ty, offset) in &self.variables {
            let value = value::to_json(&self.btf, *ty, self.bytes(*offset))?;
            json.text(format_args!("\t\t{name} = {value}\n"));
        }
        Ok(())
    }

    fn bytes(&self, offset: u32) -> &[u8] {
        self.value.get(offset as usize..).unwrap_or_default()
    }

    fn value(&self, json: &mut Json, ty: TypeId, offset: u32) -> Outcome {
        let values = Values { btf: &self.btf, plain: false, programs: None };
        values.write(json, ty, self.bytes(offset))
    }
}

/// The constants among a section's variables, without what their names begin with.
fn variables(btf: &Btf, section: TypeId) -> Option<Vec<(String, TypeId, u32)>> {
    let Shape::Datasec(section) = btf.type_by_id(section).ok()?.shape else { return None };
    let mut found = Vec::new();
    for place in section.vars.iter() {
        let place = place.ok()?;
        let variable = btf.type_by_id(place.ty).ok()?;
        if let (Some(name), Shape::Var { ty, .. }) = (variable.name.strip_prefix(PREFIX), variable.shape) {
            found.push((name.to_owned(), ty, place.offset));
        }
    }
    Some(found)
}
