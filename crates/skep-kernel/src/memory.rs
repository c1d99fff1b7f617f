//! Values of maps as memory: arrays with `BPF_F_MMAPABLE`, and arenas.

use std::os::fd::BorrowedFd;

use skep_runtime::{Error, Memory, Result};

use crate::explain::describe;
use crate::sys::errno;
use crate::sys::mapping::Mapping;

/// A map's values, mapped.
#[derive(Debug)]
pub(crate) struct MapMemory {
    mapping: Mapping,
    bytes: usize,
    writable: bool,
}

impl MapMemory {
    /// Maps the first `bytes` of a map's values, at `address` unless that is 0.
    pub(crate) fn open(map: BorrowedFd<'_>, bytes: usize, address: u64, writable: bool) -> Result<Self> {
        let page_bytes = rustix::param::page_size();
        let length = bytes.max(1).next_multiple_of(page_bytes);
        let mapping = match address {
            0 => Mapping::new(map, 0, length, writable),
            address => Mapping::at(address as usize, map, length),
        };
        let mapping = mapping.map_err(|e| {
            Error::os(errno(&e), format!("cannot map the values of the map: {}", describe(&e)))
                .hint("arrays are mapped when they were created with `BPF_F_MMAPABLE` and, for writing, are not frozen")
        })?;
        Ok(Self { mapping, bytes, writable })
    }

    fn check(&self, offset: usize, bytes: usize) -> Result<()> {
        if offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) {
            return Ok(());
        }
        let message =
            format!("{bytes} bytes at {offset} are beyond the {} bytes of the map's values", self.bytes);
        Err(Error::os(libc::EINVAL, message))
    }
}

impl Memory for MapMemory {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn address(&self) -> u64 {
        self.mapping.address()
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.check(offset, to.len())?;
        self.mapping.read(offset, to);
        Ok(())
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.check(offset, from.len())?;
        if !self.writable {
            return Err(Error::os(libc::EPERM, "the map's values were mapped to be read"));
        }
        self.mapping.write(offset, from);
        Ok(())
    }
}
