//! Spin locks, resilient spin locks, and saved interrupt flags: obligations that nest.

use super::Verifier;
use super::memory::Use;
use super::stack::slot_of;
use crate::record::FieldKind;
use crate::reg::{Base, Detail, Flags, Reg, RegType};
use crate::scalar::Scalar;
use crate::state::{LockOwner, Ref, RefKind, Slot, SlotKind};
use crate::stop::{Res, reject, unsupported};

/// What a lock function does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LockCall {
    /// Takes, rather than releases.
    pub(crate) takes: bool,
    /// Resilient?
    pub(crate) resilient: bool,
    /// With interrupts off?
    pub(crate) irq: bool,
}

impl LockCall {
    /// What a kernel function does to resilient locks.
    pub(crate) fn of(kfunc: &str) -> Option<Self> {
        let (takes, irq) = match kfunc {
            "bpf_res_spin_lock" => (true, false),
            "bpf_res_spin_unlock" => (false, false),
            "bpf_res_spin_lock_irqsave" => (true, true),
            "bpf_res_spin_unlock_irqrestore" => (false, true),
            _ => return None,
        };
        Some(Self { takes, resilient: true, irq })
    }

    fn name(self) -> &'static str {
        if self.resilient { "bpf_res_spin" } else { "bpf_spin" }
    }

    fn kind(self, owner: LockOwner) -> RefKind {
        match (self.resilient, self.irq) {
            (true, true) => RefKind::ResLockIrq(owner),
            (true, false) => RefKind::ResLock(owner),
            (false, _) => RefKind::Lock(owner),
        }
    }
}

/// The owner of the lock a reference is, if it is one.
fn lock_owner(kind: RefKind) -> Option<LockOwner> {
    match kind {
        RefKind::Lock(owner) | RefKind::ResLock(owner) | RefKind::ResLockIrq(owner) => Some(owner),
        RefKind::Ptr | RefKind::Irq => None,
    }
}

