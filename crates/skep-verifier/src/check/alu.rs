//! Arithmetic and moves on registers: scalars by [`crate::arith`], pointers plus or minus scalars.

use skep_isa::{AluOp, Endian, Operand};

use super::Verifier;
use crate::arith;
use crate::reg::{ADD_CONST, ADD_CONST_32, ADD_CONST_64, Base, Detail, Flags, MAX_VAR_OFF, Reg, RegType};
use crate::scalar::Scalar;
use crate::stop::{Res, reject};

impl Verifier<'_> {
    /// `dst op= src`.
    pub(crate) fn alu(&mut self, op: AluOp, wide: bool, dst: usize, src: Operand) -> Res {
        if op == AluOp::Mov {
            return self.mov(wide, dst, src);
        }
        if let Operand::Reg(r) = src {
            self.check_readable_reg(r.0)?;
        }
        self.check_readable_reg(dst as u8)?;
        if let Operand::Imm(imm) = src {
            check_constant(op, wide, imm)?;
        }
        self.check_writable_reg(dst)?;
        self.combine(op, wide, dst, src)?;
        self.cur.reg_mut(dst).val.repair();
        Ok(())
    }

    fn combine(&mut self, op: AluOp, wide: bool, dst: usize, src: Operand) -> Res {
        let (a, b) = (*self.cur.reg(dst), self.operand(src));
        if a.ty.is(Base::Arena) || b.ty.is(Base::Arena) {
            if !a.ty.is(Base::Arena) {
                *self.cur.reg_mut(dst) = b;
            }
            return Ok(());
        }
        match (a.is_scalar(), b.is_scalar(), src) {
            (false, false, _) => {
                if op == AluOp::Sub {
                    *self.cur.reg_mut(dst) = Reg::UNKNOWN;
                    return Ok(());
                }
                reject!("R{dst} pointer {} pointer prohibited", alu_text(op));
            }
            (true, false, _) => {
                self.mark_precise(dst)?;
                self.pointer(op, wide, dst, &b, &a, false)
            }
            (false, true, Operand::Reg(r)) => {
                self.mark_precise(r.0 as usize)?;
                self.pointer(op, wide, dst, &a, &b, true)
            }
            (false, true, Operand::Imm(_)) => self.pointer(op, wide, dst, &a, &b, true),
            (true, true, _) => {
                if let (Operand::Reg(r), true) = (src, a.precise) {
                    self.mark_precise(r.0 as usize)?;
                }
                self.scalar(op, wide, dst, src, &b)
            }
        }
    }

    fn scalar(&mut self, op: AluOp, wide: bool, dst: usize, src: Operand, b: &Reg) -> Res {
        if matches!(op, AluOp::And | AluOp::Or) && b.val.is_const() {
            self.maybe_fork(dst)?;
        }
        let narrow = self.cur.reg(dst).val.width() <= 32;
        arith::alu(op, wide, &mut self.cur.reg_mut(dst).val, &b.val);
        let reg = self.cur.reg_mut(dst);
        let same_register = matches!(src, Operand::Reg(r) if r.0 as usize == dst);
        let known = b.val.is_const_width(wide) && !same_register && (wide || narrow);
        let delta =
            added(op, wide, b.val.bits.value).filter(|_| known && reg.id != 0 && reg.id & ADD_CONST == 0);
        match delta {
            // A copy plus a constant stays linked to what it was copied from; a second one would not add up.
            Some(delta) => {
                reg.id |= if wide { ADD_CONST_64 } else { ADD_CONST_32 };
                reg.off = delta;
            }
            None => reg.clear_scalar_id(),
        }
        Ok(())
    }

    /// A value of -1 or 0, the result of an arithmetic shift, is walked as both: what it masks is then known.
    fn maybe_fork(&mut self, dst: usize) -> Res {
        let val = self.cur.reg(dst).val;
        let wide = if (val.smin, val.smax) == (-1, 0) {
            true
        } else if (val.smin32, val.smax32) == (-1, 0) {
            false
        } else {
            return Ok(());
        };
        let set = |reg: &mut Reg, x: u64| {
            if wide {
                reg.val = Scalar::known(x);
            } else {
                reg.val.set_low_known(x as u32);
            }
        };
        let pc = self.pc;
        let other = self.push(pc)?;
        set(other.reg_mut(dst), 0);
        set(self.cur.reg_mut(dst), u64::MAX);
        Ok(())
    }

    /// Pointer arithmetic. `first` says that the pointer is the destination.
    fn pointer(&mut self, op: AluOp, wide: bool, dst: usize, ptr: &Reg, by: &Reg, first: bool) -> Res {
        // Reads of untrusted memory are guarded wherever they go, so their offsets are not followed.
        if ptr.ty.base == Base::Mem && ptr.ty.has(Flags::UNTRUSTED) && wide {
            return Ok(());
        }
        let (known, val) = (by.val.is_const(), by.val);
        let contradictory = (known && (val.smin != val.smax || val.umin != val.umax))
            || val.smin > val.smax
            || val.umin > val.umax;
        if contradictory || (!wide && op == AluOp::Sub) {
            *self.cur.reg_mut(dst) = Reg::UNKNOWN;
            return Ok(());
        }
        if !wide {
            reject!("R{dst} 32-bit pointer arithmetic prohibited");
        }
        check_pointer_kind(op, dst, ptr, known && val.smin == 0, known)?;
        check_sane(by, ptr.ty)?;
        check_sane(ptr, ptr.ty)?;
        let mut result = *ptr;
        result.val.forget_32();
        match op {
            AluOp::Add => self.add_to_pointer(&mut result, ptr, &val, known),
            AluOp::Sub if !first => reject!("R{dst} tried to subtract pointer from scalar"),
            AluOp::Sub if ptr.ty.is(Base::Stack) => {
                reject!("R{dst} subtraction from stack pointer prohibited")
            }
            AluOp::Sub => self.subtract_from_pointer(&mut result, ptr, &val, known),
            AluOp::And | AluOp::Or | AluOp::Xor => {
                reject!("R{dst} bitwise operator {} on pointer prohibited", alu_text(op))
            }
            _ => reject!("R{dst} pointer arithmetic with {} operator prohibited", alu_text(op)),
        }
        check_sane(&result, ptr.ty)?;
        result.val.sync();
        *self.cur.reg_mut(dst) = result;
        self.check_bounds_after_arithmetic(dst, &result)
    }

    fn add_to_pointer(&mut self, result: &mut Reg, ptr: &Reg, by: &Scalar, known: bool) {
        if let (true, Some(off)) = (known, fixed(i64::from(ptr.off).wrapping_add(by.smin))) {
            result.off = off;
            return;
        }
        let p = &ptr.val;
        (result.val.smin, result.val.smax) = match (p.smin.checked_add(by.smin), p.smax.checked_add(by.smax))
        {
            (Some(low), Some(high)) => (low, high),
            _ => (i64::MIN, i64::MAX),
        };
        (result.val.umin, result.val.umax) = match (p.umin.checked_add(by.umin), p.umax.checked_add(by.umax))
        {
            (Some(low), Some(high)) => (low, high),
            _ => (0, u64::MAX),
        };
        result.val.bits = p.bits.add(by.bits);
        if ptr.ty.is_packet() {
            // What was compared with the end was another pointer.
            result.id = self.new_id();
            result.detail = Detail::Range(0);
        }
    }

    fn subtract_from_pointer(&mut self, result: &mut Reg, ptr: &Reg, by: &Scalar, known: bool) {
        if let (true, Some(off)) = (known, fixed(i64::from(ptr.off).wrapping_sub(by.smin))) {
            result.off = off;
            return;
        }
        let p = &ptr.val;
        (result.val.smin, result.val.smax) = match (p.smin.checked_sub(by.smax), p.smax.checked_sub(by.smin))
        {
            (Some(low), Some(high)) => (low, high),
            _ => (i64::MIN, i64::MAX),
        };
        (result.val.umin, result.val.umax) =
            if p.umin < by.umax { (0, u64::MAX) } else { (p.umin - by.umax, p.umax.wrapping_sub(by.umin)) };
        result.val.bits = p.bits.sub(by.bits);
        if ptr.ty.is_packet() {
            result.id = self.new_id();
            if by.smin < 0 {
                result.detail = Detail::Range(0);
            }
        }
    }

    /// The kernel lets a pointer to the stack or a map value leave its object only for unprivileged programs' sake.
    fn check_bounds_after_arithmetic(&self, _dst: usize, _reg: &Reg) -> Res {
        Ok(())
    }

    fn mov(&mut self, wide: bool, dst: usize, src: Operand) -> Res {
        let r = match src {
            Operand::Imm(imm) => {
                self.check_writable_reg(dst)?;
                let value = if wide { imm as i64 as u64 } else { u64::from(imm as u32) };
                *self.cur.reg_mut(dst) = Reg::known(value);
                return Ok(());
            }
            Operand::Reg(r) => r.0 as usize,
        };
        self.check_readable_reg(r as u8)?;
        self.check_writable_reg(dst)?;
        if wide {
            let reg = self.share_id(r);
            *self.cur.reg_mut(dst) = reg;
            return Ok(());
        }
        let mut reg = *self.cur.reg(r);
        if !reg.is_scalar() {
            reg = Reg::UNKNOWN;
        } else if reg.val.width() <= 32 {
            reg = self.share_id(r);
        } else {
            reg.clear_scalar_id();
        }
        reg.val.zext_32();
        reg.val.sync();
        *self.cur.reg_mut(dst) = reg;
        Ok(())
    }

    /// A sign-extending move of the low `bits` bits.
    pub(crate) fn mov_sx(&mut self, wide: bool, bits: u8, dst: usize, src: usize) -> Res {
        self.check_readable_reg(src as u8)?;
        self.check_writable_reg(dst)?;
        let mut reg = *self.cur.reg(src);
        if !reg.is_scalar() {
            reg = Reg::UNKNOWN;
        } else {
            let same = reg.val.umax < 1u64 << (bits - 1);
            if same {
                reg = self.share_id(src);
            } else {
                reg.clear_scalar_id();
            }
            if wide {
                reg.val.sign_extend(u32::from(bits / 8));
            } else {
                reg.val.sign_extend_32(u32::from(bits / 8));
            }
        }
        if !wide {
            reg.val.zext_32();
            reg.val.sync();
        }
        reg.val.repair();
        *self.cur.reg_mut(dst) = reg;
        Ok(())
    }

    /// `dst = -dst`.
    pub(crate) fn neg(&mut self, wide: bool, dst: usize) -> Res {
        self.check_readable_reg(dst as u8)?;
        self.check_writable_reg(dst)?;
        let reg = self.cur.reg_mut(dst);
        if reg.is_scalar() {
            arith::neg(wide, &mut reg.val);
            reg.clear_scalar_id();
            reg.val.repair();
        } else {
            *reg = Reg::UNKNOWN;
        }
        Ok(())
    }

    /// Bytes of the low part swapped, or only cut off, on a little-endian machine.
    pub(crate) fn swap_bytes(&mut self, kind: Endian, bits: u8, dst: usize) -> Res {
        self.check_readable_reg(dst as u8)?;
        self.check_writable_reg(dst)?;
        let reg = self.cur.reg_mut(dst);
        if !reg.is_scalar() {
            *reg = Reg::UNKNOWN;
            return Ok(());
        }
        reg.clear_scalar_id();
        if kind != Endian::Le {
            reg.val = Scalar { bits: reg.val.bits.swap_bytes(u32::from(bits)), ..Scalar::UNKNOWN };
        }
        reg.val.truncate(u32::from(bits / 8));
        reg.val.sync();
        reg.val.repair();
        Ok(())
    }

    /// A conversion between the arena's view of the program and that of user space.
    pub(crate) fn cast_address_space(&mut self, dst: usize, src: usize, imm: u32) -> Res {
        if imm != 1 && imm != 1 << 16 {
            reject!("addr_space_cast insn can only convert between address space 1 and 0");
        }
        if self.arena.is_none() {
            reject!("addr_space_cast insn can only be used in a program that has an associated arena");
        }
        self.check_readable_reg(src as u8)?;
        self.check_writable_reg(dst)?;
        *self.cur.reg_mut(dst) =
            if imm == 1 { Reg { ty: RegType::new(Base::Arena), ..Reg::UNKNOWN } } else { Reg::UNKNOWN };
        Ok(())
    }

    /// The second operand as a register.
    pub(crate) fn operand(&self, src: Operand) -> Reg {
        match src {
            Operand::Reg(r) => *self.cur.reg(r.0 as usize),
            Operand::Imm(imm) => Reg::known(imm as i64 as u64),
        }
    }
}

