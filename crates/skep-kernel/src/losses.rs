//! Counts of the records that did not fit into ring buffers. Linux keeps none: a program alone learns of it.
//!
//! Where a program reserves or writes a record, a few instructions more add its failures to a counter beside the ring buffer
//! ([`insert`]). They cost a jump where the record fits. The counter is an element of an array that is mapped here, so that
//! reading it costs no system call.

mod insert;

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use skep_isa::uapi::MapType;
use skep_obj::map::F_MMAPABLE;
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{Command, Error, Fd, Result};

pub(crate) use self::insert::Counted;
use crate::attach::{self, owned};
use crate::explain::describe;
use crate::info::MapInfo;
use crate::load;
use crate::sys::errno;
use crate::sys::mapping::Mapping;

/// The counters of all ring buffers, by the id of the map.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    counters: Mutex<HashMap<u32, Arc<Counter>>>,
}

/// How many records a ring buffer had no room for.
#[derive(Debug)]
pub(crate) struct Counter {
    map: OwnedFd,
    memory: Mapping,
}

impl Losses {
    /// A program that counts its losses, or `None` for one that writes no records, or whose code cannot take more.
    pub(crate) fn count(&self, spec: &ProgLoad<'_>) -> Option<Counted> {
        insert::writes_records(spec.insns).then(|| Counted::new(spec, |ring| self.of_ring(ring)))?
    }

    /// The counter's descriptor, if this descriptor is one of a ring buffer. The kernel says what is wrong with others.
    fn of_ring(&self, map: Fd) -> Option<Fd> {
        let info = MapInfo::of(map).ok().filter(|info| info.map_type == MapType::RINGBUF)?;
        Some(attach::fd(&self.of(&info).ok()?.map))
    }

    /// The counter of a ring buffer, made when it is first wanted.
    pub(crate) fn of(&self, ring: &MapInfo) -> Result<Arc<Counter>> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(&ring.id) {
            return Ok(Arc::clone(counter));
        }
        let counter = Arc::new(Counter::new()?);
        counters.insert(ring.id, Arc::clone(&counter));
        Ok(counter)
    }
}

impl Counter {
    fn new() -> Result<Self> {
        let spec =
            MapCreate { map_flags: F_MMAPABLE, ..MapCreate::new(MapType::ARRAY, "skep_lost", 4, 8, 1) };
        let map = owned(load::command(Command::MapCreate(&spec))?)?;
        let failed = |e: std::io::Error| {
            Error::os(errno(&e), format!("cannot map the count of lost records: {}", describe(&e)))
        };
        let memory = Mapping::new(map.as_fd(), 0, rustix::param::page_size(), false).map_err(failed)?;
        Ok(Self { map, memory })
    }

    /// How many up to now.
    pub(crate) fn get(&self) -> u64 {
        self.memory.position(0).load(Ordering::Relaxed)
    }
}
