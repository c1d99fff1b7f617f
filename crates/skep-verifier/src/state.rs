//! The state of a path at one instruction: call frames with registers and stacks, references, and regions.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::reg::{Base, Detail, Reg};

/// Bytes of a stack frame.
pub const MAX_STACK: i32 = 512;
/// Nested calls, the program's own frame included.
pub const MAX_FRAMES: usize = 8;
/// Call site of a frame that nobody called.
pub const NO_CALLSITE: u32 = u32::MAX;

/// What one byte of the stack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// Never written.
    Invalid,
    /// Part of a spilled register.
    Spill,
    /// Some data.
    Misc,
    /// A zero byte.
    Zero,
    /// Part of a dynptr.
    Dynptr,
    /// Part of an open-coded iterator.
    Iter,
    /// Saved interrupt flags.
    IrqFlag,
}

/// Eight bytes of stack. `kind[i]` is the byte at address `-(8 * slot) - 1 - i`, counted from the frame pointer down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// What each byte holds.
    pub kind: [SlotKind; 8],
    /// The spilled register, or the object that lives here.
    pub reg: Reg,
}

impl Slot {
    /// Never written.
    pub const EMPTY: Self = Self { kind: [SlotKind::Invalid; 8], reg: Reg::NOT_INIT };

    /// Does it hold a spilled register, or its low part?
    pub fn is_spill(&self) -> bool {
        self.kind[7] == SlotKind::Spill
    }

    /// Does it hold a spilled scalar, or its low part?
    pub fn is_spilled_scalar(&self) -> bool {
        self.is_spill() && self.reg.is_scalar()
    }

    /// A scalar spilled whole?
    pub fn is_spilled_scalar64(&self) -> bool {
        self.kind[0] == SlotKind::Spill && self.reg.is_scalar()
    }

    /// Is there an object (spill, dynptr, iterator, flags) rather than data?
    pub fn is_special(&self) -> bool {
        !matches!(self.kind[7], SlotKind::Invalid | SlotKind::Misc | SlotKind::Zero)
    }

    /// Turns an object into plain data.
    pub fn scrub(&mut self) {
        self.reg.ty = crate::reg::RegType::NOT_INIT;
        if self.is_special() {
            self.scrub_spill();
        }
    }

    /// Bytes that hold something become data.
    pub fn scrub_spill(&mut self) {
        for kind in &mut self.kind {
            if *kind != SlotKind::Invalid {
                *kind = SlotKind::Misc;
            }
        }
    }
}

/// Slots of a stack from the frame pointer down; as deep as was touched. Shared until written: paths write registers more
/// often than slots, and slots are most of a frame.
#[derive(Clone, Debug, Default)]
pub struct Stack(Option<Rc<[Slot]>>);

impl Stack {
    /// Makes it at least `len` slots deep.
    fn grow(&mut self, len: usize) {
        if self.len() < len {
            let fresh = std::iter::repeat_n(Slot::EMPTY, len - self.len());
            self.0 = Some(self.iter().copied().chain(fresh).collect());
        }
    }
}

impl Deref for Stack {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Stack {
    fn deref_mut(&mut self) -> &mut [Slot] {
        self.0.as_mut().map_or(&mut [], |slots| Rc::make_mut(slots))
    }
}

/// One function's registers and stack.
#[derive(Clone, Debug)]
pub struct Frame {
    /// `r0` to `r10`.
    pub regs: [Reg; 11],
    /// Its stack.
    pub stack: Stack,
    /// Instruction that called this function, or [`NO_CALLSITE`].
    pub callsite: u32,
    /// Which subprogram runs.
    pub subprog: u32,
    /// Which chain of calls led here, for the liveness of stack slots.
    pub instance: u32,
    /// Which run of an asynchronous callback this is.
    pub async_entry: u32,
    /// Range a callback must return, where it is restricted.
    pub callback_ret: Option<(i32, i32)>,
    /// Called synchronously by a helper or kfunc?
    pub in_callback: bool,
    /// Called later, by a timer or work queue?
    pub in_async_callback: bool,
    /// The exception callback?
    pub in_exception_callback: bool,
    /// How often a callback was simulated from this frame.
    pub callback_depth: u32,
}

impl Frame {
    /// A frame with nothing initialised but the frame pointer.
    pub fn new(frameno: u32, subprog: u32, callsite: u32, instance: u32) -> Self {
        let mut regs = [Reg::NOT_INIT; 11];
        regs[10] = Reg::pointer(crate::reg::RegType::new(Base::Stack), Detail::Frame(frameno));
        Self {
            regs,
            stack: Stack::default(),
            callsite,
            subprog,
            instance,
            async_entry: 0,
            callback_ret: None,
            in_callback: false,
            in_async_callback: false,
            in_exception_callback: false,
            callback_depth: 0,
        }
    }

