//! Global functions: what their BTF and its tags say of their arguments, for callers and for themselves.

use skep_btf::{Kind, Linkage, Shape};
use skep_isa::uapi::ProgType;

use super::Verifier;
use crate::reg::{Base, BtfRef, Detail, DynptrKind, Flags, Reg, RegType};
use crate::stop::{Res, reject, unsupported};

/// What an argument of a global function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GlobalArg {
    Scalar,
    Ctx,
    Dynptr,
    Mem { size: u32, nullable: bool },
    UntrustedMem,
    Btf { ty: BtfRef, flags: Flags },
    Arena,
}

/// The structure a program type's context is called, for functions that take it.
fn context_name(prog: ProgType) -> &'static [&'static str] {
    match prog {
        ProgType::SOCKET_FILTER
        | ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::CGROUP_SKB
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL
        | ProgType::SK_SKB
        | ProgType::FLOW_DISSECTOR => &["__sk_buff"],
        ProgType::XDP => &["xdp_md"],
        ProgType::CGROUP_SOCK => &["bpf_sock"],
        ProgType::CGROUP_SOCK_ADDR => &["bpf_sock_addr"],
        ProgType::SOCK_OPS => &["bpf_sock_ops"],
        ProgType::SK_MSG => &["sk_msg_md"],
        ProgType::KPROBE => &["bpf_user_pt_regs_t", "user_pt_regs", "pt_regs"],
        ProgType::PERF_EVENT => &["bpf_perf_event_data", "bpf_user_pt_regs_t", "pt_regs"],
        ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE => &["bpf_raw_tracepoint_args"],
        ProgType::CGROUP_DEVICE => &["bpf_cgroup_dev_ctx"],
        ProgType::CGROUP_SYSCTL => &["bpf_sysctl"],
        ProgType::CGROUP_SOCKOPT => &["bpf_sockopt"],
        ProgType::SK_REUSEPORT => &["sk_reuseport_md"],
        ProgType::SK_LOOKUP => &["bpf_sk_lookup"],
        ProgType::NETFILTER => &["bpf_nf_ctx"],
        _ => &[],
    }
}

