//! What the programs of one object share: types, maps with their special fields, and what was found by name.
//!
//! The kernel reads an object's types and maps once, before the first program; names of its own structures it knows from
//! its build. So here: an [`Environment`] is made once an object, and finding a kernel type by name, which means a
//! search through megabytes, is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use skep_btf::Btf;
use skep_isa::uapi::MapType;

use crate::input::{Input, MapInfo, Target};
use crate::record::Record;
use crate::reg::BtfRef;
use crate::types::Types;

/// Flag of a map that programs only read (`BPF_F_RDONLY_PROG`).
pub(crate) const RDONLY_PROG: u32 = 1 << 7;

/// A map with what its value's type says.
pub(crate) struct MapData {
    pub(crate) info: MapInfo,
    pub(crate) record: Arc<Record>,
    pub(crate) has_btf: bool,
    /// Index of the inner map's template.
    pub(crate) inner: Option<u32>,
}

impl MapData {
    fn new(types: &Types, info: &MapInfo) -> Self {
        let ty = BtfRef { obj: BtfRef::PROGRAM, id: info.value_type };
        let has_btf = info.value_type != 0;
        let record = if has_btf { Record::of(types, ty) } else { Record::default() };
        let mut info = info.clone();
        // Linux sets the flag itself: only user space says where packets may go.
        if matches!(info.ty, MapType::DEVMAP | MapType::DEVMAP_HASH) {
            info.flags |= RDONLY_PROG;
        }
        Self { info, record: Arc::new(record), has_btf, inner: None }
    }

    /// The value at an offset of a map that never changes.
    pub(crate) fn constant(&self, off: i64, size: u32, signed: bool) -> Option<u64> {
        let bytes = self.info.frozen.as_deref()?;
        let at = usize::try_from(off).ok()?;
        let bytes = bytes.get(at..at.checked_add(size as usize)?)?;
        let value = bytes.iter().rev().fold(0u64, |acc, &b| (acc << 8) | u64::from(b));
        let unused = 64 - size * 8;
        Some(if signed { (((value << unused) as i64) >> unused) as u64 } else { value })
    }

    /// Can `bpf_for_each_map_elem` visit it?
    pub(crate) fn can_iterate(&self) -> bool {
        crate::check::args::can_iterate(self.info.ty)
    }
}

/// Types and maps of an object, for a kernel.
pub(crate) struct Environment {
    pub(crate) types: Types,
    /// The maps and, after them, the templates of inner maps.
    pub(crate) maps: Vec<MapData>,
    /// The arena the object uses.
    pub(crate) arena: Option<u32>,
    /// Special fields of types that were asked for.
    records: Mutex<HashMap<BtfRef, Arc<Record>>>,
}

impl Environment {
    pub(crate) fn new(target: &Target, btf: Option<Arc<Btf>>, infos: &[MapInfo]) -> Self {
        if let Some(btf) = &btf {
            // Counting the types finds them all, so that no program's first look at one has to.
            let _ = btf.len();
        }
        let types = Types::new(target, btf);
        let mut maps: Vec<MapData> = infos.iter().map(|info| MapData::new(&types, info)).collect();
        for (i, info) in infos.iter().enumerate() {
            if let Some(inner) = &info.inner {
                maps[i].inner = Some(maps.len() as u32);
                maps.push(MapData::new(&types, inner));
            }
        }
        let arena = infos.iter().position(|m| m.ty == MapType::ARENA).map(|i| i as u32);
        Self { types, maps, arena, records: Mutex::default() }
    }

    /// The special fields of a type.
    pub(crate) fn record(&self, ty: BtfRef) -> Arc<Record> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(records.entry(ty).or_insert_with(|| Arc::new(Record::of(&self.types, ty))))
    }

    /// The environment of a program that stands alone.
    pub(crate) fn of(input: &Input<'_>) -> Self {
        Self::new(input.target, input.btf.clone(), input.maps)
    }
}