impl Verifier<'_> {
    /// Takes or releases the lock that `regno` points to.
    pub(crate) fn process_lock(&mut self, regno: usize, call: LockCall) -> Res {
        let reg = *self.cur.reg(regno);
        let name = call.name();
        if self.in_rbtree_callback() {
            reject!("can't spin_{{lock,unlock}} in rbtree cb");
        }
        if !reg.val.is_const() {
            reject!("R{regno} doesn't have constant offset. {name}_lock has to be at the constant offset");
        }
        let record = self.record_of(&reg)?;
        let (owner, place) = match reg.map() {
            Some(map) => (LockOwner::Map(map), format!("map '{}'", self.maps[map as usize].info.name)),
            None => (LockOwner::Btf(reg.btf().map_or(0, |r| r.obj)), "local 'kptr'".to_owned()),
        };
        let kind = if call.resilient { FieldKind::ResSpinLock } else { FieldKind::SpinLock };
        let Some(field) = record.first(kind) else { reject!("{place} has no valid {name}_lock") };
        let at = (reg.val.bits.value as i64).wrapping_add(i64::from(reg.off));
        if i64::from(field.offset) != at {
            reject!("off {at} doesn't point to 'struct {name}_lock' that is at {}", field.offset);
        }
        if call.takes { self.take_lock(&reg, owner, call) } else { self.release_lock(&reg, owner, call) }
    }

    fn take_lock(&mut self, reg: &Reg, owner: LockOwner, call: LockCall) -> Res {
        if !call.resilient && self.cur.refs.iter().any(|r| matches!(r.kind, RefKind::Lock(_))) {
            reject!("Locking two bpf_spin_locks are not allowed");
        }
        let same = |r: &Ref| {
            matches!(r.kind, RefKind::ResLock(o) | RefKind::ResLockIrq(o) if o == owner) && r.id == reg.id
        };
        if call.resilient && self.cur.refs.iter().any(same) {
            reject!("Acquiring the same lock again, AA deadlock detected");
        }
        self.cur.refs.push(Ref { kind: call.kind(owner), id: reg.id, insn: self.pc });
        self.cur.active_locks += 1;
        self.cur.active_lock = Some((reg.id, owner));
        Ok(())
    }

    fn release_lock(&mut self, reg: &Reg, owner: LockOwner, call: LockCall) -> Res {
        let name = call.name();
        if self.cur.active_locks == 0 {
            reject!("{name}_unlock without taking a lock");
        }
        let kind = call.kind(owner);
        let Some(at) = self.cur.refs.iter().rposition(|r| r.kind == kind && r.id == reg.id) else {
            reject!("{name}_unlock of different lock");
        };
        if self.cur.active_lock != Some((reg.id, owner)) {
            reject!("{name}_unlock cannot be out of order");
        }
        self.cur.refs.remove(at);
        self.cur.active_locks -= 1;
        let outer = self.cur.refs.iter().rev().find_map(|r| lock_owner(r.kind).map(|owner| (r.id, owner)));
        self.cur.active_lock = outer;
        self.invalidate_non_owning();
        Ok(())
    }

    /// References into trees and lists end with the lock that protects them.
    pub(crate) fn invalidate_non_owning(&mut self) {
        self.cur.for_each_reg(|r| r.ty.is_non_owning(), |r| *r = Reg::UNKNOWN);
    }

    /// A resilient lock may fail: the path where it does goes on without it.
    pub(crate) fn fork_failed_lock(&mut self) -> Res {
        const MAX_ERRNO: i32 = 4095;
        let next = self.pc + 1;
        let failed = self.push(next)?;
        let frame = failed.frame_mut();
        frame.regs[..6].fill(Reg::NOT_INIT);
        let error = Scalar { smin32: -MAX_ERRNO, smax32: -1, ..Scalar::UNKNOWN }.synced();
        frame.regs[0] = Reg::scalar(error);
        Ok(())
    }

    /// Saves interrupt flags to the slot that `regno` points to, or restores them from it.
    pub(crate) fn process_irq_flag(&mut self, i: usize, saves: bool, lock: bool) -> Res {
        let regno = i + 1;
        let reg = *self.cur.reg(regno);
        if !reg.ty.is(Base::Stack) {
            reject!("arg#{i} doesn't point to an irq flag on stack");
        }
        let place = self.object_slot(&reg, "irq_flag", 1);
        let holds_flag = |v: &Self, spi: usize| {
            let slot = &v.cur.frames[reg.frame()].stack[spi];
            slot.kind.iter().all(|k| *k == SlotKind::IrqFlag)
        };
        if saves {
            let taken = match &place {
                Err(_) => true,
                Ok(spi) => spi.is_some_and(|spi| {
                    self.cur.frames[reg.frame()].stack[spi].kind.contains(&SlotKind::IrqFlag)
                }),
            };
            if taken {
                reject!("expected uninitialized irq flag as arg#{i}");
            }
            self.access(regno, 0, 8, Use::WRITE, false)?;
            return self.save_flags(&reg, lock);
        }
        match place {
            Ok(Some(spi)) if holds_flag(self, spi) => {
                self.mark_stack_read(reg.frame(), 1 << spi);
                self.restore_flags(&reg, spi, lock)
            }
            _ => reject!("expected an initialized irq flag as arg#{i}"),
        }
    }

    fn save_flags(&mut self, reg: &Reg, lock: bool) -> Res {
        let spi = slot_of(reg.off.wrapping_add(reg.val.bits.value as i32));
        let id = self.acquire(RefKind::Irq);
        self.cur.irq_id = id;
        let object = Reg::pointer(RegType::flagged(Base::Stack, Flags::NONE), Detail::Irq { lock });
        let frame = self.cur.frame_at(reg.frame());
        let Some(slot) = frame.stack.get_mut(spi) else { unsupported!("interrupt flags beyond the stack") };
        *slot = Slot { kind: [SlotKind::IrqFlag; 8], reg: Reg { ref_obj_id: id, ..object } };
        self.live_stack.write(reg.frame(), 1 << spi);
        Ok(())
    }

    fn restore_flags(&mut self, reg: &Reg, spi: usize, lock: bool) -> Res {
        let slot = self.cur.frames[reg.frame()].stack[spi];
        let by_lock = matches!(slot.reg.detail, Detail::Irq { lock: true });
        if by_lock != lock {
            let class = |lock| if lock { "lock" } else { "native" };
            reject!(
                "irq flag acquired by {} kfuncs cannot be restored with {} kfuncs",
                class(by_lock),
                class(lock)
            );
        }
        let id = slot.reg.ref_obj_id;
        if id != self.cur.irq_id {
            let taken = self.cur.refs.iter().find(|r| r.id == self.cur.irq_id).map_or(0, |r| r.insn);
            reject!(
                "cannot restore irq state out of order, expected id={} acquired at insn_idx={taken}",
                self.cur.irq_id
            );
        }
        self.cur.refs.retain(|r| !(r.kind == RefKind::Irq && r.id == id));
        self.cur.irq_id = self.cur.refs.iter().rev().find(|r| r.kind == RefKind::Irq).map_or(0, |r| r.id);
        self.cur.frame_at(reg.frame()).stack[spi] = Slot::EMPTY;
        self.live_stack.write(reg.frame(), 1 << spi);
        Ok(())
    }
}
