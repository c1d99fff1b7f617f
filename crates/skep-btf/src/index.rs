//! Where each type begins, found as far as somebody asks.
//!
//! Records differ in length, so the offset of a type is known only after walking over those before it. The walk is done
//! in blocks of [`BLOCK`] types when a type of the block is wanted, and keeps the offset of every [`STRIDE`]th type: for
//! the 130 thousand types of a kernel about 130 KB, and a look-up by id walks over fewer than [`STRIDE`] records.
//!
//! Readers do not lock: each block is written once. Threads that want the same block may both walk; one result stays.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use crate::record::{RECORD_BYTES, Record, TypeBytes};
use crate::{Error, Result};

/// Types in a block.
const BLOCK: usize = 4096;
/// One offset is kept for so many types.
const STRIDE: usize = 4;

/// The offsets found so far.
#[derive(Debug)]
pub(crate) struct Index {
    blocks: Box<[OnceLock<Block>]>,
}

/// What a walk over up to [`BLOCK`] types found.
#[derive(Debug)]
struct Block {
    /// Offsets of types 0, [`STRIDE`], … of the block.
    offsets: Box<[u32]>,
    types: usize,
    /// Offset after its last type.
    end: usize,
    /// Why the walk ended before the end of the section.
    error: Option<Error>,
}

impl Index {
    /// An empty index over a section of that many bytes.
    pub(crate) fn new(section_bytes: usize) -> Self {
        let blocks = section_bytes / RECORD_BYTES / BLOCK + 1;
        Self { blocks: (0..blocks).map(|_| OnceLock::new()).collect() }
    }

    /// The record of the `nth` type, counted from 0, and the offset after it. `None`: the section ends before it.
    pub(crate) fn record(&self, types: TypeBytes<'_>, nth: usize) -> Result<Option<(Record, usize)>> {
        let (first, block) = self.block(types, nth / BLOCK);
        let within = nth - first;
        if within >= block.types {
            return block.error.clone().map_or(Ok(None), Err);
        }
        let Some(&checkpoint) = block.offsets.get(within / STRIDE) else { return Ok(None) };
        let mut off = checkpoint as usize;
        for _ in 0..within % STRIDE {
            off = types.skip(off).ok_or_else(|| types.diagnose(off))?;
        }
        types.record(off).map(Some)
    }

    /// Shows every record in order, with its number from 0, until `visit` breaks with a value. A malformed record ends
    /// the walk.
    pub(crate) fn walk<B>(
        &self,
        types: TypeBytes<'_>,
        mut visit: impl FnMut(usize, Record) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut found = None;
        let mut start = 0;
        for (nth, cell) in self.blocks.iter().enumerate() {
            let show = |within: usize, record| match visit(nth * BLOCK + within, record) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(value) => {
                    found = Some(value);
                    ControlFlow::Break(())
                }
            };
            let block = match cell.get() {
                Some(block) => {
                    block.rewalk(types, start, show);
                    block
                }
                None => {
                    let block = Block::walk(types, start, show);
                    cell.get_or_init(|| block)
                }
            };
            if found.is_some() || block.types < BLOCK {
                break;
            }
            start = block.end;
        }
        found
    }

    /// How many types there are before the end of the section or the first malformed one, and which error that is.
    pub(crate) fn count(&self, types: TypeBytes<'_>) -> (usize, Option<&Error>) {
        let (first, block) = self.block(types, self.blocks.len() - 1);
        (first + block.types, block.error.as_ref())
    }

    /// The `nth` block, found now if it was not before, and the number of its first type; the last one if there are
    /// fewer.
    fn block(&self, types: TypeBytes<'_>, nth: usize) -> (usize, &Block) {
        if let Some(block) = self.blocks.get(nth).and_then(OnceLock::get) {
            return (nth * BLOCK, block);
        }
        let (mut start, mut nth_here) = (0, 0);
        loop {
            let walk = || Block::walk(types, start, |_, _| ControlFlow::Continue(()));
            let block = self.blocks[nth_here].get_or_init(walk);
            if nth_here == nth || block.types < BLOCK || nth_here + 1 == self.blocks.len() {
                return (nth_here * BLOCK, block);
            }
            start = block.end;
            nth_here += 1;
        }
    }
}

impl Block {
    /// Walks over a block's types, the first of which is at `start`, and shows each until told to stop.
    fn walk(
        types: TypeBytes<'_>,
        start: usize,
        mut show: impl FnMut(usize, Record) -> ControlFlow<()>,
    ) -> Self {
        let mut block = Self { offsets: Box::default(), types: 0, end: start, error: None };
        let mut offsets = Vec::new();
        let mut flow = ControlFlow::Continue(());
        while block.types < BLOCK && block.end < types.bytes.len() {
            if block.types.is_multiple_of(STRIDE) {
                offsets.push(block.end as u32);
            }
            match types.try_record(block.end) {
                Some((record, end)) => {
                    // Told to stop, the walk still goes on to the end of the block, which is kept.
                    if flow.is_continue() {
                        flow = show(block.types, record);
                    }
                    block.end = end;
                    block.types += 1;
                }
                None => {
                    block.error = Some(types.diagnose(block.end));
                    break;
                }
            }
        }
        block.offsets = offsets.into();
        block
    }

    /// Walks again over a block that is known.
    fn rewalk(
        &self,
        types: TypeBytes<'_>,
        start: usize,
        mut show: impl FnMut(usize, Record) -> ControlFlow<()>,
    ) {
        let mut off = start;
        for within in 0..self.types {
            let Some((record, end)) = types.try_record(off) else { return };
            if show(within, record).is_break() {
                return;
            }
            off = end;
        }
    }
}
