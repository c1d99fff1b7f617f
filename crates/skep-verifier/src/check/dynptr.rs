//! Dynptrs: sized, typed views of memory that live in two stack slots, and the slices taken of them.

use super::Verifier;
use super::memory::Use;
use crate::helper::proto::{Arg, ArgFlags};
use crate::reg::{Base, Detail, DynptrKind, Reg, RegType};
use crate::state::{RefKind, Slot, SlotKind};
use crate::stop::{Res, reject};

use super::stack::slot_of;

/// Bytes of a dynptr.
pub(crate) const DYNPTR_BYTES: i32 = 16;

impl DynptrKind {
    /// Must it be released?
    pub(crate) fn is_owned(self) -> bool {
        matches!(self, Self::Ringbuf | Self::File)
    }

    /// The name in the kernel's messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ringbuf => "ringbuf",
            Self::Skb => "skb",
            Self::Xdp => "xdp",
            Self::SkbMeta => "skb_meta",
            Self::File => "file",
        }
    }
}

impl Verifier<'_> {
    /// The first slot of an object of `slots` slots that a stack pointer points to; `None` beyond the touched stack.
    pub(crate) fn object_slot(&self, reg: &Reg, what: &str, slots: usize) -> Res<Option<usize>> {
        if !reg.val.is_const() {
            reject!("{what} has to be at a constant offset");
        }
        let off = reg.off.wrapping_add(reg.val.bits.value as i32);
        if off % 8 != 0 || off >= 0 {
            reject!("cannot pass in {what} at an offset={off}");
        }
        let spi = slot_of(off);
        if spi + 1 < slots {
            reject!("cannot pass in {what} at an offset={off}");
        }
        Ok((spi < self.cur.frames[reg.frame()].stack.len()).then_some(spi))
    }

    pub(crate) fn dynptr_slot(&self, reg: &Reg) -> Res<Option<usize>> {
        self.object_slot(reg, "dynptr", 2)
    }

    /// A store that touches an object destroys it; one that must be released may not be destroyed.
    pub(crate) fn destroy_object(&mut self, frame: usize, spi: usize) -> Res {
        let slot = self.cur.frames[frame].stack[spi];
        if slot.kind[0] != SlotKind::Dynptr {
            return Ok(());
        }
        let Detail::Dynptr { first, .. } = slot.reg.detail else { return Ok(()) };
        let spi = if first { spi } else { spi + 1 };
        let Detail::Dynptr { kind, .. } = self.cur.frames[frame].stack[spi].reg.detail else { return Ok(()) };
        if kind.is_owned() {
            reject!("cannot overwrite referenced dynptr");
        }
        let id = self.cur.frames[frame].stack[spi].reg.id;
        self.invalidate_slices(id);
        let frame = self.cur.frame_at(frame);
        frame.stack[spi] = Slot::EMPTY;
        frame.stack[spi - 1] = Slot::EMPTY;
        Ok(())
    }

    fn invalidate_slices(&mut self, id: u32) {
        if id != 0 {
            self.cur.for_each_reg(|r| r.ty.base == Base::Mem && r.slice_of() == id, |r| *r = Reg::UNKNOWN);
        }
    }

    /// Checks a dynptr argument and, where it is to be made, makes it.
    pub(crate) fn process_dynptr_arg(&mut self, regno: usize, arg: Arg, _helper: u32) -> Res {
        let kind = if arg.has(ArgFlags::LOCAL) {
            Some(DynptrKind::Local)
        } else if arg.has(ArgFlags::RINGBUF) {
            Some(DynptrKind::Ringbuf)
        } else {
            None
        };
        if arg.has(ArgFlags::UNINIT) {
            return self.make_dynptr(regno, kind.unwrap_or(DynptrKind::Local), None);
        }
        self.use_dynptr(regno, kind, arg.has(ArgFlags::READ))
    }

    /// An argument must be an initialised dynptr, of a kind where one is asked for.
    pub(crate) fn use_dynptr(&mut self, regno: usize, kind: Option<DynptrKind>, read_only: bool) -> Res {
        let reg = *self.cur.reg(regno);
        if !reg.ty.is(Base::Stack) && !reg.ty.is(Base::Dynptr) {
            reject!("arg#{} expected pointer to stack or const struct bpf_dynptr", regno - 1);
        }
        if reg.ty.is(Base::Dynptr) && !read_only {
            reject!("cannot pass pointer to const bpf_dynptr, the helper mutates it");
        }
        if !self.is_dynptr(&reg) {
            reject!("Expected an initialized dynptr as arg #{}", regno - 1);
        }
        if let Some(kind) = kind.filter(|k| self.dynptr_kind(&reg) != Some(*k)) {
            reject!("Expected a dynptr of type {} as arg #{}", kind.name(), regno - 1);
        }
        if let Ok(Some(spi)) = self.dynptr_slot_of(&reg) {
            self.mark_stack_read(reg.frame(), 0b11 << (spi - 1));
        }
        Ok(())
    }

    fn dynptr_slot_of(&self, reg: &Reg) -> Res<Option<usize>> {
        if reg.ty.is(Base::Stack) { self.dynptr_slot(reg) } else { Ok(None) }
    }

    fn is_dynptr(&self, reg: &Reg) -> bool {
        if reg.ty.is(Base::Dynptr) {
            return true;
        }
        let Ok(Some(spi)) = self.dynptr_slot(reg) else { return false };
        let stack = &self.cur.frames[reg.frame()].stack;
        let whole = |slot: &Slot| slot.kind.iter().all(|k| *k == SlotKind::Dynptr);
        matches!(stack[spi].reg.detail, Detail::Dynptr { first: true, .. })
            && whole(&stack[spi])
            && whole(&stack[spi - 1])
    }

    /// Makes a dynptr in the two slots that `regno` points to; with `clone_of`, sharing that reference.
    pub(crate) fn make_dynptr(&mut self, regno: usize, kind: DynptrKind, clone_of: Option<u32>) -> Res {
        let reg = *self.cur.reg(regno);
        if !reg.ty.is(Base::Stack) && !reg.ty.is(Base::Dynptr) {
            reject!("arg#{} expected pointer to stack or const struct bpf_dynptr", regno - 1);
        }
        if reg.ty.is(Base::Dynptr) || self.dynptr_slot(&reg).is_err() {
            reject!("Dynptr has to be an uninitialized dynptr");
        }
        for i in (0..DYNPTR_BYTES).step_by(8) {
            self.access(regno, i, 8, Use::WRITE, false)?;
        }
        let Some(spi) = self.dynptr_slot(&reg)? else { reject!("Dynptr has to be an uninitialized dynptr") };
        let frame = reg.frame();
        self.destroy_object(frame, spi)?;
        self.destroy_object(frame, spi - 1)?;
        let id = self.new_id();
        let ref_obj_id = match (kind.is_owned(), clone_of) {
            (_, Some(id)) if id != 0 => id,
            (true, _) => self.acquire(RefKind::Ptr),
            _ => 0,
        };
        for (slot, first) in [(spi, true), (spi - 1, false)] {
            let detail = Detail::Dynptr { kind, first };
            let reg = Reg { id, ref_obj_id, ..Reg::pointer(RegType::new(Base::Dynptr), detail) };
            self.cur.frame_at(frame).stack[slot] = Slot { kind: [SlotKind::Dynptr; 8], reg };
        }
        self.live_stack.write(frame, 0b11 << (spi - 1));
        Ok(())
    }

    /// Releases a dynptr, its clones, and every slice of them.
    pub(crate) fn release_dynptr(&mut self, reg: &Reg) -> Res {
        let Some(spi) = self.dynptr_slot(reg)? else { reject!("Expected an initialized dynptr as arg #0") };
        let slot = self.cur.frames[reg.frame()].stack[spi];
        let Detail::Dynptr { kind, .. } = slot.reg.detail else {
            reject!("Expected an initialized dynptr as arg #0");
        };
        if !kind.is_owned() {
            self.forget_dynptr(reg.frame(), spi);
            return Ok(());
        }
        let id = slot.reg.ref_obj_id;
        self.release_reference(id);
        for frame in 0..self.cur.frames.len() {
            for spi in 0..self.cur.frames[frame].stack.len() {
                let slot = self.cur.frames[frame].stack[spi];
                let first = matches!(slot.reg.detail, Detail::Dynptr { first: true, .. });
                if slot.kind[0] == SlotKind::Dynptr && first && slot.reg.ref_obj_id == id {
                    self.forget_dynptr(frame, spi);
                }
            }
        }
        Ok(())
    }

    fn forget_dynptr(&mut self, frame: usize, spi: usize) {
        let id = self.cur.frames[frame].stack[spi].reg.id;
        self.invalidate_slices(id);
        let frame = self.cur.frame_at(frame);
        frame.stack[spi] = Slot::EMPTY;
        frame.stack[spi - 1] = Slot::EMPTY;
    }

    /// Kind of the dynptr a register points to or is.
    pub(crate) fn dynptr_kind(&self, reg: &Reg) -> Option<DynptrKind> {
        let detail = if reg.ty.is(Base::Dynptr) {
            reg.detail
        } else {
            let spi = self.dynptr_slot(reg).ok()??;
            self.cur.frames[reg.frame()].stack[spi].reg.detail
        };
        match detail {
            Detail::Dynptr { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// Id and reference of the dynptr a register points to or is.
    pub(crate) fn dynptr_ids(&self, reg: &Reg) -> (u32, u32) {
        if reg.ty.is(Base::Dynptr) {
            return (reg.id, reg.ref_obj_id);
        }
        match self.dynptr_slot(reg) {
            Ok(Some(spi)) => {
                let slot = &self.cur.frames[reg.frame()].stack[spi].reg;
                (slot.id, slot.ref_obj_id)
            }
            _ => (0, 0),
        }
    }
}