    /// Makes the stack at least `bytes` deep.
    pub fn grow(&mut self, bytes: i32) {
        self.stack.grow((bytes.clamp(0, MAX_STACK) as usize).div_ceil(8));
    }

    /// Bytes of stack touched so far.
    pub fn stack_bytes(&self) -> i32 {
        self.stack.len() as i32 * 8
    }
}

/// What kind of obligation a reference is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefKind {
    /// An object to release.
    Ptr,
    /// A spin lock to unlock: which map or BTF it is in.
    Lock(LockOwner),
    /// A resilient spin lock.
    ResLock(LockOwner),
    /// The same with interrupts off.
    ResLockIrq(LockOwner),
    /// Saved interrupt flags to restore.
    Irq,
}

/// What a lock lives in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOwner {
    /// A map's value; the map's index.
    Map(u32),
    /// An object the program allocated, of the BTF with this number.
    Btf(u16),
}

/// One obligation of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ref {
    /// What it is.
    pub kind: RefKind,
    /// Its id; registers carry it as `ref_obj_id`, or `id` for locks.
    pub id: u32,
    /// Where it was taken.
    pub insn: u32,
}

/// How one step of a path came about, for walking it backwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The instruction.
    pub insn: u32,
    /// The one before it on this path.
    pub prev: u32,
    /// Stack slot it reads or writes: frame and slot.
    pub stack: Option<(u8, u8)>,
    /// Is the source of a comparison a stack pointer?
    pub src_stack: bool,
    /// Is the destination of a comparison a stack pointer?
    pub dst_stack: bool,
    /// Scalars that shared an id here: up to six.
    pub linked: Linked,
}

/// A scalar that shares its id with others: a register or a stack slot of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkedReg {
    /// Frame index.
    pub frame: u8,
    /// Register number, or slot index.
    pub index: u8,
    /// A register rather than a slot?
    pub is_reg: bool,
}

/// Up to six linked scalars.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Linked {
    items: [Option<LinkedReg>; 6],
    len: u8,
}

impl Linked {
    /// Adds one; false where there is no room.
    pub fn push(&mut self, reg: LinkedReg) -> bool {
        let Some(place) = self.items.get_mut(self.len as usize) else { return false };
        *place = Some(reg);
        self.len += 1;
        true
    }

    /// Those present.
    pub fn iter(&self) -> impl Iterator<Item = LinkedReg> + '_ {
        self.items.iter().take(self.len as usize).flatten().copied()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Index of an explored state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct StateId(pub u32);

/// A path's state at one instruction.
#[derive(Clone, Debug)]
pub struct State {
    /// Frames, the program's own first; shared until written.
    pub frames: Vec<Rc<Frame>>,
    /// Obligations, in the order they were taken.
    pub refs: Vec<Ref>,
    /// Spin locks held.
    pub active_locks: u32,
    /// Id of the lock taken last.
    pub active_lock: Option<(u32, LockOwner)>,
    /// Nested `bpf_preempt_disable`.
    pub preempt_locks: u32,
    /// Id of the innermost interrupt-disabled region, 0 for none.
    pub irq_id: u32,
    /// Nested RCU read sections.
    pub rcu_locks: u32,
    /// Inside a sleepable callback of a program that is not?
    pub in_sleepable: bool,
    /// Paths that still pass through this state.
    pub branches: u32,
    /// The checkpoint before this state.
    pub parent: Option<StateId>,
    /// Instruction this state is at.
    pub insn: u32,
    /// First instruction after the checkpoint.
    pub first_insn: u32,
    /// Last instruction processed before this one.
    pub last_insn: u32,
    /// Steps since the checkpoint that going backwards needs.
    pub history: Vec<Step>,
    /// Checkpoints before this one.
    pub dfs_depth: u32,
    /// Depth of simulated callbacks.
    pub callback_unroll_depth: u32,
    /// How often `may_goto` was passed.
    pub may_goto_depth: u32,
}

impl State {
    /// A state with one frame, at the first instruction of a subprogram.
    pub fn new(frame: Frame, insn: u32) -> Self {
        Self { frames: vec![Rc::new(frame)], ..Self::without_frames(insn) }
    }

