//! Accesses through BTF-typed pointers, kptrs in maps, and how trust travels from a pointer to what it points to.

use std::sync::Arc;

use skep_isa::uapi::ProgType;

use super::Verifier;
use super::memory::{Stored, Use, tnum_pair};
use crate::record::{Field, FieldKind, Kptr, Record};
use crate::reg::{Base, BtfRef, Detail, Flags, Reg, RegType};
use crate::stop::{Res, Stop, reject, unsupported};
use crate::types::Walk;

/// Fields whose pointer is as trusted as the structure it is in (`__safe_trusted`).
const SAFE_TRUSTED: &[(&str, &str)] = &[
    ("bpf_iter_meta", "seq"),
    ("bpf_iter__task", "meta"),
    ("bpf_iter__task", "task"),
    ("linux_binprm", "file"),
    ("file", "f_inode"),
    ("dentry", "d_inode"),
];
/// The same, but it may be null.
const SAFE_TRUSTED_OR_NULL: &[(&str, &str)] = &[("socket", "sk"), ("vm_area_struct", "vm_file")];
/// Fields that are valid within an RCU section and never null (`__safe_rcu`).
const SAFE_RCU: &[(&str, &str)] = &[
    ("task_struct", "cpus_ptr"),
    ("task_struct", "cgroups"),
    ("task_struct", "real_parent"),
    ("task_struct", "group_leader"),
    ("cgroup", "kn"),
    ("css_set", "dfl_cgrp"),
    ("cgroup_subsys_state", "cgroup"),
];
/// The same, but they may be null.
const SAFE_RCU_OR_NULL: &[(&str, &str)] =
    &[("mm_struct", "exe_file"), ("sk_buff", "sk"), ("request_sock", "sk"), ("vm_area_struct", "vm_mm")];
/// Structures of the kernel that RCU protects (`rcu_protected_types`).
const RCU_PROTECTED: &[&str] =
    &["prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct", "bpf_crypto_ctx"];

/// What a load of a structure's field gives.
pub(crate) enum Loaded {
    /// A number.
    Data,
    /// A pointer to a structure: which, the flags of its tags, the field's name.
    Ptr(BtfRef, Flags, String),
    /// A pointer to something else, readable with care.
    Memory,
}

/// A member that congestion control may write.
struct TcpField {
    strct: &'static str,
    path: &'static [&'static str],
    /// May a store begin in the middle of it?
    throughout: bool,
}

