//! Longest-prefix tries (`kernel/bpf/lpm_trie.c`).
//!
//! A key is a prefix length (four bytes, host order) and the bits, most significant first. The trie is path-compressed: a
//! node is a prefix, its children differ in the bit behind it; nodes without a value only branch. Look-ups share a lock.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{BatchCursor, Elements, MapSpec, update};
use crate::Errno;
use crate::memory::{Arena, Window};

pub(super) struct LpmTrie {
    trie: RwLock<Trie>,
    values: Arc<Arena>,
    max_entries: usize,
    max_bits: u32,
    value_size: usize,
    stride: usize,
}

#[derive(Default)]
struct Trie {
    nodes: Vec<Node>,
    root: Option<usize>,
    free_nodes: Vec<usize>,
    free_values: Vec<usize>,
    entries: usize,
    fresh_values: usize,
}

struct Node {
    bits: Box<[u8]>,
    len: u32,
    children: [Option<usize>; 2],
    /// The slot of its value.
    value: Option<usize>,
}

/// A key: bits and how many of them count.
#[derive(Clone, Copy)]
struct Prefix<'a> {
    bits: &'a [u8],
    len: u32,
}

impl<'a> Prefix<'a> {
    fn of(key: &'a [u8]) -> Self {
        let (len, bits) = key.split_first_chunk().unwrap_or((&[0; 4], &[]));
        Self { bits, len: u32::from_ne_bytes(*len) }
    }

    fn bit(self, n: u32) -> usize {
        usize::from(self.bits.get(n as usize / 8).copied().unwrap_or(0) >> (7 - n % 8) & 1)
    }

    /// Leading bits in common with a node.
    fn common(self, node: &Node) -> u32 {
        let limit = self.len.min(node.len);
        let differs = self.bits.iter().zip(&node.bits).position(|(a, b)| a != b);
        let common = differs.map_or(limit, |n| n as u32 * 8 + (self.bits[n] ^ node.bits[n]).leading_zeros());
        common.min(limit)
    }
}

impl LpmTrie {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let value_size = spec.value_size as usize;
        let stride = value_size.next_multiple_of(8);
        // One value more than entries: an update writes the new value before it gives up the old one.
        let slots = spec.max_entries as usize + 1;
        Ok(Self {
            trie: RwLock::default(),
            values: Arc::new(Arena::new(slots.checked_mul(stride).ok_or(Errno::ENOMEM)?)?),
            max_entries: spec.max_entries as usize,
            max_bits: (spec.key_size - 4) * 8,
            value_size,
            stride,
        })
    }

    fn shared(&self) -> RwLockReadGuard<'_, Trie> {
        self.trie.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Trie> {
        self.trie.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn prefix<'a>(&self, key: &'a [u8]) -> Result<Prefix<'a>, Errno> {
        Some(Prefix::of(key)).filter(|prefix| prefix.len <= self.max_bits).ok_or(Errno::EINVAL)
    }

    fn slot(&self, key: &[u8]) -> Option<usize> {
        self.shared().longest(Prefix::of(key)).map(|value| value * self.stride)
    }
}

impl Trie {
    /// The value of the longest prefix of a key.
    fn longest(&self, key: Prefix<'_>) -> Option<usize> {
        let mut found = None;
        let mut next = self.root;
        while let Some(node) = next.map(|at| &self.nodes[at]) {
            if key.common(node) < node.len {
                break;
            }
            found = node.value.or(found);
            if node.len as usize >= key.bits.len() * 8 {
                break;
            }
            next = node.children[key.bit(node.len)];
        }
        found
    }

    /// The nodes from the root to the one of exactly this prefix.
    fn path(&self, key: Prefix<'_>) -> Option<Vec<usize>> {
        let mut path = Vec::new();
        let mut next = self.root;
        while let Some(at) = next {
            let node = &self.nodes[at];
            path.push(at);
            if key.common(node) < node.len {
                return None;
            }
            if node.len == key.len {
                return Some(path);
            }
            next = node.children[key.bit(node.len)];
        }
        None
    }

