//! The parts of a loaded object as typed values: what generated skeletons are made of.
//!
//! [`Opened`] is an object before it is loaded, with what can be changed then; a [`Loaded`] object's maps, programs and
//! variables are values of the types here. They own a share of the object, so they can be stored, moved and sent to other
//! threads, and the object lives as long as one of them.

mod buffer;
mod map;
mod opened;
mod program;
mod variable;

use std::sync::Arc;

pub use buffer::{Buffer, Records, UserBuffer};
pub use map::{Inner, Map, Maps, OtherMap, PerCpuMap, Programs, Queue, Update};
pub use opened::{MapOptions, Opened, ProgramOptions};
pub use program::Program;
pub use variable::{Constant, Variable};

use crate::{Error, Loaded, LoadedMap, Result};

/// A map of a loaded object, by its number there.
#[derive(Clone, Debug)]
struct Place {
    loaded: Arc<Loaded>,
    number: usize,
}

impl Place {
    fn new(loaded: &Arc<Loaded>, number: usize) -> Self {
        Self { loaded: Arc::clone(loaded), number }
    }

    /// The map, unless the object was loaded without it.
    fn map(&self) -> Result<&LoadedMap> {
        self.loaded.maps.get(self.number).and_then(Option::as_ref).ok_or_else(|| {
            Error::usage(
                "the object was loaded without this map",
                "let its `autocreate` be true when the object is loaded",
            )
        })
    }
}
