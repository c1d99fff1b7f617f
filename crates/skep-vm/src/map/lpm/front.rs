//! The first sixteen bits of a look-up in one step.
//!
//! For each value of the first sixteen bits a table has the topmost node of those whose prefixes are that long or longer,
//! and the longest prefix that has a value of nine to fifteen bits. A second table has the same for values of the first eight
//! bits and shorter prefixes, so that a change of a short prefix touches 256 entries at most.

use std::sync::atomic::AtomicU32;

use super::nodes::{Id, Link, Nodes, Prefix};
use crate::Errno;
use crate::memory::Arena;

pub(super) struct Front {
    /// Two links for each value: where to begin, and what is found if nothing is below.
    wide: Arena,
    /// A link for each value: what is found if neither is there.
    narrow: Arena,
}

/// Bits of the narrow table.
const NARROW: u32 = 8;

impl Front {
    /// Bits that the tables lead past.
    pub(super) const BITS: u32 = 16;

    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self { wide: Arena::new(8 << Self::BITS)?, narrow: Arena::new(4 << NARROW)? })
    }

    fn begins(&self, value: u32) -> &AtomicU32 {
        self.wide.u32(value as usize * 8)
    }

    fn covers(&self, value: u32) -> &AtomicU32 {
        self.wide.u32(value as usize * 8 + 4)
    }

    fn covers_narrow(&self, value: u32) -> &AtomicU32 {
        self.narrow.u32(value as usize * 4)
    }

    /// What is found among the shorter prefixes, and where to go on. The key has at least [`BITS`](Self::BITS).
    #[inline]
    pub(super) fn look_up(&self, key: Prefix<'_>) -> (Option<Id>, Option<Id>) {
        let value = first_bits(key);
        // What covers is looked at last: while a prefix moves from above to below, it is found in one or the other.
        let begin = Link::load(self.begins(value));
        let found = Link::load(self.covers(value)).or_else(|| Link::load(self.covers_narrow(value >> 8)));
        (found, begin)
    }

    /// Sets where to begin for the first bits of a key.
    pub(super) fn begin_at(&self, key: Prefix<'_>, top: Option<Id>) {
        Link::store(self.begins(first_bits(key)), top);
    }

    /// Makes a short prefix known, whose node is linked.
    pub(super) fn cover(&self, nodes: &Nodes, key: Prefix<'_>, node: Id) {
        for cell in self.covered(key) {
            if Link::load(cell).is_none_or(|known| nodes.node(known).len() <= key.len) {
                Link::store(cell, Some(node));
            }
        }
    }

    /// Makes a prefix unknown, whose node is `id`, below `above`.
    pub(super) fn uncover(&self, nodes: &Nodes, key: Prefix<'_>, id: Id, above: &[Id]) {
        if key.len >= Self::BITS {
            return;
        }
        let same_table = |id: &Id| (nodes.node(*id).len() > NARROW) == (key.len > NARROW);
        let next = above.iter().rev().find(|id| nodes.node(**id).has_value()).filter(|id| same_table(id));
        for cell in self.covered(key) {
            if Link::load(cell) == Some(id) {
                Link::store(cell, next.copied());
            }
        }
    }

    /// The entries that a short prefix is a prefix of.
    fn covered(&self, key: Prefix<'_>) -> impl Iterator<Item = &AtomicU32> {
        let narrow = key.len <= NARROW;
        let (value, bits) =
            if narrow { (first_bits(key) >> 8, NARROW) } else { (first_bits(key), Self::BITS) };
        let count = 1 << (bits - key.len);
        let first = value & !(count - 1);
        (first..first + count)
            .map(move |value| if narrow { self.covers_narrow(value) } else { self.covers(value) })
    }
}

fn first_bits(key: Prefix<'_>) -> u32 {
    match key.bits {
        [first, second, ..] => u32::from(*first) << 8 | u32::from(*second),
        _ => 0,
    }
}