/// The constant that an addition or subtraction adds, if it fits 32 signed bits.
fn added(op: AluOp, wide: bool, value: u64) -> Option<i32> {
    let value = if wide { i32::try_from(value as i64).ok()? } else { value as i32 };
    match op {
        AluOp::Add => Some(value),
        AluOp::Sub => value.checked_neg(),
        _ => None,
    }
}

/// An offset that fits the pointer's fixed part.
fn fixed(off: i64) -> Option<i32> {
    i32::try_from(off).ok()
}

fn check_constant(op: AluOp, wide: bool, imm: i32) -> Res {
    match op {
        AluOp::Div | AluOp::Mod | AluOp::Sdiv | AluOp::Smod if imm == 0 => reject!("div by zero"),
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if imm < 0 || imm >= if wide { 64 } else { 32 } => {
            reject!("invalid shift {imm}")
        }
        _ => Ok(()),
    }
}

fn check_pointer_kind(op: AluOp, dst: usize, ptr: &Reg, zero: bool, known: bool) -> Res {
    if ptr.ty.may_be_null() {
        reject!("R{dst} pointer arithmetic on {} prohibited, null-check it first", ptr.ty);
    }
    let ok = match ptr.ty.base {
        Base::Ctx | Base::MapValue | Base::MapKey | Base::Stack | Base::PacketMeta | Base::Packet => true,
        Base::TpBuffer | Base::BtfId | Base::Mem | Base::Buf | Base::Func | Base::Dynptr => true,
        Base::FlowKeys => known || (zero && op == AluOp::Add),
        Base::MapPtr => zero && op == AluOp::Add,
        _ => false,
    };
    if !ok {
        reject!("R{dst} pointer arithmetic on {} prohibited", ptr.ty);
    }
    Ok(())
}

/// Offsets stay so small that no sum of them wraps.
fn check_sane(reg: &Reg, ty: RegType) -> Res {
    let (known, value) = (reg.val.is_const(), reg.val.bits.value as i64);
    if known && (value >= MAX_VAR_OFF || value <= -MAX_VAR_OFF) {
        reject!("math between {ty} pointer and {value} is not allowed");
    }
    if i64::from(reg.off) >= MAX_VAR_OFF || i64::from(reg.off) <= -MAX_VAR_OFF {
        reject!("{ty} pointer offset {} is not allowed", reg.off);
    }
    if reg.val.smin == i64::MIN {
        reject!("math between {ty} pointer and register with unbounded min value is not allowed");
    }
    if reg.val.smin >= MAX_VAR_OFF || reg.val.smin <= -MAX_VAR_OFF {
        reject!("value {} makes {ty} pointer be out of bounds", reg.val.smin);
    }
    Ok(())
}

fn alu_text(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::Sdiv => "s/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod => "%=",
        AluOp::Smod => "s%=",
        AluOp::Xor => "^=",
        AluOp::Mov => "=",
        AluOp::Arsh => "s>>=",
    }
}
