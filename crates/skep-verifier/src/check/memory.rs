//! Loads and stores, by what the address register points to.

use super::Verifier;
use super::helpers::Meta;
use crate::context::{self, CtxAccess};
use crate::environment::MapData;
use crate::environment::RDONLY_PROG;
use crate::reg::{Base, Detail, Flags, MAX_VAR_OFF, Reg, RegType};
use crate::scalar::Scalar;
use crate::stop::{Res, Stop, reject, unsupported};
use crate::tnum::Tnum;
use skep_isa::uapi::{MapType, ProgType};

/// What a store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A register.
    Reg(usize),
    /// A constant.
    Imm(i32),
    /// Something of a helper's or an atomic operation's making.
    Unknown,
}

/// What an instruction does at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Reads into a register, or for a helper's eyes.
    Load {
        /// Destination.
        dst: Option<usize>,
        /// Sign-extends?
        signed: bool,
    },
    /// Writes.
    Store(Stored),
}

impl Use {
    /// A read by a helper.
    pub(crate) const READ: Self = Self::Load { dst: None, signed: false };
    /// A write by a helper.
    pub(crate) const WRITE: Self = Self::Store(Stored::Unknown);

    pub(crate) fn is_store(self) -> bool {
        matches!(self, Self::Store(_))
    }

    fn dst(self) -> Option<usize> {
        match self {
            Self::Load { dst, .. } => dst,
            Self::Store(_) => None,
        }
    }

    fn signed(self) -> bool {
        matches!(self, Self::Load { signed: true, .. })
    }
}

/// Who touches memory: an instruction, or a helper for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    Insn,
    Helper,
}

/// A tnum as the kernel's log writes it.
pub(crate) fn tnum_text(t: Tnum) -> String {
    if t.is_const() { format!("{}", t.value as i64) } else { format!("({:#x}; {:#x})", t.value, t.mask) }
}

/// The same where the kernel always writes both parts.
pub(crate) fn tnum_pair(t: Tnum) -> String {
    format!("({:#x}; {:#x})", t.value, t.mask)
}

impl<'a> Verifier<'a> {
    /// Checks an access of `size` bytes at register `regno` plus `off`, and does to the state what it does.
    pub(crate) fn access(&mut self, regno: usize, off: i32, size: u32, how: Use, strict: bool) -> Res {
        let reg = *self.cur.reg(regno);
        self.check_alignment(&reg, off, size, strict)?;
        let off = off.wrapping_add(reg.off);
        match reg.ty.base {
            Base::MapKey if reg.ty.flags.0 == 0 => self.access_map_key(regno, &reg, off, size, how)?,
            Base::MapValue if reg.ty.flags.0 == 0 => self.access_map_value(regno, &reg, off, size, how)?,
            Base::Mem => self.access_mem(regno, &reg, off, size, how)?,
            Base::Ctx if reg.ty.flags.0 == 0 => self.access_ctx(regno, &reg, off, size, how)?,
            Base::Stack if reg.ty.flags.0 == 0 => self.access_stack(regno, &reg, off, size, how)?,
            Base::Packet | Base::PacketMeta if reg.ty.flags.0 == 0 => {
                if how.is_store() && !self.may_write_packet() {
                    reject!("cannot write into packet");
                }
                self.check_packet(regno, &reg, off, size, false)?;
                self.load_unknown(how);
            }
            Base::FlowKeys if reg.ty.flags.0 == 0 => {
                if off < 0 || i64::from(off) + i64::from(size) > 56 {
                    reject!("invalid access to flow keys off={off} size={size}");
                }
                self.load_unknown(how);
            }
            _ if reg.ty.is_socket() => self.access_socket(regno, &reg, off, size, how)?,
            Base::TpBuffer if reg.ty.flags.0 == 0 => {
                check_buffer(&reg, "tracepoint", regno, off, size)?;
                self.load_unknown(how);
            }
            Base::BtfId if !reg.ty.may_be_null() => self.access_btf(regno, &reg, off, size, how)?,
            Base::MapPtr if reg.ty.flags.0 == 0 => self.access_map_struct(regno, &reg, off, size, how)?,
            Base::Buf if !reg.ty.may_be_null() => {
                let read_only = reg.ty.has(Flags::RDONLY);
                if read_only && how.is_store() {
                    reject!("R{regno} cannot write into {}", reg.ty);
                }
                check_buffer(&reg, if read_only { "rdonly" } else { "rdwr" }, regno, off, size)?;
                self.load_unknown(how);
            }
            Base::Arena if reg.ty.flags.0 == 0 => self.load_unknown(how),
            _ => reject!("R{regno} invalid mem access '{}'", reg.ty),
        }
        self.narrow_loaded(size, how);
        Ok(())
    }

