//! Calls of helpers: arguments against the prototype, effects on the state, the result.

use skep_isa::uapi::{AttachType, MapType, ProgType};

use super::Verifier;
use super::locks::LockCall;
use super::memory::{By, Use};
use crate::helper::allowed::{self, Hook};
use crate::helper::proto::{Arg, ArgFlags, ArgKind, Proto, Ret};
use crate::helper::{self, short_name};
use crate::record::Field;
use crate::reg::{Base, BtfRef, Detail, DynptrKind, Flags, Reg, RegType};
use crate::scalar::Scalar;
use crate::state::{RefKind, SlotKind};
use crate::stop::{Res, reject, unsupported};

/// Numbers of helpers with rules of their own.
pub(crate) mod id {
    pub(crate) const MAP_LOOKUP: u32 = 1;
    pub(crate) const MAP_UPDATE: u32 = 2;
    pub(crate) const MAP_DELETE: u32 = 3;
    pub(crate) const PROBE_READ_STR: u32 = 45;
    pub(crate) const SMP_PROCESSOR_ID: u32 = 8;
    pub(crate) const TAIL_CALL: u32 = 12;
    pub(crate) const GET_STACK: u32 = 67;
    pub(crate) const GET_LOCAL_STORAGE: u32 = 81;
    pub(crate) const SK_LOOKUP_TCP: u32 = 84;
    pub(crate) const SK_LOOKUP_UDP: u32 = 85;
    pub(crate) const MAP_PUSH: u32 = 87;
    pub(crate) const MAP_POP: u32 = 88;
    pub(crate) const MAP_PEEK: u32 = 89;
    pub(crate) const SPIN_LOCK: u32 = 93;
    pub(crate) const SK_FULLSOCK: u32 = 95;
    pub(crate) const TCP_SOCK: u32 = 96;
    pub(crate) const SKC_LOOKUP_TCP: u32 = 99;
    pub(crate) const PROBE_READ_USER_STR: u32 = 114;
    pub(crate) const PROBE_READ_KERNEL_STR: u32 = 115;
    pub(crate) const RINGBUF_RESERVE: u32 = 131;
    pub(crate) const SKC_TO_TCP6: u32 = 136;
    pub(crate) const SKC_TO_UDP6: u32 = 140;
    pub(crate) const GET_TASK_STACK: u32 = 141;
    pub(crate) const FOR_EACH_MAP_ELEM: u32 = 164;
    pub(crate) const SNPRINTF: u32 = 165;
    pub(crate) const TIMER_SET_CALLBACK: u32 = 170;
    pub(crate) const GET_FUNC_IP: u32 = 173;
    pub(crate) const FIND_VMA: u32 = 180;
    pub(crate) const LOOP: u32 = 181;
    pub(crate) const SET_RETVAL: u32 = 187;
    pub(crate) const KPTR_XCHG: u32 = 194;
    pub(crate) const SKC_TO_MPTCP: u32 = 196;
    pub(crate) const DYNPTR_FROM_MEM: u32 = 197;
    pub(crate) const DYNPTR_WRITE: u32 = 202;
    pub(crate) const DYNPTR_DATA: u32 = 203;
    pub(crate) const USER_RINGBUF_DRAIN: u32 = 209;
}

/// Helpers that may move packet data (`bpf_helper_changes_pkt_data`).
const CHANGES_PKT_DATA: &[&str] = &[
    "clone_redirect",
    "l3_csum_replace",
    "l4_csum_replace",
    "lwt_push_encap",
    "lwt_seg6_action",
    "lwt_seg6_adjust_srh",
    "lwt_seg6_store_bytes",
    "msg_pop_data",
    "msg_pull_data",
    "msg_push_data",
    "skb_adjust_room",
    "skb_change_head",
    "skb_change_proto",
    "skb_change_tail",
    "skb_pull_data",
    "skb_store_bytes",
    "skb_vlan_pop",
    "skb_vlan_push",
    "store_hdr_opt",
    "xdp_adjust_head",
    "xdp_adjust_meta",
    "xdp_adjust_tail",
    "tail_call",
];

/// May the helper move packet data, so that pointers into it become stale?
pub(crate) fn changes_pkt_data(id: u32) -> bool {
    CHANGES_PKT_DATA.contains(&short_name(id))
}

/// Does the helper call a function of the program before it returns?
pub(crate) fn calls_back(helper: u32) -> bool {
    matches!(helper, id::FOR_EACH_MAP_ELEM | id::FIND_VMA | id::LOOP | id::USER_RINGBUF_DRAIN)
}

