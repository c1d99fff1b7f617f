//! Chains of numbered elements: the part of a hash table that knows keys but no values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Errno;
use crate::memory::{Arena, Keyed, Window};

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

/// Bytes before an element's key.
const HEADER: usize = 16;

/// The words of a header: link, next free element, hash, whether it was looked up lately.
struct Header<'t> {
    next: &'t AtomicU32,
    next_free: &'t AtomicU32,
    hash: &'t AtomicU32,
    used: &'t AtomicU32,
}

/// Where an element stands in its chain.
pub(super) struct Place<'t> {
    pub(super) id: Id,
    link: &'t AtomicU32,
}

/// Elements live in one arena, each with its header, key and values side by side, bucket heads in another; both cost memory
/// where they are touched.
pub(super) struct Table {
    nodes: Arc<Arena>,
    heads: Arena,
    mask: u32,
    elements: usize,
    node_bytes: usize,
    key_size: usize,
    /// From a node to its first value.
    value_at: usize,
    seed: u64,
    /// Elements that were never in use begin here.
    fresh: AtomicU32,
    /// Stack of free elements: a counter against reuse in the upper half, number plus one in the lower.
    free: AtomicU64,
}

impl Table {
    /// A table of so many elements, each with room for `value_bytes`.
    pub(super) fn new(
        max_entries: u32,
        elements: usize,
        key_size: usize,
        value_bytes: usize,
        seed: u64,
    ) -> Result<Self, Errno> {
        let buckets = max_entries.checked_next_power_of_two().ok_or(Errno::E2BIG)?;
        let value_at = HEADER + key_size.next_multiple_of(8);
        let node_bytes = value_at.checked_add(value_bytes).ok_or(Errno::ENOMEM)?;
        // The window over the keys begins behind the first header, and its last group ends as far behind the last node.
        let nodes = elements.checked_mul(node_bytes).and_then(|bytes| bytes.checked_add(HEADER));
        Ok(Self {
            nodes: Arc::new(Arena::dense(nodes.ok_or(Errno::ENOMEM)?)?),
            heads: Arena::dense(buckets as usize * 4)?,
            mask: buckets - 1,
            elements,
            node_bytes,
            key_size,
            value_at,
            seed,
            fresh: AtomicU32::new(0),
            free: AtomicU64::new(0),
        })
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

    /// The memory that elements lie in.
    pub(super) fn memory(&self) -> &Arena {
        &self.nodes
    }

    /// Programs may reach values, one every `stride` bytes, and read keys.
    pub(super) fn window(&self, values: usize, stride: usize, value_size: usize) -> Window {
        let cells_at = self.value_at - HEADER;
        let keyed = Keyed { stride: self.node_bytes, key_bytes: self.key_size, cells_at, cells: values };
        Window::groups(&self.nodes, HEADER, self.elements, keyed, (stride, value_size))
    }

    #[inline]
    fn header(&self, id: Id) -> Header<'_> {
        let [next, next_free, hash, used] = self.nodes.words(id.index() * self.node_bytes);
        Header { next, next_free, hash, used }
    }

    fn next(&self, id: Id) -> &AtomicU32 {
        self.header(id).next
    }

    #[inline]
    fn head(&self, bucket: u32) -> &AtomicU32 {
        self.heads.u32(bucket as usize * 4)
    }

    #[inline]
    fn key_off(&self, id: Id) -> usize {
        id.index() * self.node_bytes + HEADER
    }

    /// Offset of an element's first value.
    #[inline]
    pub(super) fn value_off(&self, id: Id) -> usize {
        id.index() * self.node_bytes + self.value_at
    }

    pub(super) fn key_addr(&self, id: Id) -> u64 {
        self.nodes.base() + self.key_off(id) as u64
    }

    /// The element that an address lies in.
    pub(super) fn at(&self, addr: u64) -> Option<Id> {
        let off = usize::try_from(addr.checked_sub(self.nodes.base())?).ok()?;
        let index = off / self.node_bytes;
        (index < self.elements).then_some(Id(index as u32))
    }

