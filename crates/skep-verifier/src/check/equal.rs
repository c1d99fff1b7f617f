//! When does a remembered state make exploring a new one needless?
//!
//! A state `old` from which every path was found safe covers `new` if every value `new` allows is one `old` allowed, up
//! to a renaming of ids, in all registers and slots that can still matter. Scalars matter by value only where they were
//! marked precise. Inside loops that are still being explored, marks are not final, so all scalars must be within the
//! old ranges ([`Exact::Within`]); an endless loop shows as a state that comes back exactly ([`Exact::Same`]).

use std::collections::HashMap;

use crate::reg::{ADD_CONST, Base, Detail, Reg};
use crate::state::{Frame, MAX_FRAMES, Ref, RefKind, Slot, SlotKind, State};

/// How strict a comparison is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exact {
    /// Imprecise scalars and dead slots do not matter.
    No,
    /// Everything must lie within the old ranges.
    Within,
    /// Everything must be the same.
    Same,
}

/// A growing one-to-one renaming of ids.
#[derive(Default)]
pub(crate) struct Ids {
    pairs: Vec<(u32, u32)>,
    next: u32,
}

impl Ids {
    pub(crate) fn reset(&mut self, next: u32) {
        self.pairs.clear();
        self.next = next;
    }

    /// Can `old` be renamed to `cur`? Zero only to zero.
    fn rename(&mut self, old: u32, cur: u32) -> bool {
        if (old == 0) != (cur == 0) {
            return false;
        }
        if old == 0 {
            return true;
        }
        for &(a, b) in &self.pairs {
            if a == old {
                return b == cur;
            }
            if b == cur {
                return false;
            }
        }
        self.pairs.push((old, cur));
        true
    }

    /// The same for scalars, whose old state asks nothing where it has no id.
    fn rename_scalar(&mut self, old: u32, cur: u32) -> bool {
        if old == 0 {
            return true;
        }
        let cur = if cur == 0 {
            self.next += 1;
            self.next
        } else {
            cur
        };
        if !self.rename(old, cur) {
            return false;
        }
        old & ADD_CONST == 0 || self.rename(old & !ADD_CONST, cur & !ADD_CONST)
    }
}

/// What of a remembered state can still be read: all else matters to no comparison.
pub(crate) struct Live<'a> {
    /// Registers before each instruction.
    pub(crate) regs: &'a [u16],
    /// Stack slots of each frame.
    pub(crate) slots: [u64; MAX_FRAMES],
}

impl Live<'_> {
    fn regs(&self, pc: u32) -> u16 {
        self.regs.get(pc as usize).copied().unwrap_or(u16::MAX)
    }
}

/// Does `old` cover `cur`?
pub(crate) fn states(old: &State, cur: &State, ids: &mut Ids, live: &Live<'_>, exact: Exact) -> bool {
    old.frames.len() == cur.frames.len()
        && old.in_sleepable == cur.in_sleepable
        && refs(old, cur, ids)
        && old.frames.iter().zip(&cur.frames).enumerate().all(|(i, (a, b))| {
            let live = (live.regs(old.frame_insn(i)), live.slots[i % MAX_FRAMES]);
            a.callsite == b.callsite && frames(a, b, ids, live, exact)
        })
}

fn refs(old: &State, cur: &State, ids: &mut Ids) -> bool {
    let same_regions = old.refs.len() == cur.refs.len()
        && old.preempt_locks == cur.preempt_locks
        && old.active_locks == cur.active_locks
        && old.rcu_locks == cur.rcu_locks;
    same_regions
        && ids.rename(old.irq_id, cur.irq_id)
        && match (old.active_lock, cur.active_lock) {
            (None, None) => true,
            (Some((a, a_owner)), Some((b, b_owner))) => a_owner == b_owner && ids.rename(a, b),
            _ => false,
        }
        && old.refs.iter().zip(&cur.refs).all(|(a, b)| obligations(a, b, ids))
}

fn obligations(old: &Ref, cur: &Ref, ids: &mut Ids) -> bool {
    let same_kind = match (old.kind, cur.kind) {
        (RefKind::Ptr, RefKind::Ptr) | (RefKind::Irq, RefKind::Irq) => true,
        (a, b) => a == b,
    };
    same_kind && ids.rename(old.id, cur.id)
}

fn frames(old: &Frame, cur: &Frame, ids: &mut Ids, live: (u16, u64), exact: Exact) -> bool {
    if old.callback_depth > cur.callback_depth {
        return false;
    }
    let registers = (0..11).all(|i| live.0 & (1 << i) == 0 || regs(&old.regs[i], &cur.regs[i], ids, exact));
    registers && stacks(old, cur, ids, live.1, exact)
}

/// Does the old register cover the current one?
pub(crate) fn regs(old: &Reg, cur: &Reg, ids: &mut Ids, exact: Exact) -> bool {
    if exact == Exact::Same {
        return same(old, cur, ids);
    }
    if old.ty.base == Base::NotInit && (exact == Exact::No || cur.ty.base == Base::NotInit) {
        return true;
    }
    if old.ty != cur.ty {
        return false;
    }
    match old.ty.base {
        Base::Scalar => scalars(old, cur, ids, exact),
        Base::MapKey | Base::MapValue | Base::Mem | Base::Buf | Base::TpBuffer => {
            old.off == cur.off
                && old.detail == cur.detail
                && old.val.contains(&cur.val)
                && ids.rename(old.id, cur.id)
                && ids.rename(old.ref_obj_id, cur.ref_obj_id)
        }
        Base::PacketMeta | Base::Packet => {
            let (a, b) = (old.range(), cur.range());
            let range_ok = if a < 0 || b < 0 { a == b } else { a <= b };
            range_ok && old.off == cur.off && ids.rename(old.id, cur.id) && old.val.contains(&cur.val)
        }
        Base::Arena => true,
        _ => same(old, cur, ids),
    }
}