/// What checking the arguments of one call found out.
#[derive(Default)]
pub(crate) struct Meta {
    pub(crate) helper: u32,
    pub(crate) map: Option<u32>,
    pub(crate) map_uid: u32,
    /// The memory argument may be uninitialised.
    pub(crate) raw_mode: bool,
    /// Uninitialised stack to write once all arguments are checked.
    pub(crate) regno: usize,
    pub(crate) access_size: u32,
    pub(crate) mem_size: u32,
    pub(crate) msize_max: u64,
    pub(crate) ref_obj_id: u32,
    pub(crate) release_regno: usize,
    pub(crate) dynptr_id: u32,
    pub(crate) subprog: Option<u32>,
    pub(crate) ret_btf: Option<BtfRef>,
    pub(crate) kptr: Option<Field>,
    /// Value of an array's key, where it is known.
    const_key: Option<u64>,
    pkt_access: bool,
}

impl Verifier<'_> {
    /// Calls helper `helper`; true where the call continues at the next instruction.
    pub(crate) fn call_helper(&mut self, helper: u32) -> Res {
        let proto = self.helper_proto(helper)?;
        if proto.might_sleep && !self.in_sleepable() {
            reject!("helper call might sleep in a non-sleepable prog");
        }
        self.check_regions(proto)?;
        let mut meta = Meta { helper, pkt_access: proto.pkt_access, ..Meta::default() };
        for (i, arg) in proto.args.iter().enumerate() {
            self.check_arg(i, *arg, proto, &mut meta)?;
        }
        self.check_map_writable(&meta)?;
        if helper == id::TAIL_CALL {
            self.use_tail_call_key(&meta)?;
        }
        for i in 0..meta.access_size {
            self.access(meta.regno, i as i32, 1, Use::WRITE, false)?;
        }
        if meta.release_regno != 0 {
            self.release_argument(proto, &meta)?;
        }
        let mut moves_packet = changes_pkt_data(helper);
        self.special(&mut meta, &mut moves_packet)?;
        self.clear_caller_saved();
        self.set_result(proto, &meta)?;
        self.refine_result(proto, &meta);
        self.check_map_helper(&meta)?;
        self.check_func_ip(helper)?;
        if moves_packet && helper != id::TAIL_CALL {
            self.clear_packet_pointers();
        }
        Ok(())
    }

    /// The prototype, if this program may call the helper.
    pub(crate) fn helper_proto(&self, helper: u32) -> Res<&'static Proto> {
        let Some(known) = skep_isa::helper::by_id(helper) else {
            reject!("invalid func unknown#{helper}");
        };
        let hook = Hook {
            prog: self.prog_type(),
            attach: self.input.attach_type,
            ops: self.struct_ops_name(),
            member: self.member_name(),
        };
        match allowed::is_allowed(hook, short_name(helper)) {
            Some(true) => {}
            Some(false) => reject!("program of this type cannot use helper {}#{helper}", known.name),
            None => unsupported!("helper `{}` in program type `{}`", known.name, self.prog_type()),
        }
        self.check_helper_hook(short_name(helper))?;
        if known.gpl_only && !self.input.gpl {
            reject!("cannot call GPL-restricted function from non-GPL compatible program");
        }
        match helper::find(helper, self.prog_type()) {
            Some(proto) => Ok(proto),
            None => unsupported!("helper `{}`", known.name),
        }
    }

    /// Helpers that only some functions may call.
    fn check_helper_hook(&self, name: &str) -> Res {
        const D_PATH: &[&str] = &[
            "security_file_permission",
            "security_inode_getattr",
            "security_file_open",
            "security_path_truncate",
            "vfs_truncate",
            "vfs_fallocate",
            "dentry_open",
            "vfs_getattr",
            "filp_close",
        ];
        let iter = self.input.attach_type == AttachType::TRACE_ITER;
        let hook = self.attached_function().map_or("", |(func, _)| self.types.name(func));
        match (name, self.prog_type()) {
            ("d_path" | "ima_inode_hash" | "ima_file_hash", ProgType::LSM) => {
                unsupported!("helper `bpf_{name}` in an LSM program")
            }
            ("d_path", ProgType::TRACING) if !iter && !D_PATH.contains(&hook) => {
                reject!("helper call is not allowed in probe")
            }
            ("sk_storage_get" | "sk_storage_delete", ProgType::TRACING)
                if self.has_trampoline() && hook.starts_with("bpf_sk_storage") =>
            {
                reject!("helper call is not allowed in probe")
            }
            _ => Ok(()),
        }
    }

    fn check_regions(&self, proto: &Proto) -> Res {
        if !proto.might_sleep {
            return Ok(());
        }
        let name = format!("bpf_{}#{}", short_name(proto.id), proto.id);
        if self.cur.rcu_locks > 0 {
            reject!("sleepable helper {name} in rcu_read_lock region");
        }
        if self.cur.preempt_locks > 0 {
            reject!("sleepable helper {name} in non-preemptible region");
        }
        if self.cur.irq_id != 0 {
            reject!("sleepable helper {name} in IRQ-disabled region");
        }
        Ok(())
    }

    fn check_arg(&mut self, i: usize, arg: Arg, proto: &Proto, meta: &mut Meta) -> Res {
        let regno = i + 1;
        self.check_readable_reg(regno as u8)?;
        if arg.kind == ArgKind::Anything {
            return Ok(());
        }
        let reg = *self.cur.reg(regno);
        if reg.ty.is_packet() && !self.may_pass_packet(meta.pkt_access) {
            reject!("helper access to the packet is not allowed");
        }
        let arg = self.resolve_map_arg(arg, meta)?;
        let null = reg.is_null() && arg.has(ArgFlags::OR_NULL);
        if null {
            self.mark_precise(regno)?;
        } else {
            self.check_arg_type(regno, &reg, arg, meta)?;
            self.check_arg_offset(&reg, regno, arg.has(ArgFlags::RELEASE), arg.kind == ArgKind::Dynptr)?;
        }
        if arg.has(ArgFlags::RELEASE) {
            self.check_released(regno, &reg, arg)?;
            meta.release_regno = regno;
        }
        if reg.ref_obj_id != 0 && arg.kind != ArgKind::KptrDest {
            meta.ref_obj_id = reg.ref_obj_id;
        }
        self.use_arg(regno, &reg, arg, null, proto.args.get(i.wrapping_sub(1)), meta)
    }

    /// Sockets stand for the values of socket maps.
    fn resolve_map_arg(&self, arg: Arg, meta: &Meta) -> Res<Arg> {
        if arg.kind != ArgKind::Value {
            return Ok(arg);
        }
        let Some(map) = meta.map else { reject!("invalid map_ptr to access map->type") };
        let kind = match self.maps[map as usize].info.ty {
            MapType::SOCKMAP | MapType::SOCKHASH if arg.flags == ArgFlags::default() => ArgKind::BtfSock,
            MapType::SOCKMAP | MapType::SOCKHASH => reject!("invalid arg_type for sockmap/sockhash"),
            MapType::BLOOM_FILTER if meta.helper == id::MAP_PEEK => return Ok(Arg::of(ArgKind::Value)),
            _ => ArgKind::Value,
        };
        Ok(Arg { kind, ..arg })
    }

    fn check_released(&self, regno: usize, reg: &Reg, arg: Arg) -> Res {
        if arg.kind == ArgKind::Dynptr {
            if !reg.ty.is(Base::Stack) {
                reject!("cannot release unowned const bpf_dynptr");
            }
            let owned = self.dynptr_slot(reg).is_ok_and(|spi| {
                spi.is_some_and(|spi| self.cur.frames[reg.frame()].stack[spi].reg.ref_obj_id != 0)
            });
            if !owned {
                reject!("arg {regno} is an unacquired reference");
            }
        } else if reg.ref_obj_id == 0 && !reg.is_null() {
            reject!("R{regno} must be referenced when passed to release function");
        }
        Ok(())
    }

    fn use_arg(
        &mut self,
        regno: usize,
        reg: &Reg,
        arg: Arg,
        null: bool,
        before: Option<&Arg>,
        meta: &mut Meta,
    ) -> Res {
        let write = arg.has(ArgFlags::WRITE);
        match arg.kind {
            ArgKind::Map => {
                if meta.map.is_some_and(|m| Some(m) != reg.map() || meta.map_uid != reg.map_uid()) {
                    reject!(
                        "timer pointer in R1 map_uid={} doesn't match map pointer in R2 map_uid={}",
                        meta.map_uid,
                        reg.map_uid()
                    );
                }
                (meta.map, meta.map_uid) = (reg.map(), reg.map_uid());
                Ok(())
            }
            ArgKind::Key => {
                let Some(map) = meta.map else { reject!("invalid map_ptr to access map->key") };
                let (size, ty) = (self.maps[map as usize].info.key_size, self.maps[map as usize].info.ty);
                self.helper_access(regno, size, false, false, None)?;
                if meta.helper == id::MAP_LOOKUP && matches!(ty, MapType::ARRAY | MapType::PERCPU_ARRAY) {
                    meta.const_key = self.constant_key(reg, size)?;
                }
                Ok(())
            }
            ArgKind::Value if null => Ok(()),
            ArgKind::Value => {
                let Some(map) = meta.map else { reject!("invalid map_ptr to access map->value") };
                let size = self.maps[map as usize].info.value_size;
                meta.raw_mode = arg.has(ArgFlags::UNINIT);
                self.helper_access(regno, size, write, false, Some(meta))
            }
            ArgKind::Percpu => {
                meta.ret_btf = reg.btf();
                Ok(())
            }
            ArgKind::SpinLock => {
                let takes = meta.helper == id::SPIN_LOCK;
                self.process_lock(regno, LockCall { takes, resilient: false, irq: false })
            }
            ArgKind::Timer => self.process_timer(regno, meta),
            ArgKind::Func => {
                if let Detail::Func(subprog) = reg.detail {
                    meta.subprog = Some(subprog);
                }
                Ok(())
            }
            ArgKind::Mem => {
                meta.raw_mode = arg.has(ArgFlags::UNINIT);
                Ok(())
            }
            ArgKind::Fixed(size) => {
                meta.raw_mode = arg.has(ArgFlags::UNINIT);
                self.helper_access(regno, size, write, false, Some(meta))?;
                if arg.has(ArgFlags::ALIGNED) {
                    self.check_alignment(reg, 0, size, true)?;
                }
                Ok(())
            }
            ArgKind::Size { zero } => {
                let write = before.is_some_and(|b| b.has(ArgFlags::WRITE));
                meta.msize_max = reg.val.umax;
                self.sized_access(regno, write, zero, Some(meta))
            }
            ArgKind::Dynptr => self.process_dynptr_arg(regno, arg, meta.helper),
            ArgKind::AllocSize => {
                if !reg.val.is_const() {
                    reject!("R{regno} is not a known constant'");
                }
                meta.mem_size = reg.val.bits.value as u32;
                self.mark_precise(regno)
            }
            ArgKind::Str => self.check_const_str(regno, reg),
            ArgKind::KptrDest => self.process_kptr_dest(regno, reg, meta),
            _ => Ok(()),
        }
    }

    /// A string that ends, in a map that never changes.
    pub(crate) fn check_const_str(&mut self, regno: usize, reg: &Reg) -> Res {
        if !reg.ty.is(Base::MapValue) {
            reject!("arg#{} is not a const string", regno - 1);
        }
        let map = self.map_of(reg)?;
        let Some(bytes) = map.info.frozen.clone() else {
            reject!("R{regno} does not point to a readonly map'");
        };
        if !reg.val.is_const() {
            reject!("R{regno} is not a constant address'");
        }
        let size = map.info.value_size.wrapping_sub(reg.off as u32);
        self.check_map_value(regno, reg.off, size, false, By::Helper)?;
        let at = (i64::from(reg.off) + reg.val.bits.value as i64) as usize;
        if !bytes.get(at..).is_some_and(|rest| rest.contains(&0)) {
            reject!("string is not zero-terminated");
        }
        Ok(())
    }

    /// Maps that programs may only read.
    fn check_map_writable(&self, meta: &Meta) -> Res {
        const RDONLY_PROG: u32 = 1 << 7;
        let writes = matches!(meta.helper, id::MAP_UPDATE | id::MAP_DELETE | id::MAP_PUSH | id::MAP_POP);
        if writes && meta.map.is_some_and(|m| self.maps[m as usize].info.flags & RDONLY_PROG != 0) {
            reject!("write into map forbidden");
        }
        Ok(())
    }

    /// A known index of a tail call is one a code generator may use.
    fn use_tail_call_key(&mut self, meta: &Meta) -> Res {
        let max = meta.map.map_or(0, |m| self.maps[m as usize].info.max_entries);
        let key = *self.cur.reg(3);
        if key.is_const() && key.val.bits.value < u64::from(max) { self.mark_precise(3) } else { Ok(()) }
    }

    fn release_argument(&mut self, proto: &Proto, meta: &Meta) -> Res {
        let regno = meta.release_regno;
        let reg = *self.cur.reg(regno);
        let dynptr = proto.args.get(regno - 1).is_some_and(|a| a.kind == ArgKind::Dynptr);
        if dynptr {
            return self.release_dynptr(&reg);
        }
        if meta.helper == id::KPTR_XCHG && meta.ref_obj_id != 0 {
            return self.give_away(meta.ref_obj_id);
        }
        if meta.ref_obj_id != 0 {
            if !self.release_reference(meta.ref_obj_id) {
                reject!(
                    "func bpf_{}#{} reference has not been acquired before",
                    short_name(proto.id),
                    proto.id
                );
            }
            return Ok(());
        }
        if !reg.is_null() {
            reject!("func bpf_{}#{} reference has not been acquired before", short_name(proto.id), proto.id);
        }
        Ok(())
    }

    /// A reference moves into a map: our copies are no more, except of per-CPU objects in an RCU section.
    fn give_away(&mut self, ref_obj_id: u32) -> Res {
        let in_rcu = self.in_rcu_cs();
        self.cur.release_ref(ref_obj_id);
        self.cur.for_each_reg(
            |r| r.ref_obj_id == ref_obj_id,
            |r| {
                if in_rcu && r.ty.has(Flags::ALLOC) && r.ty.has(Flags::PERCPU) {
                    r.ref_obj_id = 0;
                    r.ty.flags = r.ty.flags.without(Flags::ALLOC).with(Flags::RCU);
                } else {
                    *r = Reg::UNKNOWN;
                }
            },
        );
        Ok(())
    }

    /// What single helpers do beyond their prototypes.
    fn special(&mut self, meta: &mut Meta, moves_packet: &mut bool) -> Res {
        match meta.helper {
            id::TAIL_CALL => self.check_nothing_held("tail_call", false, true),
            id::GET_LOCAL_STORAGE => {
                if !self.cur.reg(2).is_null() {
                    reject!("get_local_storage() doesn't support non-zero flags");
                }
                self.mark_precise(2)
            }
            id::FOR_EACH_MAP_ELEM | id::TIMER_SET_CALLBACK | id::FIND_VMA | id::USER_RINGBUF_DRAIN => {
                self.push_callback(meta.helper, meta)
            }
            id::LOOP => self.bpf_loop(meta),
            id::SNPRINTF => self.check_snprintf(),
            id::DYNPTR_FROM_MEM => {
                if !self.cur.reg(1).ty.is(Base::MapValue) {
                    reject!("Unsupported reg type {} for bpf_dynptr_from_mem data", self.cur.reg(1).ty);
                }
                Ok(())
            }
            id::SET_RETVAL => self.check_set_retval(),
            id::DYNPTR_DATA => {
                let reg = *self.cur.reg(1);
                (meta.dynptr_id, meta.ref_obj_id) = self.dynptr_ids(&reg);
                Ok(())
            }
            id::DYNPTR_WRITE => {
                let reg = *self.cur.reg(1);
                *moves_packet |=
                    matches!(self.dynptr_kind(&reg), Some(DynptrKind::Skb | DynptrKind::SkbMeta));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn bpf_loop(&mut self, meta: &mut Meta) -> Res {
        if self.cur.reg(4).is_null() {
            self.mark_precise(4)?;
        }
        self.mark_precise(1)?;
        if u64::from(self.cur.frame().callback_depth) < self.cur.reg(1).val.umax {
            self.push_callback(id::LOOP, meta)
        } else {
            self.cur.frame_mut().callback_depth = 0;
            Ok(())
        }
    }

    fn check_set_retval(&self) -> Res {
        if self.prog_type() == ProgType::LSM
            && self.input.attach_type == AttachType::LSM_CGROUP
            && self.attach_returns_void()
        {
            reject!("BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!");
        }
        Ok(())
    }

    fn check_func_ip(&self, helper: u32) -> Res {
        if helper != id::GET_FUNC_IP {
            return Ok(());
        }
        match self.prog_type() {
            ProgType::TRACING if self.has_trampoline() => Ok(()),
            ProgType::TRACING => {
                reject!("func bpf_get_func_ip#173 supported only for fentry/fexit/fmod_ret programs")
            }
            ProgType::KPROBE => Ok(()),
            other => reject!("func bpf_get_func_ip#173 not supported for program type {}", other.0),
        }
    }

    fn set_result(&mut self, proto: &Proto, meta: &Meta) -> Res {
        let null = Flags::MAYBE_NULL;
        let pointer = |base, flags, detail| Reg::pointer(RegType::flagged(base, flags), detail);
        let mut r0 = match proto.ret {
            Ret::Integer => Reg::UNKNOWN,
            Ret::Void => Reg::NOT_INIT,
            Ret::MapValue | Ret::MapValueOrNull => {
                let Some(map) = meta.map else { unsupported!("helper result without a map") };
                let maybe = proto.ret == Ret::MapValueOrNull && !self.lookup_cannot_fail(meta);
                let flags = if maybe { null } else { Flags::NONE };
                let mut reg = pointer(Base::MapValue, flags, Detail::Map { map, uid: meta.map_uid });
                if !maybe && self.maps[map as usize].record.has_lock() {
                    reg.id = self.new_id();
                }
                reg
            }
            Ret::SocketOrNull => pointer(Base::Socket, null, Detail::None),
            Ret::SockCommonOrNull => pointer(Base::SockCommon, null, Detail::None),
            Ret::TcpSockOrNull => pointer(Base::TcpSock, null, Detail::None),
            Ret::DynptrMemOrNull => {
                pointer(Base::Mem, null, Detail::Mem { size: meta.mem_size, dynptr: meta.dynptr_id })
            }
            Ret::RingbufMemOrNull => {
                pointer(Base::Mem, null.with(Flags::RINGBUF), Detail::Mem { size: meta.mem_size, dynptr: 0 })
            }
            Ret::PercpuVar => self.percpu_result(meta, Flags::NONE)?,
            Ret::PercpuVarOrNull => self.percpu_result(meta, null)?,
            Ret::Btf(name) | Ret::TrustedBtf(name) | Ret::BtfOrNull(name) => {
                self.btf_result(proto, name, meta)?
            }
        };
        if r0.ty.may_be_null() {
            r0.id = self.new_id();
        }
        if is_cast(meta.helper) || meta.helper == id::DYNPTR_DATA {
            r0.ref_obj_id = meta.ref_obj_id;
        } else if self.acquires(meta) {
            let id = self.acquire(RefKind::Ptr);
            (r0.id, r0.ref_obj_id) = (id, id);
        }
        *self.cur.reg_mut(0) = r0;
        Ok(())
    }

    fn btf_result(&mut self, proto: &Proto, name: &str, meta: &Meta) -> Res<Reg> {
        let flags = match proto.ret {
            Ret::BtfOrNull(_) => Flags::MAYBE_NULL,
            Ret::TrustedBtf(_) => Flags::TRUSTED,
            _ => Flags::NONE,
        };
        if let Some(field) = &meta.kptr {
            let Some(to) = field.pointee() else { unsupported!("kptr without a type") };
            let mut flags = flags;
            if !to.is_kernel() {
                flags = flags.with(Flags::ALLOC);
                if field.is_percpu() {
                    flags = flags.with(Flags::PERCPU);
                }
            }
            return Ok(Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(to)));
        }
        let Some(to) = self.types.kernel_struct(name) else { unsupported!("kernel type `{name}`") };
        Ok(Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(to)))
    }

    /// The variable behind a per-CPU pointer: a structure by BTF, or memory.
    fn percpu_result(&mut self, meta: &Meta, null: Flags) -> Res<Reg> {
        let Some(var) = meta.ret_btf else { unsupported!("per-CPU variable without a type") };
        let alloc = self.percpu_alloc;
        if self.types.is_struct(var) {
            let flags = if alloc { Flags::ALLOC.with(Flags::RCU) } else { null };
            return Ok(Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(var)));
        }
        let Some(size) = self.types.size(var) else {
            reject!("unable to resolve the size of type '{}'", self.types.name(var))
        };
        let flags = null.with(Flags::RDONLY);
        Ok(Reg::pointer(RegType::flagged(Base::Mem, flags), Detail::Mem { size: size as u32, dynptr: 0 }))
    }

    /// A lookup of a known key within an array always finds its element.
    fn lookup_cannot_fail(&self, meta: &Meta) -> bool {
        const INNER_MAP: u32 = 1 << 12;
        let Some(info) = meta.map.map(|m| &self.maps[m as usize].info) else { return false };
        // An inner map of another size may take the template's place.
        info.flags & INNER_MAP == 0 && meta.const_key.is_some_and(|key| key < u64::from(info.max_entries))
    }

    /// The value of a key on the stack: zero bytes, or a constant spilled with just that size.
    fn constant_key(&mut self, key: &Reg, size: u32) -> Res<Option<u64>> {
        if !key.ty.is(Base::Stack) || !key.val.is_const() {
            return Ok(None);
        }
        let off = key.off.wrapping_add(key.val.bits.value as i32);
        let (spi, byte) = (super::stack::slot_of(off), ((-off - 1).max(0) % 8) as usize);
        let Some(slot) = self.cur.frames[key.frame()].stack.get(spi).copied() else { return Ok(None) };
        let run = |kind: SlotKind| slot.kind[..=byte].iter().rev().take_while(|k| **k == kind).count() as u32;
        if run(SlotKind::Zero) >= size {
            return Ok(Some(0));
        }
        if !slot.is_spilled_scalar() || run(SlotKind::Spill) != size || !slot.reg.val.is_const() {
            return Ok(None);
        }
        self.mark_slot_precise(key.frame(), spi)?;
        Ok(Some(slot.reg.val.bits.value))
    }

    fn acquires(&self, meta: &Meta) -> bool {
        match meta.helper {
            id::SK_LOOKUP_TCP
            | id::SK_LOOKUP_UDP
            | id::SKC_LOOKUP_TCP
            | id::RINGBUF_RESERVE
            | id::KPTR_XCHG => true,
            id::MAP_LOOKUP => meta.map.is_some_and(|m| {
                matches!(self.maps[m as usize].info.ty, MapType::SOCKMAP | MapType::SOCKHASH)
            }),
            _ => false,
        }
    }

    fn refine_result(&mut self, proto: &Proto, meta: &Meta) {
        if proto.ret != Ret::Integer {
            return;
        }
        const MAX_ERRNO: i64 = 4095;
        let val = match meta.helper {
            id::GET_STACK
            | id::GET_TASK_STACK
            | id::PROBE_READ_STR
            | id::PROBE_READ_KERNEL_STR
            | id::PROBE_READ_USER_STR => {
                let max = meta.msize_max as i64;
                Scalar {
                    smin: -MAX_ERRNO,
                    smax: max,
                    smin32: -MAX_ERRNO as i32,
                    smax32: max as i32,
                    ..Scalar::UNKNOWN
                }
                .synced()
            }
            id::SMP_PROCESSOR_ID => Scalar::between(0, i64::from(self.input.target.cpus.max(1)) - 1),
            _ => return,
        };
        let reg = self.cur.reg_mut(0);
        reg.val = val;
        reg.val.repair();
    }

    /// Some helpers take only some maps, and some maps go only with some helpers.
    fn check_map_helper(&self, meta: &Meta) -> Res {
        let Some(map) = meta.map else { return Ok(()) };
        let ty = self.maps[map as usize].info.ty;
        let name = short_name(meta.helper);
        let ok = map_takes(ty, name, self.may_update_sockmap(meta.helper)) && helper_takes(name, ty);
        if !ok {
            reject!("cannot pass map_type {} into func bpf_{name}#{}", ty.0, meta.helper);
        }
        Ok(())
    }

    fn may_update_sockmap(&self, helper: u32) -> bool {
        if !matches!(helper, id::MAP_UPDATE | id::MAP_DELETE) {
            return false;
        }
        match self.prog_type() {
            ProgType::TRACING => self.input.attach_type == AttachType::TRACE_ITER,
            ProgType::SOCK_OPS => helper == id::MAP_DELETE,
            ProgType::SOCKET_FILTER
            | ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::XDP
            | ProgType::SK_REUSEPORT
            | ProgType::FLOW_DISSECTOR
            | ProgType::SK_LOOKUP => true,
            _ => false,
        }
    }
}

