//! Contexts described by BTF: arguments of tracepoints, iterators, LSM hooks and `struct_ops` members.
//!
//! The context is an array of eight-byte arguments whose types are those of the function attached to.

use skep_btf::{Kind, Shape};
use skep_isa::uapi::{AttachType, ProgType};

use super::Verifier;
use crate::context::{self, CtxAccess};
use crate::input::Attach;
use crate::lsm::Hook;
use crate::reg::{Base, BtfRef, Detail, Flags, RegType};
use crate::stop::{Res, reject, unsupported};

/// Arguments of raw tracepoints that may be null (1) or an error pointer (2), four bits each, lowest first
/// (`raw_tp_null_args`). Every tracepoint of Linux 6.18 that it has built in was tried on it; those of modules are from 6.12's source.
#[rustfmt::skip]
const RAW_TP_NULL_ARGS: &[(&str, u64)] = &[
    ("sched_pi_setprio", 0x10), ("sched_stick_numa", 0x100), ("sched_swap_numa", 0x100), ("afs_make_fs_call", 0x10),
    ("afs_make_fs_calli", 0x10), ("afs_make_fs_call1", 0x10), ("afs_make_fs_call2", 0x10),
    ("afs_protocol_error", 0x1), ("afs_flock_ev", 0x10), ("cachefiles_lookup", 0x201), ("cachefiles_unlink", 0x1),
    ("cachefiles_rename", 0x1), ("cachefiles_prep_read", 0x1), ("cachefiles_mark_active", 0x1),
    ("cachefiles_mark_failed", 0x1), ("cachefiles_mark_inactive", 0x1), ("cachefiles_vfs_error", 0x1),
    ("cachefiles_io_error", 0x1), ("cachefiles_ondemand_open", 0x1), ("cachefiles_ondemand_copen", 0x1),
    ("cachefiles_ondemand_close", 0x1), ("cachefiles_ondemand_read", 0x1), ("cachefiles_ondemand_cread", 0x1),
    ("cachefiles_ondemand_fd_write", 0x1), ("cachefiles_ondemand_fd_release", 0x1), ("ext4_mballoc_discard", 0x10),
    ("ext4_mballoc_free", 0x10), ("fib_table_lookup", 0x100), ("posix_lock_inode", 0x10), ("fcntl_setlk", 0x10),
    ("locks_remove_posix", 0x10), ("flock_lock_inode", 0x10), ("break_lease_noblock", 0x10),
    ("break_lease_block", 0x10), ("break_lease_unblock", 0x10), ("generic_delete_lease", 0x10),
    ("time_out_leases", 0x10), ("host1x_cdma_push_gather", 0x10000), ("mm_khugepaged_scan_pmd", 0x10),
    ("mm_collapse_huge_page_isolate", 0x1), ("mm_khugepaged_scan_file", 0x10),
    ("mm_khugepaged_collapse_file", 0x10), ("mm_page_alloc", 0x1), ("mm_page_pcpu_drain", 0x1),
    ("mm_page_alloc_zone_locked", 0x1), ("netfs_failure", 0x10), ("device_pm_callback_start", 0x10),
    ("qdisc_dequeue", 0x1000), ("rxrpc_recvdata", 0x1), ("rxrpc_resend", 0x10), ("kfree_skb", 0x1000),
    ("xs_stream_read_data", 0x1), ("xprt_reserve_cong", 0x10), ("xprt_release_cong", 0x10), ("xprt_get_cong", 0x10),
    ("xprt_put_cong", 0x10), ("tcp_send_reset", 0x11), ("tegra_dma_tx_status", 0x100), ("tmigr_update_events", 0x1),
    ("writeback_dirty_folio", 0x10), ("folio_wait_writeback", 0x10), ("mr_integ_alloc", 0x2000),
    ("bpf_testmod_test_read", 0x0), ("hugetlbfs_alloc_inode", 0x10), ("xfs_inodegc_flush", 0x1),
    ("xfs_inodegc_push", 0x1), ("xfs_inodegc_start", 0x1), ("xfs_inodegc_stop", 0x1), ("xfs_inodegc_queue", 0x1),
    ("xfs_inodegc_throttle", 0x1), ("xfs_fs_sync_fs", 0x1), ("xfs_blockgc_start", 0x1), ("xfs_blockgc_stop", 0x1),
    ("xfs_blockgc_worker", 0x1), ("xfs_blockgc_flush_all", 0x1), ("xfs_defer_create_intent", 0x1),
    ("xfs_defer_cancel_list", 0x1), ("xfs_defer_pending_finish", 0x1), ("xfs_defer_pending_abort", 0x1),
    ("xfs_defer_relog_intent", 0x1), ("xfs_defer_isolate_paused", 0x1), ("xfs_defer_item_pause", 0x1),
    ("xfs_defer_item_unpause", 0x1), ("xfs_defer_add_item", 0x1), ("xfs_defer_cancel_item", 0x1),
    ("xfs_defer_finish_item", 0x1), ("xfs_map_blocks_found", 0x10000), ("xfs_map_blocks_alloc", 0x10000),
    ("xfs_ioc_free_eofblocks", 0x10), ("xfs_blockgc_free_space", 0x10),
];

