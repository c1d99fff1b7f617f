//! Longest-prefix tries (`kernel/bpf/lpm_trie.c`).
//!
//! A key is a prefix length (four bytes, host order) and the bits, most significant first. The trie is path-compressed: a
//! node is a prefix, its children differ in the bit behind it; nodes without a value only branch. [`nodes`] has the nodes and
//! the memory that they lie in, [`front`] leads past those of the first sixteen bits.
//!
//! Look-ups take no lock. A change makes new nodes and links them in by one store; what it takes out stays what it was
//! while [`FEW`] other nodes are taken out, so programs may go on using its value. A look-up that was so slow that a
//! node may have been used again beneath it notices and starts again.

mod front;
mod nodes;

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BatchCursor, Elements, MapSpec, update};
use crate::Errno;
use crate::memory::Window;

use front::Front;
use nodes::{Id, Link, Nodes, Prefix};

pub(super) struct LpmTrie {
    nodes: Nodes,
    root: AtomicU32,
    front: Option<Front>,
    /// Counts on when nodes may be used again that look-ups which began two counts ago can stand on.
    version: AtomicU32,
    changing: Mutex<Changing>,
    max_entries: usize,
    max_bits: u32,
}

/// What changes need.
#[derive(Default)]
struct Changing {
    entries: usize,
    /// Nodes never used begin here.
    fresh: u32,
    free: Vec<Id>,
    /// Nodes taken out since the version was counted on, and in the count before.
    taken_out: [Vec<Id>; 2],
}

/// Nodes taken out between two counts of the version.
const FEW: usize = 64;

/// Times that a look-up is tried without the lock.
const TRIES: usize = 8;

/// Where a link to a node is: at a side of another one, or at the root.
type Place = Option<(Id, usize)>;

impl LpmTrie {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        // Each entry but one may need a node that only branches; then there are the nodes taken out, and those being made.
        let count = (spec.max_entries as usize).checked_mul(2).and_then(|n| n.checked_add(4 * FEW));
        let bytes = spec.key_size as usize - 4;
        let max_bits = bytes as u32 * 8;
        Ok(Self {
            nodes: Nodes::new(count.ok_or(Errno::ENOMEM)?, bytes, spec.value_size as usize)?,
            root: AtomicU32::new(0),
            front: (max_bits >= Front::BITS).then(Front::new).transpose()?,
            version: AtomicU32::new(0),
            changing: Mutex::default(),
            max_entries: spec.max_entries as usize,
            max_bits,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prefix<'a>(&self, key: &'a [u8]) -> Result<Prefix<'a>, Errno> {
        Some(Prefix::of(key)).filter(|prefix| prefix.len <= self.max_bits).ok_or(Errno::EINVAL)
    }
}

/// Finding.
impl LpmTrie {
    /// What `take` takes from the node of the longest prefix of a key. It may be called again if that was in vain.
    #[inline]
    fn longest<T>(&self, key: Prefix<'_>, mut take: impl FnMut(Id) -> T) -> Option<T> {
        for _ in 0..TRIES {
            let before = self.version.load(Ordering::Acquire);
            let found = self.walk(key).map(&mut take);
            // The version is looked at after all of the nodes.
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed).wrapping_sub(before) < 2 {
                return found;
            }
        }
        let _locked = self.lock();
        self.walk(key).map(take)
    }

    #[inline]
    fn walk(&self, key: Prefix<'_>) -> Option<Id> {
        let (mut found, mut next) = match &self.front {
            Some(front) if key.len >= Front::BITS => front.look_up(key),
            _ => (None, Link::load(&self.root)),
        };
        // Prefixes get longer on the way down; where they do not, the node has been used again.
        let mut least = 0;
        while let Some(id) = next {
            let node = self.nodes.node(id);
            let len = node.len();
            if len < least || self.nodes.common(key, id, len) < len {
                break;
            }
            if node.has_value() {
                found = Some(id);
            }
            if len >= self.max_bits {
                break;
            }
            least = len + 1;
            next = node.child(key.bit(len));
        }
        found
    }

    /// The nodes from the root to the one of exactly this prefix.
    fn path(&self, key: Prefix<'_>) -> Option<Vec<Id>> {
        let mut path = Vec::new();
        let mut next = Link::load(&self.root);
        while let Some(id) = next {
            let node = self.nodes.node(id);
            path.push(id);
            if self.nodes.common(key, id, node.len()) < node.len() {
                return None;
            }
            if node.len() == key.len {
                return Some(path);
            }
            next = node.child(key.bit(node.len()));
        }
        None
    }

    /// The first node below (and with) this one in the order of iteration: children first, the zero side first.
    fn first_below(&self, path: &mut Vec<Id>, mut id: Id) -> Id {
        loop {
            path.push(id);
            let node = self.nodes.node(id);
            let Some(child) = node.child(0).or(node.child(1)) else { return id };
            id = child;
        }
    }

    /// The node after the last of a path in the order of iteration; the path is changed to lead to it.
    fn after(&self, path: &mut Vec<Id>) -> Option<Id> {
        let id = path.pop()?;
        let parent = *path.last()?;
        let node = self.nodes.node(parent);
        match node.child(1) {
            Some(one) if node.child(0) == Some(id) => Some(self.first_below(path, one)),
            _ => Some(parent),
        }
    }

    /// The next node that has a value.
    fn next(&self, key: Option<Prefix<'_>>) -> Option<Id> {
        let path = key.and_then(|key| self.path(key));
        let Some(mut path) = path.filter(|path| path.last().is_some_and(|id| self.has_value(*id))) else {
            // The first node is a leaf, and leaves have values.
            return Link::load(&self.root).map(|root| self.first_below(&mut Vec::new(), root));
        };
        loop {
            let id = self.after(&mut path)?;
            if self.has_value(id) {
                return Some(id);
            }
        }
    }

    fn has_value(&self, id: Id) -> bool {
        self.nodes.node(id).has_value()
    }
}

