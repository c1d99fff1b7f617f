//! Conditional jumps: decided ones, and what both sides of the others say about registers.

use skep_isa::{JmpOp, Operand};

use super::Verifier;
use crate::arith;
use crate::compare::{self, Cond, flip};
use crate::reg::{ADD_CONST, ADD_CONST_32, AT_PKT_END, BEYOND_PKT_END, Base, Detail, Reg, RegType};
use crate::scalar::Scalar;
use crate::state::{Linked, LinkedReg, State};
use crate::stop::Res;

/// Packets are shorter than this.
const MAX_PACKET_OFF: u64 = 0xffff;

/// A conditional jump with its operands looked up.
struct Branch {
    op: JmpOp,
    wide: bool,
    dst: usize,
    src: Operand,
}

impl Verifier<'_> {
    /// A conditional jump; gives the instruction to go on with. The other side is queued.
    pub(crate) fn jump(&mut self, op: JmpOp, wide: bool, dst: usize, src: Operand, off: i16) -> Res<u32> {
        let branch = Branch { op, wide, dst, src };
        self.check_readable_reg(dst as u8)?;
        if let Operand::Reg(r) = src {
            self.check_readable_reg(r.0)?;
        }
        let (a, b) = (*self.cur.reg(dst), self.operand(src));
        let (src_stack, dst_stack) = (b.ty.is(Base::Stack), a.ty.is(Base::Stack));
        if src_stack || dst_stack {
            self.note_step(|step| (step.src_stack, step.dst_stack) = (src_stack, dst_stack));
        }
        let (next, target) = (self.pc + 1, self.pc.wrapping_add(1).wrapping_add_signed(i32::from(off)));
        if let Some(taken) = decide(op, wide, &a, &b) {
            self.mark_precise(dst)?;
            if let Operand::Reg(r) = src {
                self.mark_precise(r.0 as usize)?;
            }
            return Ok(if taken { target } else { next });
        }
        self.split(&branch, &a, &b, target)?;
        Ok(next)
    }

    /// Queues the side where the jump is taken, and narrows both.
    fn split(&mut self, br: &Branch, a: &Reg, b: &Reg, target: u32) -> Res {
        let linked = self.collect_linked(a, b, br.src);
        if linked.len() > 1 {
            self.note_step(|step| step.linked = linked);
        }
        let mut taken = self.cur.clone();
        if a.is_scalar() && b.is_scalar() {
            refine_side(&mut taken, br, Cond::Is(br.op), &linked);
            refine_side(&mut self.cur, br, compare::negate(br.op), &linked);
        }
        self.refine_pointers(br, a, b, &mut taken);
        self.push_state(taken, target, self.pc)?;
        Ok(())
    }

    /// Scalars that share an id with an operand; those that find no room lose theirs.
    fn collect_linked(&mut self, a: &Reg, b: &Reg, src: Operand) -> Linked {
        let mut linked = Linked::default();
        let mut ids = Vec::new();
        if matches!(src, Operand::Reg(_)) && b.is_scalar() && b.id != 0 {
            ids.push(b.id & !ADD_CONST);
        }
        if a.is_scalar() && a.id != 0 {
            ids.push(a.id & !ADD_CONST);
        }
        for id in ids {
            let shares = |r: &Reg| r.is_scalar() && r.id & !ADD_CONST == id;
            for f in (0..self.cur.frames.len()).rev() {
                for i in 0..10 {
                    let at = LinkedReg { frame: f as u8, index: i as u8, is_reg: true };
                    if shares(&self.cur.frames[f].regs[i]) && !linked.push(at) {
                        self.cur.frame_at(f).regs[i].clear_scalar_id();
                    }
                }
                for i in 0..self.cur.frames[f].stack.len() {
                    let slot = &self.cur.frames[f].stack[i];
                    let at = LinkedReg { frame: f as u8, index: i as u8, is_reg: false };
                    if slot.is_spill() && shares(&slot.reg) && !linked.push(at) {
                        self.cur.frame_at(f).stack[i].reg.clear_scalar_id();
                    }
                }
            }
        }
        linked
    }

    /// Null checks and comparisons with a packet's end.
    fn refine_pointers(&mut self, br: &Branch, a: &Reg, b: &Reg, taken: &mut State) {
        let src = match br.src {
            Operand::Reg(r) => Some(r.0 as usize),
            Operand::Imm(_) => None,
        };
        if let Some(src) = src.filter(|_| br.wide && !a.is_scalar() && !b.is_scalar()) {
            self.refine_equal_pointers(br, a, b, src, taken);
        }
        let null_check = br.wide && br.src == Operand::Imm(0) && matches!(br.op, JmpOp::Eq | JmpOp::Ne);
        if null_check && a.ty.may_be_null() {
            let mut cur = std::mem::replace(&mut self.cur, State::without_frames(0));
            self.resolve_null(&mut cur, br.dst, br.op == JmpOp::Ne);
            self.resolve_null(taken, br.dst, br.op == JmpOp::Eq);
            self.cur = cur;
        } else if let (Some(src), true) = (src, br.wide) {
            match_packet_pointers(br.op, (br.dst, a), (src, b), &mut self.cur, taken);
        }
    }

    /// Where a pointer equals one that is not null, it is not null either.
    fn refine_equal_pointers(&mut self, br: &Branch, a: &Reg, b: &Reg, src: usize, taken: &mut State) {
        if a.ty.base == Base::BtfId || b.ty.base == Base::BtfId {
            return;
        }
        let mut known = Vec::new();
        if a.is_not_null() && b.ty.may_be_null() {
            known.push((src, *b));
        }
        if b.is_not_null() && a.ty.may_be_null() {
            known.push((br.dst, *a));
        }
        for (n, mut reg) in known {
            self.mark_not_null(&mut reg);
            match br.op {
                JmpOp::Eq => *taken.reg_mut(n) = reg,
                JmpOp::Ne => *self.cur.reg_mut(n) = reg,
                _ => {}
            }
        }
    }

    /// All copies of a pointer that may be null are null, or are not.
    pub(crate) fn resolve_null(&self, state: &mut State, regno: usize, is_null: bool) {
        let reg = *state.reg(regno);
        if reg.ref_obj_id != 0 && reg.ref_obj_id == reg.id && is_null {
            state.release_ref(reg.id);
        }
        let id = reg.id;
        state.for_each_reg(
            |r| r.ty.may_be_null() && r.id == id,
            |r| {
                if is_null {
                    r.ty = RegType::SCALAR;
                    (r.id, r.ref_obj_id, r.off, r.detail) = (0, 0, 0, Detail::None);
                    r.val = Scalar::ZERO;
                    return;
                }
                self.mark_not_null(r);
                if !self.may_hold_lock(r) {
                    r.id = 0;
                }
            },
        );
    }
}

