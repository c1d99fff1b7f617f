//! What one run of a program may reach, and the check of every access against it.
//!
//! An access is allowed when it lies within one *cell*: a stack frame, the context, one map value, one ring buffer record.
//! The cell that an access through a register found last is remembered for that register, so the next one costs two
//! comparisons. Whatever takes a cell away (a function's return, a submitted record) forgets all remembered cells.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::arena::Arena;
use super::raw::{self, Rmw, Word};
use super::records::{LentRecord, LentRecords};
use crate::masks;

/// Bytes of one function's stack (`MAX_BPF_STACK`).
pub(crate) const FRAME_BYTES: u64 = 512;

/// Functions that may be active at a time (`MAX_CALL_FRAMES`).
pub(crate) const MAX_FRAMES: usize = 8;

const STACK_BYTES: usize = FRAME_BYTES as usize * MAX_FRAMES;

/// Room for what helpers lend to callbacks, one cell for each active function: an index, a dynptr.
const SCRATCH_BYTES: u64 = 16;

const SCRATCH_ROOM: usize = SCRATCH_BYTES as usize * (MAX_FRAMES + 1);

/// Room for the frames of one run, and above them for what helpers lend to callbacks. A frame is cleared when it is
/// entered; the rest is not looked at before it is written.
#[repr(C, align(16))]
pub(crate) struct Stack(MaybeUninit<[u8; STACK_BYTES + SCRATCH_ROOM]>);

impl Stack {
    /// Untouched memory: nothing is readable until a frame is entered.
    pub(crate) fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

/// The access is outside of everything that the program may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied;

/// What programs may reach of a packet: parts of its memory.
#[derive(Clone, Debug)]
pub(crate) struct PacketView<'m> {
    pub(crate) memory: &'m Rc<Arena>,
    pub(crate) context: Range<usize>,
    /// Metadata and data.
    pub(crate) data: Range<usize>,
    /// May programs write the data?
    pub(crate) writable: bool,
    /// A `struct bpf_sock`, read-only.
    pub(crate) socket: Range<usize>,
    /// A `struct bpf_flow_keys`.
    pub(crate) keys: Range<usize>,
}

/// Cells of equal shape, one after another.
#[derive(Clone, Copy, Debug, Default)]
struct Cells {
    start: u64,
    len: u64,
    /// From one cell to the next.
    stride: u64,
    /// Accessible bytes of each.
    bytes: u64,
    writable: bool,
}

/// Groups of cells, each behind a key that may be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    /// From one key to the next.
    pub(crate) stride: usize,
    /// Bytes of a key.
    pub(crate) key_bytes: usize,
    /// From a key to the first of its cells.
    pub(crate) cells_at: usize,
    /// Cells of each.
    pub(crate) cells: usize,
}

impl Cells {
    /// One cell; nothing at all has the null address.
    fn of(bytes: &mut [u8]) -> Self {
        let len = bytes.len() as u64;
        let start = if bytes.is_empty() { 0 } else { bytes.as_mut_ptr().expose_provenance() as u64 };
        Self { start, len, stride: len.max(1), bytes: len, writable: true }
    }

    /// One cell of an arena.
    fn part(arena: &Arena, part: &Range<usize>, writable: bool) -> Self {
        assert!(part.start <= part.end && part.end <= arena.len(), "invariant: inside the arena");
        let len = part.len() as u64;
        let start = if len == 0 { 0 } else { arena.base() + part.start as u64 };
        Self { start, len, stride: len.max(1), bytes: len, writable }
    }

    /// The cell that holds this access entirely.
    fn find(&self, addr: u64, size: u64, write: bool) -> Option<Cell> {
        let off = addr.wrapping_sub(self.start);
        if off >= self.len || (write && !self.writable) {
            return None;
        }
        // Most cells are single; a division takes longer than all the rest.
        let start = if off < self.stride { 0 } else { off - off % self.stride };
        let cell = Cell::new(self.start + start, self.bytes, self.writable);
        holds(cell.start, self.bytes, addr, size).then_some(cell)
    }

