//! Arithmetic: what the instruction set defines where machines and Cranelift do not.
//!
//! A division by zero gives zero and its remainder the dividend; the most negative number divided by -1 is itself.
//! Divisions by constants, rotations and byte swaps written as shifts are left to Cranelift, which knows them.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{ExternalName, GlobalValueData, InstBuilder, Type, Value};
use skep_isa::{AluOp, Endian, Imm64, Operand, Reg};

use super::Declined;
use super::native;
use super::shape;
use super::translate::Translator;
use crate::code::Code;

impl Translator<'_> {
    pub(super) fn alu(&mut self, wide: bool, op: AluOp, dst: Reg, src: Operand) {
        let n = usize::from(dst.0);
        match (op, wide, src) {
            (AluOp::Mov, true, Operand::Reg(src)) => self.copy(n, src.0.into()),
            (AluOp::Rsh, true, Operand::Imm(by)) if by & 63 >= 32 => {
                let value = self.wide(n);
                let by = self.constant64(i64::from(by & 63));
                let value = self.at.ins().ushr(value, by);
                let value = self.at.ins().ireduce(I32, value);
                self.set_narrow(n, value);
            }
            _ if !wide || shape::stays_narrow(op, dst, src, self.narrow_set()) => {
                let b = self.operand32(src);
                let value = if op == AluOp::Mov { b } else { self.binary(op, n, I32, b, src) };
                self.set_narrow(n, value);
            }
            _ => {
                let b = self.operand64(src);
                let value = if op == AluOp::Mov { b } else { self.binary(op, n, I64, b, src) };
                self.set_wide(n, value);
            }
        }
    }

    /// An operation on one width.
    fn binary(&mut self, op: AluOp, dst: usize, ty: Type, b: Value, src: Operand) -> Value {
        let a = if ty == I32 { self.narrow(dst) } else { self.wide(dst) };
        let by_zero = matches!(src, Operand::Imm(0));
        match op {
            AluOp::Add => self.at.ins().iadd(a, b),
            AluOp::Sub => self.at.ins().isub(a, b),
            AluOp::Mul => self.at.ins().imul(a, b),
            AluOp::Or => self.at.ins().bor(a, b),
            AluOp::And => self.at.ins().band(a, b),
            AluOp::Xor => self.at.ins().bxor(a, b),
            AluOp::Lsh => self.at.ins().ishl(a, b),
            AluOp::Rsh => self.at.ins().ushr(a, b),
            AluOp::Arsh => self.at.ins().sshr(a, b),
            AluOp::Mov => b,
            AluOp::Div | AluOp::Sdiv if by_zero => self.at.ins().iconst(ty, 0),
            AluOp::Mod | AluOp::Smod if by_zero => a,
            AluOp::Div | AluOp::Mod => self.divide(op == AluOp::Div, a, b, ty, src),
            AluOp::Sdiv | AluOp::Smod => self.divide_signed(op == AluOp::Sdiv, a, b, ty, src),
        }
    }

    /// The divisor is made one where it is zero, and the result put right.
    fn divide(&mut self, quotient: bool, a: Value, b: Value, ty: Type, src: Operand) -> Value {
        if matches!(src, Operand::Imm(_)) {
            return if quotient { self.at.ins().udiv(a, b) } else { self.at.ins().urem(a, b) };
        }
        let is_zero = self.at.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let one = self.at.ins().iconst(ty, 1);
        let divisor = self.at.ins().select(is_zero, one, b);
        if quotient {
            let zero = self.at.ins().iconst(ty, 0);
            let result = self.at.ins().udiv(a, divisor);
            self.at.ins().select(is_zero, zero, result)
        } else {
            let result = self.at.ins().urem(a, divisor);
            self.at.ins().select(is_zero, a, result)
        }
    }

    /// The divisor is made one where it is zero or -1, and the result put right.
    fn divide_signed(&mut self, quotient: bool, a: Value, b: Value, ty: Type, src: Operand) -> Value {
        match src {
            Operand::Imm(-1) if quotient => return self.at.ins().ineg(a),
            Operand::Imm(-1) => return self.at.ins().iconst(ty, 0),
            Operand::Imm(_) if quotient => return self.at.ins().sdiv(a, b),
            Operand::Imm(_) => return self.at.ins().srem(a, b),
            Operand::Reg(_) => {}
        }
        let is_zero = self.at.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let is_minus = self.at.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let (zero, one) = (self.at.ins().iconst(ty, 0), self.at.ins().iconst(ty, 1));
        let divisor = self.at.ins().select(is_zero, one, b);
        let divisor = self.at.ins().select(is_minus, one, divisor);
        if quotient {
            let negated = self.at.ins().ineg(a);
            let result = self.at.ins().sdiv(a, divisor);
            let result = self.at.ins().select(is_minus, negated, result);
            self.at.ins().select(is_zero, zero, result)
        } else {
            let result = self.at.ins().srem(a, divisor);
            self.at.ins().select(is_zero, a, result)
        }
    }

    pub(super) fn negate(&mut self, wide: bool, dst: Reg) {
        let n = usize::from(dst.0);
        if wide {
            let value = self.wide(n);
            let value = self.at.ins().ineg(value);
            self.set_wide(n, value);
        } else {
            let value = self.narrow(n);
            let value = self.at.ins().ineg(value);
            self.set_narrow(n, value);
        }
    }

    pub(super) fn move_signed(&mut self, wide: bool, bits: u8, dst: Reg, src: Reg) {
        let from = match bits {
            8 => I8,
            16 => I16,
            _ => I32,
        };
        let low = self.narrow(src.0.into());
        let low = if from == I32 { low } else { self.at.ins().ireduce(from, low) };
        if wide {
            let value = self.at.ins().sextend(I64, low);
            self.set_wide(dst.0.into(), value);
        } else {
            let value = if from == I32 { low } else { self.at.ins().sextend(I32, low) };
            self.set_narrow(dst.0.into(), value);
        }
    }

    /// Byte order of the low bits; those above become zero.
    pub(super) fn byte_order(&mut self, kind: Endian, bits: u8, dst: Reg) {
        let n = usize::from(dst.0);
        let swap = match kind {
            Endian::Swap => true,
            Endian::Be => cfg!(target_endian = "little"),
            Endian::Le => cfg!(target_endian = "big"),
        };
        match bits {
            16 => {
                let value = self.narrow(n);
                let value = self.at.ins().ireduce(I16, value);
                let value = if swap { self.at.ins().bswap(value) } else { value };
                let value = self.at.ins().uextend(I32, value);
                self.set_narrow(n, value);
            }
            32 => {
                let value = self.narrow(n);
                let value = if swap { self.at.ins().bswap(value) } else { value };
                self.set_narrow(n, value);
            }
            _ if swap => {
                let value = self.wide(n);
                let value = self.at.ins().bswap(value);
                self.set_wide(n, value);
            }
            _ => {}
        }
    }

    /// An address of memory. In a loop it is loaded before that: constants are made anew wherever they are used.
    pub(super) fn address_of(&mut self, address: u64) -> Value {
        if !self.in_loop {
            return self.at.ins().iconst(I64, address as i64);
        }
        let global = *self.addresses.entry(address).or_insert_with(|| {
            let name = self.at.func.declare_imported_user_function(native::ADDRESS);
            self.at.func.create_global_value(GlobalValueData::Symbol {
                name: ExternalName::user(name),
                offset: (address as i64).into(),
                colocated: false,
                tls: false,
            })
        });
        self.at.ins().symbol_value(I64, global)
    }

    /// A constant, or an address that was resolved when the program was prepared.
    pub(super) fn load_imm64(&mut self, slot: usize, dst: Reg, imm: Imm64) -> Result<(), Declined> {
        let Code::LoadImm64 { imm: value, .. } = self.source.code(slot) else {
            return Err(Declined::at(slot, "what it refers to is not known"));
        };
        let value = match imm {
            Imm64::Value(_) => self.constant64(value as i64),
            Imm64::MapFdValue { .. } | Imm64::MapIdxValue { .. } => self.address_of(value),
            _ => self.at.ins().iconst(I64, value as i64),
        };
        self.set_wide(dst.0.into(), value);
        Ok(())
    }
}
