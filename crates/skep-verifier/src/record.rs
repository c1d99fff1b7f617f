//! Special fields of map values and allocated objects: locks, timers, kptrs, list and tree heads and nodes.
//!
//! The kernel finds them by the names of their types in BTF (`btf_parse_fields`). Values with such a field may be
//! touched there only by the helpers and kfuncs the field is for.

use std::sync::Arc;

use skep_btf::{Btf, Kind, Shape, TypeId};

use crate::input::Target;
use crate::reg::BtfRef;
use crate::types::Types;

/// Which kernel mechanism a field belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FieldKind {
    SpinLock,
    ResSpinLock,
    Timer,
    Workqueue,
    TaskWork,
    Kptr(Kptr),
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    Refcount,
}

/// How a kptr field owns what it points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kptr {
    /// `__kptr_untrusted`.
    Untrusted,
    /// `__kptr`: owns a reference.
    Owned,
    /// `__percpu_kptr`.
    Percpu,
    /// `__uptr`: pinned user memory.
    User,
}

/// A special field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) kind: FieldKind,
    /// Bytes from the start of the value.
    pub(crate) offset: u32,
    /// Bytes.
    pub(crate) size: u32,
    /// Type pointed to by a kptr, or held by a list or tree.
    pub(crate) target: Option<BtfRef>,
    /// Offset of the node in what a list or tree holds.
    pub(crate) node_off: u32,
}

impl Field {
    pub(crate) fn is_kptr(&self) -> bool {
        matches!(self.kind, FieldKind::Kptr(_))
    }

    pub(crate) fn is_percpu(&self) -> bool {
        self.kind == FieldKind::Kptr(Kptr::Percpu)
    }

    /// Is the node of a list or tree, which it says it contains, one?
    fn holds(&self, types: &Types, to: BtfRef) -> bool {
        let node = if self.kind == FieldKind::ListHead { "bpf_list_node" } else { "bpf_rb_node" };
        let Some((r, c)) = types.composite(to) else { return false };
        let mut members = c.members.positions().iter().flatten();
        members.any(|m| m.bit_offset / 8 == self.node_off && types.name(types.at(r, m.ty)) == node)
    }

    pub(crate) fn pointee(&self) -> Option<BtfRef> {
        self.target
    }

    /// The name in the kernel's messages.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            FieldKind::SpinLock => "bpf_spin_lock",
            FieldKind::ResSpinLock => "bpf_res_spin_lock",
            FieldKind::Timer => "bpf_timer",
            FieldKind::Workqueue => "bpf_wq",
            FieldKind::TaskWork => "bpf_task_work",
            FieldKind::Kptr(Kptr::Percpu) => "percpu_kptr",
            FieldKind::Kptr(Kptr::User) => "uptr",
            FieldKind::Kptr(_) => "kptr",
            FieldKind::ListHead => "bpf_list_head",
            FieldKind::ListNode => "bpf_list_node",
            FieldKind::RbRoot => "bpf_rb_root",
            FieldKind::RbNode => "bpf_rb_node",
            FieldKind::Refcount => "bpf_refcount",
        }
    }
}

/// A special field of a map's values, as runtimes have to treat it: nobody but the kernel's functions touches its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialField {
    /// What it is in the kernel's messages: `bpf_timer`, `bpf_spin_lock`, `kptr`.
    pub name: &'static str,
    /// Bytes from the start of the value.
    pub offset: u32,
    /// Bytes that it takes.
    pub bytes: u32,
}

/// The special fields of values of a type, by offset.
pub fn special_fields(btf: Arc<Btf>, value: TypeId) -> Vec<SpecialField> {
    let types = Types::new(&Target { btf: None, modules: Vec::new(), cpus: 1 }, Some(btf));
    let record = Record::of(&types, BtfRef { obj: BtfRef::PROGRAM, id: value.0 });
    let fields = record.fields.iter();
    fields.map(|f| SpecialField { name: f.name(), offset: f.offset, bytes: f.size }).collect()
}

/// Special fields of a value (`BTF_FIELDS_MAX`).
const FIELDS_MAX: usize = 11;
/// Members that are looked at for special fields, those of members included.
const MEMBERS_MAX: u32 = 1 << 14;

