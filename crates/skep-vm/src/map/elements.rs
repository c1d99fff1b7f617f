//! What every kind of map can be asked; the defaults are the kernel's answers of kinds that cannot.

use super::BatchCursor;
use crate::Errno;
use crate::memory::Window;
use crate::timer::Timers;

/// One element, as `bpf_for_each_map_elem` hands it to a callback.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// A hash element: addresses of key and value.
    Keyed { key: u64, value: u64 },
    /// An array element: its index, and the address of its value.
    Indexed { index: u32, value: u64 },
}

/// The operations of one kind of map. Keys and values have the sizes that the map was created with.
pub(crate) trait Elements: Send + Sync {
    /// Memory that programs may reach through this map.
    fn windows(&self) -> Vec<Window> {
        Vec::new()
    }

    /// Program side: the address of a value.
    fn addr(&self, key: &[u8], cpu: u32) -> Option<u64> {
        let _ = (key, cpu);
        None
    }

    /// Program side: writes a value; of per-CPU maps that of one processor.
    fn put(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        let _ = (key, value, flags, cpu);
        Err(Errno::ENOTSUPP)
    }

    /// Both sides: removes a key.
    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let _ = key;
        Err(Errno::ENOTSUPP)
    }

    /// User side: copies a value out, of all processors.
    fn read(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let _ = (key, value, flags);
        Err(Errno::ENOTSUPP)
    }

    /// User side: copies a value in, of all processors.
    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _ = (key, value, flags);
        Err(Errno::ENOTSUPP)
    }

    /// User side: copies a value out and removes it.
    fn take(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let _ = (key, value, flags);
        Err(Errno::ENOTSUPP)
    }

    /// User side: the key after another.
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let _ = (key, next);
        Err(Errno::ENOTSUPP)
    }

    /// `bpf_map_push_elem`.
    fn push(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        let _ = (value, flags);
        Err(Errno::ENOTSUPP)
    }

    /// `bpf_map_pop_elem`.
    fn pop(&self, value: &mut [u8]) -> Result<(), Errno> {
        let _ = value;
        Err(Errno::ENOTSUPP)
    }

    /// `bpf_map_peek_elem`.
    fn peek(&self, value: &mut [u8]) -> Result<(), Errno> {
        let _ = value;
        Err(Errno::ENOTSUPP)
    }

    /// Appends the elements of part `part` (a bucket, an index) to `out`; answers whether there is such a part, or
    /// `None` when this kind cannot be walked.
    fn walk(&self, part: u32, cpu: u32, out: &mut Vec<Entry>) -> Option<bool> {
        let _ = (part, cpu, out);
        None
    }

    /// The element whose value an address lies in.
    fn entry_at(&self, addr: u64) -> Option<Entry> {
        let _ = addr;
        None
    }

    /// How many elements there are, for `bpf_map_sum_elem_count`: only hash tables count them.
    fn counted(&self) -> u32 {
        0
    }

    /// The timers and work queues in values.
    fn timers(&self) -> Option<&Timers> {
        None
    }

    /// How the batch commands go on from call to call.
    fn batch_cursor(&self) -> BatchCursor {
        BatchCursor::None
    }

    /// Bytes of the elements of a bucket: keys and values are appended; with `delete` they are removed. `None` when there
    /// is no such bucket, `ENOSPC` when there are more than `room`.
    fn take_bucket(
        &self,
        bucket: u32,
        room: usize,
        delete: bool,
        out: &mut (Vec<u8>, Vec<u8>),
    ) -> Option<Result<usize, Errno>> {
        let _ = (bucket, room, delete, out);
        None
    }
}
