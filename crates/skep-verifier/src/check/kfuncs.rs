//! Calls of kernel functions by BTF: what a call is, its effects on regions and references, its result.

use skep_btf::Shape;
use skep_isa::uapi::ProgType;
use skep_isa::{CallTarget, Op};

use super::Verifier;
use super::locks::LockCall;
use crate::flow::CallShape;
use crate::kfunc::{self, Kfunc};
use crate::record::{Field, FieldKind};
use crate::reg::{Base, BtfRef, Detail, DynptrKind, Flags, Reg, RegType};
use crate::state::{Frame, RefKind, SlotKind};
use crate::stop::{Res, Stop, reject, unsupported};

/// A kernel function a call names.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) name: String,
    /// What is known of it; `None` for one this verifier does not know.
    pub(crate) kfunc: Option<&'static Kfunc>,
    pub(crate) func: BtfRef,
    pub(crate) params: Vec<(String, BtfRef)>,
}

impl Resolved {
    /// What the call does to the flow of control.
    pub(crate) fn shape(&self) -> CallShape {
        let kfunc = self.kfunc;
        CallShape {
            sync_callback: self.name == "bpf_rbtree_add_impl",
            async_callback: matches!(self.name.as_str(), "bpf_wq_set_callback_impl")
                || self.name.starts_with("bpf_task_work_schedule"),
            iter_next: kfunc.is_some_and(|k| k.iter_next),
            changes_pkt_data: self.name == "bpf_xdp_pull_data",
            might_sleep: kfunc.is_some_and(|k| k.sleeps),
        }
    }
}

/// What checking the arguments of one call found out.
#[derive(Default)]
pub(crate) struct KMeta {
    pub(crate) map: Option<(u32, u32)>,
    pub(crate) constant: Option<u64>,
    pub(crate) ref_obj_id: u32,
    pub(crate) release_regno: usize,
    pub(crate) arg_btf: Option<BtfRef>,
    pub(crate) owning: bool,
    pub(crate) head: Option<Field>,
    pub(crate) root: Option<Field>,
    pub(crate) dynptr: Option<(DynptrKind, u32, u32)>,
    pub(crate) iter: Option<(usize, usize)>,
    pub(crate) subprog: Option<u32>,
    pub(crate) r0_size: Option<(u64, bool)>,
    pub(crate) kern_ctx: Option<BtfRef>,
}