    /// The key, or the cells behind it, where an offset leads to.
    fn group(&self, keyed: Keyed, off: u64) -> Self {
        let (stride, cells_at) = (keyed.stride as u64, keyed.cells_at as u64);
        let start = self.start + off - off % stride;
        if off % stride < cells_at {
            let len = keyed.key_bytes as u64;
            return Self { start, len, stride: len, bytes: len, writable: false };
        }
        Self { start: start + cells_at, len: keyed.cells as u64 * self.stride, ..*self }
    }
}

/// The cell of a record.
fn record_cells(&LentRecord { start, len, .. }: &LentRecord) -> Cells {
    Cells { start, len, stride: len.max(1), bytes: len, writable: true }
}

/// One cell, remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    start: u64,
    /// Bytes that may be read, as far as a number of this size goes; 0 when nothing is remembered.
    readable: u32,
    /// Bytes that may be written.
    writable: u32,
}

impl Cell {
    fn new(start: u64, bytes: u64, writable: bool) -> Self {
        let readable = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { start, readable, writable: if writable { readable } else { 0 } }
    }

    fn frame(bottom: u64) -> Self {
        Self::new(bottom, FRAME_BYTES, true)
    }
}

/// Do `bytes` from `start` on hold an access entirely?
#[inline(always)]
fn holds(start: u64, bytes: u64, addr: u64, size: u64) -> bool {
    let off = addr.wrapping_sub(start);
    off < bytes && bytes - off >= size
}

/// A part of an arena that programs may reach; keeps the arena alive.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    cells: Cells,
    /// The cells come in groups, each behind a key: `cells` has the bounds of all groups, and what is in one.
    keyed: Option<Keyed>,
    _arena: Arc<Arena>,
}

impl Window {
    /// `count` cells from `off` on, of which `bytes` each are accessible.
    pub(crate) fn cells(arena: &Arc<Arena>, off: usize, count: usize, stride: usize, bytes: usize) -> Self {
        let len = count.checked_mul(stride).expect("invariant: an arena's size fits");
        assert!(
            bytes <= stride && off <= arena.len() && len <= arena.len() - off,
            "invariant: inside the arena"
        );
        let (stride, bytes) = (stride.max(1) as u64, bytes as u64);
        let (start, len) = (arena.base() + off as u64, len as u64);
        let cells = Cells { start, len, stride, bytes, writable: true };
        Self { cells, keyed: None, _arena: Arc::clone(arena) }
    }

    /// `count` groups from `off` on, whose cells come every `stride` bytes and have `bytes` accessible ones each.
    pub(crate) fn groups(
        arena: &Arc<Arena>,
        off: usize,
        count: usize,
        keyed: Keyed,
        (stride, bytes): (usize, usize),
    ) -> Self {
        assert!(
            keyed.key_bytes <= keyed.cells_at
                && keyed.cells_at + keyed.cells * stride <= keyed.stride
                && bytes <= stride,
            "invariant: cells lie behind their key, inside the group"
        );
        let Self { cells, _arena, .. } = Self::cells(arena, off, count, keyed.stride, keyed.stride);
        let cells = Cells { stride: stride as u64, bytes: bytes as u64, ..cells };
        Self { cells, keyed: Some(keyed), _arena }
    }

    /// The same, not writable by programs.
    pub(crate) fn read_only(mut self) -> Self {
        self.cells.writable = false;
        self
    }

    /// Address of its first byte.
    pub(crate) fn start(&self) -> u64 {
        self.cells.start
    }

    /// The cell that holds an access entirely.
    fn find(&self, addr: u64, size: u64, write: bool) -> Option<Cell> {
        self.group(addr).unwrap_or(self.cells).find(addr, size, write)
    }

    /// The cells of the group that an address is in, or its key.
    fn group(&self, addr: u64) -> Option<Cells> {
        let off = addr.wrapping_sub(self.cells.start);
        let keyed = self.keyed.filter(|_| off < self.cells.len)?;
        Some(self.cells.group(keyed, off))
    }