    /// A load of fewer than eight bytes leaves the rest zero, or the sign.
    fn narrow_loaded(&mut self, size: u32, how: Use) {
        if let Some(dst) = how.dst().filter(|_| size < 8)
            && self.cur.reg(dst).is_scalar()
        {
            let reg = self.cur.reg_mut(dst);
            if how.signed() {
                // A number spilled as narrow as it is has copies, which a sign sets apart from what is loaded.
                if reg.val.umax >= 1 << (size * 8 - 1) {
                    reg.clear_scalar_id();
                }
                reg.val.sign_extend(size);
            } else {
                reg.val.truncate(size);
            }
        }
    }

    pub(crate) fn load_unknown(&mut self, how: Use) {
        if let Some(dst) = how.dst() {
            *self.cur.reg_mut(dst) = Reg::UNKNOWN;
        }
    }

    pub(crate) fn check_alignment(&self, reg: &Reg, off: i32, size: u32, strict_once: bool) -> Res {
        let strict = self.strict_alignment || strict_once;
        let what = match reg.ty.base {
            _ if reg.ty.flags.0 != 0 => "",
            Base::Packet | Base::PacketMeta => {
                // The network header is off by two, so that what follows an Ethernet header is aligned.
                let at = reg.val.bits.add(Tnum::known((2 + i64::from(reg.off) + i64::from(off)) as u64));
                if strict && size > 1 && !at.is_aligned(u64::from(size)) {
                    reject!(
                        "misaligned packet access off 2+{}+{}+{off} size {size}",
                        tnum_text(reg.val.bits),
                        reg.off
                    );
                }
                return Ok(());
            }
            Base::FlowKeys => "flow keys ",
            Base::MapKey => "key ",
            Base::MapValue => "value ",
            Base::Ctx => "context ",
            Base::Stack => "stack ",
            Base::Socket => "sock ",
            Base::SockCommon => "sock_common ",
            Base::TcpSock => "tcp_sock ",
            Base::XdpSock => "xdp_sock ",
            Base::Arena => return Ok(()),
            _ => "",
        };
        // Slots are tracked in eights, so the stack is strict always.
        let strict = strict || reg.ty.is(Base::Stack);
        let at = reg.val.bits.add(Tnum::known((i64::from(reg.off) + i64::from(off)) as u64));
        if strict && size > 1 && !at.is_aligned(u64::from(size)) {
            reject!("misaligned {what}access off {}+{}+{off} size {size}", tnum_text(reg.val.bits), reg.off);
        }
        Ok(())
    }