/// What carries a declaration tag: a variable, or a member of a structure.
type Tagged = (BtfRef, Option<u32>);

/// The special fields of a type, by offset.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) fields: Vec<Field>,
}

impl Record {
    /// The fields of a structure of the program's BTF, or of the variables of one of its sections.
    pub(crate) fn of(types: &Types, ty: BtfRef) -> Self {
        let (mut record, mut left) = (Self::default(), MEMBERS_MAX);
        match types.strip(ty) {
            Some((r, Shape::Datasec(section))) => {
                for var in section.vars.iter().flatten() {
                    let at = types.at(r, var.ty);
                    if let Some(Shape::Var { ty, .. }) = types.shape(at) {
                        record.add(types, types.at(at, ty), var.offset, Some((at, None)), (0, &mut left));
                    }
                }
            }
            Some((r, _)) => record.add_members(types, r, 0, (0, &mut left)),
            None => {}
        }
        record.fields.sort_by_key(|f| f.offset);
        if record.is_valid(types) { record } else { Self::default() }
    }

    /// Would the kernel take the fields? Where it does not, the map has none: its functions find no lock, no list.
    fn is_valid(&self, types: &Types) -> bool {
        use FieldKind::{
            ListHead, ListNode, RbNode, RbRoot, Refcount, ResSpinLock, SpinLock, TaskWork, Timer, Workqueue,
        };
        let of_values = self.fields.iter().filter(|f| !matches!(f.kind, ListNode | RbNode)).count();
        let once = |kind| self.fields.iter().filter(|f| f.kind == kind).count() <= 1;
        let unique = [SpinLock, ResSpinLock, Timer, Workqueue, TaskWork, Refcount].into_iter().all(once);
        let mut roots = self.fields.iter().filter(|f| matches!(f.kind, ListHead | RbRoot));
        let has_root = roots.clone().next().is_some();
        of_values <= FIELDS_MAX
            && unique
            && self.fields.iter().all(|f| !f.is_kptr() || f.target.is_some())
            && roots.all(|root| root.target.is_some_and(|to| root.holds(types, to)))
            && (!has_root || self.has_lock())
    }

    fn add_members(&mut self, types: &Types, strct: BtfRef, base: u32, (depth, left): (u32, &mut u32)) {
        let Some((strct, c)) = types.composite(strct) else { return };
        if depth > 8 || types.shape(strct).is_some_and(|shape| shape.kind() == Kind::Union) {
            return;
        }
        for (i, m) in c.members.positions().iter().flatten().enumerate() {
            // What would lie beyond 4 GiB is in no value.
            let Some(at) = base.checked_add(m.bit_offset / 8) else { continue };
            if m.bitfield_bits == 0 {
                self.add(types, types.at(strct, m.ty), at, Some((strct, Some(i as u32))), (depth, left));
            }
        }
    }