    /// What there is before a walk begins: nothing runs yet.
    pub(crate) fn without_frames(insn: u32) -> Self {
        Self {
            frames: Vec::new(),
            refs: Vec::new(),
            active_locks: 0,
            active_lock: None,
            preempt_locks: 0,
            irq_id: 0,
            rcu_locks: 0,
            in_sleepable: false,
            branches: 1,
            parent: None,
            insn,
            first_insn: insn,
            last_insn: u32::MAX,
            history: Vec::new(),
            dfs_depth: 0,
            callback_unroll_depth: 0,
            may_goto_depth: 0,
        }
    }

    /// Index of the running frame.
    pub fn curframe(&self) -> usize {
        self.frames.len() - 1
    }

    /// The running frame.
    pub fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// The running frame, to change it.
    pub fn frame_mut(&mut self) -> &mut Frame {
        let top = self.frames.len() - 1;
        Rc::make_mut(&mut self.frames[top])
    }

    /// Some frame, to change it.
    pub fn frame_at(&mut self, n: usize) -> &mut Frame {
        Rc::make_mut(&mut self.frames[n])
    }

    /// A register of the running frame.
    pub fn reg(&self, n: usize) -> &Reg {
        &self.frame().regs[n]
    }

    /// A register of the running frame, to change it.
    pub fn reg_mut(&mut self, n: usize) -> &mut Reg {
        &mut self.frame_mut().regs[n]
    }

    /// Where frame `n` is: its call site, or this state's instruction for the running one.
    pub fn frame_insn(&self, n: usize) -> u32 {
        self.frames.get(n + 1).map_or(self.insn, |callee| callee.callsite)
    }

    /// Applies `f` to every register and every spilled register of all frames.
    ///
    /// Frames are copied only where `wanted` finds something to change.
    pub fn for_each_reg(&mut self, wanted: impl Fn(&Reg) -> bool, mut f: impl FnMut(&mut Reg)) {
        for frame in &mut self.frames {
            let hit =
                frame.regs.iter().any(&wanted) || frame.stack.iter().any(|s| s.is_spill() && wanted(&s.reg));
            if !hit {
                continue;
            }
            let frame = Rc::make_mut(frame);
            frame.regs.iter_mut().filter(|r| wanted(r)).for_each(&mut f);
            let spilled = |slot: &Slot| slot.is_spill() && wanted(&slot.reg);
            if frame.stack.iter().any(spilled) {
                frame.stack.iter_mut().filter(|slot| spilled(slot)).for_each(|slot| f(&mut slot.reg));
            }
        }
    }

    /// Releases the reference with this id; false where there is none.
    pub fn release_ref(&mut self, id: u32) -> bool {
        let Some(at) = self.refs.iter().position(|r| r.kind == RefKind::Ptr && r.id == id) else {
            return false;
        };
        self.refs.remove(at);
        true
    }

    /// Do both states have the same chain of calls?
    pub fn same_callsites(&self, other: &Self) -> bool {
        self.frames.len() == other.frames.len()
            && self.frames.iter().zip(&other.frames).all(|(a, b)| a.callsite == b.callsite)
    }
}