    /// Says where an address that was denied is, if it is in or next to this part of a map.
    pub(crate) fn near(&self, addr: u64, map: &str) -> Option<String> {
        let Cells { start, len, stride, bytes, writable } = self.group(addr).unwrap_or(self.cells);
        let off = addr.wrapping_sub(start);
        let (place, what) = match off {
            _ if off < len && writable => (off % stride, "crosses the end"),
            _ if off < len => (off % stride, "is not writable, or crosses the end"),
            _ if off - len < NEAR => (off, "is behind the last"),
            _ => return None,
        };
        Some(format!("byte {place} of a value of map `{map}`, which has {bytes}: {what}"))
    }
}

/// The windows that a program has all the time, ordered by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows(Box<[Window]>);

impl FromIterator<Window> for Windows {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        let mut all: Vec<Window> = windows.into_iter().filter(|w| w.cells.len > 0).collect();
        all.sort_by_key(Window::start);
        Self(all.into())
    }
}

impl Windows {
    fn find(&self, addr: u64, size: u64, write: bool) -> Option<Cell> {
        let after = self.0.partition_point(|w| w.cells.start <= addr);
        self.0[..after].last()?.find(addr, size, write)
    }
}

/// Bytes that count as next to something, in messages.
const NEAR: u64 = 4096;

/// Registers that remember a cell: `r0` to `r10`; the rest of the array makes any four-bit number an index.
const REMEMBERED: usize = 16;

/// What helpers use for what they read and write: numbers that no register has.
const HELPER_READS: u8 = 11;
const HELPER_WRITES: u8 = 12;
/// What compiled code uses for accesses that are checked.
pub(crate) const ASKED: u8 = 13;

/// Index of the register that remembers the frame.
const FRAME_POINTER: usize = 10;

/// The memory of one run.
pub(crate) struct Space<'a> {
    remembered: [Cell; REMEMBERED],
    /// Lowest address of the stack room.
    stack: u64,
    /// Frames entered now; frame `n` lies below frame `n - 1`, as the kernel's do.
    frames: usize,
    windows: &'a Windows,
    /// The native stack between a thunk and the run, where compiled programs have their frames.
    native: Cells,
    /// Used instead of `windows` while a tail-called program runs.
    tail_windows: Option<Arc<Windows>>,
    context: Cells,
    packet: Cells,
    /// What a packet's context points to beside the data.
    beside: [Cells; 2],
    /// Keeps the packet's memory alive.
    packet_memory: Option<Rc<Arena>>,
    /// The cells that helpers have written.
    scratch: Cells,
    lent: Vec<Window>,
    /// Records that compiled code has reserved, lent as well.
    records: LentRecords,
    _borrows: PhantomData<(&'a mut Stack, &'a mut [u8])>,
}

impl<'a> Space<'a> {
    /// A space of no frames, with a program's windows and its context.
    #[inline(always)]
    pub(crate) fn new(stack: &'a mut Stack, windows: &'a Windows, context: &'a mut [u8]) -> Self {
        Self {
            remembered: [Cell::default(); REMEMBERED],
            stack: (&raw mut stack.0).expose_provenance() as u64,
            frames: 0,
            windows,
            native: Cells::default(),
            tail_windows: None,
            context: Cells::of(context),
            packet: Cells::default(),
            beside: [Cells::default(); 2],
            packet_memory: None,
            scratch: Cells::default(),
            lent: Vec::new(),
            records: LentRecords::default(),
            _borrows: PhantomData,
        }
    }

    /// Where the native stack ends for the program: compiled code runs below.
    pub(crate) fn begin_native(&mut self, end: u64) {
        self.native = Cells { start: end, len: 0, stride: 1, bytes: 0, writable: true };
    }

    /// Lets helpers reach the frames of compiled functions, which begin at `low`.
    #[inline]
    pub(crate) fn set_native_stack(&mut self, low: u64) {
        let end = self.native.start + self.native.len;
        let len = end - low;
        self.native = Cells { start: low, len, stride: len.max(1), bytes: len, writable: true };
    }

