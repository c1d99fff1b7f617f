//! Arguments of helpers: what each must be by its prototype, and what becomes of those that are released.

use skep_isa::uapi::MapType;

use super::super::Verifier;
use super::super::locks::LockCall;
use super::super::memory::By;
use super::super::stack::slot_of;
use super::{Meta, id};
use crate::helper::proto::{Arg, ArgFlags, ArgKind, Proto};
use crate::helper::short_name;
use crate::reg::{Base, Detail, Flags, Reg};
use crate::state::SlotKind;
use crate::stop::{Res, reject};

impl Verifier<'_> {
    pub(super) fn check_arg(&mut self, i: usize, arg: Arg, proto: &Proto, meta: &mut Meta) -> Res {
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
                meta.percpu_alloc = reg.ty.has(Flags::RCU);
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

    /// A known index of a tail call is one a code generator may use.
    pub(super) fn use_tail_call_key(&mut self, meta: &Meta) -> Res {
        let max = meta.map.map_or(0, |m| self.maps[m as usize].info.max_entries);
        let key = *self.cur.reg(3);
        if key.is_const() && key.val.bits.value < u64::from(max) { self.mark_precise(3) } else { Ok(()) }
    }

    pub(super) fn release_argument(&mut self, proto: &Proto, meta: &Meta) -> Res {
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

    /// The value of a key on the stack: zero bytes, or a constant spilled with just that size.
    fn constant_key(&mut self, key: &Reg, size: u32) -> Res<Option<u64>> {
        if !key.ty.is(Base::Stack) || !key.val.is_const() {
            return Ok(None);
        }
        let off = key.off.wrapping_add(key.val.bits.value as i32);
        let (spi, byte) = (slot_of(off), ((-off - 1).max(0) % 8) as usize);
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
}
