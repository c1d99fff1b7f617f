//! Calls of the program's own functions, callbacks, and returns.

use std::rc::Rc;

use super::Verifier;
use super::helpers::{Meta, id};
use skep_isa::uapi::ProgType;

use crate::reg::{Base, BtfRef, Detail, DynptrKind, Flags, Reg, RegType};
use crate::scalar::Scalar;
use crate::state::{Frame, MAX_FRAMES, NO_CALLSITE, Ref, RefKind, State};
use crate::stop::{Res, Stop, reject, unsupported};

impl Verifier<'_> {
    /// Calls a function of the program; gives the instruction to go on with.
    pub(crate) fn call_local(&mut self) -> Res<u32> {
        let Some(callee) = self.code.callee(self.pc) else {
            reject!("call to invalid destination");
        };
        if self.code.subprogs[callee as usize].global {
            self.call_global(callee)?;
            return Ok(self.pc + 1);
        }
        let callsite = self.pc;
        let mut frame = self.new_frame(callee, callsite)?;
        for i in 1..=5 {
            frame.regs[i] = *self.cur.reg(i);
        }
        self.clear_caller_saved();
        self.cur.frames.push(Rc::new(frame));
        self.log_call();
        Ok(self.code.subprogs[callee as usize].start)
    }

    pub(crate) fn new_frame(&mut self, callee: u32, callsite: u32) -> Res<Frame> {
        let depth = self.cur.frames.len();
        if depth >= MAX_FRAMES {
            reject!("the call stack of {} frames is too deep", depth + 1);
        }
        self.log_new_frame();
        let outer = self.cur.frame().instance;
        let instance = self.live_stack.call(&self.code, outer, callsite, callee);
        Ok(Frame::new(depth as u32, callee, callsite, instance))
    }

    /// A global function is verified on its own; here only its arguments are.
    fn call_global(&mut self, callee: u32) -> Res {
        if self.cur.active_locks > 0 {
            reject!(
                "global function calls are not allowed while holding a lock,\nuse static function instead"
            );
        }
        let sleeps = self.code.subprogs[callee as usize].might_sleep;
        if sleeps && self.cur.rcu_locks > 0 {
            reject!(
                "global functions that may sleep are not allowed in non-sleepable context,\ni.e., in a RCU/IRQ/preempt-disabled section, or in a non-sleepable BPF program context"
            );
        }
        if sleeps && (self.cur.irq_id != 0 || self.cur.preempt_locks > 0 || !self.in_sleepable()) {
            reject!(
                "global functions that may sleep are not allowed in non-sleepable context,\ni.e., in a RCU/IRQ/preempt-disabled section, or in\na non-sleepable BPF program context"
            );
        }
        match self.check_global_args(callee) {
            Ok(()) => {}
            Err(Stop::Reject(_)) => {
                let name = self.subprog_name(callee);
                reject!("Caller passes invalid args into func#{callee} ('{name}')")
            }
            Err(other) => return Err(other),
        }
        if self.code.subprogs[callee as usize].changes_pkt_data {
            self.clear_packet_pointers();
        }
        self.log_global_call(callee);
        self.code.subprogs[callee as usize].called = true;
        self.clear_caller_saved();
        *self.cur.reg_mut(0) = Reg::UNKNOWN;
        Ok(())
    }

    /// A helper that calls back: the callback is walked with the arguments the helper gives it, and the call is walked
    /// as if it had not been made.
    pub(crate) fn push_callback(&mut self, helper: u32, meta: &Meta) -> Res {
        let Some(subprog) = meta.subprog else { unsupported!("callback that is no function") };
        let mut frame = self.new_frame(subprog, self.pc)?;
        self.set_callback_args(helper, &mut frame)?;
        frame.callback_ret = Some((0, 1));
        self.enter_callback(subprog, frame, helper == id::TIMER_SET_CALLBACK, false)
    }

    /// Queues a callback: in a frame of its own, or as a program of its own where it runs later.
    pub(crate) fn enter_callback(
        &mut self,
        subprog: u32,
        mut frame: Frame,
        later: bool,
        sleepable: bool,
    ) -> Res {
        let info = &mut self.code.subprogs[subprog as usize];
        info.is_cb = true;
        let start = info.start;
        if later {
            info.is_async_cb = true;
            frame.in_async_callback = true;
            return self.push_async(subprog, frame, start, sleepable);
        }
        frame.in_callback = true;
        let pc = self.pc;
        let state = self.push_from(start, pc)?;
        state.frames.push(Rc::new(frame));
        state.callback_unroll_depth += 1;
        let caller = state.frames.len() - 2;
        state.frame_at(caller).callback_depth += 1;
        self.cur.frame_mut().callback_depth = 0;
        Ok(())
    }

    fn push_async(&mut self, subprog: u32, frame: Frame, start: u32, sleepable: bool) -> Res {
        let async_entry = self.cur.frame().async_entry + 1;
        let instance = self.live_stack.root(&self.code, subprog);
        let frame = Frame { async_entry, instance, callsite: NO_CALLSITE, ..frame };
        let mut regs = frame.regs;
        regs[10] = Reg::pointer(RegType::new(Base::Stack), Detail::Frame(0));
        let frame = Frame { regs, ..frame };
        let mut state = State::new(frame, start);
        state.in_sleepable = sleepable;
        state.branches = 1;
        let pc = self.pc;
        self.push_state(state, start, pc)?;
        Ok(())
    }

    fn set_callback_args(&mut self, helper: u32, frame: &mut Frame) -> Res {
        let caller = self.cur.frame().regs;
        let map_reg = |base, r: &Reg| Reg::pointer(RegType::new(base), r.detail);
        match helper {
            id::FOR_EACH_MAP_ELEM => {
                let map = self.map_of(&caller[1])?;
                if !map.can_iterate() {
                    reject!("callback function not allowed for map");
                }
                frame.regs[1] = caller[1];
                frame.regs[2] = map_reg(Base::MapKey, &caller[1]);
                frame.regs[3] = map_reg(Base::MapValue, &caller[1]);
                frame.regs[4] = caller[3];
            }
            id::TIMER_SET_CALLBACK => {
                frame.regs[1] = map_reg(Base::MapPtr, &caller[1]);
                frame.regs[2] = map_reg(Base::MapKey, &caller[1]);
                frame.regs[3] = map_reg(Base::MapValue, &caller[1]);
            }
            id::LOOP => {
                frame.regs[1] = Reg::UNKNOWN;
                frame.regs[2] = caller[3];
            }
            id::FIND_VMA => {
                let Some(vma) = self.types.kernel_struct("vm_area_struct") else {
                    unsupported!("kernel type `vm_area_struct`")
                };
                frame.regs[1] = caller[1];
                frame.regs[2] = Reg::pointer(RegType::new(Base::BtfId), Detail::Btf(vma));
                frame.regs[3] = caller[4];
            }
            id::USER_RINGBUF_DRAIN => {
                let id = self.new_id();
                let detail = Detail::Dynptr { kind: DynptrKind::Local, first: true };
                frame.regs[1] = Reg { id, ..Reg::pointer(RegType::new(Base::Dynptr), detail) };
                frame.regs[2] = caller[3];
            }
            _ => unsupported!("callback of helper {helper}"),
        }
        Ok(())
    }

    /// An `exit` in a function that was called; gives the instruction to go on with.
    pub(crate) fn return_to_caller(&mut self) -> Res<u32> {
        let r0 = *self.cur.reg(0);
        if r0.ty.base == Base::Stack {
            reject!("cannot return stack pointer to the caller");
        }
        let (callsite, callback, range) = {
            let callee = self.cur.frame();
            (callee.callsite, callee.in_callback, callee.callback_ret)
        };
        if callback {
            if !r0.is_scalar() {
                reject!("R0 not a scalar value");
            }
            self.mark_precise(0)?;
            if let Some(range) = range.filter(|r| !within(*r, &r0.val, false)) {
                return Err(invalid_return(&r0, range, "At callback return"));
            }
        }
        self.log_leave();
        self.cur.frames.pop();
        if !callback {
            *self.cur.reg_mut(0) = r0;
            self.log_returned(callsite + 1);
            return Ok(callsite + 1);
        }
        if let Some(old) = self.previous_round(&self.cur, callsite) {
            let mut cur = std::mem::replace(&mut self.cur, State::without_frames(0));
            self.widen(old, &mut cur);
            self.cur = cur;
        }
        self.log_returned(callsite);
        Ok(callsite)
    }

    /// What must be over before `what`: references always, regions where `regions` says so.
    pub(crate) fn check_nothing_held(&self, what: &str, exception: bool, regions: bool) -> Res {
        if regions && self.cur.active_locks > 0 {
            reject!("{what} cannot be used inside bpf_spin_lock-ed region");
        }
        if self.leaks(exception) {
            self.log_leaks();
            reject!("{what} would lead to reference leak");
        }
        if regions && self.cur.irq_id != 0 {
            reject!("{what} cannot be used inside bpf_local_irq_save-ed region");
        }
        if regions && self.cur.rcu_locks > 0 {
            reject!("{what} cannot be used inside bpf_rcu_read_lock-ed region");
        }
        if regions && self.cur.preempt_locks > 0 {
            reject!("{what} cannot be used inside bpf_preempt_disable-ed region");
        }
        Ok(())
    }

    /// Is there a reference nobody will release? A `struct_ops` program may return one.
    fn leaks(&self, exception: bool) -> bool {
        if !exception && self.cur.curframe() > 0 {
            return false;
        }
        let returned =
            (self.prog_type() == ProgType::STRUCT_OPS && !exception).then(|| self.cur.reg(0).ref_obj_id);
        self.cur.refs.iter().any(|r| r.kind == RefKind::Ptr && Some(r.id) != returned)
    }

    /// Takes a reference.
    pub(crate) fn acquire(&mut self, kind: RefKind) -> u32 {
        let id = self.new_id();
        self.cur.refs.push(Ref { kind, id, insn: self.pc });
        id
    }

    /// Releases a reference and forgets every register that holds it.
    pub(crate) fn release_reference(&mut self, id: u32) -> bool {
        if !self.cur.release_ref(id) {
            return false;
        }
        self.cur.for_each_reg(|r| r.ref_obj_id == id, |r| *r = Reg::UNKNOWN);
        true
    }

    /// Pointers into a packet that may have moved are no more.
    pub(crate) fn clear_packet_pointers(&mut self) {
        let slice = Flags::DYNPTR_SKB.with(Flags::DYNPTR_XDP).with(Flags::DYNPTR_SKB_META);
        self.cur.for_each_reg(
            |r| r.ty.is_packet_any() || (r.ty.base == Base::Mem && r.ty.has(slice)),
            |r| *r = Reg::UNKNOWN,
        );
    }

    /// `r0` to `r5` after a call.
    pub(crate) fn clear_caller_saved(&mut self) {
        let frame = self.cur.frame_mut();
        frame.regs[..6].fill(Reg::NOT_INIT);
    }

    /// `BtfRef` of a function of the program.
    pub(crate) fn subprog_type(&self, subprog: u32) -> Option<BtfRef> {
        let start = self.code.subprogs[subprog as usize].start;
        let (_, id) = self.input.func_info.iter().find(|(insn, _)| *insn == start)?;
        Some(BtfRef { obj: BtfRef::PROGRAM, id: *id })
    }
}

/// Is every value of a return register in range?
pub(crate) fn within(range: (i32, i32), val: &Scalar, low_half: bool) -> bool {
    let (min, max) = range;
    if low_half {
        min <= val.smin32 && val.smax32 <= max
    } else {
        i64::from(min) <= val.smin && val.smax <= i64::from(max)
    }
}

/// The kernel's words about a return value out of range.
pub(crate) fn invalid_return(reg: &Reg, range: (i32, i32), when: &str) -> Stop {
    let mut text = format!("{when} the register R0 has");
    let unknown = reg.val.smin == i64::MIN && reg.val.smax == i64::MAX;
    if reg.val.smin > i64::MIN {
        text += &format!(" smin={}", reg.val.smin);
    }
    if reg.val.smax < i64::MAX {
        text += &format!(" smax={}", reg.val.smax);
    }
    if unknown {
        text += " unknown scalar value";
    }
    text += &format!(" should have been in [{}, {}]", range.0, range.1);
    Stop::reject(text)
}