    /// `[off + variable, + size)` lies in memory of `mem_size` bytes.
    pub(crate) fn check_region(
        &self,
        regno: usize,
        off: i32,
        size: u32,
        mem_size: u32,
        zero_ok: bool,
    ) -> Res {
        let reg = self.cur.reg(regno);
        let (off, smin) = (i64::from(off), reg.val.smin);
        let low = off.wrapping_add(smin);
        if smin < 0 && (smin == i64::MIN || low != i64::from(low as i32) || low < 0) {
            reject!(
                "R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            );
        }
        if !inside(low, size, mem_size, zero_ok) {
            self.log_outside(regno, low, size, mem_size);
            reject!("R{regno} min value is outside of the allowed memory range");
        }
        if reg.val.umax >= MAX_VAR_OFF as u64 {
            reject!("R{regno} unbounded memory access, make sure to bounds check any such access");
        }
        if !inside(off + reg.val.umax as i64, size, mem_size, zero_ok) {
            self.log_outside(regno, off + reg.val.umax as i64, size, mem_size);
            reject!("R{regno} max value is outside of the allowed memory range");
        }
        Ok(())
    }

    /// A pointer that takes no variable offset, and a fixed one only where `fixed_ok`.
    pub(crate) fn check_ptr_off(&self, reg: &Reg, regno: usize, fixed_ok: bool) -> Res {
        if reg.off < 0 {
            reject!("negative offset {} ptr R{regno} off={} disallowed", reg.ty, reg.off);
        }
        if !fixed_ok && reg.off != 0 {
            reject!("dereference of modified {} ptr R{regno} off={} disallowed", reg.ty, reg.off);
        }
        if !reg.val.is_zero() {
            reject!("variable {} access var_off={} disallowed", reg.ty, tnum_pair(reg.val.bits));
        }
        Ok(())
    }

    fn access_map_key(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        if how.is_store() {
            reject!("write to change key R{regno} not allowed");
        }
        let key_size = self.map_of(reg)?.info.key_size;
        self.check_region(regno, off, size, key_size, false)?;
        self.load_unknown(how);
        Ok(())
    }

    fn access_map_value(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        self.check_map_access_type(reg, off, size, how)?;
        self.check_map_value(regno, off, size, false, By::Insn)?;
        let const_off = reg.val.is_const().then(|| i64::from(off) + reg.val.bits.value as i64);
        let map = self.map_of(reg)?;
        if let Some(field) = const_off.and_then(|at| map.record.kptr_at(at)).cloned() {
            return self.access_kptr(&field, how);
        }
        let Some(dst) = how.dst() else { return Ok(()) };
        let known = const_off.and_then(|at| map.constant(at, size, how.signed()));
        *self.cur.reg_mut(dst) = known.map_or(Reg::UNKNOWN, Reg::known);
        Ok(())
    }

    pub(crate) fn check_map_access_type(&self, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        const WRONLY_PROG: u32 = 1 << 8;
        let info = &self.map_of(reg)?.info;
        if how.is_store() && info.flags & RDONLY_PROG != 0 {
            reject!("write into map forbidden, value_size={} off={off} size={size}", info.value_size);
        }
        if !how.is_store() && info.flags & WRONLY_PROG != 0 {
            reject!("read from map forbidden, value_size={} off={off} size={size}", info.value_size);
        }
        Ok(())
    }

    /// Inside the value, and not on a field that only the kernel may touch.
    pub(crate) fn check_map_value(&self, regno: usize, off: i32, size: u32, zero_ok: bool, by: By) -> Res {
        let reg = self.cur.reg(regno);
        let map = self.map_of(reg)?;
        self.check_region(regno, off, size, map.info.value_size, zero_ok)?;
        let (low, high) =
            (reg.val.smin + i64::from(off), reg.val.umax as i64 + i64::from(off) + i64::from(size));
        for field in &map.record.fields {
            let at = i64::from(field.offset);
            if !(low < at + i64::from(field.size) && at < high) {
                continue;
            }
            if !field.is_kptr() {
                reject!("{} cannot be accessed directly by load/store", field.name());
            }
            if by == By::Helper {
                reject!("kptr cannot be accessed indirectly by helper");
            }
            if !reg.val.is_const() {
                reject!("kptr access cannot have variable offset");
            }
            let access = i64::from(off) + reg.val.bits.value as i64;
            if at != access {
                reject!("kptr access misaligned expected={at} off={access}");
            }
            if size != 8 {
                reject!("kptr access size must be BPF_DW");
            }
        }
        Ok(())
    }

    fn access_mem(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        let read_only = reg.ty.has(Flags::RDONLY);
        if reg.ty.may_be_null() {
            reject!("R{regno} invalid mem access '{}'", reg.ty);
        }
        if how.is_store() && read_only {
            reject!("R{regno} cannot write into {}", reg.ty);
        }
        // Reads of untrusted memory are guarded at run time, wherever they go.
        if !(read_only && reg.ty.has(Flags::UNTRUSTED)) {
            self.check_region(regno, off, size, reg.mem_size(), false)?;
        }
        self.load_unknown(how);
        Ok(())
    }

    fn access_ctx(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        self.check_ptr_off(reg, regno, self.ctx_fixed_offset_ok())?;
        let signed = how.signed();
        let access = CtxAccess { off, size: size as i32, write: how.is_store(), signed };
        let given = match context::access(self.prog_type(), self.input.attach_type, access) {
            Ok(given) => given.map(|ty| (ty, Detail::None)),
            Err(()) => self.btf_ctx_access(access)?,
        };
        let Some((ty, detail)) = given else { reject!("invalid bpf_context access off={off} size={size}") };
        let Some(dst) = how.dst() else { return Ok(()) };
        let id = if ty.may_be_null() { self.new_id() } else { 0 };
        let range = (ty == RegType::SCALAR).then(|| self.ctx_return_range(access)).flatten();
        let ref_obj_id = self.ctx_ref(access);
        let loaded = match (ty == RegType::SCALAR, range) {
            (true, Some((min, max))) => Reg::scalar(Scalar::between(i64::from(min), i64::from(max))),
            (true, None) => Reg::UNKNOWN,
            (false, _) => Reg { id, ref_obj_id, ..Reg::pointer(ty, detail) },
        };
        *self.cur.reg_mut(dst) = loaded;
        Ok(())
    }

    fn access_socket(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        if how.is_store() {
            reject!("R{regno} cannot write into {}", reg.ty);
        }
        if reg.val.smin < 0 {
            reject!(
                "R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            );
        }
        let valid = match reg.ty.base {
            Base::SockCommon => context::sock_common(off, size as i32),
            Base::Socket => context::sock(off, size as i32),
            Base::TcpSock => context::tcp_sock(off, size as i32),
            _ => context::xdp_sock(off, size as i32),
        };
        if !valid {
            reject!("R{regno} invalid {} access off={off} size={size}", reg.ty);
        }
        self.load_unknown(how);
        Ok(())
    }

    /// Inside the part of the packet that was compared with its end.
    pub(crate) fn check_packet(
        &mut self,
        regno: usize,
        reg: &Reg,
        off: i32,
        size: u32,
        zero_ok: bool,
    ) -> Res {
        if reg.val.smin < 0 {
            reject!(
                "R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
            );
        }
        let range = reg.range();
        if range < 0 || !inside(i64::from(off), size, range as u32, zero_ok) {
            self.log_outside(regno, i64::from(off), size, range as u32);
            reject!("R{regno} offset is outside of the packet");
        }
        Ok(())
    }

    pub(crate) fn may_write_packet(&self) -> bool {
        matches!(
            self.prog_type(),
            ProgType::SCHED_CLS
                | ProgType::SCHED_ACT
                | ProgType::XDP
                | ProgType::LWT_XMIT
                | ProgType::SK_SKB
                | ProgType::SK_MSG
                | ProgType::CGROUP_SOCKOPT
        )
    }

    /// May packet pointers be given to this helper?
    pub(crate) fn may_pass_packet(&self, pkt_access: bool) -> bool {
        match self.prog_type() {
            ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_SEG6LOCAL
            | ProgType::SK_REUSEPORT
            | ProgType::FLOW_DISSECTOR
            | ProgType::CGROUP_SKB
            | ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::XDP
            | ProgType::LWT_XMIT
            | ProgType::SK_SKB
            | ProgType::SK_MSG => pkt_access,
            ProgType::CGROUP_SOCKOPT => true,
            _ => false,
        }
    }

    /// A helper reads or writes `size` bytes at a register.
    pub(crate) fn helper_access(
        &mut self,
        regno: usize,
        size: u32,
        write: bool,
        zero_ok: bool,
        meta: Option<&mut Meta>,
    ) -> Res {
        let reg = *self.cur.reg(regno);
        let how = if write { Use::WRITE } else { Use::READ };
        match reg.ty.base {
            Base::Packet | Base::PacketMeta => self.check_packet(regno, &reg, reg.off, size, zero_ok),
            Base::MapKey => {
                if write {
                    reject!("R{regno} cannot write into {}", reg.ty);
                }
                let key_size = self.map_of(&reg)?.info.key_size;
                self.check_region(regno, reg.off, size, key_size, false)
            }
            Base::MapValue => {
                self.check_map_access_type(&reg, reg.off, size, how)?;
                self.check_map_value(regno, reg.off, size, zero_ok, By::Helper)
            }
            Base::Mem => {
                if reg.ty.has(Flags::RDONLY) && write {
                    reject!("R{regno} cannot write into {}", reg.ty);
                }
                self.check_region(regno, reg.off, size, reg.mem_size(), zero_ok)
            }
            Base::Buf => {
                let read_only = reg.ty.has(Flags::RDONLY);
                if read_only && write {
                    reject!("R{regno} cannot write into {}", reg.ty);
                }
                check_buffer(&reg, if read_only { "rdonly" } else { "rdwr" }, regno, reg.off, size)
            }
            Base::Stack => self.helper_stack_access(regno, reg.off, size, write, zero_ok, meta),
            Base::BtfId => self.access_btf(regno, &reg, reg.off, size, Use::READ),
            Base::Ctx if self.prog_type() == ProgType::SYSCALL => match size {
                0 if zero_ok => Ok(()),
                0 => reject!("R{regno} invalid zero-sized access"),
                _ => self.access(regno, size as i32 - 1, 1, how, false),
            },
            _ if zero_ok && size == 0 && reg.is_null() => Ok(()),
            _ => reject!("R{regno} type={} expected=fp", reg.ty),
        }
    }

    /// Memory at `regno - 1`, its size in `regno`.
    pub(crate) fn sized_access(
        &mut self,
        regno: usize,
        write: bool,
        zero_ok: bool,
        meta: Option<&mut Meta>,
    ) -> Res {
        let size = *self.cur.reg(regno);
        if size.val.smin < 0 {
            reject!("R{regno} min value is negative, either use unsigned or 'var &= const'");
        }
        if size.val.umin == 0 && !zero_ok {
            reject!(
                "R{regno} invalid zero-sized read: u64=[{},{}]",
                size.val.umin as i64,
                size.val.umax as i64
            );
        }
        if size.val.umax >= MAX_VAR_OFF as u64 {
            reject!("R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'");
        }
        // Memory left uninitialised is only known to be written where its size is.
        let meta = meta.filter(|_| size.val.is_const());
        self.helper_access(regno - 1, size.val.umax as u32, write, zero_ok, meta)?;
        self.mark_precise(regno)
    }

    /// Memory of a fixed size that is read and written, null where the argument may be.
    pub(crate) fn checked_mem(&mut self, regno: usize, size: u32) -> Res {
        let saved = *self.cur.reg(regno);
        if saved.is_null() {
            return Ok(());
        }
        if saved.ty.may_be_null() {
            let mut not_null = saved;
            self.mark_not_null(&mut not_null);
            *self.cur.reg_mut(regno) = not_null;
        }
        let result = self
            .helper_access(regno, size, false, true, None)
            .and_then(|()| self.helper_access(regno, size, true, true, None));
        if saved.ty.may_be_null() {
            *self.cur.reg_mut(regno) = saved;
        }
        result
    }

    /// A pointer is found not to be null: what it then is.
    pub(crate) fn mark_not_null(&self, reg: &mut Reg) {
        if reg.ty.base == Base::MapValue {
            let map = reg.map().and_then(|m| self.maps.get(m as usize));
            match map.map(|m| (m.info.ty, m.inner)) {
                Some((_, Some(inner))) => {
                    let id = reg.id;
                    reg.ty = RegType::new(Base::MapPtr);
                    let uid = if self.maps[inner as usize].record.needs_uid() { id } else { 0 };
                    reg.detail = Detail::Map { map: inner, uid };
                }
                Some((MapType::XSKMAP, _)) => {
                    (reg.ty, reg.detail) = (RegType::new(Base::XdpSock), Detail::None);
                }
                Some((MapType::SOCKMAP | MapType::SOCKHASH, _)) => {
                    (reg.ty, reg.detail) = (RegType::new(Base::Socket), Detail::None);
                }
                _ => reg.ty = RegType::new(Base::MapValue),
            }
            return;
        }
        reg.ty.flags = reg.ty.flags.without(Flags::MAYBE_NULL);
    }

    /// The map a register refers to.
    pub(crate) fn map_of(&self, reg: &Reg) -> Res<&'a MapData> {
        reg.map()
            .and_then(|m| self.maps.get(m as usize))
            .ok_or_else(|| Stop::unsupported("register without its map"))
    }

    fn access_map_struct(&mut self, regno: usize, reg: &Reg, off: i32, size: u32, how: Use) -> Res {
        let info = &self.map_of(reg)?.info;
        let Some(name) = super::map_struct(info.ty) else {
            reject!("map_ptr access not supported for map type {}", info.ty.0);
        };
        if off < 0 {
            reject!("R{regno} is {name} invalid negative access: off={off}");
        }
        if how.is_store() {
            reject!("only read from {name} is supported");
        }
        let Some(strct) = self.types.kernel_struct(name) else { unsupported!("kernel type `{name}`") };
        let fake = Reg::pointer(RegType::new(Base::BtfId), Detail::Btf(strct));
        let loaded = self.struct_access(&fake, i64::from(off), i64::from(size))?;
        self.load_struct_field(how, &loaded);
        Ok(())
    }
}

/// Does `[off, off + size)` lie in `[0, mem_size)`?
pub(crate) fn inside(off: i64, size: u32, mem_size: u32, zero_ok: bool) -> bool {
    off >= 0 && (size > 0 || zero_ok) && off + i64::from(size) <= i64::from(mem_size)
}

fn check_buffer(reg: &Reg, what: &str, regno: usize, off: i32, size: u32) -> Res {
    if off < 0 {
        reject!("R{regno} invalid {what} buffer access: off={off}, size={size}");
    }
    if !reg.val.is_zero() {
        reject!("R{regno} invalid variable buffer offset: off={off}, var_off={}", tnum_pair(reg.val.bits));
    }
    Ok(())
}