/// Is the branch decided?
fn decide(op: JmpOp, wide: bool, a: &Reg, b: &Reg) -> Option<bool> {
    if a.ty.is_packet_any() && b.ty.is_packet_any() && wide {
        return decide_packet(op, a, b);
    }
    if a.is_scalar() && b.is_scalar() {
        return compare::decide(op, wide, &a.val, &b.val);
    }
    let (ptr, other, op) = if b.is_const() { (a, b, op) } else { (b, a, flip(op)) };
    if !wide || !other.is_const() || !ptr.is_not_null() || !other.val.is_zero() {
        return None;
    }
    match op {
        JmpOp::Eq => Some(false),
        JmpOp::Ne => Some(true),
        _ => None,
    }
}

/// A pointer known to be at or beyond the end compares with it as that.
fn decide_packet(op: JmpOp, a: &Reg, b: &Reg) -> Option<bool> {
    let (pkt, op) = if b.ty.is(Base::PacketEnd) {
        (a, op)
    } else if a.ty.is(Base::PacketEnd) {
        (b, flip(op))
    } else {
        return None;
    };
    let range = pkt.range();
    match op {
        JmpOp::Le | JmpOp::Gt if range == BEYOND_PKT_END => Some(op == JmpOp::Gt),
        JmpOp::Lt | JmpOp::Ge if range == BEYOND_PKT_END || range == AT_PKT_END => Some(op == JmpOp::Ge),
        _ => None,
    }
}

