//! Arguments of helpers against what the prototype wants.

use skep_isa::uapi::{AttachType, MapType, ProgType};

use super::Verifier;
use super::helpers::{Meta, id};
use crate::helper::proto::{Arg, ArgFlags, ArgKind};
use crate::helper::short_name;
use crate::record::{FieldKind, Kptr};
use crate::reg::{Base, BtfRef, Flags, Reg, RegType};
use crate::stop::{Res, reject, unsupported};

const fn plain(base: Base) -> RegType {
    RegType::new(base)
}

const fn btf(flags: Flags) -> RegType {
    RegType::flagged(Base::BtfId, flags)
}

/// Register types that may be passed for an argument, in the order of the kernel's message.
fn accepted(kind: ArgKind) -> &'static [RegType] {
    const TRUSTED: RegType = btf(Flags::TRUSTED);
    const SOCKS: &[RegType] =
        &[plain(Base::SockCommon), plain(Base::Socket), plain(Base::TcpSock), plain(Base::XdpSock)];
    const BTF_SOCKS: &[RegType] = &[
        plain(Base::SockCommon),
        plain(Base::Socket),
        plain(Base::TcpSock),
        plain(Base::XdpSock),
        plain(Base::BtfId),
        TRUSTED,
    ];
    const MEM: &[RegType] = &[
        plain(Base::Stack),
        plain(Base::Packet),
        plain(Base::PacketMeta),
        plain(Base::MapKey),
        plain(Base::MapValue),
        plain(Base::Mem),
        RegType::flagged(Base::Mem, Flags::RINGBUF),
        plain(Base::Buf),
        TRUSTED,
    ];
    const BTF: &[RegType] = &[plain(Base::BtfId), TRUSTED, btf(Flags::RCU)];
    const PERCPU: &[RegType] =
        &[btf(Flags::PERCPU), btf(Flags::PERCPU.with(Flags::RCU)), btf(Flags::PERCPU.with(Flags::TRUSTED))];
    const LOCKS: &[RegType] = &[plain(Base::MapValue), btf(Flags::ALLOC)];
    const SCALAR: &[RegType] = &[RegType::SCALAR];
    const MAP: &[RegType] = &[plain(Base::MapPtr)];
    const CTX: &[RegType] = &[plain(Base::Ctx)];
    const SOCKET: &[RegType] = &[plain(Base::Socket)];
    const RINGBUF: &[RegType] = &[RegType::flagged(Base::Mem, Flags::RINGBUF)];
    const FUNC: &[RegType] = &[plain(Base::Func)];
    const STACK: &[RegType] = &[plain(Base::Stack)];
    const VALUE: &[RegType] = &[plain(Base::MapValue)];
    const DYNPTR: &[RegType] = &[plain(Base::Stack), plain(Base::Dynptr)];
    match kind {
        ArgKind::Key | ArgKind::Value | ArgKind::Mem | ArgKind::Fixed(_) => MEM,
        ArgKind::Scalar | ArgKind::Size { .. } | ArgKind::AllocSize => SCALAR,
        ArgKind::Map => MAP,
        ArgKind::Ctx => CTX,
        ArgKind::SockCommon => SOCKS,
        ArgKind::BtfSock => BTF_SOCKS,
        ArgKind::Socket => SOCKET,
        ArgKind::Btf(_) => BTF,
        ArgKind::SpinLock | ArgKind::KptrDest => LOCKS,
        ArgKind::Ringbuf => RINGBUF,
        ArgKind::Percpu => PERCPU,
        ArgKind::Func => FUNC,
        ArgKind::Stack => STACK,
        ArgKind::Str | ArgKind::Timer => VALUE,
        ArgKind::Dynptr => DYNPTR,
        ArgKind::Anything => &[],
    }
}

