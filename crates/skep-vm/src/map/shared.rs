//! Values of maps as memory that user space shares with programs: what mmap(2) of a map gives.

use std::sync::Arc;

use super::{Kind, Map, flags};
use crate::Errno;
use crate::memory::Arena;

/// The memory of a map's values; it stays when the map goes.
#[derive(Clone, Debug)]
pub struct MapMemory(Arc<Arena>);

impl Map {
    /// The values of an array that may be mapped (`BPF_F_MMAPABLE`), or the pages of an arena. `EPERM` where it is to be
    /// written and the map is frozen.
    pub fn memory(&self, writable: bool) -> Result<MapMemory, Errno> {
        let memory = match &self.kind {
            Kind::Array(array) if self.spec.map_flags & flags::MMAPABLE != 0 => array.memory(),
            Kind::Pages(pages) => pages.memory(),
            _ => return Err(Errno::EINVAL),
        };
        if writable && self.is_frozen() {
            return Err(Errno::EPERM);
        }
        Ok(MapMemory(Arc::clone(memory)))
    }
}

impl MapMemory {
    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Where programs know the first of them.
    pub fn address(&self) -> u64 {
        self.0.base()
    }

    /// Copies out; `EINVAL` beyond the end.
    pub fn read(&self, off: usize, to: &mut [u8]) -> Result<(), Errno> {
        self.inside(off, to.len())?;
        self.0.read(off, to);
        Ok(())
    }

    /// Copies in; `EINVAL` beyond the end.
    pub fn write(&self, off: usize, from: &[u8]) -> Result<(), Errno> {
        self.inside(off, from.len())?;
        self.0.write(off, from);
        Ok(())
    }

    fn inside(&self, off: usize, len: usize) -> Result<(), Errno> {
        let end = off.checked_add(len).filter(|end| *end <= self.bytes());
        end.map(drop).ok_or(Errno::EINVAL)
    }
}