    /// Bytes of the context.
    pub(crate) fn context_len(&self) -> u64 {
        self.context.len
    }

    /// Address of the context; null when it is empty.
    pub(crate) fn context(&self) -> u64 {
        self.context.start
    }

    /// Gives the program a packet, and its context unless it has its own.
    pub(crate) fn set_packet(&mut self, view: &PacketView<'_>) {
        let arena = view.memory;
        if self.context.len == 0 {
            self.context = Cells::part(arena, &view.context, true);
        }
        self.packet = Cells::part(arena, &view.data, view.writable);
        self.beside = [Cells::part(arena, &view.socket, false), Cells::part(arena, &view.keys, true)];
        self.packet_memory = Some(Rc::clone(arena));
        // The frame has not been entered yet, so nothing is remembered.
        debug_assert_eq!(self.frames, 0, "invariant: a run's packet comes first");
    }

    /// The packet's data has moved; its memory is the same.
    pub(crate) fn move_packet(&mut self, view: &PacketView<'_>) {
        self.packet = Cells::part(view.memory, &view.data, view.writable);
        self.forget();
    }

    /// Changes to another program's windows (a tail call), or back with what this answered.
    pub(crate) fn swap_windows(&mut self, windows: Option<Arc<Windows>>) -> Option<Arc<Windows>> {
        self.forget();
        std::mem::replace(&mut self.tail_windows, windows)
    }

    /// Lets the program reach something more until [`take_back`](Self::take_back).
    pub(crate) fn lend(&mut self, window: Window) {
        self.lent.push(window);
    }

    /// Takes back what was lent at this address.
    pub(crate) fn take_back(&mut self, start: u64) {
        self.lent.retain(|window| window.start() != start);
        self.forget();
    }

    /// The same of a record in a map that the program keeps, until [`take_record`](Self::take_record).
    ///
    /// # Safety
    /// The bytes are mapped, writable, initialised and only accessed atomically by other threads until then.
    #[inline]
    pub(crate) unsafe fn lend_record(&mut self, record: LentRecord) {
        self.records.put(record);
    }

    /// Takes back the record lent at this address, which only helpers can have looked at.
    #[inline]
    pub(crate) fn take_record(&mut self, start: u64) -> Option<LentRecord> {
        let record = self.records.take(start)?;
        for helper in [HELPER_READS, HELPER_WRITES, ASKED] {
            let cell = &mut self.remembered[usize::from(helper)];
            if cell.start == start {
                *cell = Cell::default();
            }
        }
        Some(record)
    }

    /// Records that compiled code has reserved.
    #[inline]
    pub(crate) fn records(&self) -> &LentRecords {
        &self.records
    }

    /// Lets the callbacks of the current function read an array index.
    pub(crate) fn lend_index(&mut self, index: u32) -> u64 {
        let mut bytes = [0; SCRATCH_BYTES as usize];
        bytes[..4].copy_from_slice(&index.to_ne_bytes());
        self.lend_dynptr(bytes)
    }

    /// Lets the callbacks of the current function read a dynptr.
    pub(crate) fn lend_dynptr(&mut self, bytes: [u8; SCRATCH_BYTES as usize]) -> u64 {
        let start = self.stack + STACK_BYTES as u64;
        let at = start + self.frames as u64 * SCRATCH_BYTES;
        while self.scratch.len <= at - start {
            let next = std::ptr::with_exposed_provenance_mut::<u8>((start + self.scratch.len) as usize);
            // SAFETY: the stack has room for one cell more than there can be frames, and is lent to this run alone.
            unsafe { next.write_bytes(0, SCRATCH_BYTES as usize) };
            let len = self.scratch.len + SCRATCH_BYTES;
            let (stride, bytes) = (SCRATCH_BYTES, SCRATCH_BYTES);
            self.scratch = Cells { start, len, stride, bytes, writable: false };
        }
        // SAFETY: the cell is in bounds and initialised.
        unsafe { raw::copy_in(at, &bytes) };
        at
    }

