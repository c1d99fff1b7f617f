//! The bytes of one object, written member by member.

use super::types::Types;

/// An object under construction: a structure of the kernel's and its bytes, zero where nothing was written.
pub(super) struct Image<'a> {
    types: &'a mut Types,
    name: &'static str,
    bytes: Vec<u8>,
}

impl<'a> Image<'a> {
    /// A zeroed structure with `extra` bytes after it; `None` when this kernel has none of that name.
    pub(super) fn new(types: &'a mut Types, name: &'static str, extra: usize) -> Option<Self> {
        let bytes = vec![0; types.size(name)? + extra];
        Some(Self { types, name, bytes })
    }

    /// Writes a number, cut to the member's size. A member that this kernel lacks is no error: no program can ask for it.
    pub(super) fn set(&mut self, path: &'static str, value: u64) {
        self.write(path, &value.to_ne_bytes());
    }

    /// Writes bytes, as many as fit, and keeps the zeroes after them.
    pub(super) fn write(&mut self, path: &'static str, value: &[u8]) {
        if let Some(place) = self.types.place(self.name, path) {
            let length = place.bytes.min(value.len());
            self.write_at(place.offset, &value[..length]);
        }
    }

    /// Writes bytes at an offset.
    pub(super) fn write_at(&mut self, offset: usize, value: &[u8]) {
        if let Some(target) = self.bytes.get_mut(offset..offset + value.len()) {
            target.copy_from_slice(value);
        }
    }

    /// Where a member lies; for arrays.
    pub(super) fn offset(&mut self, path: &'static str) -> Option<usize> {
        self.types.place(self.name, path).map(|place| place.offset)
    }

    /// The finished bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
