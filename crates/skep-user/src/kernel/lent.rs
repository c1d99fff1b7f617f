//! Structures of the kernel's that there are for one run of a program, which is given their addresses.

use std::path::{Path, PathBuf};

/// Where they begin, one behind the other, and how far they are apart; no other object is there.
const FIRST: u64 = 0xffff_d000_0000_0000;
const STRIDE: u64 = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Lent(Vec<Structure>);

#[derive(Debug, Default)]
struct Structure {
    bytes: Vec<u8>,
    /// Of an open file: its path.
    path: Option<PathBuf>,
}

impl Lent {
    /// Adds a structure; answers its address.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> u64 {
        self.0.push(Structure { bytes, path: None });
        FIRST + (self.0.len() as u64 - 1) * STRIDE
    }

    /// Says what a structure holds that was added before what it points to.
    pub(super) fn fill(&mut self, addr: u64, bytes: Vec<u8>) {
        if let Some(structure) = self.at(addr).and_then(|(n, _)| self.0.get_mut(n)) {
            structure.bytes = bytes;
        }
    }

    pub(super) fn set_path(&mut self, addr: u64, path: PathBuf) {
        if let Some(structure) = self.at(addr).and_then(|(n, _)| self.0.get_mut(n)) {
            structure.path = Some(path);
        }
    }

    /// The number of the structure that an address lies in, and how far.
    fn at(&self, addr: u64) -> Option<(usize, usize)> {
        let at = addr.checked_sub(FIRST)?;
        let number = usize::try_from(at / STRIDE).ok().filter(|number| *number < self.0.len())?;
        Some((number, (at % STRIDE) as usize))
    }

    /// Bytes from an address on.
    pub(super) fn bytes(&self, addr: u64) -> Option<&[u8]> {
        let (number, offset) = self.at(addr)?;
        self.0[number].bytes.get(offset..)
    }

    /// The path of the open file that an address lies in, and how far.
    pub(super) fn path(&self, addr: u64) -> Option<(&Path, usize)> {
        let (number, offset) = self.at(addr)?;
        Some((self.0[number].path.as_deref()?, offset))
    }

    /// Takes back a structure and what was added after it.
    pub(super) fn take_back(&mut self, from: u64) {
        if let Some((number, _)) = self.at(from) {
            self.0.truncate(number);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