    fn forget(&mut self) {
        self.remembered = [Cell::default(); REMEMBERED];
    }

    /// Enters a function: answers its frame pointer, or `None` when there is no frame left. The frame is cleared, so that
    /// what a program reads of it without having written is always the same.
    pub(crate) fn push_frame(&mut self) -> Option<u64> {
        if self.frames == MAX_FRAMES {
            return None;
        }
        self.enter_frame();
        let bottom = self.lowest_frame();
        let at = std::ptr::with_exposed_provenance_mut::<u8>(bottom as usize);
        // SAFETY: the frame lies in the stack room, which is borrowed exclusively and lent to this run alone.
        unsafe { at.write_bytes(0, FRAME_BYTES as usize) };
        Some(bottom + FRAME_BYTES)
    }

    /// Takes in or leaves frames below one another until there are so many, for a run that has entered or left functions by
    /// itself and has cleared what it reads of their frames. There are never more than [`MAX_FRAMES`].
    #[inline]
    pub(crate) fn set_frames(&mut self, frames: usize) {
        while self.frames < frames.min(MAX_FRAMES) {
            self.enter_frame();
        }
        while self.frames > frames {
            self.pop_frame();
        }
    }

    fn enter_frame(&mut self) {
        self.frames += 1;
        let frame = Cell::frame(self.lowest_frame());
        // Helpers mostly read keys and values from the frame.
        for user in [FRAME_POINTER, usize::from(HELPER_READS), usize::from(HELPER_WRITES)] {
            self.remembered[user] = frame;
        }
    }

    /// Leaves a function: its frame is out of reach from now on.
    pub(crate) fn pop_frame(&mut self) {
        let left = self.lowest_frame();
        self.frames -= 1;
        for cell in &mut self.remembered {
            if cell.start == left {
                *cell = Cell::default();
            }
        }
        let caller = if self.frames > 0 { Cell::frame(left + FRAME_BYTES) } else { Cell::default() };
        self.remembered[FRAME_POINTER] = caller;
    }

