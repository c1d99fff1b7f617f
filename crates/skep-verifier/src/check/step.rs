//! The interpreter: one instruction after the other along each path.

use skep_isa::uapi::ProgType;
use skep_isa::{AtomicOp, CallTarget, Op, Operand, Size};

use super::memory::{Stored, Use};
use super::{MAX_INSNS, Verifier};
use crate::program::TAIL_CALL;
use crate::reg::{Base, Reg};
use crate::stop::{Res, reject, unsupported};

/// Where a path goes after an instruction.
enum Next {
    /// The instruction at this position.
    At(u32),
    /// Nowhere: the path ended.
    End,
}

impl Verifier<'_> {
    /// Walks all paths from the current state.
    pub(crate) fn walk_paths(&mut self) -> Res {
        loop {
            let next = if self.arrive()? { Next::End } else { self.step()? };
            match next {
                Next::At(pc) => (self.prev_pc, self.pc) = (self.pc, pc),
                Next::End => {
                    if !self.pop()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Counts, and compares with remembered states. True: this path is covered by another.
    fn arrive(&mut self) -> Res<bool> {
        self.step_noted = false;
        if self.code.op(self.pc).is_none() {
            reject!("invalid insn idx {} insn_cnt {}", self.pc, self.code.len());
        }
        self.insns_processed += 1;
        if self.insns_processed > MAX_INSNS {
            reject!("BPF program is too large. Processed {} insn", self.insns_processed);
        }
        self.cur.last_insn = self.prev_pc;
        self.cur.insn = self.pc;
        self.reached[self.pc as usize] = true;
        if let Some(watch) = &mut self.watch {
            (watch.see)(self.pc, &self.cur);
        }
        let mark = self.marks[self.pc as usize];
        if mark.prune && self.visit()? {
            self.log_covered();
            return Ok(true);
        }
        if mark.jump {
            self.note_step(|_| {});
        }
        self.log_instruction();
        Ok(false)
    }

    fn step(&mut self) -> Res<Next> {
        let (pc, instance) = (self.pc, self.cur.frame().instance);
        let Some(op) = self.code.op(pc).copied() else { return Ok(Next::End) };
        self.live_stack.begin();
        let next = self.execute(op)?;
        self.live_stack.commit(instance, pc);
        Ok(next)
    }

    fn execute(&mut self, op: Op) -> Res<Next> {
        let next = Next::At(self.pc + op.slots() as u32);
        let n = |reg: skep_isa::Reg| reg.0 as usize;
        match op {
            Op::Alu { wide, op, dst, src } => self.alu(op, wide, n(dst), src)?,
            Op::MovSx { wide, bits, dst, src } => self.mov_sx(wide, bits, n(dst), n(src))?,
            Op::Neg { wide, dst } => self.neg(wide, n(dst))?,
            Op::Endian { kind, bits, dst } => self.swap_bytes(kind, bits, n(dst))?,
            Op::AddrSpaceCast { dst, src, imm } => self.cast_address_space(n(dst), n(src), imm)?,
            Op::LoadImm64 { dst, imm } => self.load_imm(n(dst), imm)?,
            Op::Load { size, signed, dst, base, off } => self.load(size, signed, n(dst), n(base), off)?,
            Op::LoadAbs { .. } => return self.load_packet(None),
            Op::LoadInd { src, .. } => return self.load_packet(Some(n(src))),
            Op::Store { size, base, off, src } => self.store(size, n(base), off, src)?,
            Op::Atomic { size, op, base, off, src } => self.atomic(size, op, n(base), off, n(src))?,
            Op::LoadAcquire { size, dst, base, off } => self.load_acquire(size, n(dst), n(base), off)?,
            Op::StoreRelease { size, base, off, src } => self.store_release(size, n(base), off, n(src))?,
            Op::Ja { off, .. } => {
                self.jumps_processed += 1;
                return Ok(Next::At(self.pc.wrapping_add(1).wrapping_add_signed(off)));
            }
            Op::Jump { wide, op, dst, src, off } => {
                self.jumps_processed += 1;
                let next = self.jump(op, wide, n(dst), src, off)?;
                self.log_branch();
                return Ok(Next::At(next));
            }
            Op::MayGoto { off } => {
                self.jumps_processed += 1;
                return Ok(Next::At(self.may_goto(off)?));
            }
            Op::Call(target) => {
                self.jumps_processed += 1;
                return self.call(target);
            }
            Op::Exit => {
                self.jumps_processed += 1;
                return self.exit();
            }
        }
        Ok(next)
    }

    fn load(&mut self, size: Size, signed: bool, dst: usize, base: usize, off: i16) -> Res {
        self.check_readable_reg(base as u8)?;
        self.check_writable_reg(dst)?;
        let ty = self.cur.reg(base).ty;
        self.access(base, i32::from(off), size.bytes(), Use::Load { dst: Some(dst), signed }, false)?;
        self.check_same_pointer(ty, true)?;
        self.cur.reg_mut(dst).val.repair();
        Ok(())
    }

    fn store(&mut self, size: Size, base: usize, off: i16, src: Operand) -> Res {
        let value = match src {
            Operand::Reg(r) => {
                self.check_readable_reg(r.0)?;
                Stored::Reg(r.0 as usize)
            }
            Operand::Imm(imm) => Stored::Imm(imm),
        };
        self.check_readable_reg(base as u8)?;
        let ty = self.cur.reg(base).ty;
        self.access(base, i32::from(off), size.bytes(), Use::Store(value), false)?;
        self.check_same_pointer(ty, false)
    }

    fn atomic(&mut self, size: Size, op: AtomicOp, base: usize, off: i16, src: usize) -> Res {
        if size.bytes() < 4 {
            reject!("invalid atomic operand size");
        }
        self.check_readable_reg(src as u8)?;
        self.check_readable_reg(base as u8)?;
        if op == AtomicOp::Cmpxchg {
            self.check_readable_reg(0)?;
        }
        if !self.may_be_atomic(base, Some(op)) {
            reject!("BPF_ATOMIC stores into R{base} {} is not allowed", self.cur.reg(base).ty);
        }
        let loaded = match op {
            AtomicOp::Cmpxchg => Some(0),
            op if op.fetches() => Some(src),
            _ => None,
        };
        if let Some(reg) = loaded {
            self.check_writable_reg(reg)?;
        }
        let (off, bytes, ty) = (i32::from(off), size.bytes(), self.cur.reg(base).ty);
        self.access(base, off, bytes, Use::READ, true)?;
        if let Some(reg) = loaded {
            let keep = *self.cur.reg(base);
            self.access(base, off, bytes, Use::Load { dst: Some(reg), signed: false }, true)?;
            if reg == base {
                // The address is gone after this instruction, but the store is through the old one.
                let loaded = std::mem::replace(self.cur.reg_mut(reg), keep);
                self.access(base, off, bytes, Use::WRITE, true)?;
                *self.cur.reg_mut(reg) = loaded;
                return self.check_same_pointer(ty, false);
            }
        }
        self.check_same_pointer(ty, false)?;
        self.access(base, off, bytes, Use::WRITE, true)
    }

    fn load_acquire(&mut self, size: Size, dst: usize, base: usize, off: i16) -> Res {
        self.check_readable_reg(base as u8)?;
        self.check_writable_reg(dst)?;
        if !self.may_be_atomic(base, None) {
            reject!("BPF_ATOMIC loads from R{base} {} is not allowed", self.cur.reg(base).ty);
        }
        let ty = self.cur.reg(base).ty;
        self.access(base, i32::from(off), size.bytes(), Use::Load { dst: Some(dst), signed: false }, true)?;
        self.check_same_pointer(ty, false)?;
        self.cur.reg_mut(dst).val.repair();
        Ok(())
    }

    fn store_release(&mut self, size: Size, base: usize, off: i16, src: usize) -> Res {
        self.check_readable_reg(src as u8)?;
        self.check_readable_reg(base as u8)?;
        if !self.may_be_atomic(base, None) {
            reject!("BPF_ATOMIC stores into R{base} {} is not allowed", self.cur.reg(base).ty);
        }
        let ty = self.cur.reg(base).ty;
        self.access(base, i32::from(off), size.bytes(), Use::Store(Stored::Reg(src)), true)?;
        self.check_same_pointer(ty, false)
    }

    /// May the memory behind a register be used atomically? In an arena, not with every operation.
    fn may_be_atomic(&self, base: usize, op: Option<AtomicOp>) -> bool {
        let ty = self.cur.reg(base).ty;
        if ty.is(Base::Arena) {
            let fetched = AtomicOp::And { fetch: true };
            let unsupported =
                [Some(fetched), Some(AtomicOp::Or { fetch: true }), Some(AtomicOp::Xor { fetch: true })];
            return op.is_none() || !unsupported.contains(&op);
        }
        !(ty.is(Base::Ctx) || ty.is_packet() || ty.is(Base::FlowKeys) || ty.is_socket())
    }

    /// Legacy loads from the packet; beyond its end the function returns.
    fn load_packet(&mut self, src: Option<usize>) -> Res<Next> {
        let prog = self.prog_type();
        if !matches!(prog, ProgType::SOCKET_FILTER | ProgType::SCHED_CLS | ProgType::SCHED_ACT) {
            reject!("BPF_LD_[ABS|IND] instructions not allowed for this program type");
        }
        if self.cur.frames[1..].iter().any(|f| f.in_callback) {
            reject!("cannot use BPF_LD_[ABS|IND] within callback");
        }
        self.check_readable_reg(6)?;
        self.check_nothing_held("BPF_LD_[ABS|IND]", false, true)?;
        if !self.cur.reg(6).ty.is(Base::Ctx) {
            reject!("at the time of BPF_LD_ABS|IND R6 != pointer to skb");
        }
        if let Some(src) = src {
            self.check_readable_reg(src as u8)?;
        }
        let ctx = *self.cur.reg(6);
        self.check_ptr_off(&ctx, 6, false)?;
        self.clear_caller_saved();
        *self.cur.reg_mut(0) = Reg::UNKNOWN;
        let next = self.pc + 1;
        if self.cur.curframe() > 0 {
            self.push(next)?;
            *self.cur.reg_mut(0) = Reg::known(0);
            let next = self.return_to_caller()?;
            self.log_quietly();
            return Ok(Next::At(next));
        }
        Ok(Next::At(next))
    }

    /// A jump that is taken at the latest when the program's patience ends.
    fn may_goto(&mut self, off: i16) -> Res<u32> {
        let pc = self.pc;
        let parent = self.cur.parent;
        let old = parent.and_then(|id| {
            let from = self.states[id.0 as usize].state.clone();
            self.previous_round(&from, pc)
        });
        let mut queued = self.cur.clone();
        queued.may_goto_depth += 1;
        if let Some(old) = old {
            self.widen(old, &mut queued);
        }
        self.push_state(queued, pc + 1, pc)?;
        Ok(pc.wrapping_add(1).wrapping_add_signed(i32::from(off)))
    }

    fn call(&mut self, target: CallTarget) -> Res<Next> {
        if self.cur.active_locks > 0 && !self.may_call_locked(target) {
            reject!("function calls are not allowed while holding a lock");
        }
        match target {
            CallTarget::Helper(id) => {
                self.call_helper(id)?;
                if id == TAIL_CALL && self.cur.curframe() > 0 {
                    return self.tail_call_returns();
                }
            }
            CallTarget::Local(_) => return Ok(Next::At(self.call_local()?)),
            CallTarget::Kfunc { .. } => {
                if self.call_kfunc()? {
                    return Ok(Next::End);
                }
            }
            // Linux has no such instruction; the standard and our runtime do.
            CallTarget::Indirect(_) => unsupported!("indirect call"),
        }
        Ok(Next::At(self.pc + 1))
    }

    /// A tail call in a function that was called: where it succeeds, the other program returns to our caller.
    fn tail_call_returns(&mut self) -> Res<Next> {
        let next = self.pc + 1;
        self.push(next)?;
        self.clear_packet_pointers();
        *self.cur.reg_mut(0) = Reg::UNKNOWN;
        let next = self.return_to_caller()?;
        self.log_quietly();
        Ok(Next::At(next))
    }

    fn may_call_locked(&self, target: CallTarget) -> bool {
        match target {
            CallTarget::Helper(id) => id == 94,
            CallTarget::Kfunc { .. } => self.may_call_kfunc_locked(),
            CallTarget::Local(_) | CallTarget::Indirect(_) => true,
        }
    }

    fn exit(&mut self) -> Res<Next> {
        let top = self.cur.curframe() == 0;
        self.check_nothing_held("BPF_EXIT instruction in main prog", false, top)?;
        if !top {
            return Ok(Next::At(self.return_to_caller()?));
        }
        self.check_return()?;
        Ok(Next::End)
    }
}
