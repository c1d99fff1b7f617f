//! How long the buffers of map commands have to be.
//!
//! Linux is not told: it reads and writes as many bytes as keys and values of the map have. So a buffer that is too short
//! is refused here, before Linux could write behind it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use skep_isa::uapi::MapType;
use skep_runtime::command::BatchOp;
use skep_runtime::handle::value_stride;
use skep_runtime::{Command, Error, Fd, Result};

use crate::{cpus, load};

/// Shapes of maps that were used, by descriptor.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    known: Mutex<HashMap<Fd, Shape>>,
}

/// What a map's keys and values take.
#[derive(Clone, Copy, Debug)]
struct Shape {
    key: usize,
    value: usize,
}

/// A position in a map that is read in batches, where it is no key.
const POSITION: usize = 4;

impl Shapes {
    /// Checks that the buffers of a map command are as long as Linux takes them to be.
    pub(crate) fn check(&self, command: &Command<'_>) -> Result<()> {
        match command {
            Command::MapLookup { map, key, value, .. }
            | Command::MapLookupAndDelete { map, key, value, .. } => {
                self.element(*map, Some(key), Some(value.len()))
            }
            Command::MapUpdate { map, key, value, .. } => self.element(*map, Some(key), Some(value.len())),
            Command::MapDelete { map, key } => self.element(*map, Some(key), None),
            Command::MapGetNextKey { map, key, next } => {
                self.element(*map, *key, None)?;
                self.element(*map, Some(next), None)
            }
            Command::MapBatch { map, op } => self.batch(*map, op),
            _ => Ok(()),
        }
    }

    /// Forgets a descriptor, whose number may soon mean something else.
    pub(crate) fn forget(&self, fd: Fd) {
        self.known().remove(&fd);
    }

    fn element(&self, map: Fd, key: Option<&[u8]>, value: Option<usize>) -> Result<()> {
        let Some(shape) = self.shape(map) else { return Ok(()) };
        if let Some(key) = key {
            at_least("key", key.len(), shape.key)?;
        }
        value.map_or(Ok(()), |bytes| at_least("value", bytes, shape.value))
    }

    fn batch(&self, map: Fd, op: &BatchOp<'_>) -> Result<()> {
        let Some(shape) = self.shape(map) else { return Ok(()) };
        let room = |count: u32, bytes: usize| (count as usize).saturating_mul(bytes);
        match op {
            BatchOp::Lookup { in_batch, out_batch, keys, values, count, .. } => {
                let position = shape.key.max(POSITION);
                in_batch.map_or(Ok(()), |at| at_least("position", at.len(), position))?;
                at_least("position", out_batch.len(), position)?;
                at_least("batch of keys", keys.len(), room(*count, shape.key))?;
                at_least("batch of values", values.len(), room(*count, shape.value))
            }
            BatchOp::Update { keys, values, count, .. } => {
                at_least("batch of keys", keys.len(), room(*count, shape.key))?;
                at_least("batch of values", values.len(), room(*count, shape.value))
            }
            BatchOp::Delete { keys, count, .. } => {
                at_least("batch of keys", keys.len(), room(*count, shape.key))
            }
        }
    }

    /// The shape of a map; `None` for what is no map, which Linux will say itself.
    fn shape(&self, map: Fd) -> Option<Shape> {
        if let Some(shape) = self.known().get(&map) {
            return Some(*shape);
        }
        let shape = ask(map)?;
        self.known().insert(map, shape);
        Some(shape)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Fd, Shape>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Type, id, and sizes of key and value, as `struct bpf_map_info` begins.
fn ask(map: Fd) -> Option<Shape> {
    static CPUS: OnceLock<usize> = OnceLock::new();
    let mut info = [0; 16];
    load::command(Command::ObjGetInfo { fd: map, info: &mut info, arrays: &mut [] }).ok()?;
    let word = |at: usize| info.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    let cpus = *CPUS.get_or_init(cpus::possible);
    Some(Shape { key: word(8) as usize, value: value_stride(MapType(word(0)), word(12), cpus) })
}

fn at_least(what: &str, bytes: usize, wanted: usize) -> Result<()> {
    if bytes >= wanted {
        return Ok(());
    }
    let message = format!("a {what} of {bytes} bytes is too short: the map's take {wanted}");
    Err(Error::os(libc::EINVAL, message)
        .hint("see the map's sizes; a per-CPU value has a slot for every processor"))
}