const TRUSTED_OR_NULL: Flags = Flags::TRUSTED.with(Flags::MAYBE_NULL);
const BUF: RegType = RegType::flagged(Base::Buf, Flags::MAYBE_NULL);
const RDONLY_BUF: RegType = RegType::flagged(Base::Buf, Flags::MAYBE_NULL.with(Flags::RDONLY));
const BTF_OR_NULL: RegType = RegType::flagged(Base::BtfId, Flags::MAYBE_NULL);
const TRUSTED_BTF_OR_NULL: RegType = RegType::flagged(Base::BtfId, TRUSTED_OR_NULL);

/// Arguments of iterators that are not simply trusted: iterator, offset, type (`ctx_arg_info`).
const ITER_ARGS: &[(&str, i32, RegType)] = &[
    ("bpf_link", 8, BTF_OR_NULL),
    ("bpf_map", 8, TRUSTED_BTF_OR_NULL),
    ("bpf_map_elem", 16, RDONLY_BUF),
    ("bpf_map_elem", 24, BUF),
    ("bpf_prog", 8, BTF_OR_NULL),
    ("bpf_sk_storage_map", 16, BTF_OR_NULL),
    ("bpf_sk_storage_map", 24, BUF),
    ("cgroup", 8, TRUSTED_BTF_OR_NULL),
    ("dmabuf", 8, BTF_OR_NULL),
    ("ipv6_route", 8, BTF_OR_NULL),
    ("kmem_cache", 8, TRUSTED_BTF_OR_NULL),
    ("ksym", 8, BTF_OR_NULL),
    ("netlink", 8, BTF_OR_NULL),
    ("sockmap", 16, RDONLY_BUF),
    ("sockmap", 24, BTF_OR_NULL),
    ("task", 8, TRUSTED_BTF_OR_NULL),
    ("task_file", 8, BTF_OR_NULL),
    ("task_file", 24, BTF_OR_NULL),
    ("task_vma", 8, BTF_OR_NULL),
    ("task_vma", 16, BTF_OR_NULL),
    ("tcp", 8, TRUSTED_BTF_OR_NULL),
    ("udp", 8, TRUSTED_BTF_OR_NULL),
    ("unix", 8, BTF_OR_NULL),
];

/// What a permitted load gives.
type Given = Option<(RegType, Detail)>;

