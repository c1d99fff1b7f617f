//! Reading a whole map: in batches where the map has them, else key by key.
//!
//! A batch that does not fit (`ENOSPC`: elements of one hash bucket come together) is read again with more room; the end is
//! told apart from failure; so no element that stays in the map is dropped.

use skep_isa::uapi::MapType;

use crate::command::{BatchOp, Reply};
use crate::{Error, ErrorKind, Map, Result};

/// Elements of the first batch; more only where a bucket does not fit.
const BATCH: u32 = 4096;
/// Room beyond which a bucket is not believed.
const BATCH_MAX: u32 = 1 << 24;
/// How often a batch that Linux interrupted (`EINTR`: elements vanish under it) is tried again.
const INTERRUPTIONS: u32 = 16;

impl Map {
    /// Hands every element to `sink`, key and value, in the map's own order.
    ///
    /// Elements that are added or removed meanwhile may be missed, those of a hash that is resized seen twice, as with
    /// bpf(2) itself.
    pub fn for_each(&self, sink: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        match self.batches(sink) {
            Err(Batches::None) => self.one_by_one(sink),
            Err(Batches::Failed(e)) => Err(e),
            Ok(()) => Ok(()),
        }
    }

    fn batches(&self, sink: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Batches> {
        let mut room = BATCH;
        let mut position: Option<Vec<u8>> = None;
        let mut interruptions = 0;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        loop {
            keys.resize(room as usize * self.key_size(), 0);
            values.resize(room as usize * self.value_stride(), 0);
            let mut next = vec![0; self.key_size().max(4)];
            let reply = self.batch(BatchOp::Lookup {
                in_batch: position.as_deref(),
                out_batch: &mut next,
                keys: &mut keys,
                values: &mut values,
                count: room,
                delete: false,
                elem_flags: 0,
            });
            match reply {
                Ok(Reply::Batch { count, end }) => {
                    let elements =
                        keys.chunks(self.key_size().max(1)).zip(values.chunks(self.value_stride().max(1)));
                    elements.take(count as usize).for_each(|(key, value)| sink(key, value));
                    if end {
                        return Ok(());
                    }
                    position = Some(next);
                }
                Ok(other) => {
                    return Err(Batches::Failed(Error::os(22, format!("expected a batch, got {other:?}"))));
                }
                Err(e) if e.errno() == ENOSPC && room < BATCH_MAX => room *= 2,
                Err(e) if e.errno() == EINTR && interruptions < INTERRUPTIONS => interruptions += 1,
                Err(e) if position.is_none() && !self.has_batches(&e) => return Err(Batches::None),
                Err(e) => return Err(Batches::Failed(e)),
            }
        }
    }

    /// Old kernels know neither the command nor, for some types, the operation.
    fn has_batches(&self, error: &Error) -> bool {
        !matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid)
    }

    fn one_by_one(&self, sink: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut key = self.next_key(None)?;
        while let Some(this) = key {
            match self.lookup(&this) {
                Ok(Some(value)) => sink(&this, &value),
                // Removed meanwhile.
                Ok(None) => {}
                // A descriptor array's empty slots; its values cannot all be read.
                Err(e) if self.map_type() == MapType::PROG_ARRAY && e.kind() == ErrorKind::Unsupported => {}
                Err(e) => return Err(e),
            }
            key = self.next_key(Some(&this))?;
        }
        Ok(())
    }
}

/// Why reading in batches stopped.
enum Batches {
    /// The map has none.
    None,
    /// It has, but this went wrong.
    Failed(Error),
}

const EINTR: i32 = 4;
const ENOSPC: i32 = 28;
