//! Nodes of a trie: a prefix, two links, and a value, side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Errno;
use crate::memory::{Arena, Keyed, Window};

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

impl Id {
    pub(super) fn new(index: u32) -> Self {
        Self(index)
    }
}

/// Links are numbers plus one, 0 where there is none.
pub(super) struct Link;

impl Link {
    #[inline]
    pub(super) fn load(cell: &AtomicU32) -> Option<Id> {
        cell.load(Ordering::Acquire).checked_sub(1).map(Id)
    }

    #[inline]
    pub(super) fn store(cell: &AtomicU32, to: Option<Id>) {
        cell.store(to.map_or(0, |id| id.0 + 1), Ordering::Release);
    }
}

/// A key: bits and how many of them count.
#[derive(Clone, Copy)]
pub(super) struct Prefix<'a> {
    pub(super) bits: &'a [u8],
    pub(super) len: u32,
}

impl<'a> Prefix<'a> {
    #[inline]
    pub(super) fn of(key: &'a [u8]) -> Self {
        let (len, bits) = key.split_first_chunk().unwrap_or((&[0; 4], &[]));
        Self { bits, len: u32::from_ne_bytes(*len) }
    }

    #[inline]
    pub(super) fn bit(self, n: u32) -> usize {
        usize::from(self.bits.get(n as usize / 8).copied().unwrap_or(0) >> (7 - n % 8) & 1)
    }

    /// 64 bits, the first on top; those behind the end are 0.
    #[inline]
    fn word(self, n: usize) -> u64 {
        let rest = self.bits.get(n * 8..).unwrap_or_default();
        if let Some(whole) = rest.first_chunk() {
            return u64::from_be_bytes(*whole);
        }
        if rest.len() == 4
            && let Some(half) = rest.first_chunk()
        {
            return u64::from(u32::from_be_bytes(*half)) << 32;
        }
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(word)
    }
}

/// Bytes before a node's bits: two links, the length of its prefix, whether it has a value.
const HEADER: usize = 16;

/// One node.
pub(super) struct Node<'n> {
    children: [&'n AtomicU32; 2],
    len: &'n AtomicU32,
    valued: &'n AtomicU32,
}

impl Node<'_> {
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn has_value(&self) -> bool {
        self.valued.load(Ordering::Relaxed) != 0
    }

    pub(super) fn drop_value(&self) {
        self.valued.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn child(&self, side: usize) -> Option<Id> {
        Link::load(self.children[side & 1])
    }

    pub(super) fn set_child(&self, side: usize, to: Option<Id>) {
        Link::store(self.children[side & 1], to);
    }
}

/// All nodes of a trie; they cost memory where they are touched.
pub(super) struct Nodes {
    memory: Arc<Arena>,
    count: usize,
    node_bytes: usize,
    /// Bytes of bits.
    bytes: usize,
    /// From a node to its value.
    value_at: usize,
    value_size: usize,
}

impl Nodes {
    pub(super) fn new(count: usize, bytes: usize, value_size: usize) -> Result<Self, Errno> {
        let value_at = HEADER + bytes.next_multiple_of(8);
        let node_bytes = value_at + value_size.next_multiple_of(8);
        // The window begins behind the first header, and its last group ends as far behind the last node.
        let all = count.checked_mul(node_bytes).and_then(|all| all.checked_add(HEADER));
        let memory = Arc::new(Arena::dense(all.ok_or(Errno::ENOMEM)?)?);
        Ok(Self { memory, count, node_bytes, bytes, value_at, value_size })
    }

    /// Is there a node of this number?
    pub(super) fn holds(&self, index: u32) -> bool {
        (index as usize) < self.count
    }

    #[inline]
    fn at(&self, id: Id) -> usize {
        id.0 as usize * self.node_bytes
    }

    #[inline]
    pub(super) fn node(&self, id: Id) -> Node<'_> {
        let [zero, one, len, valued] = self.memory.words(self.at(id));
        Node { children: [zero, one], len, valued }
    }

    #[inline]
    fn word(&self, id: Id, n: usize) -> u64 {
        self.memory.u64(self.at(id) + HEADER + n * 8).load(Ordering::Relaxed)
    }

    /// Leading bits that a key has in common with a node, `len` at most.
    #[inline]
    pub(super) fn common(&self, key: Prefix<'_>, id: Id, len: u32) -> u32 {
        let limit = len.min(key.len);
        for n in 0..limit.div_ceil(64) {
            let differing = key.word(n as usize) ^ self.word(id, n as usize);
            if differing != 0 {
                return limit.min(n * 64 + differing.leading_zeros());
            }
        }
        limit
    }

    /// One of a node's bits.
    pub(super) fn bit(&self, id: Id, n: u32) -> usize {
        (self.word(id, n as usize / 64) >> (63 - n % 64) & 1) as usize
    }

    /// Makes a node that is not linked one of this prefix.
    pub(super) fn fill(&self, id: Id, prefix: Prefix<'_>, value: Option<&[u8]>) {
        let node = self.node(id);
        node.set_child(0, None);
        node.set_child(1, None);
        node.len.store(prefix.len, Ordering::Relaxed);
        node.valued.store(value.is_some().into(), Ordering::Relaxed);
        for n in 0..self.bytes.div_ceil(8) {
            self.memory.u64(self.at(id) + HEADER + n * 8).store(prefix.word(n), Ordering::Relaxed);
        }
        if let Some(value) = value {
            self.memory.write(self.at(id) + self.value_at, &value[..self.value_size]);
        }
    }

    /// Copies a node's prefix out: its length and its bits.
    pub(super) fn read_key(&self, id: Id, key: &mut [u8]) {
        let Some((len, bits)) = key.split_first_chunk_mut() else { return };
        *len = self.node(id).len().to_ne_bytes();
        for (n, part) in bits.chunks_mut(8).enumerate() {
            part.copy_from_slice(&self.word(id, n).to_be_bytes()[..part.len()]);
        }
    }

    pub(super) fn read_value(&self, id: Id, value: &mut [u8]) {
        self.memory.read(self.at(id) + self.value_at, &mut value[..self.value_size]);
    }

    #[inline]
    pub(super) fn value_addr(&self, id: Id) -> u64 {
        self.memory.base() + (self.at(id) + self.value_at) as u64
    }

    /// What programs may reach: the values.
    pub(super) fn window(&self) -> Window {
        let cells_at = self.value_at - HEADER;
        let keyed = Keyed { stride: self.node_bytes, key_bytes: 0, cells_at, cells: 1 };
        let cell = (self.value_size.next_multiple_of(8), self.value_size);
        Window::groups(&self.memory, HEADER, self.count, keyed, cell)
    }
}