const fn tcp(strct: &'static str, path: &'static [&'static str]) -> TcpField {
    TcpField { strct, path, throughout: false }
}

/// What a `struct tcp_sock` begins with counts as its own.
const TCP_FIELDS: &[TcpField] = &[
    tcp("sock", &["sk_pacing_rate"]),
    tcp("sock", &["sk_pacing_status"]),
    TcpField { throughout: true, ..tcp("inet_connection_sock", &["icsk_ca_priv"]) },
    tcp("inet_connection_sock", &["icsk_ack", "pending"]),
    tcp("tcp_sock", &["snd_cwnd"]),
    tcp("tcp_sock", &["snd_cwnd_cnt"]),
    tcp("tcp_sock", &["snd_cwnd_stamp"]),
    tcp("tcp_sock", &["snd_ssthresh"]),
    tcp("tcp_sock", &["ecn_flags"]),
    tcp("tcp_sock", &["app_limited"]),
];

impl Verifier<'_> {
    /// Is a kernel pointer valid because of where we are?
    pub(crate) fn in_rcu_cs(&self) -> bool {
        self.cur.rcu_locks > 0 || self.cur.active_locks > 0 || !self.in_sleepable()
    }

    /// May the program sleep here?
    pub(crate) fn in_sleepable(&self) -> bool {
        self.input.sleepable || self.cur.in_sleepable
    }

    pub(crate) fn access_btf(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        let Some(btf) = reg.btf() else { unsupported!("BTF pointer without a type") };
        let name = self.types.name(btf).to_owned();
        if !self.input.gpl && btf.is_kernel() {
            reject!("Cannot access kernel 'struct {name}' from non-GPL compatible program");
        }
        if off < 0 {
            reject!("R{regno} is ptr_{name} invalid negative access: off={off}");
        }
        if !reg.val.is_zero() {
            reject!(
                "R{regno} is ptr_{name} invalid variable offset: off={off}, var_off={}",
                tnum_pair(reg.val.bits)
            );
        }
        if reg.ty.has(Flags::USER) {
            reject!("R{regno} is ptr_{name} access user memory: off={off}");
        }
        if reg.ty.has(Flags::PERCPU) {
            reject!("R{regno} is ptr_{name} access percpu memory: off={off}");
        }
        let alloc = reg.ty.has(Flags::ALLOC);
        if how.is_store() && !alloc {
            if reg.ty.has(Flags::UNTRUSTED) {
                reject!("only read is supported");
            }
            return self.store_to_kernel(&name, off, size);
        }
        if how.is_store() && !reg.ty.is_alloc_obj() {
            reject!("only read is supported");
        }
        let loaded = self.struct_access(reg, i64::from(off), i64::from(size))?;
        let loaded = match loaded {
            Loaded::Ptr(to, flags, field) => {
                let flags = self.pointer_flags(reg, btf, flags, &field);
                Loaded::Ptr(to, flags, field)
            }
            other => other,
        };
        self.load_struct_field(how, &loaded);
        Ok(())
    }

    /// Trust of a pointer loaded from a field of what `reg` points to.
    fn pointer_flags(&self, reg: &Reg, strct: BtfRef, mut flags: Flags, field: &str) -> Flags {
        let trust = Flags::TRUSTED.with(Flags::ALLOC).with(Flags::NON_OWN_REF).with(Flags::RCU);
        let listed = |list: &[(&str, &str)]| list.contains(&(self.types.name(strct), field));
        if reg.ty.has(Flags::UNTRUSTED) {
            return Flags::UNTRUSTED;
        }
        if !reg.is_trusted() && !reg.is_rcu() {
            return flags.without(trust);
        }
        if listed(SAFE_TRUSTED) {
            return flags.with(Flags::TRUSTED);
        }
        if listed(SAFE_TRUSTED_OR_NULL) {
            return flags.with(Flags::TRUSTED).with(Flags::MAYBE_NULL);
        }
        if !self.in_rcu_cs() || reg.ty.may_be_null() {
            return Flags::UNTRUSTED;
        }
        if listed(SAFE_RCU) {
            return flags.with(Flags::RCU);
        }
        let or_null = listed(SAFE_RCU_OR_NULL);
        if flags.any(Flags::RCU) || or_null {
            if or_null {
                flags = flags.without(Flags::UNTRUSTED);
            }
            return flags.with(Flags::RCU).with(Flags::MAYBE_NULL);
        }
        if flags.any(Flags::PERCPU.with(Flags::USER)) { flags } else { flags.without(trust) }
    }

    /// Follows an access into a structure: a pointer field, or data.
    pub(crate) fn struct_access(&self, reg: &Reg, off: i64, size: i64) -> Res<Loaded> {
        let Some(btf) = reg.btf() else { unsupported!("BTF pointer without a type") };
        let alloc = reg.ty.has(Flags::ALLOC);
        if alloc && !btf.is_kernel() {
            let record = self.environment.record(btf);
            let hit = |f: &&Field| off < i64::from(f.offset + f.size) && i64::from(f.offset) < off + size;
            if let Some(field) = record.fields.iter().find(hit) {
                reject!("direct access to {} is disallowed", field.name());
            }
        }
        let (mut at, mut off, mut untrusted) = (btf, off, Flags::NONE);
        for _ in 0..64 {
            match self.types.walk(at, off, size, !alloc, &mut untrusted).map_err(Stop::reject)? {
                Walk::Scalar => return Ok(Loaded::Data),
                Walk::Ptr { .. } if alloc => return Ok(Loaded::Data),
                Walk::Ptr { to, flags, field } => return Ok(Loaded::Ptr(to, flags.with(untrusted), field)),
                Walk::Other => return Ok(Loaded::Memory),
                Walk::Struct(inner) => (at, off) = (inner, 0),
            }
        }
        reject!("access beyond the nesting of structures")
    }

    /// What a load of a structure's field gives.
    pub(crate) fn load_struct_field(&mut self, how: Use, loaded: &Loaded) {
        let Use::Load { dst: Some(dst), .. } = how else { return };
        let reg = match loaded {
            Loaded::Data => Reg::UNKNOWN,
            Loaded::Memory => {
                let ty = RegType::flagged(Base::Mem, Flags::RDONLY.with(Flags::UNTRUSTED));
                Reg::pointer(ty, Detail::Mem { size: 0, dynptr: 0 })
            }
            &Loaded::Ptr(to, flags, _) => {
                let id = if flags.any(Flags::MAYBE_NULL) { self.new_id() } else { 0 };
                Reg { id, ..Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(to)) }
            }
        };
        *self.cur.reg_mut(dst) = reg;
    }

    /// Stores into kernel structures that a program type may make.
    fn store_to_kernel(&self, name: &str, off: i32, size: u32) -> Res {
        let writable: &[&str] = match self.prog_type() {
            ProgType::STRUCT_OPS if self.struct_ops_name() == "tcp_congestion_ops" => {
                if name != "tcp_sock" {
                    reject!("only read is supported");
                }
                return self.store_to_tcp_sock(off, size);
            }
            ProgType::STRUCT_OPS if self.struct_ops_name() == "bpf_dummy_ops" => {
                return self.store_to_dummy_state(name, off, size);
            }
            ProgType::STRUCT_OPS => {
                if self.input.gpl {
                    unsupported!("store to `struct {name}` in `{}`", self.struct_ops_name());
                }
                &[]
            }
            ProgType::XDP | ProgType::SCHED_CLS | ProgType::SCHED_ACT => &["nf_conn", "nf_conn___init"],
            _ => &[],
        };
        if !writable.contains(&name) {
            reject!("only read is supported");
        }
        // Of a connection only its mark may be written.
        let mark = self.member_at("nf_conn", &["mark"]);
        if mark.is_none_or(|(start, _)| start != off as u32) || size > 4 {
            reject!("no write support to nf_conn at off {off}");
        }
        Ok(())
    }

    /// Stores that congestion control may make (`bpf_tcp_ca_btf_struct_access`).
    fn store_to_tcp_sock(&self, off: i32, size: u32) -> Res {
        let off = off as u32;
        let fields =
            TCP_FIELDS.iter().filter_map(|field| Some((field, self.member_at(field.strct, field.path)?)));
        let mut wanted =
            fields.filter(
                |(field, (start, end))| {
                    if field.throughout { (*start..*end).contains(&off) } else { *start == off }
                },
            );
        let Some((_, (_, end))) = wanted.next() else {
            reject!("no write support to tcp_sock at off {off}");
        };
        if off + size > end {
            reject!(
                "write access at off {off} with size {size} beyond the member of tcp_sock ended at {end}"
            );
        }
        Ok(())
    }

    /// Stores that programs of the kernel's own tests may make (`bpf_dummy_ops_btf_struct_access`).
    fn store_to_dummy_state(&self, name: &str, off: i32, size: u32) -> Res {
        if name != "bpf_dummy_ops_state" {
            reject!("only access to bpf_dummy_ops_state is supported");
        }
        let bytes = self.types.kernel_struct(name).and_then(|state| self.types.size(state));
        if bytes.is_none_or(|bytes| off as u64 + u64::from(size) > bytes) {
            reject!("write access at off {off} with size {size}");
        }
        Ok(())
    }

    /// First byte and end of a member of a kernel structure, or of a member's member.
    fn member_at(&self, strct: &str, path: &[&str]) -> Option<(u32, u32)> {
        let (mut at, mut start) = (self.types.kernel_struct(strct)?, 0);
        for name in path {
            let (r, c) = self.types.composite(at)?;
            let member = c.members.iter().flatten().find(|m| m.name == *name)?;
            (at, start) = (self.types.at(r, member.ty), start + member.bit_offset / 8);
        }
        Some((start, start + self.types.size(at)? as u32))
    }

    /// A load or store of a kptr in a map value.
    pub(crate) fn access_kptr(&mut self, field: &Field, how: Use) -> Res {
        let FieldKind::Kptr(kind) = field.kind else { unsupported!("kptr field") };
        let Some(to) = field.target else { unsupported!("kptr without a type") };
        match how {
            Use::Load { signed: true, .. } => {
                reject!("kptr in map can only be accessed using BPF_MEM instruction mode")
            }
            Use::Load { .. } if kind == Kptr::User => {
                let size = self.types.size(to).unwrap_or(0) as u32;
                let Use::Load { dst: Some(dst), .. } = how else { return Ok(()) };
                let id = self.new_id();
                let ty = RegType::flagged(Base::Mem, Flags::MAYBE_NULL);
                *self.cur.reg_mut(dst) = Reg { id, ..Reg::pointer(ty, Detail::Mem { size, dynptr: 0 }) };
                Ok(())
            }
            Use::Load { .. } => {
                let flags = self.kptr_flags(kind, to);
                self.load_struct_field(how, &Loaded::Ptr(to, flags, String::new()));
                Ok(())
            }
            Use::Store(_) if kind != Kptr::Untrusted => reject!("store to referenced kptr disallowed"),
            Use::Store(Stored::Imm(0)) => Ok(()),
            Use::Store(Stored::Imm(_)) => {
                reject!("BPF_ST imm must be 0 when storing to kptr at off={}", field.offset)
            }
            Use::Store(Stored::Reg(n)) => {
                let reg = *self.cur.reg(n);
                if reg.is_null() { self.mark_precise(n) } else { self.check_kptr_store(field, &reg, n) }
            }
            Use::Store(Stored::Unknown) => {
                reject!("kptr in map can only be accessed using BPF_LDX/BPF_STX/BPF_ST")
            }
        }
    }

    fn kptr_flags(&self, kind: Kptr, to: BtfRef) -> Flags {
        let protected = !to.is_kernel() || RCU_PROTECTED.contains(&self.types.name(to));
        let safe = kind == Kptr::Percpu || (kind == Kptr::Owned && protected);
        if !safe || !self.in_rcu_cs() {
            return Flags::MAYBE_NULL.with(Flags::UNTRUSTED);
        }
        let mut flags = Flags::MAYBE_NULL.with(Flags::RCU);
        if kind == Kptr::Percpu {
            flags = flags.with(Flags::PERCPU);
        } else if !to.is_kernel() {
            flags = flags.with(Flags::ALLOC);
        }
        if !to.is_kernel() && self.environment.record(to).has_graph_node() {
            flags = flags.with(Flags::NON_OWN_REF);
        }
        flags
    }

    /// May this register be stored in a kptr field?
    pub(crate) fn check_kptr_store(&self, field: &Field, reg: &Reg, regno: usize) -> Res {
        let FieldKind::Kptr(kind) = field.kind else { unsupported!("kptr field") };
        let Some(to) = field.target else { unsupported!("kptr without a type") };
        let bad = || {
            let have = reg.btf().map_or("", |r| self.types.name(r));
            let or = if kind == Kptr::Untrusted {
                format!(" or untrusted_ptr_{}", self.types.name(to))
            } else {
                String::new()
            };
            Stop::reject(format!(
                "invalid kptr access, R{regno} type={}{have} expected=ptr_{}{or}",
                reg.ty,
                self.types.name(to)
            ))
        };
        if reg.ty.base != Base::BtfId {
            return Err(bad());
        }
        let Some(have) = reg.btf() else { return Err(bad()) };
        let allowed = if have.is_kernel() {
            let flags = Flags::MAYBE_NULL.with(Flags::TRUSTED).with(Flags::RCU);
            if kind == Kptr::Untrusted { flags.with(Flags::UNTRUSTED) } else { flags }
        } else {
            let flags = Flags::MAYBE_NULL.with(Flags::ALLOC);
            if kind == Kptr::Percpu { flags.with(Flags::PERCPU) } else { flags }
        };
        let percpu = reg.ty.has(Flags::PERCPU);
        if reg.ty.flags.without(allowed).0 != 0 || (kind == Kptr::Percpu) != percpu {
            return Err(bad());
        }
        self.check_ptr_off(reg, regno, true)?;
        let strict = kind != Kptr::Untrusted;
        if !self.types.matches(have, i64::from(reg.off), to, strict, !reg.ty.has(Flags::ALLOC)) {
            return Err(bad());
        }
        Ok(())
    }

    /// Special fields of what a register points to.
    pub(crate) fn record_of(&self, reg: &Reg) -> Res<Arc<Record>> {
        if let Some(map) = reg.map() {
            return Ok(Arc::clone(&self.maps[map as usize].record));
        }
        match reg.btf() {
            Some(btf) => Ok(self.environment.record(btf)),
            None => unsupported!("register without a type"),
        }
    }
}
