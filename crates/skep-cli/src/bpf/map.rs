//! `skep map`: what maps there are, and what is in them.

pub(crate) mod create;
pub(crate) mod data;
pub(crate) mod dump;
pub(crate) mod element;
pub(crate) mod events;
pub(crate) mod print;
pub(crate) mod queue;
pub(crate) mod show;
pub(crate) mod watch;

use skep::btf::{Btf, TypeId};
use skep::runtime::SharedRuntime;
use skep::runtime::info::MapInfo;
use skep_isa::uapi::MapType;

use super::failure::{EINVAL, Failure, Outcome};
use super::shell::Shell;
use super::words::Words;
use super::{pins, select};

/// The types of a map's keys and values, where the map has any.
pub(crate) struct Types {
    pub(crate) btf: Btf,
    pub(crate) key: TypeId,
    pub(crate) value: TypeId,
}

impl Types {
    /// Asks for them.
    pub(crate) fn of(runtime: &SharedRuntime, info: &MapInfo) -> Outcome<Option<Self>> {
        if info.btf_vmlinux_value_type_id != 0 {
            let btf = skep::host::kernel_btf()
                .ok_or_else(|| Failure::new("this kernel does not show its types"))?;
            let btf = Btf::parse(std::sync::Arc::new(btf.bytes().to_vec()))?;
            return Ok(Some(Self { btf, key: TypeId::VOID, value: TypeId(info.btf_vmlinux_value_type_id) }));
        }
        if info.btf_id == 0 || info.btf_value_type_id == 0 {
            return Ok(None);
        }
        let btf = select::btf(runtime, info.btf_id)?;
        Ok(Some(Self { btf, key: TypeId(info.btf_key_type_id), value: TypeId(info.btf_value_type_id) }))
    }
}

/// Does a value have a slot for each processor?
pub(crate) fn is_per_cpu(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::PERCPU_HASH
            | MapType::PERCPU_ARRAY
            | MapType::LRU_PERCPU_HASH
            | MapType::PERCPU_CGROUP_STORAGE
    )
}

/// Does it hold maps?
pub(crate) fn holds_maps(map_type: MapType) -> bool {
    matches!(map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS)
}

/// `map pin MAP FILE`
pub(crate) fn pin(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.at_least(3, "it is `map pin MAP FILE`").map_err(|e| e.with_errno(EINVAL))?;
    let selected = select::map(shell, words)?;
    let file = words.need("the file to pin to")?;
    words.end()?;
    pins::pin(shell, selected.map.fd(), file)
}

/// `map freeze MAP`
pub(crate) fn freeze(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let selected = select::map(shell, words)?;
    words.end()?;
    selected.map.freeze().map_err(|e| Failure::refused(&e))
}