impl Verifier<'_> {
    /// Is the register of a type the argument takes?
    pub(crate) fn check_arg_type(&mut self, regno: usize, reg: &Reg, arg: Arg, meta: &Meta) -> Res {
        let mut flags = reg.ty.flags;
        if arg.has(ArgFlags::READ) {
            flags = flags.without(Flags::RDONLY);
        }
        if arg.has(ArgFlags::OR_NULL) {
            flags = flags.without(Flags::MAYBE_NULL);
        }
        let memory = matches!(arg.kind, ArgKind::Mem | ArgKind::Fixed(_));
        if memory {
            flags = flags.without(Flags::DYNPTR_SKB.with(Flags::DYNPTR_XDP).with(Flags::DYNPTR_SKB_META));
        }
        if meta.helper == id::KPTR_XCHG && reg.ty.has(Flags::ALLOC) && regno == 2 {
            flags = flags.without(Flags::ALLOC.with(Flags::PERCPU));
        }
        let ty = RegType { base: reg.ty.base, flags };
        let accepted = accepted(arg.kind);
        if !accepted.contains(&ty) {
            let list: Vec<String> = accepted.iter().map(ToString::to_string).collect();
            reject!("R{regno} type={} expected={}", reg.ty, list.join(", "));
        }
        if reg.ty.base != Base::BtfId {
            return Ok(());
        }
        if matches!(arg.kind, ArgKind::Key | ArgKind::Value) || memory {
            if !arg.has(ArgFlags::READ) {
                reject!(
                    "bpf_{}() may write into memory pointed by R{regno} type={}",
                    short_name(meta.helper),
                    reg.ty
                );
            }
            return Ok(());
        }
        self.check_btf_arg(regno, reg, arg, meta)
    }

    fn check_btf_arg(&mut self, regno: usize, reg: &Reg, arg: Arg, meta: &Meta) -> Res {
        if reg.ty.has(Flags::PERCPU) && !reg.ty.has(Flags::ALLOC) {
            return Ok(());
        }
        if reg.ty.has(Flags::ALLOC) {
            if let (id::KPTR_XCHG, 2, Some(field)) = (meta.helper, regno, &meta.kptr) {
                return self.check_kptr_store(&field.clone(), reg, regno);
            }
            return Ok(());
        }
        if reg.ty.may_be_null() && (!arg.has(ArgFlags::OR_NULL) || arg.has(ArgFlags::RELEASE)) {
            reject!("Possibly NULL pointer passed to helper arg{regno}");
        }
        if let (id::KPTR_XCHG, Some(field)) = (meta.helper, &meta.kptr) {
            return self.check_kptr_store(&field.clone(), reg, regno);
        }
        let name = match arg.kind {
            ArgKind::Btf(name) => name,
            _ => "sock_common",
        };
        let Some(need) = self.types.kernel_struct(name) else { unsupported!("kernel type `{name}`") };
        self.check_is_struct(regno, reg, need, arg.has(ArgFlags::RELEASE) && meta.helper != 86)
    }

    /// Does a BTF pointer point to this structure, or to one that begins with it?
    pub(crate) fn check_is_struct(&self, regno: usize, reg: &Reg, need: BtfRef, strict: bool) -> Res {
        let Some(have) = reg.btf() else { unsupported!("BTF pointer without a type") };
        if !self.types.matches(have, i64::from(reg.off), need, strict, !reg.ty.has(Flags::ALLOC)) {
            reject!(
                "R{regno} is of type {} but {} is expected",
                self.types.name(have),
                self.types.name(need)
            );
        }
        Ok(())
    }

    /// Offsets that an argument of this type may have.
    pub(crate) fn check_arg_offset(&self, reg: &Reg, regno: usize, release: bool, dynptr: bool) -> Res {
        if release {
            if dynptr && reg.ty.is(Base::Stack) {
                return Ok(());
            }
            if reg.off != 0 {
                reject!("R{regno} must have zero offset when passed to release func or trusted arg to kfunc");
            }
            return self.check_ptr_off(reg, regno, false);
        }
        let flags = reg.ty.flags;
        match reg.ty.base {
            Base::Stack
            | Base::Packet
            | Base::PacketMeta
            | Base::MapKey
            | Base::MapValue
            | Base::Arena
            | Base::Scalar
                if flags.0 == 0 =>
            {
                Ok(())
            }
            Base::Mem if flags.without(Flags::RDONLY.with(Flags::RINGBUF)).0 == 0 => Ok(()),
            Base::Buf if flags.without(Flags::RDONLY).0 == 0 => Ok(()),
            Base::BtfId => {
                let known = [
                    Flags::NONE,
                    Flags::ALLOC,
                    Flags::TRUSTED,
                    Flags::RCU,
                    Flags::ALLOC.with(Flags::NON_OWN_REF),
                    Flags::ALLOC.with(Flags::NON_OWN_REF).with(Flags::RCU),
                ];
                self.check_ptr_off(reg, regno, known.contains(&flags))
            }
            Base::Ctx if flags.0 == 0 => self.check_ptr_off(reg, regno, self.ctx_fixed_offset_ok()),
            _ => self.check_ptr_off(reg, regno, false),
        }
    }

    /// Can a lock lie in what the register points to, so that its id must be kept?
    pub(crate) fn may_hold_lock(&self, reg: &Reg) -> bool {
        match reg.ty.base {
            Base::MapValue => reg.map().is_some_and(|m| self.maps[m as usize].record.has_lock()),
            Base::BtfId => reg.ty.is_alloc_obj(),
            _ => false,
        }
    }

    pub(crate) fn process_timer(&mut self, regno: usize, meta: &mut Meta) -> Res {
        let reg = *self.cur.reg(regno);
        self.check_value_field(regno, &reg, FieldKind::Timer, "bpf_timer")?;
        (meta.map, meta.map_uid) = (reg.map(), reg.map_uid());
        Ok(())
    }

    /// Does a map value pointer point to the value's only field of a kind?
    pub(crate) fn check_value_field(&self, regno: usize, reg: &Reg, kind: FieldKind, name: &str) -> Res {
        if !reg.val.is_const() {
            reject!("R{regno} doesn't have constant offset. {name} has to be at the constant offset");
        }
        let map = self.map_of(reg)?;
        if !map.has_btf {
            reject!("map '{}' has to have BTF in order to use {name}", map.info.name);
        }
        let Some(field) = map.record.first(kind) else {
            reject!("map '{}' has no valid {name}", map.info.name)
        };
        let at = reg.val.bits.value as i64 + i64::from(reg.off);
        if i64::from(field.offset) != at {
            reject!("off {at} doesn't point to 'struct {name}' that is at {}", field.offset);
        }
        Ok(())
    }

    /// The field a kptr is exchanged with.
    pub(crate) fn process_kptr_dest(&mut self, regno: usize, reg: &Reg, meta: &mut Meta) -> Res {
        let record = self.record_of(reg)?;
        if let Some(map) = reg.map() {
            if !self.maps[map as usize].has_btf {
                reject!(
                    "map '{}' has to have BTF in order to use bpf_kptr_xchg",
                    self.maps[map as usize].info.name
                );
            }
            meta.map = Some(map);
        }
        if !reg.val.is_const() {
            reject!("R{regno} doesn't have constant offset. kptr has to be at the constant offset");
        }
        if !record.has_kptr() {
            reject!("R{regno} has no valid kptr");
        }
        let at = i64::from(reg.off) + reg.val.bits.value as i64;
        let Some(field) = record.kptr_at(at) else { reject!("off={at} doesn't point to kptr") };
        if !matches!(field.kind, FieldKind::Kptr(Kptr::Owned | Kptr::Percpu)) {
            reject!("off={at} kptr isn't referenced kptr");
        }
        meta.kptr = Some(field.clone());
        Ok(())
    }

    /// May helpers that need the traced function's trampoline be used?
    pub(crate) fn has_trampoline(&self) -> bool {
        matches!(
            self.input.attach_type,
            AttachType::TRACE_FENTRY | AttachType::TRACE_FEXIT | AttachType::MODIFY_RETURN
        ) && self.prog_type() == ProgType::TRACING
    }

    /// The format of `bpf_snprintf` against the size of its arguments.
    pub(crate) fn check_snprintf(&mut self) -> Res {
        let (fmt, len) = (*self.cur.reg(3), *self.cur.reg(5));
        let bytes = len.val.bits.value;
        if bytes % 8 != 0 {
            reject!("Invalid format string");
        }
        let Some(text) = self.map_of(&fmt)?.info.frozen.clone() else { return Ok(()) };
        let at = (i64::from(fmt.off) + fmt.val.bits.value as i64) as usize;
        let text = text.get(at..).unwrap_or(&[]);
        let text: Vec<u8> = text.iter().copied().take_while(|&b| b != 0).collect();
        if super::format::arguments(&text).is_none_or(|n| n as u64 > bytes / 8) {
            reject!("Invalid format string");
        }
        Ok(())
    }
}

/// Maps whose elements `bpf_for_each_map_elem` can visit.
pub(crate) fn can_iterate(ty: MapType) -> bool {
    matches!(
        ty,
        MapType::ARRAY
            | MapType::PERCPU_ARRAY
            | MapType::HASH
            | MapType::PERCPU_HASH
            | MapType::LRU_HASH
            | MapType::LRU_PERCPU_HASH
    )
}