    pub(super) fn read_key(&self, id: Id, key: &mut [u8]) {
        self.nodes.read(self.key_off(id), key);
    }

    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> u32 {
        hash & self.mask
    }

    /// Mixes eight bytes at a time by a wide multiplication, whose halves are folded together.
    #[inline(always)]
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
    #[inline(always)]
    pub(super) fn find(&self, key: &[u8], hash: u32) -> Option<Id> {
        let bucket = self.bucket(hash);
        loop {
            let mut link = Link(self.head(bucket).load(Ordering::Acquire));
            while let Some(id) = link.id() {
                let header = self.header(id);
                let same = header.hash.load(Ordering::Relaxed) == hash;
                if same && self.nodes.equals(self.key_off(id), key) {
                    return Some(id);
                }
                link = Link(header.next.load(Ordering::Acquire));
            }
            if !link.strayed(bucket) {
                return None;
            }
        }
    }

    /// Finds a key, and the link that leads to it; the caller holds the lock of its bucket.
    #[inline(always)]
    pub(super) fn place(&self, key: &[u8], hash: u32) -> Option<Place<'_>> {
        let mut link = self.head(self.bucket(hash));
        while let Some(id) = Link(link.load(Ordering::Relaxed)).id() {
            let header = self.header(id);
            if header.hash.load(Ordering::Relaxed) == hash && self.nodes.equals(self.key_off(id), key) {
                return Some(Place { id, link });
            }
            link = header.next;
        }
        None
    }

    /// Puts an element with the same key in the place of one; the caller has held the lock since it was found. The old one
    /// still points into the chain, for readers that stand on it.
    #[inline(always)]
    pub(super) fn replace(&self, old: &Place<'_>, new: Id, key: &[u8], hash: u32) {
        let header = self.header(new);
        header.hash.store(hash, Ordering::Relaxed);
        header.used.store(1, Ordering::Relaxed);
        self.nodes.write(self.key_off(new), key);
        header.next.store(self.next(old.id).load(Ordering::Relaxed), Ordering::Release);
        old.link.store(Link::to(new).0, Ordering::Release);
    }

    /// Takes an element out of its chain; the caller has held the lock since it was found. It still points into the chain.
    pub(super) fn leave_out(&self, place: &Place<'_>) {
        place.link.store(self.next(place.id).load(Ordering::Relaxed), Ordering::Release);
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
        let header = self.header(id);
        header.hash.store(hash, Ordering::Relaxed);
        header.used.store(0, Ordering::Relaxed);
        self.nodes.write(self.key_off(id), key);
        let head = self.head(bucket);
        let first = head.load(Ordering::Relaxed);
        let behind = if first == 0 { END | bucket } else { first };
        header.next.store(behind, Ordering::Release);
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
    #[inline]
    pub(super) fn mark_used(&self, id: Id) {
        let used = self.header(id).used;
        if used.load(Ordering::Relaxed) == 0 {
            used.store(1, Ordering::Relaxed);
        }
    }

    /// The hash of an element that may be evicted, if it is in a chain. Takes its mark away otherwise.
    pub(super) fn unused_hash(&self, id: Id) -> Option<u32> {
        let header = self.header(id);
        if header.used.load(Ordering::Relaxed) == 0 {
            return Some(header.hash.load(Ordering::Relaxed));
        }
        header.used.store(0, Ordering::Relaxed);
        None
    }

    /// An element to use, if one is left.
    pub(super) fn allocate(&self) -> Option<Id> {
        let mut top = self.free.load(Ordering::Acquire);
        while let Some(id) = Link(top as u32).id() {
            let behind = self.header(id).next_free.load(Ordering::Relaxed);
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
        let next_free = self.header(id).next_free;
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            next_free.store(top as u32, Ordering::Relaxed);
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