/// Narrows the operands in one side's state, and every scalar linked to them.
fn refine_side(state: &mut State, br: &Branch, cond: Cond, linked: &Linked) {
    let mut a = *state.reg(br.dst);
    match br.src {
        Operand::Imm(imm) => {
            let mut b = Scalar::known(imm as i64 as u64);
            compare::refine(cond, br.wide, &mut a.val, &mut b);
            a.val.sync();
            a.val.repair();
            *state.reg_mut(br.dst) = a;
        }
        Operand::Reg(r) => {
            let src = r.0 as usize;
            let mut b = *state.reg(src);
            compare::refine(cond, br.wide, &mut a.val, &mut b.val);
            a.val.sync();
            b.val.sync();
            a.val.repair();
            b.val.repair();
            if src == br.dst {
                // The same register twice: the second narrowing is the kernel's last word, too.
                a = b;
            }
            *state.reg_mut(br.dst) = a;
            *state.reg_mut(src) = b;
            if b.id != 0 {
                sync_linked(state, &b, linked);
            }
        }
    }
    let a = *state.reg(br.dst);
    if a.id != 0 {
        sync_linked(state, &a, linked);
    }
}

/// Gives what is now known of a scalar to those linked to it.
fn sync_linked(state: &mut State, known: &Reg, linked: &Linked) {
    for at in linked.iter() {
        let frame = state.frame_at(at.frame as usize);
        let reg = if at.is_reg {
            &mut frame.regs[at.index as usize]
        } else {
            match frame.stack.get_mut(at.index as usize) {
                Some(slot) => &mut slot.reg,
                None => continue,
            }
        };
        if !reg.is_scalar() || reg.id & !ADD_CONST != known.id & !ADD_CONST {
            continue;
        }
        if (reg.id ^ known.id) & ADD_CONST == ADD_CONST {
            // Sums of different widths say nothing of each other.
            continue;
        }
        let plain = reg.id & ADD_CONST == 0 && known.id & ADD_CONST == 0;
        if plain || reg.off == known.off {
            *reg = *known;
            continue;
        }
        let distance = i64::from(reg.off) - i64::from(known.off);
        let (off, id) = (reg.off, reg.id);
        *reg = Reg { off, id, ..*known };
        arith::add(&mut reg.val, &Scalar::known(distance as u64));
        if (reg.id | known.id) & ADD_CONST_32 != 0 {
            reg.val.zext_32();
        }
        reg.val.sync();
    }
}

/// Comparisons of a packet pointer with the end say how many bytes can be read from it.
fn match_packet_pointers(op: JmpOp, a: (usize, &Reg), b: (usize, &Reg), cur: &mut State, taken: &mut State) {
    let at_start = |r: &Reg| r.ty.is(Base::Packet) && r.off == 0 && r.val.is_zero();
    let forward = (a.1.ty.is(Base::Packet) && b.1.ty.is(Base::PacketEnd))
        || (a.1.ty.is(Base::PacketMeta) && at_start(b.1));
    let backward = (a.1.ty.is(Base::PacketEnd) && b.1.ty.is(Base::Packet))
        || (at_start(a.1) && b.1.ty.is(Base::PacketMeta));
    let (op, pkt, end) = match (forward, backward) {
        (true, _) => (op, a, b),
        (_, true) => (flip(op), b, a),
        _ => return,
    };
    // From here on the comparison is `pkt op end`.
    match op {
        JmpOp::Gt => {
            good_packet(cur, pkt.1, false);
            mark_end(taken, pkt.0, true);
        }
        JmpOp::Le => {
            good_packet(taken, pkt.1, false);
            mark_end(cur, pkt.0, true);
        }
        JmpOp::Lt => {
            good_packet(taken, pkt.1, true);
            mark_end(cur, pkt.0, false);
        }
        JmpOp::Ge => {
            good_packet(cur, pkt.1, true);
            mark_end(taken, pkt.0, false);
        }
        _ => {}
    }
    let _ = end;
}

fn mark_end(state: &mut State, regno: usize, beyond: bool) {
    let reg = state.reg_mut(regno);
    if reg.ty.is(Base::Packet) {
        reg.detail = Detail::Range(if beyond { BEYOND_PKT_END } else { AT_PKT_END });
    }
}

/// Pointers derived from the compared one may read as far as it points.
fn good_packet(state: &mut State, pkt: &Reg, right_open: bool) {
    if pkt.off < 0 || (pkt.off == 0 && right_open) {
        return;
    }
    if pkt.val.umax > MAX_PACKET_OFF || pkt.val.umax + pkt.off as u64 > MAX_PACKET_OFF {
        return;
    }
    let range = pkt.off + i32::from(right_open);
    let (ty, id) = (pkt.ty, pkt.id);
    state.for_each_reg(|r| r.ty == ty && r.id == id, |r| r.detail = Detail::Range(r.range().max(range)));
}