/// Changing; the caller holds the lock.
impl LpmTrie {
    fn link(&self, place: Place, to: Option<Id>) {
        match place {
            Some((parent, side)) => self.nodes.node(parent).set_child(side, to),
            None => Link::store(&self.root, to),
        }
    }

    /// Where a prefix is or belongs, and what is there.
    fn find_place(&self, key: Prefix<'_>) -> (Place, Option<Id>) {
        let top =
            self.front.as_ref().filter(|_| key.len > Front::BITS).and_then(|front| front.look_up(key).1);
        // What is in the topmost node's own place is linked from above.
        let found = top.map(|top| self.find_place_below(key, Some(top)));
        found
            .filter(|(place, _)| place.is_some())
            .unwrap_or_else(|| self.find_place_below(key, Link::load(&self.root)))
    }

    fn find_place_below(&self, key: Prefix<'_>, mut next: Option<Id>) -> (Place, Option<Id>) {
        let mut place = None;
        while let Some(id) = next {
            let node = self.nodes.node(id);
            let len = node.len();
            if len >= key.len || self.nodes.common(key, id, len) < len {
                break;
            }
            place = Some((id, key.bit(len)));
            next = node.child(key.bit(len));
        }
        (place, next)
    }

    /// Is this the node of exactly this prefix?
    fn is_node_of(&self, key: Prefix<'_>, id: Id) -> bool {
        self.nodes.node(id).len() == key.len && self.nodes.common(key, id, key.len) == key.len
    }

    /// Links a new node in where its prefix belongs, in place of the one of the same prefix.
    fn insert(&self, changing: &mut Changing, key: Prefix<'_>, new: Id, (place, at): (Place, Option<Id>)) {
        let mut top = new;
        let mut replaced = None;
        if let Some(at) = at {
            let common = self.nodes.common(key, at, self.nodes.node(at).len());
            if self.is_node_of(key, at) {
                for side in [0, 1] {
                    self.nodes.node(new).set_child(side, self.nodes.node(at).child(side));
                }
                replaced = Some(at);
            } else if common == key.len {
                self.nodes.node(new).set_child(self.nodes.bit(at, common), Some(at));
            } else {
                top = self.allocate(changing);
                self.nodes.fill(top, Prefix { len: common, ..key }, None);
                self.nodes.node(top).set_child(key.bit(common), Some(new));
                self.nodes.node(top).set_child(1 - key.bit(common), Some(at));
            }
        }
        self.link(place, Some(top));
        match &self.front {
            Some(front) if key.len < Front::BITS => front.cover(&self.nodes, key, new),
            // Below the topmost node of these bits nothing changes for the front.
            Some(_) if place.is_some_and(|(above, _)| self.nodes.node(above).len() >= Front::BITS) => {}
            _ => self.lead_to(key),
        }
        if let Some(replaced) = replaced {
            self.take_out(changing, replaced);
        }
    }

