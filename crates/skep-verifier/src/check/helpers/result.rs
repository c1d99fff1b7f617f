//! Results of helpers: what `r0` is after the call, as the prototype and the arguments have it.

use skep_isa::uapi::MapType;

use super::super::Verifier;
use super::{Meta, id};
use crate::helper::proto::{Proto, Ret};
use crate::reg::{Base, Detail, Flags, Reg, RegType};
use crate::scalar::Scalar;
use crate::state::RefKind;
use crate::stop::{Res, reject, unsupported};

impl Verifier<'_> {
    pub(super) fn set_result(&mut self, proto: &Proto, meta: &Meta) -> Res {
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
        if self.types.is_struct(var) {
            let flags = if meta.percpu_alloc { Flags::ALLOC.with(Flags::RCU) } else { null };
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

    pub(super) fn refine_result(&mut self, proto: &Proto, meta: &Meta) {
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
}

/// Results that are another view of the socket given.
fn is_cast(helper: u32) -> bool {
    matches!(helper, id::TCP_SOCK | id::SK_FULLSOCK | id::SKC_TO_TCP6..=id::SKC_TO_UDP6 | id::SKC_TO_MPTCP)
}