    /// Frames in use.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    fn lowest_frame(&self) -> u64 {
        self.stack + STACK_BYTES as u64 - self.frames as u64 * FRAME_BYTES
    }

    /// Finds the cell of an access anywhere in the space.
    #[cold]
    #[inline(never)]
    fn find(&self, addr: u64, size: u64, write: bool) -> Option<Cell> {
        let len = self.frames as u64 * FRAME_BYTES;
        let (stride, bytes) = (FRAME_BYTES, FRAME_BYTES);
        let stack = Cells { start: self.lowest_frame(), len, stride, bytes, writable: true };
        stack
            .find(addr, size, write)
            .or_else(|| self.native.find(addr, size, write))
            .or_else(|| self.packet.find(addr, size, write))
            .or_else(|| self.context.find(addr, size, write))
            .or_else(|| self.scratch.find(addr, size, write))
            .or_else(|| self.beside.iter().find_map(|cells| cells.find(addr, size, write)))
            .or_else(|| self.tail_windows.as_deref().unwrap_or(self.windows).find(addr, size, write))
            .or_else(|| self.lent.iter().find_map(|window| window.find(addr, size, write)))
            .or_else(|| self.records.iter().find_map(|record| record_cells(record).find(addr, size, write)))
            .or_else(|| masks::known()?.window().find(addr, size, write))
    }

    /// Checks an access through register `reg`; remembers where it went.
    #[inline(always)]
    fn check<const WRITE: bool>(&mut self, reg: u8, addr: u64, size: u64) -> Result<(), Denied> {
        let cell = &self.remembered[usize::from(reg) % REMEMBERED];
        let bytes = if WRITE { cell.writable } else { cell.readable };
        if holds(cell.start, bytes.into(), addr, size) {
            return Ok(());
        }
        self.check_anew(reg, addr, size, WRITE)
    }

    #[cold]
    #[inline(never)]
    fn check_anew(&mut self, reg: u8, addr: u64, size: u64, write: bool) -> Result<(), Denied> {
        let cell = self.find(addr, size, write).ok_or(Denied)?;
        self.remembered[usize::from(reg) % REMEMBERED] = cell;
        Ok(())
    }

    /// Loads through register `reg`.
    #[inline(always)]
    pub(crate) fn load<T: Word>(&mut self, reg: u8, addr: u64) -> Result<T, Denied> {
        self.check::<false>(reg, addr, T::BYTES)?;
        // SAFETY: the access lies in one live cell, all of which is initialised.
        Ok(unsafe { T::load(addr) })
    }

    /// Stores through register `reg`.
    #[inline(always)]
    pub(crate) fn store<T: Word>(&mut self, reg: u8, addr: u64, value: T) -> Result<(), Denied> {
        self.check::<true>(reg, addr, T::BYTES)?;
        // SAFETY: the access lies in one live, writable cell.
        unsafe { value.store(addr) };
        Ok(())
    }

    /// Reads, modifies and writes through register `reg`; answers what was there.
    #[inline(always)]
    pub(crate) fn rmw<T: Word>(&mut self, reg: u8, addr: u64, operand: T, op: Rmw) -> Result<T, Denied> {
        self.check::<true>(reg, addr, T::BYTES)?;
        // SAFETY: the access lies in one live, writable cell.
        Ok(unsafe { operand.rmw(addr, op) })
    }

    /// May a helper read (or write) these bytes? Nothing is always allowed.
    pub(crate) fn reachable(&mut self, addr: u64, len: u64, write: bool) -> Result<(), Denied> {
        match (len, write) {
            (0, _) => Ok(()),
            (_, false) => self.check::<false>(HELPER_READS, addr, len),
            (_, true) => self.check::<true>(HELPER_WRITES, addr, len),
        }
    }

    /// Copies out for a helper.
    pub(crate) fn read(&mut self, addr: u64, out: &mut [u8]) -> Result<(), Denied> {
        self.reachable(addr, out.len() as u64, false)?;
        // Keys of these sizes are what helpers read most.
        match out.len() {
            // SAFETY: the range lies in one live cell, all of which is initialised.
            4 => out.copy_from_slice(&unsafe { u32::load(addr) }.to_ne_bytes()),
            // SAFETY: as above.
            8 => out.copy_from_slice(&unsafe { u64::load(addr) }.to_ne_bytes()),
            // SAFETY: as above.
            _ => unsafe { raw::copy_out(addr, out) },
        }
        Ok(())
    }

    /// Copies in for a helper.
    pub(crate) fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Denied> {
        self.reachable(addr, data.len() as u64, true)?;
        // SAFETY: the range lies in one live, writable cell.
        unsafe { raw::copy_in(addr, data) };
        Ok(())
    }

    /// Says where an address that was denied is, if it is next to the stack or the context.
    pub(crate) fn near(&self, addr: u64) -> Option<String> {
        let frame_pointer = self.lowest_frame() + FRAME_BYTES;
        let from_frame = addr.wrapping_sub(frame_pointer) as i64;
        if self.frames > 0 && addr.wrapping_sub(self.stack) < (STACK_BYTES + SCRATCH_ROOM) as u64 {
            return Some(format!("`r10{from_frame:+}`, of a stack frame of {FRAME_BYTES} bytes below `r10`"));
        }
        let in_context = addr.wrapping_sub(self.context.start) as i64;
        let len = self.context.len;
        let near = len > 0 && in_context > -(NEAR as i64) && in_context < (len + NEAR) as i64;
        near.then(|| format!("byte {in_context} of the context, which has {len}"))
    }

    /// Bytes from `addr` to the end of its cell that may be read.
    pub(crate) fn readable_from(&self, addr: u64) -> u64 {
        self.find(addr, 1, false).map_or(0, |cell| cell.start + u64::from(cell.readable) - addr)
    }
}