    fn add(
        &mut self,
        types: &Types,
        ty: BtfRef,
        offset: u32,
        member: Option<Tagged>,
        (depth, left): (u32, &mut u32),
    ) {
        // Corrupt types may contain themselves many times over.
        if *left == 0 {
            return;
        }
        *left -= 1;
        let Some((elem, total, each)) = types.element(ty) else { return };
        let count = total.checked_div(each).unwrap_or(0);
        for n in 0..count.min(256) {
            let at = u32::try_from(i64::from(offset).saturating_add(n.saturating_mul(each)));
            let (Ok(at), 0..=64) = (at, self.fields.len()) else { return };
            match special(types, elem) {
                Some((kind, size)) => {
                    let (target, node_off) = self.target_of(types, kind, elem, member);
                    self.fields.push(Field { kind, offset: at, size, target, node_off });
                }
                None if types.is_struct(elem) => {
                    let before = self.fields.len();
                    self.add_members(types, elem, at, (depth + 1, left));
                    // The elements of an array are alike.
                    if self.fields.len() == before {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    /// What a kptr points to, or a list or tree says it contains.
    fn target_of(
        &self,
        types: &Types,
        kind: FieldKind,
        elem: BtfRef,
        member: Option<Tagged>,
    ) -> (Option<BtfRef>, u32) {
        match kind {
            FieldKind::Kptr(_) => (types.pointee(elem).and_then(|to| kptr_target(types, to)), 0),
            FieldKind::ListHead | FieldKind::RbRoot => {
                let mut tags = member.into_iter().flat_map(|(ty, i)| types.decl_tags(ty, i));
                let contains = tags.find_map(|tag| tag.strip_prefix("contains:"));
                contains.and_then(|text| contained(types, text)).map_or((None, 0), |(r, off)| (Some(r), off))
            }
            _ => (None, 0),
        }
    }

    /// The kptr field at this offset.
    pub(crate) fn kptr_at(&self, off: i64) -> Option<&Field> {
        self.fields.iter().find(|f| f.is_kptr() && i64::from(f.offset) == off)
    }

    /// The field of a kind at an offset.
    pub(crate) fn find(&self, kind: FieldKind, off: i64) -> Option<&Field> {
        self.fields.iter().find(|f| f.kind == kind && i64::from(f.offset) == off)
    }

    /// The only field of a kind.
    pub(crate) fn first(&self, kind: FieldKind) -> Option<&Field> {
        self.fields.iter().find(|f| f.kind == kind)
    }

    pub(crate) fn has_kptr(&self) -> bool {
        self.fields.iter().any(Field::is_kptr)
    }

    pub(crate) fn has_lock(&self) -> bool {
        self.first(FieldKind::SpinLock).is_some() || self.first(FieldKind::ResSpinLock).is_some()
    }

    /// Must lookups of inner maps be told apart?
    pub(crate) fn needs_uid(&self) -> bool {
        self.first(FieldKind::Timer).is_some()
            || self.first(FieldKind::Workqueue).is_some()
            || self.first(FieldKind::TaskWork).is_some()
    }

    pub(crate) fn has_graph_node(&self) -> bool {
        self.first(FieldKind::ListNode).is_some() || self.first(FieldKind::RbNode).is_some()
    }
}

/// Is the type special by its name or tags, and how large is it?
fn special(types: &Types, elem: BtfRef) -> Option<(FieldKind, u32)> {
    match types.shape(elem)? {
        Shape::Struct(_) => Some(match types.name(elem) {
            "bpf_spin_lock" => (FieldKind::SpinLock, 4),
            "bpf_res_spin_lock" => (FieldKind::ResSpinLock, 4),
            "bpf_timer" => (FieldKind::Timer, 16),
            "bpf_wq" => (FieldKind::Workqueue, 16),
            "bpf_task_work" => (FieldKind::TaskWork, 8),
            "bpf_list_head" => (FieldKind::ListHead, 16),
            "bpf_list_node" => (FieldKind::ListNode, 24),
            "bpf_rb_root" => (FieldKind::RbRoot, 16),
            "bpf_rb_node" => (FieldKind::RbNode, 32),
            "bpf_refcount" => (FieldKind::Refcount, 4),
            _ => return None,
        }),
        Shape::Ptr(_) => {
            let tags = types.pointer_tags(elem);
            let kind = tags.iter().find_map(|tag| match tag.as_str() {
                "kptr_untrusted" => Some(Kptr::Untrusted),
                "kptr" => Some(Kptr::Owned),
                "percpu_kptr" => Some(Kptr::Percpu),
                "uptr" => Some(Kptr::User),
                _ => None,
            })?;
            Some((FieldKind::Kptr(kind), 8))
        }
        _ => None,
    }
}

/// The structure a kptr points to: the kernel's of that name where there is one, else the program's.
fn kptr_target(types: &Types, to: BtfRef) -> Option<BtfRef> {
    let (to, shape) = types.strip(to)?;
    let kind = shape.kind();
    if !matches!(kind, Kind::Struct | Kind::Union) {
        return None;
    }
    types.find(types.name(to), kind).or(Some(to))
}

/// `TYPE:FIELD`: the structure a list or tree holds, and the offset of its node.
fn contained(types: &Types, text: &str) -> Option<(BtfRef, u32)> {
    let (name, field) = text.split_once(':')?;
    let btf = types.obj(BtfRef::PROGRAM)?;
    let TypeId(id) = btf.find(name, Kind::Struct)?;
    let strct = BtfRef { obj: BtfRef::PROGRAM, id };
    let (_, c) = types.composite(strct)?;
    let member = c.members.iter().flatten().find(|m| m.name == field)?;
    Some((strct, member.bit_offset / 8))
}
