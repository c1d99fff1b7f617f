//! Arguments of kernel functions, by their BTF types and the suffixes of their names.

use skep_btf::Shape;
use skep_isa::uapi::{AttachType, ProgType};

use super::Verifier;
use super::kfuncs::{KMeta, Resolved};
use super::locks::LockCall;
use crate::kfunc::Kfunc;
use crate::record::FieldKind;
use crate::reg::{Base, BtfRef, Detail, DynptrKind, Flags, Reg, RegType};
use crate::stop::{Res, Stop, reject, unsupported};

/// What a pointer argument is taken as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Null,
    Ctx,
    AllocObj,
    RefcountedKptr,
    Dynptr,
    Iter,
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    Str,
    Map,
    Workqueue,
    IrqFlag,
    ResLock,
    Btf,
    Callback,
    Mem,
    MemSize,
}

/// The argument being checked.
struct Arg<'a> {
    i: usize,
    name: &'a str,
    /// What it points to, stripped.
    to: BtfRef,
    /// Name of that.
    to_name: String,
    kind: Kind,
}

impl Verifier<'_> {
    /// Checks all arguments and gathers what the call needs of them.
    pub(crate) fn check_kfunc_args(&mut self, k: &Resolved, kfunc: &Kfunc) -> Res<KMeta> {
        let mut meta = KMeta::default();
        if k.params.len() > 5 {
            reject!("Function {} has {} > 5 args", k.name, k.params.len());
        }
        let mut skip = false;
        for i in 0..k.params.len() {
            if std::mem::take(&mut skip) {
                continue;
            }
            let (name, ty) = &k.params[i];
            let regno = i + 1;
            if name.ends_with("__ign") || name.ends_with("__prog") {
                continue;
            }
            let reg = *self.cur.reg(regno);
            self.check_readable_reg(regno as u8)?;
            if self.types.is_scalar(*ty) {
                self.scalar_arg(regno, &reg, name, &mut meta)?;
                continue;
            }
            let Some(to) = self.types.pointee(*ty) else { reject!("Unrecognized arg#{i} type") };
            let nullable = name.ends_with("__nullable") || name.ends_with("__opt");
            if (kfunc.wants_trusted() || kfunc.rcu) && (reg.is_null() || reg.ty.may_be_null()) && !nullable {
                reject!("Possibly NULL pointer passed to trusted arg{i}");
            }
            if reg.ref_obj_id != 0 {
                meta.ref_obj_id = reg.ref_obj_id;
                if kfunc.release {
                    meta.release_regno = regno;
                }
            }
            let Some((to, _)) = self.types.strip(to) else { unsupported!("kernel function `{}`", k.name) };
            let to_name = self.types.name(to).to_owned();
            let kind = self.kfunc_arg_kind(k, kfunc, i, to, &to_name)?;
            let arg = Arg { i, name, to, to_name, kind };
            self.pointer_arg(k, kfunc, &arg, &reg, &mut meta)?;
            skip = kind == Kind::MemSize;
        }
        if kfunc.release && meta.release_regno == 0 {
            reject!("release kernel function {} expects refcounted PTR_TO_BTF_ID", k.name);
        }
        Ok(meta)
    }

    fn scalar_arg(&mut self, regno: usize, reg: &Reg, name: &str, meta: &mut KMeta) -> Res {
        if !reg.is_scalar() {
            reject!("R{regno} is not a scalar");
        }
        if name.ends_with("__k") {
            if !reg.val.is_const() {
                reject!("R{regno} must be a known constant");
            }
            self.mark_precise(regno)?;
            meta.constant = Some(reg.val.bits.value);
        } else if name == "rdonly_buf_size" || name == "rdwr_buf_size" {
            if !reg.val.is_const() {
                reject!("R{regno} is not a const");
            }
            meta.r0_size = Some((reg.val.bits.value, name == "rdonly_buf_size"));
            self.mark_precise(regno)?;
        }
        Ok(())
    }

    fn kfunc_arg_kind(&self, k: &Resolved, kfunc: &Kfunc, i: usize, to: BtfRef, to_name: &str) -> Res<Kind> {
        let (name, ty) = &k.params[i];
        let reg = self.cur.reg(i + 1);
        let suffix = |s: &str| name.ends_with(s);
        if k.name == "bpf_cast_to_kern_ctx" {
            return Ok(Kind::Ctx);
        }
        if self.is_context(self.types.pointee(*ty).unwrap_or(to)) {
            return Ok(Kind::Ctx);
        }
        if suffix("__nullable") && reg.is_null() {
            return Ok(Kind::Null);
        }
        let by_suffix = [
            ("__alloc", Kind::AllocObj),
            ("__refcounted_kptr", Kind::RefcountedKptr),
            ("__irq_flag", Kind::IrqFlag),
            ("__str", Kind::Str),
            ("__map", Kind::Map),
            ("__iter", Kind::Iter),
        ];
        if kfunc.is_iter() && i == 0 {
            return Ok(Kind::Iter);
        }
        if let Some((_, kind)) = by_suffix.iter().find(|(s, _)| suffix(s)) {
            return Ok(*kind);
        }
        match to_name {
            "bpf_dynptr" | "bpf_dynptr_kern" => return Ok(Kind::Dynptr),
            "bpf_list_head" => return Ok(Kind::ListHead),
            "bpf_list_node" => return Ok(Kind::ListNode),
            "bpf_rb_root" => return Ok(Kind::RbRoot),
            "bpf_rb_node" => return Ok(Kind::RbNode),
            "bpf_wq" => return Ok(Kind::Workqueue),
            "bpf_res_spin_lock" => return Ok(Kind::ResLock),
            _ => {}
        }
        if reg.ty.base == Base::BtfId || view_struct(reg.ty.base).is_some() {
            if !self.types.is_struct(to) {
                reject!("kernel function {} args#{i} pointer type {to_name} is not supported", k.name);
            }
            return Ok(Kind::Btf);
        }
        let target = self.types.strip(to).map(|(_, shape)| shape);
        if matches!(target, Some(Shape::FuncProto(_))) {
            return Ok(Kind::Callback);
        }
        let sized = k.params.get(i + 1).is_some_and(|(n, ty)| {
            self.types.is_scalar(*ty)
                && (n.ends_with("__sz") || n.ends_with("__szk"))
                && self.cur.reg(i + 2).is_scalar()
        });
        let void = matches!(target, Some(Shape::Void));
        let memory = self.types.is_scalar(to) || self.is_scalar_struct(to, 0) || (sized && void);
        if !memory {
            let what = if sized { "void, " } else { "" };
            let keyword = if self.types.is_struct(to) { "STRUCT" } else { "UNKNOWN" };
            reject!(
                "arg#{i} pointer type {keyword} {to_name} must point to {what}scalar, or struct with scalar"
            );
        }
        Ok(if sized { Kind::MemSize } else { Kind::Mem })
    }

    fn pointer_arg(
        &mut self,
        k: &Resolved,
        kfunc: &Kfunc,
        arg: &Arg<'_>,
        reg: &Reg,
        meta: &mut KMeta,
    ) -> Res {
        let regno = arg.i + 1;
        match arg.kind {
            Kind::Null => return Ok(()),
            Kind::Map => self.map_arg(regno, reg, meta)?,
            _ => {}
        }
        if matches!(arg.kind, Kind::Map | Kind::AllocObj | Kind::Btf)
            && (kfunc.wants_trusted() || kfunc.rcu)
            && !reg.is_trusted()
        {
            if !kfunc.rcu {
                reject!("R{regno} must be referenced or trusted");
            }
            if !reg.is_rcu() {
                reject!("R{regno} must be a rcu pointer");
            }
        }
        let release = kfunc.release && reg.ref_obj_id != 0;
        self.check_arg_offset(reg, regno, release, false)?;
        match arg.kind {
            Kind::Null => Ok(()),
            Kind::Ctx => self.ctx_arg(k, arg.i, reg, meta),
            Kind::AllocObj => self.alloc_arg(k, arg.i, reg, meta),
            Kind::Dynptr => self.dynptr_arg(k, arg, reg, meta),
            Kind::Iter => self.iter_arg(k, kfunc, arg.i, meta),
            Kind::ListHead | Kind::RbRoot => {
                self.graph_root_arg(&k.name, arg.i, reg, arg.kind == Kind::RbRoot, meta)
            }
            Kind::ListNode | Kind::RbNode => {
                self.graph_node_arg(&k.name, arg.i, reg, arg.kind == Kind::RbNode, meta)
            }
            Kind::Map => {
                let Some(map) = self.types.kernel_struct("bpf_map") else {
                    unsupported!("kernel type `bpf_map`")
                };
                self.btf_arg(k, kfunc, arg.i, reg, map, "bpf_map")
            }
            Kind::Btf => self.btf_arg(k, kfunc, arg.i, reg, arg.to, &arg.to_name),
            Kind::Mem => {
                let Some(size) = self.types.size(arg.to) else {
                    reject!("arg#{} reference type('{}') size cannot be determined", arg.i, arg.to_name);
                };
                self.checked_mem(regno, size as u32)
            }
            Kind::MemSize => self.mem_size_arg(k, arg, reg, meta),
            Kind::Callback => {
                let Detail::Func(subprog) = reg.detail else {
                    reject!("arg{} expected pointer to func", arg.i)
                };
                meta.subprog = Some(subprog);
                Ok(())
            }
            Kind::RefcountedKptr => self.refcounted_arg(arg.i, reg, meta),
            Kind::Str => {
                if !reg.ty.is(Base::MapValue) {
                    reject!("arg#{} doesn't point to a const string", arg.i);
                }
                self.check_const_str(regno, reg)
            }
            Kind::Workqueue => {
                if !reg.ty.is(Base::MapValue) {
                    reject!("arg#{} doesn't point to a map value", arg.i);
                }
                self.check_value_field(regno, reg, FieldKind::Workqueue, "bpf_wq")?;
                meta.map = reg.map().map(|m| (m, reg.map_uid()));
                Ok(())
            }
            Kind::IrqFlag => {
                let saves = matches!(k.name.as_str(), "bpf_local_irq_save" | "bpf_res_spin_lock_irqsave");
                self.process_irq_flag(arg.i, saves, LockCall::of(&k.name).is_some())
            }
            Kind::ResLock => {
                if !reg.ty.is(Base::MapValue) && reg.ty != RegType::flagged(Base::BtfId, Flags::ALLOC) {
                    reject!("arg#{} doesn't point to map value or allocated object", arg.i);
                }
                let Some(call) = LockCall::of(&k.name) else { unsupported!("kernel function `{}`", k.name) };
                self.process_lock(regno, call)
            }
        }
    }

    fn map_arg(&self, regno: usize, reg: &Reg, meta: &mut KMeta) -> Res {
        let Some(map) = reg.map().filter(|_| reg.ty.base == Base::MapPtr || reg.ty.base == Base::MapValue)
        else {
            // A pointer to a kernel map by BTF is one, too.
            if reg.ty.base == Base::BtfId {
                return Ok(());
            }
            reject!("pointer in R{regno} isn't map pointer");
        };
        let record = &self.maps[map as usize].record;
        if let Some((first, uid)) = meta.map
            && record.first(FieldKind::Workqueue).is_some()
            && (first, uid) != (map, reg.map_uid())
        {
            reject!(
                "workqueue pointer in R1 map_uid={uid} doesn't match map pointer in R2 map_uid={}",
                reg.map_uid()
            );
        }
        meta.map = Some((map, reg.map_uid()));
        Ok(())
    }

    fn ctx_arg(&self, k: &Resolved, i: usize, reg: &Reg, meta: &mut KMeta) -> Res {
        if !reg.ty.is(Base::Ctx) {
            reject!("arg#{i} expected pointer to ctx, but got {}", reg.ty);
        }
        if k.name == "bpf_cast_to_kern_ctx" {
            meta.kern_ctx = Some(self.kernel_context()?);
        }
        Ok(())
    }

    fn alloc_arg(&self, k: &Resolved, i: usize, reg: &Reg, meta: &mut KMeta) -> Res {
        let percpu = Flags::ALLOC.with(Flags::PERCPU);
        let wanted = if reg.ty == RegType::flagged(Base::BtfId, Flags::ALLOC) {
            "bpf_obj_drop_impl"
        } else if reg.ty == RegType::flagged(Base::BtfId, percpu) {
            "bpf_percpu_obj_drop_impl"
        } else {
            reject!("arg#{i} expected pointer to allocated object");
        };
        if k.name != wanted {
            reject!("arg#{i} expected for {wanted}()");
        }
        if reg.ref_obj_id == 0 {
            reject!("allocated object must be referenced");
        }
        meta.arg_btf = reg.btf();
        Ok(())
    }

    fn dynptr_arg(&mut self, k: &Resolved, arg: &Arg<'_>, reg: &Reg, meta: &mut KMeta) -> Res {
        let regno = arg.i + 1;
        if arg.name.ends_with("__uninit") {
            let (kind, clone_of) = match k.name.as_str() {
                "bpf_dynptr_from_skb" => (DynptrKind::Skb, None),
                "bpf_dynptr_from_xdp" => (DynptrKind::Xdp, None),
                "bpf_dynptr_from_skb_meta" => (DynptrKind::SkbMeta, None),
                "bpf_dynptr_clone" => match meta.dynptr {
                    Some((kind, _, ref_obj_id)) => (kind, Some(ref_obj_id)),
                    None => unsupported!("clone of an unknown dynptr"),
                },
                other => unsupported!("kernel function `{other}`"),
            };
            return self.make_dynptr(regno, kind, clone_of);
        }
        self.use_dynptr(regno, None, reg.ty.is(Base::Dynptr))?;
        if let Some(kind) = self.dynptr_kind(reg) {
            let (id, ref_obj_id) = self.dynptr_ids(reg);
            meta.dynptr = Some((kind, id, ref_obj_id));
        }
        Ok(())
    }

    fn mem_size_arg(&mut self, k: &Resolved, arg: &Arg<'_>, reg: &Reg, meta: &mut KMeta) -> Res {
        let (i, regno) = (arg.i, arg.i + 1);
        if !(reg.is_null() && arg.name.ends_with("__opt")) {
            match self.kfunc_sized_mem(regno) {
                Err(Stop::Reject(_)) => {
                    reject!("arg#{i} arg#{} memory, len pair leads to invalid memory access", i + 1)
                }
                other => other?,
            }
        }
        let constant = k.params.get(i + 1).is_some_and(|(name, _)| name.ends_with("__szk"));
        if constant {
            let size = *self.cur.reg(regno + 1);
            if !size.val.is_const() {
                reject!("R{} must be a known constant", regno + 1);
            }
            self.mark_precise(regno + 1)?;
            meta.constant = Some(size.val.bits.value);
        }
        Ok(())
    }

    fn kfunc_sized_mem(&mut self, regno: usize) -> Res {
        let saved = *self.cur.reg(regno);
        if saved.ty.may_be_null() {
            let mut not_null = saved;
            self.mark_not_null(&mut not_null);
            *self.cur.reg_mut(regno) = not_null;
        }
        let result = self
            .sized_access(regno + 1, false, true, None)
            .and_then(|()| self.sized_access(regno + 1, true, true, None));
        if saved.ty.may_be_null() {
            *self.cur.reg_mut(regno) = saved;
        }
        result
    }

    fn refcounted_arg(&self, i: usize, reg: &Reg, meta: &mut KMeta) -> Res {
        if !reg.ty.is_alloc_obj() {
            reject!("arg#{i} is neither owning or non-owning ref");
        }
        if !reg.ty.is_non_owning() && reg.ref_obj_id != 0 {
            meta.owning = true;
        }
        if self.record_of(reg)?.first(FieldKind::Refcount).is_none() {
            reject!("arg#{i} doesn't point to a type with bpf_refcount field");
        }
        meta.arg_btf = reg.btf();
        Ok(())
    }

    fn btf_arg(
        &self,
        k: &Resolved,
        kfunc: &Kfunc,
        i: usize,
        reg: &Reg,
        need: BtfRef,
        need_name: &str,
    ) -> Res {
        let safe = Flags::TRUSTED.with(Flags::ALLOC).with(Flags::NON_OWN_REF);
        let unsafe_flags = reg.ty.flags.without(safe).0 != 0;
        let view = view_struct(reg.ty.base);
        if (reg.ty.base != Base::BtfId || (unsafe_flags && !reg.is_rcu())) && view.is_none() {
            reject!("arg#{i} is {} expected ptr_ or socket", reg.ty);
        }
        let have = match (reg.btf(), view) {
            (Some(btf), _) if reg.ty.base == Base::BtfId => btf,
            (_, Some(name)) => match self.types.kernel_struct(name) {
                Some(strct) => strct,
                None => unsupported!("kernel type `{name}`"),
            },
            _ => unsupported!("BTF pointer without a type"),
        };
        let have_name = self.types.name(have);
        // `T___init` and `T` are told apart though they are laid out alike.
        let alias = need_name.strip_suffix("___init") == Some(have_name)
            || have_name.strip_suffix("___init") == Some(need_name);
        let strict = (kfunc.release && reg.ref_obj_id != 0) || alias;
        let projection = matches!((need_name, have_name), ("__sk_buff", "sk_buff") | ("xdp_md", "xdp_buff"));
        if !projection
            && !self.types.matches(have, i64::from(reg.off), need, strict, !reg.ty.has(Flags::ALLOC))
        {
            reject!(
                "kernel function {} args#{i} expected pointer to STRUCT {need_name} but R{} has a pointer to STRUCT {have_name}",
                k.name,
                i + 1
            );
        }
        Ok(())
    }

    /// May this program walk the tasks of a control group?
    pub(crate) fn may_iterate_css_tasks(&self) -> bool {
        self.prog_type() == ProgType::LSM
            || (self.prog_type() == ProgType::TRACING && self.input.attach_type == AttachType::TRACE_ITER)
            || self.in_sleepable()
    }
}

/// The kernel's structure behind a socket view or a map.
fn view_struct(base: Base) -> Option<&'static str> {
    match base {
        Base::Socket => Some("sock"),
        Base::SockCommon => Some("sock_common"),
        Base::TcpSock => Some("tcp_sock"),
        Base::MapPtr => Some("bpf_map"),
        _ => None,
    }
}
