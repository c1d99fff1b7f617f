//! Values of maps as memory, for those who hold a map of this runtime.

use skep_runtime::{Error, Memory, Result};
use skep_vm::map::MapMemory;

use super::of_errno;

/// Memory of a map, as far as its holder asked for it.
#[derive(Debug)]
pub(super) struct Shared {
    memory: MapMemory,
    bytes: usize,
    writable: bool,
}

impl Shared {
    /// The first `bytes` of it.
    pub(super) fn new(memory: MapMemory, bytes: usize, writable: bool) -> Result<Self> {
        if bytes > memory.bytes() {
            let message =
                format!("the map has {} bytes of values, and {bytes} are asked for", memory.bytes());
            return Err(Error::os(libc::EINVAL, message));
        }
        Ok(Self { memory, bytes, writable })
    }

    fn check(&self, offset: usize, len: usize) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.bytes);
        end.map(drop).ok_or_else(|| Error::os(libc::EINVAL, format!("the memory has {} bytes", self.bytes)))
    }
}

impl Memory for Shared {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn address(&self) -> u64 {
        self.memory.address()
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.check(offset, to.len())?;
        self.memory.read(offset, to).map_err(of_errno)
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.check(offset, from.len())?;
        if !self.writable {
            return Err(Error::os(libc::EPERM, "this memory is only read"));
        }
        self.memory.write(offset, from).map_err(of_errno)
    }
}