impl Verifier<'_> {
    /// Finds the kernel function of every call.
    pub(crate) fn resolve_kfuncs(&mut self) -> Res {
        for pc in 0..self.code.len() {
            let Some(Op::Call(CallTarget::Kfunc { btf_id, fd_idx })) = self.code.op(pc).copied() else {
                continue;
            };
            let module = |n: usize| self.input.kfunc_modules.get(n).map_or(u16::MAX, |m| *m as u16 + 2);
            let obj =
                usize::try_from(fd_idx).ok().and_then(|n| n.checked_sub(1)).map_or(BtfRef::KERNEL, module);
            let func = self.types.canonical(BtfRef { obj, id: btf_id as u32 });
            let (name, params) = (self.types.name(func).to_owned(), self.types.params(func));
            let kfunc = kfunc::find(&name);
            self.kfuncs.resize(self.code.ops.len(), None);
            self.kfuncs[pc as usize] = Some(Resolved { name, kfunc, func, params });
        }
        Ok(())
    }

    /// The kernel function called at `pc`.
    pub(crate) fn kfunc_at(&self, pc: u32) -> Option<&Resolved> {
        self.kfuncs.get(pc as usize)?.as_ref()
    }

    /// Calls the kernel function at the current instruction; true where the path ends there.
    pub(crate) fn call_kfunc(&mut self) -> Res<bool> {
        let Some(resolved) = self.kfunc_at(self.pc).cloned() else { unsupported!("kernel function") };
        let name = resolved.name.as_str();
        if !self.input.gpl {
            reject!("cannot call kernel function from non-GPL compatible program");
        }
        let Some(kfunc) = resolved.kfunc else { unsupported!("kernel function `{name}`") };
        if name.starts_with("bpf_xdp_metadata_rx") {
            reject!("metadata kfuncs require device-bound program");
        }
        if !kfunc.is_allowed(self.prog_type(), self.input.attach_type) {
            reject!("calling kernel function {name} is not allowed");
        }
        if name == "__bpf_trap" {
            reject!("unexpected __bpf_trap() due to uninitialized variable?");
        }
        if name.starts_with("bpf_task_work_schedule") {
            unsupported!("kernel function `{name}`");
        }
        if kfunc.sleeps && !self.in_sleepable() {
            reject!("program must be sleepable to call sleepable kfunc {name}");
        }
        if LockCall::of(name).is_some_and(|call| call.takes) {
            self.fork_failed_lock()?;
        }
        let meta = self.check_kfunc_args(&resolved, kfunc)?;
        self.kfunc_callbacks(name, &meta)?;
        self.kfunc_regions(name, kfunc)?;
        self.kfunc_releases(name, &meta)?;
        if name == "bpf_throw" {
            return self.throw().map(|()| true);
        }
        if name == "bpf_xdp_pull_data" {
            self.clear_packet_pointers();
        }
        self.clear_caller_saved();
        self.kfunc_result(&resolved, kfunc, &meta)?;
        if kfunc.iter_next {
            self.iter_next(&meta)?;
        }
        Ok(false)
    }

    fn kfunc_callbacks(&mut self, name: &str, meta: &KMeta) -> Res {
        match name {
            "bpf_rbtree_add_impl" => {
                let (Some(subprog), Some(root)) = (meta.subprog, meta.root.clone()) else {
                    unsupported!("callback of `{name}`")
                };
                let mut frame = self.callback_frame(subprog)?;
                for i in [1, 2] {
                    let mut node = self.graph_node(&root)?;
                    self.set_non_owning(&mut node)?;
                    frame.regs[i] = node;
                }
                frame.callback_ret = Some((0, 1));
                self.enter_callback(subprog, frame, false, false)
            }
            "bpf_wq_set_callback_impl" => {
                let Some(subprog) = meta.subprog else { unsupported!("callback of `{name}`") };
                let mut frame = self.callback_frame(subprog)?;
                let detail = self.cur.reg(1).detail;
                for (i, base) in [(1, Base::MapPtr), (2, Base::MapKey), (3, Base::MapValue)] {
                    frame.regs[i] = Reg::pointer(RegType::new(base), detail);
                }
                frame.callback_ret = Some((0, 1));
                self.enter_callback(subprog, frame, true, true)
            }
            _ => Ok(()),
        }
    }

    fn callback_frame(&mut self, subprog: u32) -> Res<Frame> {
        self.new_frame(subprog, self.pc)
    }

    /// RCU and preemption regions.
    fn kfunc_regions(&mut self, name: &str, kfunc: &Kfunc) -> Res {
        let (lock, unlock) = (name == "bpf_rcu_read_lock", name == "bpf_rcu_read_unlock");
        if self.cur.rcu_locks > 0 {
            if self.in_rbtree_callback() && (lock || unlock) {
                reject!("Calling bpf_rcu_read_{{lock,unlock}} in unnecessary rbtree callback");
            }
            if lock {
                reject!("nested rcu read lock (kernel function {name})");
            }
            if unlock {
                self.end_rcu();
            } else if kfunc.sleeps {
                reject!("kernel func {name} is sleepable within rcu_read_lock region");
            }
        } else if lock {
            self.cur.rcu_locks = 1;
        } else if unlock {
            reject!("unmatched rcu read unlock (kernel function {name})");
        }
        match name {
            "bpf_preempt_disable" => self.cur.preempt_locks += 1,
            "bpf_preempt_enable" if self.cur.preempt_locks == 0 => {
                reject!("unmatched attempt to enable preemption (kernel function {name})");
            }
            "bpf_preempt_enable" => self.cur.preempt_locks -= 1,
            _ if kfunc.sleeps && self.cur.preempt_locks > 0 => {
                reject!("kernel func {name} is sleepable within non-preemptible region");
            }
            _ => {}
        }
        if kfunc.sleeps && self.cur.irq_id != 0 {
            reject!("kernel func {name} is sleepable within IRQ-disabled region");
        }
        Ok(())
    }

    /// What was valid under RCU is stale from here on, iterators included.
    fn end_rcu(&mut self) {
        self.cur.rcu_locks = 0;
        let stale = |r: &mut Reg| {
            r.ty.flags = r.ty.flags.without(Flags::RCU.with(Flags::MAYBE_NULL)).with(Flags::UNTRUSTED);
        };
        self.cur.for_each_reg(|r| r.ty.has(Flags::RCU), stale);
        for f in 0..self.cur.frames.len() {
            for i in 0..self.cur.frames[f].stack.len() {
                let slot = &self.cur.frames[f].stack[i];
                if slot.kind[7] == SlotKind::Iter && slot.reg.ty.has(Flags::RCU) {
                    stale(&mut self.cur.frame_at(f).stack[i].reg);
                }
            }
        }
    }

    fn kfunc_releases(&mut self, name: &str, meta: &KMeta) -> Res {
        if meta.release_regno != 0 {
            let id = self.cur.reg(meta.release_regno).ref_obj_id;
            if !self.release_reference(id) {
                reject!("kfunc {name} reference has not been acquired before");
            }
        }
        // What goes into a list or tree is owned by it; we keep a view of it for as long as the lock is held.
        if matches!(name, "bpf_list_push_front_impl" | "bpf_list_push_back_impl" | "bpf_rbtree_add_impl") {
            let id = self.cur.reg(2).ref_obj_id;
            let record = self.record_of(self.cur.reg(2))?;
            let counted = record.first(FieldKind::Refcount).is_some();
            self.cur.for_each_reg(
                |r| r.ref_obj_id == id,
                |r| {
                    r.ref_obj_id = 0;
                    r.ty.flags = r.ty.flags.with(Flags::NON_OWN_REF);
                    if counted {
                        r.ty.flags = r.ty.flags.with(Flags::RCU);
                    }
                },
            );
            if !self.cur.release_ref(id) {
                reject!("kfunc {name} reference has not been acquired before");
            }
        }
        Ok(())
    }

    fn throw(&mut self) -> Res {
        if !self.code.subprogs.iter().any(|s| s.is_exception_cb) {
            self.check_return_of(1)?;
        }
        self.check_nothing_held("bpf_throw", true, true)
    }

    fn kfunc_result(&mut self, k: &Resolved, kfunc: &Kfunc, meta: &KMeta) -> Res {
        let Some((r, proto)) = self.types.proto(k.func) else { unsupported!("kernel function `{}`", k.name) };
        let ret = self.types.at(r, proto.ret);
        let Some((ret, shape)) = self.types.strip(ret) else { unsupported!("kernel function `{}`", k.name) };
        let to = match shape {
            Shape::Void => return Ok(()),
            Shape::Ptr(to) => self.types.at(ret, to),
            _ => {
                let locked = LockCall::of(&k.name).is_some_and(|call| call.takes);
                *self.cur.reg_mut(0) = if locked { Reg::known(0) } else { Reg::UNKNOWN };
                return Ok(());
            }
        };
        let mut r0 = self.kfunc_pointer(k, kfunc, meta, to)?;
        let null = kfunc.ret_null && !(k.name == "bpf_refcount_acquire_impl" && meta.owning);
        if r0.is_scalar() {
            *self.cur.reg_mut(0) = r0;
            return Ok(());
        }
        if null {
            r0.ty.flags = r0.ty.flags.with(Flags::MAYBE_NULL);
            r0.id = self.new_id();
        }
        if kfunc.acquire {
            let id = self.acquire(RefKind::Ptr);
            if null {
                r0.id = id;
            }
            r0.ref_obj_id = id;
        } else if is_node(self.types.strip(to).map_or("", |(to, _)| self.types.name(to))) {
            self.set_non_owning(&mut r0)?;
        }
        if self.may_hold_lock(&r0) && r0.id == 0 {
            r0.id = self.new_id();
        }
        *self.cur.reg_mut(0) = r0;
        Ok(())
    }

    /// The pointer a call returns, before null and references.
    fn kfunc_pointer(&mut self, k: &Resolved, kfunc: &Kfunc, meta: &KMeta, to: BtfRef) -> Res<Reg> {
        let alloc = |ty| Reg::pointer(RegType::flagged(Base::BtfId, Flags::ALLOC), Detail::Btf(ty));
        match k.name.as_str() {
            "bpf_obj_new_impl" => return Ok(alloc(self.new_object(meta)?)),
            "bpf_percpu_obj_new_impl" => {
                let ty = self.new_object(meta)?;
                self.check_percpu_object(ty)?;
                let flags = Flags::ALLOC.with(Flags::PERCPU);
                return Ok(Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(ty)));
            }
            "bpf_refcount_acquire_impl" => {
                let Some(ty) = meta.arg_btf else { unsupported!("kernel function `{}`", k.name) };
                return Ok(alloc(ty));
            }
            "bpf_cast_to_kern_ctx" => {
                let Some(ty) = meta.kern_ctx else { unsupported!("kernel context of this program type") };
                return Ok(Reg::pointer(RegType::flagged(Base::BtfId, Flags::TRUSTED), Detail::Btf(ty)));
            }
            "bpf_rdonly_cast" => return self.rdonly_cast(meta),
            "bpf_dynptr_slice" | "bpf_dynptr_slice_rdwr" => return self.dynptr_slice(&k.name, meta),
            _ => {}
        }
        let target =
            self.types.strip(to).map(|(r, shape)| (r, self.types.name(r), matches!(shape, Shape::Void)));
        let Some((ty, name, void)) = target else { unsupported!("kernel function `{}`", k.name) };
        match (name, &meta.head, &meta.root) {
            ("bpf_list_node", Some(field), _) | ("bpf_rb_node", _, Some(field)) => {
                return self.graph_node(&field.clone());
            }
            _ => {}
        }
        if void && meta.r0_size.is_none() {
            return Ok(Reg::UNKNOWN);
        }
        if !self.types.is_struct(ty) {
            let session = (k.name == "bpf_session_cookie").then_some((8, false));
            let own = self.types.size(ty).map(|size| (size, true));
            let Some((size, read_only)) = session.or(meta.r0_size).or(own) else {
                reject!("kernel function {} returns pointer type {name} is not supported", k.name);
            };
            let flags = if read_only { Flags::RDONLY } else { Flags::NONE };
            let reg = Reg::pointer(
                RegType::flagged(Base::Mem, flags),
                Detail::Mem { size: size as u32, dynptr: 0 },
            );
            return Ok(Reg { ref_obj_id: meta.ref_obj_id, ..reg });
        }
        let mut flags = Flags::NONE;
        if kfunc.iter_next
            && let Some((frame, spi)) = meta.iter
        {
            let rcu = self.cur.frames[frame].stack[spi].reg.ty.has(Flags::RCU);
            flags = if rcu { Flags::RCU } else { Flags::TRUSTED };
        }
        if k.name == "bpf_get_kmem_cache" || k.name == "bpf_get_task_exe_file" {
            flags = if k.name == "bpf_get_kmem_cache" { Flags::UNTRUSTED } else { flags };
        }
        Ok(Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(ty)))
    }

    /// The structure of the program that `bpf_obj_new` allocates.
    fn new_object(&self, meta: &KMeta) -> Res<BtfRef> {
        let Some(id) = meta.constant else { unsupported!("allocation of an unknown type") };
        let Ok(id) = u32::try_from(id) else {
            reject!("local type ID argument must be in range [0, U32_MAX]")
        };
        let ty = BtfRef { obj: BtfRef::PROGRAM, id };
        match self.types.shape(ty) {
            Some(Shape::Struct(_)) => Ok(ty),
            _ => reject!("bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct"),
        }
    }

    fn check_percpu_object(&self, ty: BtfRef) -> Res {
        const MAX: u64 = 512;
        let size = self.types.size(ty).unwrap_or(0);
        if size > MAX {
            reject!("bpf_percpu_obj_new type size ({size}) is greater than {MAX}");
        }
        if !self.is_scalar_struct(ty, 0) {
            reject!("bpf_percpu_obj_new type ID argument must be of a struct of scalars");
        }
        if !self.environment.record(ty).fields.is_empty() {
            reject!("bpf_percpu_obj_new type ID argument must not contain special fields");
        }
        Ok(())
    }

    fn rdonly_cast(&self, meta: &KMeta) -> Res<Reg> {
        let Some(id) = meta.constant else { unsupported!("cast to an unknown type") };
        let ty = BtfRef { obj: BtfRef::KERNEL, id: id as u32 };
        match self.types.shape(ty) {
            Some(Shape::Struct(_) | Shape::Union(_)) => {
                let ty_flags = RegType::flagged(Base::BtfId, Flags::UNTRUSTED);
                Ok(Reg::pointer(ty_flags, Detail::Btf(ty)))
            }
            Some(Shape::Void) => {
                let ty = RegType::flagged(Base::Mem, Flags::RDONLY.with(Flags::UNTRUSTED));
                Ok(Reg::pointer(ty, Detail::Mem { size: 0, dynptr: 0 }))
            }
            _ => reject!("kfunc bpf_rdonly_cast type ID argument must be of a struct or void"),
        }
    }

    fn dynptr_slice(&self, name: &str, meta: &KMeta) -> Res<Reg> {
        let (Some((kind, id, _)), Some(size)) = (meta.dynptr, meta.constant) else {
            unsupported!("slice of an unknown dynptr")
        };
        let mut flags = match kind {
            DynptrKind::Skb => Flags::DYNPTR_SKB,
            DynptrKind::Xdp => Flags::DYNPTR_XDP,
            DynptrKind::SkbMeta => Flags::DYNPTR_SKB_META,
            _ => Flags::NONE,
        };
        if name == "bpf_dynptr_slice" {
            flags = flags.with(Flags::RDONLY);
        } else if !self.may_write_packet() {
            reject!("the prog does not allow writes to packet data");
        }
        Ok(Reg::pointer(RegType::flagged(Base::Mem, flags), Detail::Mem { size: size as u32, dynptr: id }))
    }

    /// May the kernel function at the current instruction be called while a lock is held?
    pub(crate) fn may_call_kfunc_locked(&self) -> bool {
        let Some(k) = self.kfunc_at(self.pc) else { return false };
        let name = k.name.as_str();
        is_graph_api(name)
            || name == "bpf_refcount_acquire_impl"
            || name.starts_with("bpf_iter_num_")
            || name.starts_with("bpf_res_spin_")
    }

    /// Does the call at `pc` throw?
    pub(crate) fn throws(&self, pc: u32) -> bool {
        self.kfunc_at(pc).is_some_and(|k| k.name == "bpf_throw")
    }

    /// Are we in the comparison callback of a tree, whose lock is held?
    pub(crate) fn in_rbtree_callback(&self) -> bool {
        self.cur
            .frames
            .iter()
            .skip(1)
            .filter(|f| f.in_callback)
            .any(|f| self.kfunc_at(f.callsite).is_some_and(|k| k.name.starts_with("bpf_rbtree_")))
    }

    /// The kernel's own structure behind the context, for `bpf_cast_to_kern_ctx`.
    pub(crate) fn kernel_context(&self) -> Res<BtfRef> {
        let name = match self.prog_type() {
            ProgType::SOCKET_FILTER
            | ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::CGROUP_SKB
            | ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_XMIT
            | ProgType::LWT_SEG6LOCAL
            | ProgType::SK_SKB => "sk_buff",
            ProgType::XDP => "xdp_buff",
            ProgType::CGROUP_SOCK => "sock",
            ProgType::CGROUP_SOCK_ADDR => "bpf_sock_addr_kern",
            ProgType::SOCK_OPS => "bpf_sock_ops_kern",
            ProgType::SK_MSG => "sk_msg",
            ProgType::KPROBE => "pt_regs",
            ProgType::PERF_EVENT => "bpf_perf_event_data_kern",
            ProgType::CGROUP_DEVICE => "bpf_cgroup_dev_ctx",
            ProgType::CGROUP_SYSCTL => "bpf_sysctl_kern",
            ProgType::CGROUP_SOCKOPT => "bpf_sockopt_kern",
            ProgType::SK_REUSEPORT => "sk_reuseport_kern",
            ProgType::SK_LOOKUP => "bpf_sk_lookup_kern",
            ProgType::FLOW_DISSECTOR => "bpf_flow_dissector",
            ProgType::NETFILTER => "bpf_nf_ctx",
            other => unsupported!("kernel context of program type `{other}`"),
        };
        self.types.kernel_struct(name).ok_or_else(|| Stop::unsupported(format!("kernel type `{name}`")))
    }

    /// A structure of numbers only, up to three levels deep?
    pub(crate) fn is_scalar_struct(&self, ty: BtfRef, depth: u32) -> bool {
        let Some((r, c)) = self.types.composite(ty) else { return false };
        c.members.positions().iter().flatten().all(|m| {
            let Some((at, shape)) = self.types.strip(self.types.at(r, m.ty)) else { return false };
            match shape {
                Shape::Struct(_) | Shape::Union(_) => depth < 3 && self.is_scalar_struct(at, depth + 1),
                Shape::Array(a) => a.len > 0 && self.types.is_scalar(self.types.at(at, a.elem)),
                _ => self.types.is_scalar(at),
            }
        })
    }
}

/// Functions of lists and trees.
pub(crate) fn is_graph_api(name: &str) -> bool {
    name.starts_with("bpf_list_") || name.starts_with("bpf_rbtree_")
}

fn is_node(name: &str) -> bool {
    matches!(name, "bpf_list_node" | "bpf_rb_node")
}
