//! Programs of a loaded object.

use std::sync::Arc;

use skep_obj::AttachPoint;
use skep_runtime::{AttachOptions, Link};

use crate::{Error, Loaded, LoadedProgram, Result};

/// A program of a loaded object.
#[derive(Clone, Debug)]
pub struct Program {
    loaded: Arc<Loaded>,
    number: usize,
}

impl Program {
    /// The program of this number in the object.
    pub fn new(loaded: &Arc<Loaded>, number: usize) -> Self {
        Self { loaded: Arc::clone(loaded), number }
    }

    /// Was it loaded? It is not where the caller did not want it, or this machine cannot run it.
    pub fn is_loaded(&self) -> bool {
        self.get().is_ok()
    }

    /// The program, for what is not here: test runs, pins, descriptors.
    pub fn get(&self) -> Result<&LoadedProgram> {
        let loaded = self.loaded.programs.get(self.number).and_then(Option::as_ref);
        loaded.ok_or_else(|| {
            Error::usage(
                "the object was loaded without this program",
                "let its `autoload` be true; `left_out` says what programs lack on this machine",
            )
        })
    }

    /// Attaches it where its section or the caller said; that may be nowhere. Dropping the links detaches.
    pub fn attach(&self) -> Result<Vec<Link>> {
        self.get()?.attach()
    }

    /// Attaches it somewhere else.
    pub fn attach_to(&self, point: &AttachPoint, options: &AttachOptions) -> Result<Link> {
        Ok(self.get()?.program.attach(point, options)?)
    }
}