impl Verifier<'_> {
    /// An access to a context that BTF describes.
    pub(crate) fn btf_ctx_access(&mut self, a: CtxAccess) -> Res<Given> {
        match self.prog_type() {
            ProgType::NETFILTER => self.netfilter_access(a),
            ProgType::TRACING | ProgType::LSM | ProgType::STRUCT_OPS => {
                if context::raw_tracepoint(a).is_none() {
                    return Ok(None);
                }
                self.argument_access(a)
            }
            other => unsupported!("context of program type `{other}`"),
        }
    }

    fn netfilter_access(&self, a: CtxAccess) -> Res<Given> {
        let name = match a.off {
            0 => "nf_hook_state",
            8 => "sk_buff",
            _ => return Ok(None),
        };
        if a.write || a.size != 8 {
            return Ok(None);
        }
        let Some(strct) = self.types.kernel_struct(name) else { unsupported!("kernel type `{name}`") };
        Ok(Some((RegType::flagged(Base::BtfId, Flags::TRUSTED), Detail::Btf(strct))))
    }

    /// The function whose arguments the context holds, and how many of them to skip.
    pub(crate) fn attached_function(&self) -> Option<(BtfRef, usize)> {
        match &self.input.attach {
            Attach::Kernel { obj, id } => {
                let at = self.types.canonical(BtfRef { obj: *obj, id: *id });
                if self.input.attach_type == AttachType::TRACE_RAW_TP {
                    // A typedef of a pointer to the tracepoint's probe; the first argument is the probe's own.
                    return Some((self.types.pointee(at)?, 1));
                }
                Some((at, 0))
            }
            Attach::StructOps { ops, member } => {
                let strct = self.types.kernel_struct(ops)?;
                let (strct, c) = self.types.composite(strct)?;
                let m = c.members.get(*member as usize).ok()?;
                Some((self.types.pointee(self.types.at(strct, m.ty))?, 0))
            }
            Attach::None | Attach::Missing(_) => None,
        }
    }

    pub(crate) fn attach_returns_void(&self) -> bool {
        let Some((func, _)) = self.attached_function() else { return false };
        let func = self.types.strip(func).map_or(func, |(r, _)| r);
        self.types.proto(func).is_some_and(|(r, proto)| self.types.is_void(self.types.at(r, proto.ret)))
    }

    fn argument_access(&mut self, a: CtxAccess) -> Res<Given> {
        let Some((func, skip)) = self.attached_function() else { unsupported!("attach target") };
        if a.off % 8 != 0 {
            return Ok(None);
        }
        let func = self.types.strip(func).map_or(func, |(r, _)| r);
        let Some((proto_ref, proto)) = self.types.proto(func) else {
            unsupported!("attach target without a signature")
        };
        let index = (a.off / 8) as usize;
        let count = proto.params.len().saturating_sub(skip);
        if index > count {
            return Ok(None);
        }
        if index == count {
            let ret = self.types.at(proto_ref, proto.ret);
            return self.return_access(ret, a, index);
        }
        let Ok(param) = proto.params.get(index + skip) else { return Ok(None) };
        let (name, ty) = (param.name.to_owned(), self.types.at(proto_ref, param.ty));
        self.parameter_access(a, index, &name, ty)
    }

    /// The return value stands behind the arguments, and is read as they are.
    fn return_access(&mut self, ret: BtfRef, a: CtxAccess, index: usize) -> Res<Given> {
        let scalar = self.types.is_scalar(ret);
        match self.input.attach_type {
            AttachType::LSM_MAC | AttachType::LSM_CGROUP | AttachType::TRACE_FEXIT => {
                if scalar || self.types.is_void(ret) {
                    return Ok(Some((RegType::SCALAR, Detail::None)));
                }
                self.parameter_access(a, index, "", ret)
            }
            AttachType::MODIFY_RETURN if scalar => Ok(Some((RegType::SCALAR, Detail::None))),
            _ => Ok(None),
        }
    }

    fn parameter_access(&mut self, a: CtxAccess, index: usize, name: &str, ty: BtfRef) -> Res<Given> {
        let scalar = Ok(Some((RegType::SCALAR, Detail::None)));
        let Some((stripped, shape)) = self.types.strip(ty) else { return Ok(None) };
        let to = match shape {
            Shape::Int(_) | Shape::Enum(_) | Shape::Enum64(_) | Shape::Struct(_) | Shape::Union(_) => {
                return scalar;
            }
            Shape::Ptr(to) => self.types.at(stripped, to),
            _ => return Ok(None),
        };
        if a.size != 8 {
            return Ok(None);
        }
        let info = self.argument_info(a.off);
        if let Some(ty) = info.filter(|ty| ty.base == Base::Buf) {
            return Ok(Some((ty, Detail::None)));
        }
        let Some((strct, target)) = self.types.strip(to) else { return Ok(None) };
        match target {
            Shape::Void | Shape::Int(_) => return scalar,
            Shape::Struct(_) | Shape::Union(_) => {}
            _ => return Ok(None),
        }
        if let Some(ty) = info {
            return Ok(Some((ty, Detail::Btf(strct))));
        }
        // Congestion control gets TCP sockets, whatever its prototypes say.
        let strct = match self.struct_ops_name() {
            "tcp_congestion_ops" if self.types.name(strct) == "sock" => {
                self.types.kernel_struct("tcp_sock").unwrap_or(strct)
            }
            _ => strct,
        };
        let Some(flags) = self.argument_flags(index, name, stripped) else { return scalar };
        self.log_context_argument(index, strct);
        Ok(Some((RegType::flagged(Base::BtfId, flags), Detail::Btf(strct))))
    }

    /// What an iterator or a `struct_ops` stub says of an argument.
    fn argument_info(&self, off: i32) -> Option<RegType> {
        match &self.input.attach {
            Attach::Kernel { obj, id } if self.input.attach_type == AttachType::TRACE_ITER => {
                let name = self.types.name(self.types.canonical(BtfRef { obj: *obj, id: *id }));
                let iter = name.strip_prefix("bpf_iter_")?;
                ITER_ARGS.iter().find(|(n, at, _)| *n == iter && *at == off).map(|(_, _, ty)| *ty)
            }
            Attach::StructOps { ops, member } => {
                self.stub_suffix(ops, *member, off, "__nullable").then_some(TRUSTED_BTF_OR_NULL)
            }
            _ => None,
        }
    }

    /// The `struct_ops` member or iterator that the program is for.
    pub(crate) fn member_name(&self) -> &str {
        match &self.input.attach {
            Attach::StructOps { ops, member } => {
                let strct = self.types.kernel_struct(ops).and_then(|s| self.types.composite(s));
                strct.and_then(|(_, c)| c.members.get(*member as usize).ok()).map_or("", |m| m.name)
            }
            Attach::Kernel { obj, id } if self.input.attach_type == AttachType::TRACE_ITER => {
                let name = self.types.name(self.types.canonical(BtfRef { obj: *obj, id: *id }));
                name.strip_prefix("bpf_iter_").unwrap_or("")
            }
            _ => "",
        }
    }

    /// Does the stub of a `struct_ops` member name its argument at `off` with this suffix?
    pub(crate) fn stub_suffix(&self, ops: &str, member: u32, off: i32, suffix: &str) -> bool {
        let Some(strct) = self.types.kernel_struct(ops) else { return false };
        let Some((_, c)) = self.types.composite(strct) else { return false };
        let Ok(m) = c.members.get(member as usize) else { return false };
        let Some(stub) = self.types.find(&format!("{ops}__{}", m.name), Kind::Func) else { return false };
        self.types.params(stub).get((off / 8) as usize).is_some_and(|(name, _)| name.ends_with(suffix))
    }

    /// Flags of a pointer argument; `None` where it may be an error instead of a pointer.
    fn argument_flags(&self, index: usize, name: &str, ptr: BtfRef) -> Option<Flags> {
        let mut flags = if self.arguments_trusted() { Flags::TRUSTED } else { Flags::NONE };
        if name.ends_with("__nullable") {
            flags = flags.with(Flags::MAYBE_NULL);
        }
        if self.input.attach_type == AttachType::TRACE_RAW_TP
            && let Attach::Kernel { obj, id } = self.input.attach
        {
            let name = self.types.name(self.types.canonical(BtfRef { obj, id }));
            let tp = name.strip_prefix("btf_trace_").unwrap_or(name);
            match RAW_TP_NULL_ARGS.iter().find(|(n, _)| *n == tp) {
                Some((_, mask)) => {
                    if mask & (2 << (index * 4)) != 0 {
                        return None;
                    }
                    if mask & (1 << (index * 4)) != 0 {
                        flags = flags.with(Flags::MAYBE_NULL);
                    }
                }
                None if obj >= 2 => flags = flags.with(Flags::MAYBE_NULL),
                None => {}
            }
        }
        match self.types.pointer_tags(ptr).first().map(String::as_str) {
            Some("user") => flags = flags.with(Flags::USER),
            Some("percpu") => flags = flags.with(Flags::PERCPU),
            _ => {}
        }
        Some(flags)
    }

    /// The security hook that the program is for.
    pub(crate) fn hook(&self) -> Hook<'_> {
        Hook::of(self.attached_function().map_or("", |(func, _)| self.types.name(func)))
    }

    /// Does the kernel vouch for pointer arguments (`prog_args_trusted`)?
    fn arguments_trusted(&self) -> bool {
        match self.prog_type() {
            ProgType::TRACING => {
                matches!(self.input.attach_type, AttachType::TRACE_RAW_TP | AttachType::TRACE_ITER)
            }
            ProgType::LSM => self.hook().vouches(),
            ProgType::STRUCT_OPS => true,
            _ => false,
        }
    }

    /// The range of a hook's own result, where the context has it.
    pub(crate) fn ctx_return_range(&self, a: CtxAccess) -> Option<(i32, i32)> {
        if self.prog_type() != ProgType::LSM || self.input.attach_type != AttachType::LSM_MAC {
            return None;
        }
        let (func, _) = self.attached_function()?;
        let (_, proto) = self.types.proto(func)?;
        if a.off as usize != 8 * proto.params.len() {
            return None;
        }
        self.hook_range()
    }

    /// The reference that a `struct_ops` argument carries.
    pub(crate) fn ctx_ref(&self, a: CtxAccess) -> u32 {
        self.ref_args.iter().find(|(off, _)| *off == a.off).map_or(0, |(_, id)| *id)
    }

    /// Some contexts may be accessed at an offset of the pointer itself.
    pub(crate) fn ctx_fixed_offset_ok(&self) -> bool {
        false
    }

    /// Is the attach target one the kernel takes?
    pub(crate) fn check_attach(&mut self) -> Res {
        let prog = self.input.prog_type;
        if self.input.sleepable && !self.can_be_sleepable() {
            reject!(
                "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable"
            );
        }
        match (&self.input.attach, prog) {
            (Attach::Missing(what), _) => unsupported!("attach target `{what}`"),
            (_, ProgType::EXT) => unsupported!("program type `ext`"),
            (Attach::None, ProgType::TRACING | ProgType::LSM | ProgType::STRUCT_OPS) => {
                unsupported!("program without an attach target")
            }
            (Attach::StructOps { .. }, _) => self.check_struct_ops(),
            (&Attach::Kernel { id, .. }, ProgType::LSM) => self.check_hook(id),
            _ => Ok(()),
        }
    }

    /// Is there a program for this security hook, one like this (`bpf_lsm_verify_prog`)?
    fn check_hook(&self, id: u32) -> Res {
        let name = self.attached_function().map_or("", |(func, _)| self.types.name(func));
        let hook = Hook::of(name);
        if self.input.sleepable && !hook.may_sleep() {
            reject!("{name} is not sleepable");
        }
        if !self.input.gpl {
            reject!("LSM programs must have a GPL compatible license");
        }
        if hook.is_disabled() {
            reject!("attach_btf_id {id} points to disabled hook {name}");
        }
        Ok(())
    }

    fn can_be_sleepable(&self) -> bool {
        match self.input.prog_type {
            ProgType::TRACING => matches!(
                self.input.attach_type,
                AttachType::TRACE_FENTRY
                    | AttachType::TRACE_FEXIT
                    | AttachType::MODIFY_RETURN
                    | AttachType::TRACE_ITER
            ),
            ProgType::LSM => self.input.attach_type != AttachType::LSM_CGROUP,
            ProgType::KPROBE | ProgType::STRUCT_OPS | ProgType::SYSCALL => true,
            _ => false,
        }
    }

    fn check_struct_ops(&mut self) -> Res {
        let Attach::StructOps { ops, member } = self.input.attach.clone() else { return Ok(()) };
        if !self.input.gpl {
            reject!("struct ops programs must have a GPL compatible license");
        }
        let Some(strct) = self.types.kernel_struct(&ops) else { unsupported!("kernel type `{ops}`") };
        let Some((_, c)) = self.types.composite(strct) else { unsupported!("kernel type `{ops}`") };
        let Ok(m) = c.members.get(member as usize) else {
            reject!("attach to invalid member idx {member} of struct {ops}");
        };
        let name = m.name.to_owned();
        // Congestion control has one member that the kernel keeps for itself.
        if ops == "tcp_congestion_ops" && name == "get_info" {
            reject!("attach to unsupported member {name} of struct {ops}");
        }
        if ops == "bpf_dummy_ops" && self.input.sleepable && name != "test_sleepable" {
            reject!("attach to unsupported member {name} of struct {ops}");
        }
        for index in 0..12 {
            if self.stub_suffix(&ops, member, index * 8, "__ref") {
                let id = self.acquire(crate::state::RefKind::Ptr);
                self.ref_args.push((index * 8, id));
            }
        }
        Ok(())
    }
}