impl Verifier<'_> {
    /// Linkage of the functions beside the first, from BTF.
    pub(crate) fn find_globals(&mut self) {
        for i in 1..self.code.subprogs.len() as u32 {
            let shape = self.subprog_type(i).and_then(|func| self.types.shape(func));
            let global = matches!(shape, Some(Shape::Func { linkage: Linkage::Global, .. }));
            self.code.subprogs[i as usize].global = global;
        }
    }

    /// Source name of a function; empty where BTF does not tell it.
    pub(crate) fn subprog_name(&self, subprog: u32) -> &str {
        self.subprog_type(subprog).map_or("", |func| self.types.name(func))
    }

    /// Arguments of a function as its BTF gives them.
    pub(crate) fn global_args(&self, subprog: u32) -> Res<Vec<GlobalArg>> {
        let Some(func) = self.subprog_type(subprog) else { reject!("Global functions need valid BTF") };
        let name = self.types.name(func).to_owned();
        let Some((r, proto)) = self.types.proto(func) else { reject!("Invalid type of function {name}()") };
        if proto.params.len() > 5 {
            reject!("Global function {name}() with {} > 5 args. Buggy compiler.", proto.params.len());
        }
        if !self.types.is_scalar(self.types.at(r, proto.ret)) {
            reject!("Global function {name}() doesn't return scalar. Only those are supported.");
        }
        let params: Vec<BtfRef> = proto.params.iter().flatten().map(|p| self.types.at(r, p.ty)).collect();
        params.into_iter().enumerate().map(|(i, ty)| self.global_arg(func, i as u32, ty)).collect()
    }

    fn global_arg(&self, func: BtfRef, i: u32, ty: BtfRef) -> Res<GlobalArg> {
        let tags = self.types.decl_tags(func, Some(i));
        let tags: Vec<&str> = tags.filter_map(|t| t.strip_prefix("arg:")).collect();
        if tags.iter().any(|t| !["ctx", "trusted", "untrusted", "nonnull", "nullable", "arena"].contains(t)) {
            reject!("arg#{i} has unsupported set of tags");
        }
        let has = |tag: &str| tags.contains(&tag);
        let only = |tag: &str| tags.iter().all(|t| *t == tag);
        let Some(to) = self.types.pointee(ty) else {
            if !tags.is_empty() {
                reject!("arg#{i} has pointer tag, but is not a pointer type");
            }
            if self.types.is_scalar(ty) {
                return Ok(GlobalArg::Scalar);
            }
            reject!("Arg#{i} type in {}() is not supported yet.", self.types.name(func));
        };
        let combination = || reject!("arg#{i} has invalid combination of tags");
        if has("ctx") || self.is_context(to) {
            return if only("ctx") { Ok(GlobalArg::Ctx) } else { combination() };
        }
        let target = self.types.strip(to).map_or("", |(to, _)| self.types.name(to));
        if target == "bpf_dynptr" {
            return if tags.is_empty() { Ok(GlobalArg::Dynptr) } else { combination() };
        }
        if has("trusted") {
            if has("nonnull") {
                return combination();
            }
            let flags = if has("nullable") { Flags::TRUSTED.with(Flags::MAYBE_NULL) } else { Flags::TRUSTED };
            return Ok(GlobalArg::Btf { ty: self.kernel_twin(i, to)?, flags });
        }
        if has("untrusted") {
            if !only("untrusted") {
                return combination();
            }
            if !self.types.is_struct(to) {
                return Ok(GlobalArg::UntrustedMem);
            }
            return Ok(GlobalArg::Btf { ty: self.kernel_twin(i, to)?, flags: Flags::UNTRUSTED });
        }
        if has("arena") {
            return if only("arena") { Ok(GlobalArg::Arena) } else { combination() };
        }
        if has("nullable") {
            return combination();
        }
        let Some(size) = self.types.size(to) else {
            let kind = self.types.strip(to).map_or("UNKNOWN", |(_, shape)| kind_word(shape.kind()));
            reject!("arg#{i} reference type('{kind} {target}') size cannot be determined: -22");
        };
        Ok(GlobalArg::Mem { size: size as u32, nullable: !has("nonnull") })
    }

    /// The kernel's structure of the same name, flavours after `___` left off.
    fn kernel_twin(&self, i: u32, to: BtfRef) -> Res<BtfRef> {
        let Some((to, shape)) = self.types.strip(to) else { unsupported!("argument without a type") };
        let name = self.types.name(to).split("___").next().unwrap_or("");
        match self.types.find(name, shape.kind()) {
            Some(found) => Ok(found),
            None => reject!("arg#{i} reference type('{name}') has no matches"),
        }
    }

    pub(crate) fn is_context(&self, to: BtfRef) -> bool {
        let names = context_name(self.prog_type());
        // A typedef may be the name, so qualifiers only are stripped on the way.
        let mut at = to;
        for _ in 0..16 {
            let Some(t) = self.types.get(at) else { return false };
            let projected = matches!(t.name, "sk_buff") && names.contains(&"__sk_buff")
                || t.name == "xdp_buff" && names.contains(&"xdp_md");
            if (names.contains(&t.name) || projected) && !t.name.is_empty() {
                return true;
            }
            let (Shape::Const(next) | Shape::Volatile(next) | Shape::Restrict(next) | Shape::Typedef(next)) =
                t.shape
            else {
                return false;
            };
            at = self.types.at(at, next);
        }
        false
    }

    /// Registers at the start of a function that is verified on its own.
    pub(crate) fn init_global_args(&mut self, subprog: u32, regs: &mut [Reg; 11]) -> Res {
        let args = self.global_args(subprog)?;
        if self.code.subprogs[subprog as usize].is_exception_cb && args != [GlobalArg::Scalar] {
            reject!("exception cb only supports single integer argument");
        }
        for (i, arg) in args.into_iter().enumerate() {
            let id = self.new_id();
            regs[i + 1] = match arg {
                GlobalArg::Scalar | GlobalArg::Arena => Reg::UNKNOWN,
                GlobalArg::Ctx => Reg::pointer(RegType::new(Base::Ctx), Detail::None),
                GlobalArg::Dynptr => {
                    let detail = Detail::Dynptr { kind: DynptrKind::Local, first: true };
                    Reg { id, ..Reg::pointer(RegType::new(Base::Dynptr), detail) }
                }
                GlobalArg::Mem { size, nullable } => {
                    let flags = if nullable { Flags::MAYBE_NULL } else { Flags::NONE };
                    Reg {
                        id,
                        ..Reg::pointer(RegType::flagged(Base::Mem, flags), Detail::Mem { size, dynptr: 0 })
                    }
                }
                GlobalArg::UntrustedMem => {
                    let ty = RegType::flagged(Base::Mem, Flags::RDONLY.with(Flags::UNTRUSTED));
                    Reg { id, ..Reg::pointer(ty, Detail::Mem { size: 0, dynptr: 0 }) }
                }
                GlobalArg::Btf { ty, flags } => {
                    Reg { id, ..Reg::pointer(RegType::flagged(Base::BtfId, flags), Detail::Btf(ty)) }
                }
            };
        }
        Ok(())
    }

    /// The caller's registers against what a global function takes.
    pub(crate) fn check_global_args(&mut self, subprog: u32) -> Res {
        for (i, arg) in self.global_args(subprog)?.into_iter().enumerate() {
            let regno = i + 1;
            let reg = *self.cur.reg(regno);
            match arg {
                GlobalArg::Scalar if !reg.is_scalar() => reject!("R{regno} is not a scalar"),
                GlobalArg::Scalar | GlobalArg::UntrustedMem => {}
                GlobalArg::Btf { flags, .. } if flags.any(Flags::UNTRUSTED) => {}
                GlobalArg::Ctx => {
                    self.check_arg_offset(&reg, regno, false, false)?;
                    if !reg.ty.is(Base::Ctx) {
                        reject!("arg#{i} expects pointer to ctx");
                    }
                }
                GlobalArg::Mem { size, nullable } => {
                    self.check_arg_offset(&reg, regno, false, false)?;
                    self.checked_mem(regno, size)?;
                    if !nullable && (reg.ty.may_be_null() || reg.is_null()) {
                        reject!("arg#{i} is expected to be non-NULL");
                    }
                }
                GlobalArg::Arena if !reg.ty.is(Base::Arena) && !reg.is_scalar() => {
                    reject!("R{regno} is not a pointer to arena or scalar.");
                }
                GlobalArg::Arena => {}
                GlobalArg::Dynptr => {
                    self.check_arg_offset(&reg, regno, false, true)?;
                    self.use_dynptr(regno, None, true)?;
                }
                GlobalArg::Btf { ty, flags } => self.check_global_btf(regno, &reg, ty, flags)?,
            }
        }
        Ok(())
    }

    fn check_global_btf(&mut self, regno: usize, reg: &Reg, ty: BtfRef, flags: Flags) -> Res {
        let nullable = flags.any(Flags::MAYBE_NULL);
        if reg.is_null() && nullable {
            return Ok(());
        }
        let mut have = reg.ty.flags;
        if nullable {
            have = have.without(Flags::MAYBE_NULL);
        }
        let ok = reg.ty.base == Base::BtfId && [Flags::NONE, Flags::TRUSTED, Flags::RCU].contains(&have);
        if !ok {
            reject!("R{regno} type={} expected=ptr_, trusted_ptr_, rcu_ptr_", reg.ty);
        }
        self.check_is_struct(regno, reg, ty, false)?;
        self.check_arg_offset(reg, regno, false, false)
    }
}

/// The kernel's word for a kind of type without a size.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Fwd => "FWD",
        Kind::FuncProto => "FUNC_PROTO",
        Kind::Func => "FUNC",
        _ => "UNKNOWN",
    }
}
