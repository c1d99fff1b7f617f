//! Open-coded iterators: objects on the stack made by `new`, advanced by `next` until it returns null, ended by
//! `destroy`.
//!
//! At `next` the path splits: the iterator yields, or it has drained. The yielding side comes back to `next`; what
//! changed since the last round and is not precise is widened, so that the loop converges.

use super::Verifier;
use super::kfuncs::{KMeta, Resolved};
use super::memory::Use;
use crate::kfunc::Kfunc;
use crate::reg::{Base, BtfRef, Detail, Flags, IterState, Reg, RegType};
use crate::state::{RefKind, Slot, SlotKind};
use crate::stop::{Res, reject, unsupported};

/// How an argument fails to be an initialised iterator.
enum Bad {
    Uninit,
    NoRcu,
}

impl Verifier<'_> {
    pub(crate) fn iter_arg(&mut self, k: &Resolved, kfunc: &Kfunc, i: usize, meta: &mut KMeta) -> Res {
        let regno = i + 1;
        if k.name == "bpf_iter_css_task_new" && !self.may_iterate_css_tasks() {
            reject!("css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs");
        }
        let reg = *self.cur.reg(regno);
        if !reg.ty.is(Base::Stack) {
            reject!("arg#{i} expected pointer to an iterator on stack");
        }
        let strct = self.types.pointee(k.params[i].1).and_then(|to| self.types.strip(to)).map(|(r, _)| r);
        let Some(ty) = strct else { reject!("expected valid iter pointer as arg #{i}") };
        let slots = (self.types.size(ty).unwrap_or(0) / 8) as usize;
        let name = self.types.name(ty).trim_start_matches("bpf_iter_").to_owned();
        if slots == 0 {
            unsupported!("iterator `{name}` without a size");
        }
        if kfunc.iter_new {
            return self.make_iter(regno, i, ty, slots, &name, kfunc);
        }
        match self.find_iter(&reg, ty, slots) {
            Ok(spi) => {
                self.mark_stack_read(reg.frame(), (((1u128 << slots) - 1) as u64) << (spi + 1 - slots));
                meta.iter = Some((reg.frame(), spi));
                meta.ref_obj_id = self.cur.frames[reg.frame()].stack[spi].reg.ref_obj_id;
                if kfunc.iter_destroy { self.destroy_iter(&reg, spi, slots) } else { Ok(()) }
            }
            Err(Bad::Uninit) => reject!("expected an initialized iter_{name} as arg #{i}"),
            Err(Bad::NoRcu) => reject!("expected an RCU CS when using {}", k.name),
        }
    }

    fn make_iter(
        &mut self,
        regno: usize,
        i: usize,
        ty: BtfRef,
        slots: usize,
        name: &str,
        kfunc: &Kfunc,
    ) -> Res {
        let reg = *self.cur.reg(regno);
        let place = self.object_slot(&reg, "iter", slots);
        let taken = match &place {
            Err(_) => true,
            Ok(None) => false,
            Ok(Some(spi)) => {
                let stack = &self.cur.frames[reg.frame()].stack;
                (0..slots).any(|n| stack[spi - n].kind.contains(&SlotKind::Iter))
            }
        };
        if taken {
            reject!("expected uninitialized iter_{name} as arg #{i}");
        }
        for off in (0..slots as i32 * 8).step_by(8) {
            self.access(regno, off, 8, Use::WRITE, false)?;
        }
        let Some(spi) = self.object_slot(&reg, "iter", slots)? else {
            reject!("expected uninitialized iter_{name} as arg #{i}")
        };
        let id = self.acquire(RefKind::Ptr);
        let flags = match kfunc.rcu_protected {
            false => Flags::NONE,
            true if self.in_rcu_cs() => Flags::RCU,
            true => Flags::UNTRUSTED,
        };
        for n in 0..slots {
            let state = IterState::Active;
            let detail = Detail::Iter { ty, state, depth: 0 };
            let ref_obj_id = if n == 0 { id } else { 0 };
            let reg = Reg { ref_obj_id, ..Reg::pointer(RegType::flagged(Base::Stack, flags), detail) };
            let frame = self.cur.reg(regno).frame();
            self.cur.frame_at(frame).stack[spi - n] = Slot { kind: [SlotKind::Iter; 8], reg };
            self.live_stack.write(frame, 1 << (spi - n));
        }
        Ok(())
    }

    fn find_iter(&self, reg: &Reg, ty: BtfRef, slots: usize) -> Result<usize, Bad> {
        let Ok(Some(spi)) = self.object_slot(reg, "iter", slots) else { return Err(Bad::Uninit) };
        let stack = &self.cur.frames[reg.frame()].stack;
        for n in 0..slots {
            let slot = &stack[spi - n];
            if slot.kind.contains(&SlotKind::Iter) && slot.reg.ty.has(Flags::UNTRUSTED) {
                return Err(Bad::NoRcu);
            }
            let first = n == 0;
            let ours = matches!(slot.reg.detail, Detail::Iter { ty: t, .. } if t == ty);
            let whole = slot.kind.iter().all(|k| *k == SlotKind::Iter);
            if !ours || !whole || (first != (slot.reg.ref_obj_id != 0)) {
                return Err(Bad::Uninit);
            }
        }
        Ok(spi)
    }

    fn destroy_iter(&mut self, reg: &Reg, spi: usize, slots: usize) -> Res {
        let frame = reg.frame();
        let id = self.cur.frames[frame].stack[spi].reg.ref_obj_id;
        self.release_reference(id);
        for n in 0..slots {
            self.cur.frame_at(frame).stack[spi - n] = Slot::EMPTY;
            self.live_stack.write(frame, 1 << (spi - n));
        }
        Ok(())
    }

    /// The split at `next`: this path goes on with a drained iterator, the other with what it yields.
    pub(crate) fn iter_next(&mut self, meta: &KMeta) -> Res {
        let Some((frame, spi)) = meta.iter else { unsupported!("`next` of an unknown iterator") };
        let pc = self.pc;
        let detail = self.cur.frames[frame].stack[spi].reg.detail;
        let Detail::Iter { ty, state, depth } = detail else { unsupported!("`next` of an unknown iterator") };
        if state == IterState::Active {
            let parent = self.cur.parent;
            let old = parent.and_then(|id| {
                let from = self.states[id.0 as usize].state.clone();
                self.previous_round(&from, pc)
            });
            let mut queued = self.cur.clone();
            queued.frame_at(frame).stack[spi].reg.detail = Detail::Iter { ty, state, depth: depth + 1 };
            if let Some(old) = old {
                self.widen(old, &mut queued);
            }
            let mut r0 = *queued.reg(0);
            self.mark_not_null(&mut r0);
            *queued.reg_mut(0) = r0;
            self.push_state(queued, pc + 1, pc)?;
        }
        let drained = Detail::Iter { ty, state: IterState::Drained, depth };
        self.cur.frame_at(frame).stack[spi].reg.detail = drained;
        *self.cur.reg_mut(0) = Reg::known(0);
        Ok(())
    }
}
