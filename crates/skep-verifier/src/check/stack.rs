//! The stack: spills and fills, zeroes, data, and what helpers do to it.

use super::Verifier;
use super::helpers::Meta;
use super::memory::{Stored, Use, tnum_pair};
use crate::reg::{ADD_CONST, Base, MAX_VAR_OFF, Reg};
use crate::state::{MAX_STACK, Slot, SlotKind};
use crate::stop::{Res, reject};

/// Slot of a byte at a (negative) offset.
pub(crate) fn slot_of(off: i32) -> usize {
    ((-off - 1).max(0) / 8) as usize
}

/// Byte of its slot.
fn byte_of(off: i32) -> usize {
    ((-off - 1).max(0) % 8) as usize
}

impl Verifier<'_> {
    /// A load or store through a stack pointer.
    pub(crate) fn access_stack(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        self.check_stack_bounds(regno, reg, off, size, how.is_store())?;
        let frame = reg.frame();
        let fixed = reg.val.is_const().then(|| off.wrapping_add(reg.val.bits.value as i32));
        match (how, fixed) {
            (Use::Load { dst: None, .. }, None) => reject!(
                "variable offset stack pointer cannot be passed into helper function; var_off={} off={off} size={size}",
                tnum_pair(reg.val.bits)
            ),
            (Use::Load { dst, .. }, Some(at)) => self.fill(frame, at, size as i32, dst),
            (Use::Load { dst: Some(dst), .. }, None) => {
                self.helper_stack_access(regno, off, size, false, false, None)?;
                let (low, high) = (reg.val.smin as i32 + off, reg.val.smax as i32 + off + size as i32);
                self.load_data(frame, low, high, dst);
                Ok(())
            }
            (Use::Store(value), Some(at)) => self.spill(frame, at, size as i32, value),
            (Use::Store(value), None) => {
                let (low, high) = (reg.val.smin as i32 + off, reg.val.smax as i32 + off + size as i32);
                self.store_anywhere(frame, low, high, value)
            }
        }
    }

    /// Within the frame; grows the frame to what is touched.
    pub(crate) fn check_stack_bounds(
        &mut self,
        regno: usize,
        reg: &Reg,
        off: i32,
        size: u32,
        write: bool,
    ) -> Res {
        let what = if write { " write to" } else { " read from" };
        let (off, size) = (i64::from(off), i64::from(size));
        let (low, high) = if reg.val.is_const() {
            let low = (reg.val.bits.value as i64).wrapping_add(off);
            (low, low.wrapping_add(size))
        } else {
            if reg.val.smax >= MAX_VAR_OFF || reg.val.smin <= -MAX_VAR_OFF {
                reject!("invalid unbounded variable-offset{what} stack R{regno}");
            }
            (reg.val.smin + off, reg.val.smax + off + size)
        };
        if low < i64::from(-MAX_STACK) || low > -1 || high > 0 {
            if reg.val.is_const() {
                reject!("invalid{what} stack R{regno} off={} size={size}", off);
            }
            reject!(
                "invalid variable-offset{what} stack R{regno} var_off={} off={off} size={size}",
                tnum_pair(reg.val.bits)
            );
        }
        self.grow_stack(reg.frame(), -low as i32);
        Ok(())
    }

    /// Makes a frame deep enough, and remembers how deep its function goes.
    pub(crate) fn grow_stack(&mut self, frame: usize, bytes: i32) {
        if self.cur.frames[frame].stack_bytes() < bytes {
            self.cur.frame_at(frame).grow(bytes);
        }
        let (depth, subprog) = (self.cur.frames[frame].stack_bytes(), self.cur.frames[frame].subprog);
        let known = &mut self.code.subprogs[subprog as usize].stack_depth;
        *known = (*known).max(depth.min((bytes + 7) / 8 * 8));
    }

    /// A load at a known offset.
    fn fill(&mut self, frame: usize, off: i32, size: i32, dst: Option<usize>) -> Res {
        let spi = slot_of(off);
        let slot = self.cur.frames[frame].stack[spi];
        self.mark_stack_read(frame, 1 << spi);
        if !slot.is_spill() {
            self.check_readable(&slot, off, size)?;
            if let Some(dst) = dst {
                self.load_data(frame, off, off + size, dst);
            }
            return Ok(());
        }
        let spilled = (0..8).rev().take_while(|&i| slot.kind[i] == SlotKind::Spill).count() as i32;
        let whole = size == 8 && spilled == 8;
        if whole {
            if let Some(dst) = dst {
                *self.cur.reg_mut(dst) = slot.reg;
            }
            self.note_step(|step| step.stack = Some((frame as u8, spi as u8)));
            return Ok(());
        }
        if !slot.reg.is_scalar() {
            reject!("invalid size of register fill");
        }
        let Some(dst) = dst else { return Ok(()) };
        if size <= spilled && (off % 8 == 0) {
            let mut value = slot.reg;
            if value.val.width() as i32 > size * 8 {
                value.clear_scalar_id();
            }
            *self.cur.reg_mut(dst) = value;
            self.note_step(|step| step.stack = Some((frame as u8, spi as u8)));
            return Ok(());
        }
        self.fill_pieces(frame, &slot, off, size, dst)
    }

    /// A load of some bytes of a slot that holds a spill and perhaps more.
    fn fill_pieces(&mut self, frame: usize, slot: &Slot, off: i32, size: i32, dst: usize) -> Res {
        let kinds = (0..size).map(|i| slot.kind[byte_of(off + i)]);
        let spills = kinds.clone().filter(|k| *k == SlotKind::Spill).count() as i32;
        let zeros = kinds.filter(|k| *k == SlotKind::Zero).count() as i32;
        for i in 0..size {
            if matches!(slot.kind[byte_of(off + i)], SlotKind::Dynptr | SlotKind::Iter | SlotKind::IrqFlag) {
                reject!("invalid read from stack off {off}+{i} size {size}");
            }
        }
        let value = if spills == size && slot.reg.val.is_zero() {
            let spi = slot_of(off) as u8;
            self.note_step(|step| step.stack = Some((frame as u8, spi)));
            Reg::known(0)
        } else if zeros == size {
            Reg::known(0)
        } else {
            Reg::UNKNOWN
        };
        // Zero made of other zeros is as precise as can be: it depends on nothing else.
        *self.cur.reg_mut(dst) = value;
        Ok(())
    }

    fn check_readable(&self, slot: &Slot, off: i32, size: i32) -> Res {
        for i in 0..size {
            if matches!(slot.kind[byte_of(off + i)], SlotKind::Dynptr | SlotKind::Iter | SlotKind::IrqFlag) {
                reject!("invalid read from stack off {off}+{i} size {size}");
            }
        }
        Ok(())
    }

    /// Zero where every byte is, else anything.
    fn load_data(&mut self, frame: usize, low: i32, high: i32, dst: usize) {
        let stack = &self.cur.frames[frame].stack;
        let zero = (low..high).all(|off| stack[slot_of(off)].kind[byte_of(off)] == SlotKind::Zero);
        *self.cur.reg_mut(dst) = if zero { Reg::known(0) } else { Reg::UNKNOWN };
    }

    /// A store at a known offset.
    fn spill(&mut self, frame: usize, off: i32, size: i32, value: Stored) -> Res {
        let spi = slot_of(off);
        self.destroy_object(frame, spi)?;
        let reg = match value {
            Stored::Reg(n) => Some(*self.cur.reg(n)),
            Stored::Imm(_) | Stored::Unknown => None,
        };
        let aligned = off % 8 == 0;
        let step = (frame as u8, spi as u8);
        match (value, reg) {
            (Stored::Reg(n), Some(reg)) if aligned && reg.is_scalar() => {
                let fits = reg.val.width() as i32 <= size * 8;
                let mut reg = if fits { self.share_id(n) } else { reg };
                if !fits {
                    reg.id = 0;
                }
                self.save(frame, spi, reg, size);
                self.note_step(|s| s.stack = Some(step));
            }
            (Stored::Imm(imm), _) if aligned => {
                self.save(frame, spi, Reg::known(imm as i64 as u64), size);
                self.note_step(|s| s.stack = Some(step));
            }
            (_, Some(reg)) if is_spillable(&reg) => {
                if size != 8 {
                    reject!("invalid size of register spill");
                }
                if frame != self.cur.curframe() && reg.ty.is(Base::Stack) {
                    reject!("cannot spill pointers to stack into stack frame of the caller");
                }
                self.save(frame, spi, reg, size);
                self.note_step(|s| s.stack = Some(step));
            }
            _ => self.store_data(frame, off, size, value, reg)?,
        }
        if size == 8 {
            self.live_stack.write(frame, 1 << spi);
        }
        Ok(())
    }

    /// Plain bytes, zero where the value is.
    fn store_data(&mut self, frame: usize, off: i32, size: i32, value: Stored, reg: Option<Reg>) -> Res {
        let spi = slot_of(off);
        self.cur.frame_at(frame).stack[spi].scrub();
        let zero = reg.is_some_and(|r| r.is_null()) || value == Stored::Imm(0);
        if let (true, Stored::Reg(n)) = (zero, value) {
            self.mark_precise(n)?;
        }
        let kind = if zero { SlotKind::Zero } else { SlotKind::Misc };
        let slot = &mut self.cur.frame_at(frame).stack[spi];
        for i in 0..size {
            slot.kind[byte_of(off + i)] = kind;
        }
        Ok(())
    }

    /// The low `size` bytes of a slot hold a register.
    fn save(&mut self, frame: usize, spi: usize, reg: Reg, size: i32) {
        let slot = &mut self.cur.frame_at(frame).stack[spi];
        slot.reg = reg;
        for (i, kind) in slot.kind.iter_mut().enumerate() {
            if i as i32 >= 8 - size {
                *kind = SlotKind::Spill;
            } else if !matches!(*kind, SlotKind::Zero | SlotKind::Invalid) {
                *kind = SlotKind::Misc;
            }
        }
    }

    /// A register about to be copied: both copies share an id, unless it is a constant.
    pub(crate) fn share_id(&mut self, n: usize) -> Reg {
        let reg = *self.cur.reg(n);
        if !reg.is_scalar() {
            return reg;
        }
        let stale = reg.id & ADD_CONST != 0;
        let wants = (reg.id == 0 || stale) && !reg.val.is_const();
        if stale || wants {
            let id = if wants { self.new_id() } else { 0 };
            let reg = self.cur.reg_mut(n);
            reg.clear_scalar_id();
            reg.id = id;
        }
        *self.cur.reg(n)
    }

    /// A store at an unknown offset may hit any byte of the range.
    fn store_anywhere(&mut self, frame: usize, low: i32, high: i32, value: Stored) -> Res {
        let zero = match value {
            Stored::Reg(n) => self.cur.reg(n).is_null(),
            Stored::Imm(imm) => imm == 0,
            Stored::Unknown => false,
        };
        for off in low..high {
            self.destroy_object(frame, slot_of(off))?;
        }
        let mut relied_on_zero = false;
        for off in low..high {
            let slot = &mut self.cur.frame_at(frame).stack[slot_of(off)];
            let byte = byte_of(off);
            if zero
                && slot.kind[byte] == SlotKind::Spill
                && slot.is_spilled_scalar()
                && slot.reg.val.is_zero()
            {
                relied_on_zero = true;
                continue;
            }
            slot.scrub();
            if zero && slot.kind[byte] == SlotKind::Zero {
                relied_on_zero = true;
            } else {
                slot.kind[byte] = SlotKind::Misc;
            }
        }
        match value {
            Stored::Reg(n) if relied_on_zero => self.mark_precise(n),
            _ => Ok(()),
        }
    }

    /// A range of the stack is read, or given to a helper that may write it: then it becomes data.
    pub(crate) fn helper_stack_access(
        &mut self,
        regno: usize,
        off: i32,
        size: u32,
        write: bool,
        zero_ok: bool,
        meta: Option<&mut Meta>,
    ) -> Res {
        let reg = *self.cur.reg(regno);
        if size == 0 && !zero_ok {
            reject!("invalid zero-sized read");
        }
        self.check_stack_bounds(regno, &reg, off, size, write)?;
        let fixed = reg.val.is_const();
        let (low, high) = if fixed {
            let at = off + reg.val.bits.value as i32;
            (at, at + size as i32)
        } else {
            (reg.val.smin as i32 + off, reg.val.smax as i32 + off + size as i32)
        };
        let frame = reg.frame();
        if let Some(meta) = meta.filter(|meta| meta.raw_mode && fixed) {
            let stack = &self.cur.frames[frame].stack;
            for at in low..high {
                if stack.get(slot_of(at)).is_some_and(|s| s.kind[byte_of(at)] == SlotKind::Dynptr) {
                    reject!("potential write to dynptr at off={at} disallowed");
                }
            }
            (meta.access_size, meta.regno) = (size, regno);
            return Ok(());
        }
        let mut mask = 0u64;
        for at in low..high {
            let (spi, byte) = (slot_of(at), byte_of(at));
            let slot = &self.cur.frames[frame].stack[spi];
            let kind = slot.kind[byte];
            let spill = slot.is_spill();
            mask |= 1 << spi;
            match kind {
                SlotKind::Misc => {}
                SlotKind::Zero | SlotKind::Invalid => {
                    if write {
                        self.cur.frame_at(frame).stack[spi].kind[byte] = SlotKind::Misc;
                    }
                }
                _ if spill => {
                    if write {
                        let slot = &mut self.cur.frame_at(frame).stack[spi];
                        slot.reg = Reg::UNKNOWN;
                        slot.scrub_spill();
                    }
                }
                _ => {
                    let at_text = if fixed {
                        format!("off {low}")
                    } else {
                        format!("var_off {}", tnum_pair(reg.val.bits))
                    };
                    reject!("invalid read from stack R{regno} {at_text}+{} size {size}", at - low);
                }
            }
        }
        self.mark_stack_read(frame, mask);
        Ok(())
    }

    /// The running instruction may read these slots.
    pub(crate) fn mark_stack_read(&mut self, frame: usize, slots: u64) {
        let instance = self.cur.frame().instance;
        self.live_stack.read(instance, self.pc, frame, slots);
    }
}

/// May such a register be spilled as what it is?
fn is_spillable(reg: &Reg) -> bool {
    !matches!(reg.ty.base, Base::NotInit | Base::Scalar | Base::TpBuffer | Base::Dynptr)
}