/// Results that are another view of the socket given.
fn is_cast(helper: u32) -> bool {
    matches!(helper, id::TCP_SOCK | id::SK_FULLSOCK | id::SKC_TO_TCP6..=id::SKC_TO_UDP6 | id::SKC_TO_MPTCP)
}

/// Helpers a map of this type goes with.
fn map_takes(ty: MapType, helper: &str, sockmap_update: bool) -> bool {
    let one_of = |names: &[&str]| names.contains(&helper);
    match ty {
        MapType::PROG_ARRAY => one_of(&["tail_call"]),
        MapType::PERF_EVENT_ARRAY => one_of(&[
            "perf_event_read",
            "perf_event_output",
            "skb_output",
            "perf_event_read_value",
            "xdp_output",
        ]),
        MapType::RINGBUF => one_of(&[
            "ringbuf_output",
            "ringbuf_reserve",
            "ringbuf_query",
            "ringbuf_reserve_dynptr",
            "ringbuf_submit_dynptr",
            "ringbuf_discard_dynptr",
        ]),
        MapType::USER_RINGBUF => one_of(&["user_ringbuf_drain"]),
        MapType::STACK_TRACE => one_of(&["get_stackid"]),
        MapType::CGROUP_ARRAY => one_of(&["skb_under_cgroup", "current_task_under_cgroup"]),
        MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => one_of(&["get_local_storage"]),
        MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::XSKMAP => {
            one_of(&["redirect_map", "map_lookup_elem"])
        }
        MapType::CPUMAP => one_of(&["redirect_map"]),
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => one_of(&["map_lookup_elem"]),
        MapType::SOCKMAP => {
            sockmap_update
                || one_of(&[
                    "sk_redirect_map",
                    "sock_map_update",
                    "msg_redirect_map",
                    "sk_select_reuseport",
                    "map_lookup_elem",
                ])
        }
        MapType::SOCKHASH => {
            sockmap_update
                || one_of(&[
                    "sk_redirect_hash",
                    "sock_hash_update",
                    "msg_redirect_hash",
                    "sk_select_reuseport",
                    "map_lookup_elem",
                ])
        }
        MapType::REUSEPORT_SOCKARRAY => one_of(&["sk_select_reuseport"]),
        MapType::QUEUE | MapType::STACK => one_of(&["map_peek_elem", "map_pop_elem", "map_push_elem"]),
        MapType::SK_STORAGE => one_of(&["sk_storage_get", "sk_storage_delete", "kptr_xchg"]),
        MapType::INODE_STORAGE => one_of(&["inode_storage_get", "inode_storage_delete", "kptr_xchg"]),
        MapType::TASK_STORAGE => one_of(&["task_storage_get", "task_storage_delete", "kptr_xchg"]),
        MapType::CGRP_STORAGE => one_of(&["cgrp_storage_get", "cgrp_storage_delete", "kptr_xchg"]),
        MapType::BLOOM_FILTER => one_of(&["map_peek_elem", "map_push_elem"]),
        _ => true,
    }
}

