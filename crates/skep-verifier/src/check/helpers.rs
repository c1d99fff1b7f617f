//! Calls of helpers: arguments against the prototype, effects on the state, the result.

mod argument;
mod map_rules;
mod result;

use skep_isa::uapi::{AttachType, ProgType};

use super::Verifier;
use super::memory::Use;
use crate::helper::allowed::{self, Hook};
use crate::helper::proto::Proto;
use crate::helper::set::Set;
use crate::helper::{self, short_name};
use crate::record::Field;
use crate::reg::{Base, BtfRef, DynptrKind};
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
const CHANGES_PKT_DATA: Set = Set::of(&[
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
]);

/// May the helper move packet data, so that pointers into it become stale?
pub(crate) fn changes_pkt_data(id: u32) -> bool {
    CHANGES_PKT_DATA.contains(id)
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
    /// The per-CPU pointer is to an object that a program allocated.
    pub(crate) percpu_alloc: bool,
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
        match allowed::is_allowed(hook, helper) {
            Some(true) => {}
            Some(false) => reject!("program of this type cannot use helper {}#{helper}", known.name),
            None => unsupported!("helper `{}` in program type `{}`", known.name, self.prog_type()),
        }
        self.check_helper_hook(helper)?;
        if known.gpl_only && !self.input.gpl {
            reject!("cannot call GPL-restricted function from non-GPL compatible program");
        }
        match helper::find(helper, self.prog_type()) {
            Some(proto) => Ok(proto),
            None => unsupported!("helper `{}`", known.name),
        }
    }

    /// Helpers that only some functions may call.
    fn check_helper_hook(&self, helper: u32) -> Res {
        const HOOKED: Set = Set::of(&[
            "d_path",
            "ima_inode_hash",
            "ima_file_hash",
            "sk_storage_get",
            "sk_storage_delete",
            "getsockopt",
            "setsockopt",
        ]);
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
        if !HOOKED.contains(helper) {
            return Ok(());
        }
        let name = short_name(helper);
        let iter = self.input.attach_type == AttachType::TRACE_ITER;
        let hook = self.attached_function().map_or("", |(func, _)| self.types.name(func));
        match (name, self.prog_type()) {
            ("d_path" | "ima_inode_hash" | "ima_file_hash", ProgType::LSM) if !self.hook().may_sleep() => {
                reject!("helper call is not allowed in probe")
            }
            ("getsockopt" | "setsockopt", ProgType::LSM) if !self.hook().has_socket_options() => {
                reject!("program of this type cannot use helper bpf_{name}#{helper}")
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
}
