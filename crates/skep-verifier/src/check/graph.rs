//! Lists and red-black trees of allocated objects: roots whose lock must be held, nodes that they own.

use super::Verifier;
use super::kfuncs::KMeta;
use crate::record::{Field, FieldKind, Record};
use crate::reg::{Base, Detail, Flags, Reg, RegType};
use crate::state::LockOwner;
use crate::stop::{Res, reject, unsupported};

const ALLOC: RegType = RegType::flagged(Base::BtfId, Flags::ALLOC);

impl Verifier<'_> {
    /// A list head or tree root, in a map value or allocated object, with the lock beside it held.
    pub(crate) fn graph_root_arg(
        &mut self,
        _name: &str,
        i: usize,
        reg: &Reg,
        tree: bool,
        meta: &mut KMeta,
    ) -> Res {
        let kind = if tree { FieldKind::RbRoot } else { FieldKind::ListHead };
        let what = if tree { "bpf_rb_root" } else { "bpf_list_head" };
        let regno = i + 1;
        if !reg.ty.is(Base::MapValue) && reg.ty != ALLOC {
            reject!("arg#{i} expected pointer to map value or allocated object");
        }
        if reg.ty == ALLOC && reg.ref_obj_id == 0 {
            reject!("allocated object must be referenced");
        }
        if !reg.val.is_const() {
            reject!("R{regno} doesn't have constant offset. {what} has to be at the constant offset");
        }
        let record = self.record_of(reg)?;
        let off = i64::from(reg.off) + reg.val.bits.value as i64;
        let Some(field) = record.find(kind, off) else { reject!("{what} not found at offset={off}") };
        self.check_lock_held(reg, &record, what)?;
        let place = if tree { &mut meta.root } else { &mut meta.head };
        *place = Some(field.clone());
        Ok(())
    }

    fn check_lock_held(&self, reg: &Reg, record: &Record, what: &str) -> Res {
        let owner = match reg.map() {
            Some(map) => LockOwner::Map(map),
            None => LockOwner::Btf(reg.btf().map_or(0, |r| r.obj)),
        };
        let lock = record.first(FieldKind::SpinLock).or_else(|| record.first(FieldKind::ResSpinLock));
        let at = lock.map_or(-22, |f| i64::from(f.offset));
        if self.cur.active_locks == 0 || self.cur.active_lock != Some((reg.id, owner)) {
            reject!("bpf_spin_lock at off={at} must be held for {what}");
        }
        Ok(())
    }

    /// A node: owned by us to be added, or of the tree to be removed or followed.
    pub(crate) fn graph_node_arg(
        &mut self,
        name: &str,
        i: usize,
        reg: &Reg,
        tree: bool,
        meta: &mut KMeta,
    ) -> Res {
        let regno = i + 1;
        let adds =
            matches!(name, "bpf_rbtree_add_impl" | "bpf_list_push_front_impl" | "bpf_list_push_back_impl");
        if adds {
            if reg.ty != ALLOC {
                reject!("arg#{i} expected pointer to allocated object");
            }
            if reg.ref_obj_id == 0 {
                reject!("allocated object must be referenced");
            }
        } else {
            if !reg.ty.is_non_owning() && reg.ref_obj_id == 0 {
                reject!("{name} can only take non-owning or refcounted bpf_rb_node pointer");
            }
            if self.in_rbtree_callback() {
                reject!("{name} not allowed in rbtree cb");
            }
        }
        let (kind, what, head) = if tree {
            (FieldKind::RbNode, "bpf_rb_node", "bpf_rb_root")
        } else {
            (FieldKind::ListNode, "bpf_list_node", "bpf_list_head")
        };
        if !reg.val.is_const() {
            reject!("R{regno} doesn't have constant offset. {what} has to be at the constant offset");
        }
        let off = i64::from(reg.off) + reg.val.bits.value as i64;
        if self.record_of(reg)?.find(kind, off).is_none() {
            reject!("{what} not found at offset={off}");
        }
        let root = if tree { meta.root.clone() } else { meta.head.clone() };
        let Some((root, value)) = root.and_then(|r| r.target.map(|t| (r, t))) else {
            unsupported!("list or tree without a type")
        };
        let Some(have) = reg.btf() else { unsupported!("BTF pointer without a type") };
        if !self.types.matches(have, 0, value, true, false) {
            reject!(
                "operation on {head} expects arg#1 {what} at offset={} in struct {}, but arg is at offset={off} in struct {}",
                root.node_off,
                self.types.name(value),
                self.types.name(have)
            );
        }
        if off != i64::from(root.node_off) {
            reject!(
                "arg#1 offset={off}, but expected {what} at offset={} in struct {}",
                root.node_off,
                self.types.name(value)
            );
        }
        meta.arg_btf = Some(have);
        Ok(())
    }

    /// A pointer to the node of what a list or tree holds.
    pub(crate) fn graph_node(&self, root: &Field) -> Res<Reg> {
        let Some(value) = root.target else { unsupported!("list or tree without a type") };
        Ok(Reg { off: root.node_off as i32, ..Reg::pointer(ALLOC, Detail::Btf(value)) })
    }

    /// A view of something that a list or tree owns, valid while its lock is held.
    pub(crate) fn set_non_owning(&self, reg: &mut Reg) -> Res {
        if self.cur.active_locks == 0 {
            unsupported!("view into a list or tree without its lock");
        }
        reg.ty.flags = reg.ty.flags.with(Flags::NON_OWN_REF);
        if self.record_of(reg)?.first(FieldKind::Refcount).is_some() {
            reg.ty.flags = reg.ty.flags.with(Flags::RCU);
        }
        Ok(())
    }
}