    /// Takes away the last node of a path, and its parent if that only branched.
    fn remove(&self, changing: &mut Changing, key: Prefix<'_>, path: &[Id]) {
        let [before @ .., id] = path else { return };
        let node = self.nodes.node(*id);
        node.drop_value();
        if let Some(front) = &self.front {
            front.uncover(&self.nodes, key, *id, before);
        }
        if node.child(0).is_some() && node.child(1).is_some() {
            return;
        }
        self.replace(before.last().copied(), *id, node.child(0).or(node.child(1)));
        let useless = before.split_last().filter(|(parent, _)| {
            let parent = self.nodes.node(**parent);
            !parent.has_value() && (parent.child(0).is_none() || parent.child(1).is_none())
        });
        if let Some((parent, before)) = useless {
            let node = self.nodes.node(*parent);
            self.replace(before.last().copied(), *parent, node.child(0).or(node.child(1)));
        }
        self.lead_to(key);
        for id in useless.map(|(parent, _)| *parent).into_iter().chain([*id]) {
            self.take_out(changing, id);
        }
    }

    /// Puts `by` into the place of a node.
    fn replace(&self, parent: Option<Id>, id: Id, by: Option<Id>) {
        let place = parent.map(|parent| (parent, usize::from(self.nodes.node(parent).child(1) == Some(id))));
        self.link(place, by);
    }

    /// Makes look-ups begin at the right node for the first bits of this prefix, if it has as many.
    fn lead_to(&self, key: Prefix<'_>) {
        let Some(front) = self.front.as_ref().filter(|_| key.len >= Front::BITS) else { return };
        let first = Prefix { len: Front::BITS, ..key };
        let (_, top) = self.find_place(first);
        front.begin_at(key, top.filter(|top| self.nodes.common(first, *top, Front::BITS) == Front::BITS));
    }

    fn allocate(&self, changing: &mut Changing) -> Id {
        if changing.free.is_empty() && !self.nodes.holds(changing.fresh) {
            self.count_on(changing);
            self.count_on(changing);
        }
        changing.free.pop().unwrap_or_else(|| {
            changing.fresh += 1;
            Id::new(changing.fresh - 1)
        })
    }

    /// Keeps a node that is linked no more until no look-up can stand on it.
    fn take_out(&self, changing: &mut Changing, id: Id) {
        changing.taken_out[0].push(id);
        if changing.taken_out[0].len() >= FEW {
            self.count_on(changing);
        }
    }

    fn count_on(&self, changing: &mut Changing) {
        let Changing { free, taken_out: [now, before], .. } = changing;
        self.version.fetch_add(1, Ordering::Relaxed);
        // What is written into a node from now on is seen after the new version.
        fence(Ordering::Release);
        free.append(before);
        std::mem::swap(now, before);
    }
}

impl Elements for LpmTrie {
    fn windows(&self) -> Vec<Window> {
        vec![self.nodes.window()]
    }

    #[inline]
    fn addr(&self, key: &[u8], _cpu: u32) -> Option<u64> {
        self.longest(self.prefix(key).ok()?, |id| self.nodes.value_addr(id))
    }

    fn put(&self, key: &[u8], value: &[u8], flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.write(key, value, flags)
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        let prefix = self.prefix(key).map_err(|_| Errno::ENOENT)?;
        self.longest(prefix, |id| self.nodes.read_value(id, value)).ok_or(Errno::ENOENT)
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > update::EXIST {
            return Err(Errno::EINVAL);
        }
        let prefix = self.prefix(key)?;
        let changing = &mut *self.lock();
        let found = self.find_place(prefix);
        let exists = found.1.is_some_and(|id| self.is_node_of(prefix, id) && self.has_value(id));
        match (exists, flags) {
            (true, update::NOEXIST) => return Err(Errno::EEXIST),
            (false, update::EXIST) => return Err(Errno::ENOENT),
            (false, _) if changing.entries == self.max_entries => return Err(Errno::ENOSPC),
            _ => {}
        }
        let new = self.allocate(changing);
        self.nodes.fill(new, prefix, Some(value));
        self.insert(changing, prefix, new, found);
        changing.entries += usize::from(!exists);
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let prefix = self.prefix(key)?;
        let changing = &mut *self.lock();
        let path = self.path(prefix).ok_or(Errno::ENOENT)?;
        path.last().filter(|id| self.has_value(**id)).ok_or(Errno::ENOENT)?;
        self.remove(changing, prefix, &path);
        changing.entries -= 1;
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let _locked = self.lock();
        let id = self.next(key.map(Prefix::of)).ok_or(Errno::ENOENT)?;
        self.nodes.read_key(id, next);
        Ok(())
    }

    fn batch_cursor(&self) -> BatchCursor {
        BatchCursor::Key { delete: true }
    }
}
