//! The batch commands of bpf(2) (`kernel/bpf/syscall.c`, `generic_map_*_batch`; `kernel/bpf/hashtab.c`).
//!
//! A batch goes on where the last one stopped. Hash tables remember a bucket and give whole buckets; the others remember a
//! key. All of them answer how many elements were done beside the error, which is `ENOENT` at the end of the map.

use super::{Map, flags, update};
use crate::Errno;

/// What a kind of map remembers between batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchCursor {
    /// It has no batch commands.
    None,
    /// The last key.
    Key {
        /// Can elements be deleted in batches?
        delete: bool,
    },
    /// A bucket number of four bytes.
    Bucket,
}

/// How many elements were done, and the error that ended it, if there was one.
type Done = (u32, Result<(), Errno>);

impl Map {
    /// `BPF_MAP_LOOKUP_BATCH`, and with `delete` `BPF_MAP_LOOKUP_AND_DELETE_BATCH`. Fills `keys` and `values`, at most
    /// `count` of each; `out_batch` receives where to go on.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of the command")]
    pub fn lookup_batch(
        &self,
        in_batch: Option<&[u8]>,
        out_batch: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        count: u32,
        delete: bool,
        elem_flags: u64,
    ) -> Done {
        let permitted =
            self.sys_permits(flags::WRONLY).and_then(|()| if delete { self.sys_writable() } else { Ok(()) });
        let cursor = self.elements().batch_cursor();
        let served = match cursor {
            BatchCursor::None => Err(Errno::ENOTSUPP),
            BatchCursor::Key { .. } if delete => Err(Errno::ENOTSUPP),
            _ => Ok(()),
        };
        if let Err(e) = permitted.and(served).and_then(|()| self.batch_flags(elem_flags)) {
            return (0, Err(e));
        }
        let room = self.batch_room(keys.len(), values.len(), count);
        match cursor {
            BatchCursor::Bucket => self.lookup_buckets(in_batch, out_batch, keys, values, room, delete),
            _ => self.lookup_keys(in_batch, out_batch, keys, values, room, elem_flags),
        }
    }

    /// `BPF_MAP_UPDATE_BATCH`.
    pub fn update_batch(&self, keys: &[u8], values: &[u8], count: u32, elem_flags: u64) -> Done {
        let served = match self.elements().batch_cursor() {
            BatchCursor::None => Err(Errno::ENOTSUPP),
            _ => Ok(()),
        };
        if let Err(e) = self.sys_writable().and(served).and_then(|()| self.batch_flags(elem_flags)) {
            return (0, Err(e));
        }
        let (key_size, stride) = (self.spec.key_size as usize, self.spec.value_stride());
        if self.batch_room(keys.len(), values.len(), count) < count as usize {
            return (0, Err(Errno::EFAULT));
        }
        let pairs = keys.chunks_exact(key_size).zip(values.chunks_exact(stride)).take(count as usize);
        done(pairs.map(|(key, value)| self.update(key, value, elem_flags)))
    }

    /// `BPF_MAP_DELETE_BATCH`.
    pub fn delete_batch(&self, keys: &[u8], count: u32, elem_flags: u64) -> Done {
        let served = match self.elements().batch_cursor() {
            BatchCursor::Bucket | BatchCursor::Key { delete: true } => Ok(()),
            _ => Err(Errno::ENOTSUPP),
        };
        if let Err(e) = self.sys_writable().and(served).and_then(|()| self.batch_flags(elem_flags)) {
            return (0, Err(e));
        }
        let key_size = self.spec.key_size as usize;
        if keys.len() / key_size < count as usize {
            return (0, Err(Errno::EFAULT));
        }
        done(keys.chunks_exact(key_size).take(count as usize).map(|key| self.delete(key)))
    }

    fn batch_flags(&self, elem_flags: u64) -> Result<(), Errno> {
        let lockable = self.spec.spin_lock_off.is_some();
        let bad = elem_flags & !update::LOCK != 0 || (elem_flags != 0 && !lockable);
        if bad { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Elements that the buffers have room for, `count` at most.
    fn batch_room(&self, keys: usize, values: usize, count: u32) -> usize {
        let key_size = self.spec.key_size.max(1) as usize;
        (count as usize).min(keys / key_size).min(values / self.spec.value_stride().max(1))
    }

    fn lookup_buckets(
        &self,
        in_batch: Option<&[u8]>,
        out_batch: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        room: usize,
        delete: bool,
    ) -> Done {
        if room == 0 {
            return (0, Ok(()));
        }
        let first = in_batch.map_or(Some([0; 4]), |batch| batch.first_chunk().copied());
        let Some(first) = first else { return (0, Err(Errno::EFAULT)) };
        let mut bucket = u32::from_ne_bytes(first);
        let mut found = (Vec::new(), Vec::new());
        let mut total = 0;
        let end = loop {
            match self.elements().take_bucket(bucket, room - total, delete, &mut found) {
                Some(Ok(count)) => total += count,
                // A bucket that does not fit is left for the next batch.
                Some(Err(_)) if total > 0 => break Ok(()),
                Some(Err(e)) => break Err(e),
                None => break Err(Errno::ENOENT),
            }
            bucket += 1;
        };
        keys[..found.0.len()].copy_from_slice(&found.0);
        values[..found.1.len()].copy_from_slice(&found.1);
        let Some(out) = out_batch.first_chunk_mut() else { return (0, Err(Errno::EFAULT)) };
        *out = bucket.to_ne_bytes();
        (total as u32, end)
    }

    fn lookup_keys(
        &self,
        in_batch: Option<&[u8]>,
        out_batch: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        room: usize,
        elem_flags: u64,
    ) -> Done {
        let (key_size, stride) = (self.spec.key_size as usize, self.spec.value_stride());
        let mut previous = match in_batch {
            Some(batch) if batch.len() < key_size => return (0, Err(Errno::EFAULT)),
            other => other.map(|batch| batch[..key_size].to_vec()),
        };
        let mut total = 0;
        let mut end = Ok(());
        while total < room {
            let mut key = vec![0; key_size];
            end = self.next_key(previous.as_deref(), &mut key);
            if end.is_err() {
                break;
            }
            let value = &mut values[total * stride..][..stride];
            match self.lookup(&key, value, elem_flags) {
                Ok(()) => {
                    keys[total * key_size..][..key_size].copy_from_slice(&key);
                    total += 1;
                }
                // Somebody removed it meanwhile.
                Err(Errno::ENOENT) => {}
                Err(e) => return (total as u32, Err(e)),
            }
            previous = Some(key);
        }
        if let (Some(key), Some(out)) = (&previous, out_batch.get_mut(..key_size)) {
            out.copy_from_slice(key);
        }
        (total as u32, end)
    }
}

/// Counts what went well up to the first error.
fn done(results: impl Iterator<Item = Result<(), Errno>>) -> Done {
    let mut count = 0;
    for result in results {
        if let Err(e) = result {
            return (count, Err(e));
        }
        count += 1;
    }
    (count, Ok(()))
}
