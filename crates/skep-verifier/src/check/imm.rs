//! 64-bit immediates: constants, maps, values in them, functions, kernel variables.

use skep_isa::Imm64;
use skep_isa::uapi::MapType;

use super::Verifier;
use crate::reg::{Base, BtfRef, Detail, Reg, RegType};
use crate::stop::{Res, reject, unsupported};

impl Verifier<'_> {
    /// A 64-bit immediate: a constant, a map, a value in it, a function, a kernel variable.
    pub(crate) fn load_imm(&mut self, dst: usize, imm: Imm64) -> Res {
        self.check_writable_reg(dst)?;
        let reg = match imm {
            Imm64::Value(x) => Reg::known(x),
            Imm64::MapIdx(i) => {
                let detail = Detail::Map { map: i as u32, uid: 0 };
                Reg::pointer(RegType::new(Base::MapPtr), detail)
            }
            Imm64::MapIdxValue { idx, off } => self.map_value_address(idx as u32, off)?,
            Imm64::Func(_) => {
                let Some(subprog) = self.code.callee(self.pc) else { unsupported!("address of no function") };
                if self.code.subprogs[subprog as usize].global {
                    reject!("callback function not static");
                }
                Reg::pointer(RegType::new(Base::Func), Detail::Func(subprog))
            }
            Imm64::BtfId { id, .. } => self.kernel_variable(id)?,
            other => unsupported!("immediate {other:?}"),
        };
        *self.cur.reg_mut(dst) = reg;
        Ok(())
    }

    fn map_value_address(&mut self, map: u32, off: u32) -> Res<Reg> {
        let data = &self.maps[map as usize];
        if data.info.ty == MapType::ARENA {
            return Ok(Reg { ty: RegType::new(Base::Arena), ..Reg::UNKNOWN });
        }
        if data.info.ty != MapType::ARRAY {
            reject!("no direct value access support for this map type");
        }
        if u64::from(off) >= u64::from(data.info.value_size) {
            reject!("invalid access to map value pointer, value_size={} off={off}", data.info.value_size);
        }
        let reg = Reg::pointer(RegType::new(Base::MapValue), Detail::Map { map, uid: 0 });
        Ok(Reg { off: off as i32, ..reg })
    }

    /// A kernel variable or function by BTF.
    fn kernel_variable(&mut self, id: u32) -> Res<Reg> {
        use crate::reg::Flags;
        use skep_btf::Shape;
        let module = self.input.module_vars.iter().find(|(pc, _)| *pc == self.pc);
        let obj = module.map_or(BtfRef::KERNEL, |(_, m)| *m as u16 + 2);
        let var = self.types.canonical(BtfRef { obj, id });
        let Some(shape) = self.types.shape(var) else {
            reject!("ldimm64 insn specifies invalid btf_id {id}.")
        };
        let ty = match shape {
            Shape::Var { ty, .. } => self.types.at(var, ty),
            Shape::Func { .. } => {
                let ty = RegType::flagged(Base::Mem, Flags::RDONLY);
                return Ok(Reg::pointer(ty, Detail::Mem { size: 0, dynptr: 0 }));
            }
            _ => reject!("pseudo btf_id {id} in ldimm64 isn't KIND_VAR or KIND_FUNC"),
        };
        let percpu = self.is_percpu_variable(var);
        let Some((stripped, _)) = self.types.strip(ty) else {
            unsupported!("kernel variable without a type")
        };
        if percpu {
            let ty = RegType::flagged(Base::BtfId, Flags::PERCPU);
            return Ok(Reg::pointer(ty, Detail::Btf(stripped)));
        }
        if self.types.is_struct(stripped) {
            return Ok(Reg::pointer(RegType::new(Base::BtfId), Detail::Btf(stripped)));
        }
        let Some(size) = self.types.size(stripped) else {
            reject!("ldimm64 unable to resolve the size of type '{}'", self.types.name(stripped))
        };
        let ty = RegType::flagged(Base::Mem, Flags::RDONLY);
        Ok(Reg::pointer(ty, Detail::Mem { size: size as u32, dynptr: 0 }))
    }

    fn is_percpu_variable(&self, var: BtfRef) -> bool {
        use skep_btf::{Kind, Shape};
        let Some(btf) = self.types.obj(var.obj) else { return false };
        let Some(section) = btf.find(".data..percpu", Kind::Datasec) else { return false };
        let Ok(t) = btf.type_by_id(section) else { return false };
        let Shape::Datasec(section) = t.shape else { return false };
        section.vars.iter().flatten().any(|v| v.ty.0 == var.id)
    }
}