    fn add(&mut self, node: Node) -> usize {
        if let Some(at) = self.free_nodes.pop() {
            self.nodes[at] = node;
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn link(&mut self, parent: Option<(usize, usize)>, child: Option<usize>) {
        match parent {
            Some((at, side)) => self.nodes[at].children[side] = child,
            None => self.root = child,
        }
    }

    /// Puts a value at a prefix where there is none.
    fn insert(&mut self, key: Prefix<'_>, value: usize) {
        let mut parent = None;
        let mut next = self.root;
        while let Some(at) = next {
            let common = key.common(&self.nodes[at]);
            let len = self.nodes[at].len;
            if common < len || common == key.len {
                break;
            }
            let side = key.bit(len);
            parent = Some((at, side));
            next = self.nodes[at].children[side];
        }
        let node = |len: u32, value| Node { bits: key.bits.into(), len, children: [None; 2], value };
        let Some(below) = next else {
            let leaf = self.add(node(key.len, Some(value)));
            return self.link(parent, Some(leaf));
        };
        let common = key.common(&self.nodes[below]);
        if common == key.len && self.nodes[below].len == key.len {
            // The bits behind the prefix are those of the last update.
            self.nodes[below].bits = key.bits.into();
            self.nodes[below].value = Some(value);
            return;
        }
        let side = Prefix { bits: &self.nodes[below].bits, len: self.nodes[below].len }.bit(common);
        let above = self.add(node(common, (common == key.len).then_some(value)));
        self.nodes[above].children[side] = Some(below);
        if common < key.len {
            let leaf = self.add(node(key.len, Some(value)));
            self.nodes[above].children[1 - side] = Some(leaf);
        }
        self.link(parent, Some(above));
    }

    /// Takes away the last node of a path, and its parent if that only branched.
    fn remove(&mut self, path: &[usize]) {
        let [before @ .., at] = path else { return };
        self.nodes[*at].value = None;
        let children = self.nodes[*at].children;
        if children[0].is_some() && children[1].is_some() {
            return;
        }
        self.replace(before.last().copied(), *at, children[0].or(children[1]));
        let [grand @ .., parent] = before else { return };
        let (value, children) = (self.nodes[*parent].value, self.nodes[*parent].children);
        if value.is_none() && (children[0].is_none() || children[1].is_none()) {
            self.replace(grand.last().copied(), *parent, children[0].or(children[1]));
        }
    }

    /// Puts `by` into the place of a node, which becomes free.
    fn replace(&mut self, parent: Option<usize>, node: usize, by: Option<usize>) {
        let side = parent.map(|at| (at, usize::from(self.nodes[at].children[1] == Some(node))));
        self.link(side, by);
        self.free_nodes.push(node);
    }

    /// The first node below (and with) this one in the order of iteration: children first, the zero side first.
    fn first_below(&self, mut at: usize) -> usize {
        while let Some(child) = self.nodes[at].children[0].or(self.nodes[at].children[1]) {
            at = child;
        }
        at
    }

    /// The node after the last of a path in the order of iteration; the path is changed to lead to it.
    fn after(&self, path: &mut Vec<usize>) -> Option<usize> {
        let at = path.pop()?;
        let parent = *path.last()?;
        let [zero, one] = self.nodes[parent].children;
        match one {
            Some(one) if zero == Some(at) => {
                let first = self.first_below(one);
                let mut next = Some(one);
                while let Some(at) = next {
                    path.push(at);
                    next = if at == first {
                        None
                    } else {
                        self.nodes[at].children[0].or(self.nodes[at].children[1])
                    };
                }
                Some(first)
            }
            _ => Some(parent),
        }
    }

    /// The next node that has a value.
    fn next(&self, key: Option<Prefix<'_>>) -> Option<usize> {
        let Some(mut path) = key.and_then(|key| self.path(key)).filter(|path| self.has_value(path)) else {
            // The first node is a leaf, and leaves have values.
            return self.root.map(|root| self.first_below(root));
        };
        loop {
            let at = self.after(&mut path)?;
            if self.nodes[at].value.is_some() {
                return Some(at);
            }
        }
    }

    fn has_value(&self, path: &[usize]) -> bool {
        path.last().is_some_and(|at| self.nodes[*at].value.is_some())
    }

    fn take_value(&mut self) -> usize {
        self.free_values.pop().unwrap_or_else(|| {
            self.fresh_values += 1;
            self.fresh_values - 1
        })
    }
}

impl Elements for LpmTrie {
    fn windows(&self) -> Vec<Window> {
        vec![Window::cells(&self.values, 0, self.max_entries + 1, self.stride, self.value_size)]
    }

    fn addr(&self, key: &[u8], _cpu: u32) -> Option<u64> {
        self.prefix(key).ok()?;
        Some(self.values.base() + self.slot(key)? as u64)
    }

    fn put(&self, key: &[u8], value: &[u8], flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.write(key, value, flags)
    }

    fn read(&self, key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        self.prefix(key).map_err(|_| Errno::ENOENT)?;
        self.values.read(self.slot(key).ok_or(Errno::ENOENT)?, value);
        Ok(())
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > update::EXIST {
            return Err(Errno::EINVAL);
        }
        let prefix = self.prefix(key)?;
        let mut trie = self.exclusive();
        let old = trie.path(prefix).and_then(|path| trie.nodes[*path.last()?].value);
        match (old, flags) {
            (Some(_), update::NOEXIST) => return Err(Errno::EEXIST),
            (None, update::EXIST) => return Err(Errno::ENOENT),
            (None, _) if trie.entries == self.max_entries => return Err(Errno::ENOSPC),
            _ => {}
        }
        let new = trie.take_value();
        self.values.write(new * self.stride, value);
        trie.insert(prefix, new);
        match old {
            Some(old) => trie.free_values.push(old),
            None => trie.entries += 1,
        }
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let prefix = self.prefix(key)?;
        let mut trie = self.exclusive();
        let path = trie.path(prefix).ok_or(Errno::ENOENT)?;
        let value = path.last().and_then(|at| trie.nodes[*at].value).ok_or(Errno::ENOENT)?;
        trie.remove(&path);
        trie.free_values.push(value);
        trie.entries -= 1;
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let trie = self.shared();
        let at = trie.next(key.map(Prefix::of)).ok_or(Errno::ENOENT)?;
        let node = &trie.nodes[at];
        let (len, bits) = next.split_first_chunk_mut().ok_or(Errno::EINVAL)?;
        *len = node.len.to_ne_bytes();
        bits.copy_from_slice(&node.bits);
        Ok(())
    }

    fn batch_cursor(&self) -> BatchCursor {
        BatchCursor::Key { delete: true }
    }
}
