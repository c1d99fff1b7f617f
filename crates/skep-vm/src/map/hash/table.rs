//! Chains of numbered elements: the part of a hash table that knows keys but no values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Errno;
use crate::memory::{Arena, Window};

/// The number of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

impl Id {
    pub(super) fn new(index: u32) -> Self {
        Self(index)
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A link of a chain: 0 in a bucket never used, an element's number plus one, or the end with the bucket's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link(u32);

const END: u32 = 1 << 31;

impl Link {
    fn to(id: Id) -> Self {
        Self(id.0 + 1)
    }

    fn id(self) -> Option<Id> {
        (self.0 != 0 && self.0 & END == 0).then(|| Id(self.0 - 1))
    }

    /// Is this the end of another bucket's chain?
    fn strayed(self, bucket: u32) -> bool {
        self.0 != 0 && self.0 != END | bucket
    }
}

/// Bytes before an element's key: link, next free element, hash, state.
const HEADER: usize = 16;
const NEXT: usize = 0;
const NEXT_FREE: usize = 4;
const HASH: usize = 8;
const STATE: usize = 12;

/// Bits of the state word.
const LINKED: u32 = 1;
const USED: u32 = 2;

/// Elements and their keys live in one arena, bucket heads in another; both cost memory where they are touched.
pub(super) struct Table {
    nodes: Arc<Arena>,
    heads: Arena,
    mask: u32,
    elements: usize,
    node_bytes: usize,
    key_size: usize,
    seed: u64,
    /// Elements that were never in use begin here.
    fresh: AtomicU32,
    /// Stack of free elements: a counter against reuse in the upper half, number plus one in the lower.
    free: AtomicU64,
}

impl Table {
    pub(super) fn new(max_entries: u32, elements: usize, key_size: usize, seed: u64) -> Result<Self, Errno> {
        let buckets = max_entries.checked_next_power_of_two().ok_or(Errno::E2BIG)?;
        let node_bytes = HEADER + key_size.next_multiple_of(8);
        // The window over the keys begins behind the first header, and its last cell ends as far behind the last node.
        let nodes = elements.checked_mul(node_bytes).and_then(|bytes| bytes.checked_add(HEADER));
        Ok(Self {
            nodes: Arc::new(Arena::new(nodes.ok_or(Errno::ENOMEM)?)?),
            heads: Arena::new(buckets as usize * 4)?,
            mask: buckets - 1,
            elements,
            node_bytes,
            key_size,
            seed,
            fresh: AtomicU32::new(0),
            free: AtomicU64::new(0),
        })
    }

    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    pub(super) fn buckets(&self) -> u32 {
        self.mask + 1
    }

    pub(super) fn key_size(&self) -> usize {
        self.key_size
    }

    /// Elements that were ever in use.
    pub(super) fn touched(&self) -> u32 {
        self.fresh.load(Ordering::Relaxed).min(self.elements as u32)
    }

    /// Callbacks may read keys.
    pub(super) fn key_window(&self) -> Window {
        Window::cells(&self.nodes, HEADER, self.elements, self.node_bytes, self.key_size).read_only()
    }

    fn field(&self, id: Id, field: usize) -> &AtomicU32 {
        self.nodes.u32(id.index() * self.node_bytes + field)
    }

    fn next(&self, id: Id) -> &AtomicU32 {
        self.field(id, NEXT)
    }

    fn head(&self, bucket: u32) -> &AtomicU32 {
        self.heads.u32(bucket as usize * 4)
    }

    fn key_off(&self, id: Id) -> usize {
        id.index() * self.node_bytes + HEADER
    }

    pub(super) fn key_addr(&self, id: Id) -> u64 {
        self.nodes.base() + self.key_off(id) as u64
    }

    pub(super) fn read_key(&self, id: Id, key: &mut [u8]) {
        self.nodes.read(self.key_off(id), key);
    }

    pub(super) fn bucket(&self, hash: u32) -> u32 {
        hash & self.mask
    }

    /// Mixes eight bytes at a time by a wide multiplication, whose halves are folded together.
    pub(super) fn hash(&self, key: &[u8]) -> u32 {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let fold = |a: u64| {
            let wide = u128::from(a ^ MIX) * u128::from(MIX.rotate_left(17) | 1);
            wide as u64 ^ (wide >> 64) as u64
        };
        let (words, tail) = key.as_chunks::<8>();
        let mut hash =
            words.iter().fold(self.seed ^ key.len() as u64, |h, w| fold(h ^ u64::from_ne_bytes(*w)));
        if !tail.is_empty() {
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            hash = fold(hash ^ u64::from_ne_bytes(last));
        }
        (hash ^ (hash >> 32)) as u32
    }

    /// Finds a key, with or without the lock of its bucket.
    pub(super) fn find(&self, key: &[u8], hash: u32) -> Option<Id> {
        let bucket = self.bucket(hash);
        loop {
            let mut link = Link(self.head(bucket).load(Ordering::Acquire));
            while let Some(id) = link.id() {
                let same = self.field(id, HASH).load(Ordering::Relaxed) == hash;
                if same && self.nodes.equals(self.key_off(id), key) {
                    return Some(id);
                }
                link = Link(self.next(id).load(Ordering::Acquire));
            }
            if !link.strayed(bucket) {
                return None;
            }
        }
    }

    /// Is nothing in this bucket right now?
    pub(super) fn is_empty(&self, bucket: u32) -> bool {
        Link(self.head(bucket).load(Ordering::Acquire)).id().is_none()
    }

    /// The elements of a bucket, whose lock the caller holds.
    pub(super) fn chain(&self, bucket: u32) -> impl Iterator<Item = Id> + '_ {
        let first = Link(self.head(bucket).load(Ordering::Acquire)).id();
        std::iter::successors(first, |id| self.after(*id))
    }

    /// The element after this one in its chain.
    pub(super) fn after(&self, id: Id) -> Option<Id> {
        Link(self.next(id).load(Ordering::Acquire)).id()
    }

    /// The first element of this bucket or one behind it.
    pub(super) fn first_from(&self, bucket: u32) -> Option<Id> {
        (bucket..self.buckets()).find_map(|bucket| Link(self.head(bucket).load(Ordering::Acquire)).id())
    }

    /// Puts an element with its key in front of its chain; the caller holds the lock.
    pub(super) fn link(&self, id: Id, key: &[u8], hash: u32) {
        let bucket = self.bucket(hash);
        self.field(id, HASH).store(hash, Ordering::Relaxed);
        self.field(id, STATE).store(LINKED, Ordering::Relaxed);
        self.nodes.write(self.key_off(id), key);
        let head = self.head(bucket);
        let first = head.load(Ordering::Relaxed);
        let behind = if first == 0 { END | bucket } else { first };
        self.next(id).store(behind, Ordering::Release);
        head.store(Link::to(id).0, Ordering::Release);
    }

    /// Takes an element out of its chain, unless somebody else has; the caller holds the lock. The element still points
    /// into the chain, for readers that stand on it.
    pub(super) fn unlink(&self, id: Id, hash: u32) -> bool {
        let bucket = self.bucket(hash);
        let behind = self.next(id).load(Ordering::Relaxed);
        let mut cell = self.head(bucket);
        while let Some(at) = Link(cell.load(Ordering::Relaxed)).id() {
            if at == id {
                cell.store(behind, Ordering::Release);
                return true;
            }
            cell = self.next(at);
        }
        false
    }

    /// Notes that an element was looked up.
    pub(super) fn mark_used(&self, id: Id) {
        let state = self.field(id, STATE);
        if state.load(Ordering::Relaxed) & USED == 0 {
            state.fetch_or(USED, Ordering::Relaxed);
        }
    }

    /// The hash of an element that may be evicted. Takes its mark away otherwise.
    pub(super) fn unused_hash(&self, id: Id) -> Option<u32> {
        let state = self.field(id, STATE).fetch_and(!USED, Ordering::Relaxed);
        (state == LINKED).then(|| self.field(id, HASH).load(Ordering::Relaxed))
    }

    /// An element to use, if one is left.
    pub(super) fn allocate(&self) -> Option<Id> {
        let mut top = self.free.load(Ordering::Acquire);
        while let Some(id) = Link(top as u32).id() {
            let behind = self.field(id, NEXT_FREE).load(Ordering::Relaxed);
            let new = next_version(top) | u64::from(behind);
            match self.free.compare_exchange_weak(top, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(id),
                Err(now) => top = now,
            }
        }
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed);
        if (fresh as usize) < self.elements {
            return Some(Id(fresh));
        }
        self.fresh.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Makes an unlinked element free for use.
    pub(super) fn free(&self, id: Id) {
        self.field(id, STATE).store(0, Ordering::Relaxed);
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            self.field(id, NEXT_FREE).store(top as u32, Ordering::Relaxed);
            let new = next_version(top) | u64::from(Link::to(id).0);
            match self.free.compare_exchange_weak(top, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

/// The upper half of the free stack's top, counted on, so that a top seen before is not mistaken for unchanged.
fn next_version(top: u64) -> u64 {
    ((top >> 32).wrapping_add(1)) << 32
}