/// Maps a helper takes.
fn helper_takes(helper: &str, ty: MapType) -> bool {
    let one_of = |types: &[MapType]| types.contains(&ty);
    match helper {
        "tail_call" => one_of(&[MapType::PROG_ARRAY]),
        "perf_event_read" | "perf_event_output" | "perf_event_read_value" | "skb_output" | "xdp_output" => {
            one_of(&[MapType::PERF_EVENT_ARRAY])
        }
        "ringbuf_output" | "ringbuf_reserve" | "ringbuf_query" | "ringbuf_reserve_dynptr" => {
            one_of(&[MapType::RINGBUF])
        }
        "user_ringbuf_drain" => one_of(&[MapType::USER_RINGBUF]),
        "get_stackid" => one_of(&[MapType::STACK_TRACE]),
        "current_task_under_cgroup" | "skb_under_cgroup" => one_of(&[MapType::CGROUP_ARRAY]),
        "redirect_map" => one_of(&[MapType::DEVMAP, MapType::DEVMAP_HASH, MapType::CPUMAP, MapType::XSKMAP]),
        "sk_redirect_map" | "msg_redirect_map" | "sock_map_update" => one_of(&[MapType::SOCKMAP]),
        "sk_redirect_hash" | "msg_redirect_hash" | "sock_hash_update" => one_of(&[MapType::SOCKHASH]),
        "get_local_storage" => one_of(&[MapType::CGROUP_STORAGE, MapType::PERCPU_CGROUP_STORAGE]),
        "sk_select_reuseport" => one_of(&[MapType::REUSEPORT_SOCKARRAY, MapType::SOCKMAP, MapType::SOCKHASH]),
        "map_pop_elem" => one_of(&[MapType::QUEUE, MapType::STACK]),
        "map_peek_elem" | "map_push_elem" => one_of(&[MapType::QUEUE, MapType::STACK, MapType::BLOOM_FILTER]),
        "map_lookup_percpu_elem" => {
            one_of(&[MapType::PERCPU_ARRAY, MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH])
        }
        "sk_storage_get" | "sk_storage_delete" => one_of(&[MapType::SK_STORAGE]),
        "inode_storage_get" | "inode_storage_delete" => one_of(&[MapType::INODE_STORAGE]),
        "task_storage_get" | "task_storage_delete" => one_of(&[MapType::TASK_STORAGE]),
        "cgrp_storage_get" | "cgrp_storage_delete" => one_of(&[MapType::CGRP_STORAGE]),
        _ => true,
    }
}