fn scalars(old: &Reg, cur: &Reg, ids: &mut Ids, exact: Exact) -> bool {
    if !old.precise && exact == Exact::No {
        return true;
    }
    // A constant distance between copies must be the same distance, and must exist on both sides.
    let (old_link, cur_link) = (old.id & ADD_CONST, cur.id & ADD_CONST);
    if old.id != 0 && old_link != cur_link {
        return false;
    }
    if old_link != 0 && old.off != cur.off {
        return false;
    }
    ids.rename_scalar(old.id, cur.id) && old.val.contains(&cur.val)
}

/// Equal but for ids, which must rename. The precision mark is no part of the value.
pub(crate) fn same(old: &Reg, cur: &Reg, ids: &mut Ids) -> bool {
    old.ty == cur.ty
        && old.off == cur.off
        && old.detail == cur.detail
        && old.val == cur.val
        && ids.rename(old.id, cur.id)
        && ids.rename(old.ref_obj_id, cur.ref_obj_id)
}

/// What a slot of plain data or a spilled scalar is as a scalar.
fn as_scalar(slot: &Slot) -> Option<Reg> {
    if slot.is_spilled_scalar64() {
        return Some(slot.reg);
    }
    slot.kind.iter().all(|k| matches!(k, SlotKind::Misc | SlotKind::Invalid)).then_some(Reg::UNKNOWN)
}

fn stacks(old: &Frame, cur: &Frame, ids: &mut Ids, live: u64, exact: Exact) -> bool {
    let mut stack = old.stack.iter().enumerate();
    stack.all(|(i, slot)| live & (1 << i) == 0 || slots(slot, cur.stack.get(i), ids, exact))
}

fn slots(old: &Slot, cur: Option<&Slot>, ids: &mut Ids, exact: Exact) -> bool {
    if exact != Exact::No && cur.is_none_or(|cur| cur.kind != old.kind) {
        return false;
    }
    // Nobody may rely on data or on bytes never written: privileged programs may read both.
    let matters = |kind: &SlotKind| !matches!(kind, SlotKind::Invalid | SlotKind::Misc);
    if !old.kind.iter().any(matters) {
        return true;
    }
    let Some(cur) = cur else { return false };
    if let (Some(a), Some(b)) = (as_scalar(old), as_scalar(cur)) {
        return regs(&a, &b, ids, exact);
    }
    let bytes = old.kind.iter().zip(&cur.kind).all(|(a, b)| !matters(a) || a == b);
    bytes && objects(old, cur, ids, exact)
}

fn objects(old: &Slot, cur: &Slot, ids: &mut Ids, exact: Exact) -> bool {
    let (a, b) = (&old.reg, &cur.reg);
    match old.kind[7] {
        SlotKind::Spill => regs(a, b, ids, exact),
        SlotKind::Dynptr => a.detail == b.detail && ids.rename(a.ref_obj_id, b.ref_obj_id),
        SlotKind::Iter => {
            let same = match (a.detail, b.detail) {
                (Detail::Iter { ty: t1, state: s1, .. }, Detail::Iter { ty: t2, state: s2, .. }) => {
                    t1 == t2 && s1 == s2
                }
                (x, y) => x == y,
            };
            a.ty == b.ty && same && ids.rename(a.ref_obj_id, b.ref_obj_id)
        }
        SlotKind::IrqFlag => a.detail == b.detail && ids.rename(a.ref_obj_id, b.ref_obj_id),
        SlotKind::Invalid | SlotKind::Misc | SlotKind::Zero => true,
    }
}

/// Could `cur` be `old` once more? A cheap test before the thorough one.
pub(crate) fn maybe_looping(old: &State, cur: &State) -> bool {
    old.frames.len() == cur.frames.len()
        && old
            .frame()
            .regs
            .iter()
            .zip(&cur.frame().regs)
            .all(|(a, b)| a.ty == b.ty && a.off == b.off && a.detail == b.detail && a.val == b.val)
}

/// Is some active iterator at another depth in the two states?
pub(crate) fn iterator_depths_differ(old: &State, cur: &State) -> bool {
    let depths = |state: &State| -> HashMap<(usize, usize), u32> {
        let frames = state.frames.iter().enumerate();
        let slots =
            frames.flat_map(|(f, frame)| frame.stack.iter().enumerate().map(move |(s, slot)| ((f, s), slot)));
        slots
            .filter(|(_, slot)| slot.kind[0] == SlotKind::Iter)
            .filter_map(|(at, slot)| match slot.reg.detail {
                Detail::Iter { state: crate::reg::IterState::Active, depth, .. } => Some((at, depth)),
                _ => None,
            })
            .collect()
    };
    let now = depths(cur);
    depths(old).into_iter().any(|(at, depth)| now.get(&at).is_some_and(|&d| d != depth))
}
