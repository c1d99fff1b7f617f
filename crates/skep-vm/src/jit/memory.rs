//! Loads, stores and atomic operations: by address where the proof allows, by a thunk that checks where it does not.

use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value};
use skep_isa::{AtomicOp, Op, Operand, Reg, Size};

use super::native::Thunk;
use super::source::Place;
use super::translate::{PROVED, Translator};

/// Atomic operations are aligned, as the verifier demands.
const ATOMIC: MemFlagsData = MemFlagsData::trusted();

impl Translator<'_> {
    pub(super) fn access(&mut self, slot: usize, op: &Op) {
        let asked = self.source.place(slot) == Place::Asked;
        match *op {
            Op::Load { size, signed, dst, base, off } if asked => {
                self.ask_load(slot, size, signed, dst, base, off);
            }
            Op::Load { size, signed, dst, base, off } => self.load(size, signed, dst, base, off),
            Op::Store { size, base, off, src } if asked => {
                let value = self.operand64(src);
                self.ask_store(slot, size, base, off, value);
            }
            Op::Store { size, base, off, src } => self.store(size, base, off, src),
            Op::Atomic { size, op, base, off, src } if asked => {
                self.ask_atomic(slot, size, op, base, off, src);
            }
            Op::Atomic { size, op, base, off, src } => self.atomic(size, op, base, off, src),
            Op::LoadAcquire { size, dst, base, off } if asked => {
                self.ask_load(slot, size, false, dst, base, off);
                self.at.ins().fence();
            }
            Op::LoadAcquire { size, dst, base, off } => self.load_acquire(size, dst, base, off),
            Op::StoreRelease { size, base, off, src } if asked => {
                self.at.ins().fence();
                let value = self.wide(src.0.into());
                self.ask_store(slot, size, base, off, value);
            }
            Op::StoreRelease { size, base, off, src } => self.store_release(size, base, off, src),
            _ => {}
        }
    }

    fn load(&mut self, size: Size, signed: bool, dst: Reg, base: Reg, off: i16) {
        let n = usize::from(dst.0);
        let at = self.wide(base.0.into());
        let off = i32::from(off);
        let ins = self.at.ins();
        match (size, signed) {
            (Size::DW, _) => {
                let value = ins.load(I64, PROVED, at, off);
                self.set_wide(n, value);
            }
            (Size::B, true) => {
                let value = ins.sload8(I64, PROVED, at, off);
                self.set_wide(n, value);
            }
            (Size::H, true) => {
                let value = ins.sload16(I64, PROVED, at, off);
                self.set_wide(n, value);
            }
            (Size::W, true) => {
                let value = ins.sload32(PROVED, at, off);
                self.set_wide(n, value);
            }
            (Size::B, false) => {
                let value = ins.uload8(I32, PROVED, at, off);
                self.set_narrow(n, value);
            }
            (Size::H, false) => {
                let value = ins.uload16(I32, PROVED, at, off);
                self.set_narrow(n, value);
            }
            (Size::W, false) => {
                let value = ins.load(I32, PROVED, at, off);
                self.set_narrow(n, value);
            }
        }
    }

    fn store(&mut self, size: Size, base: Reg, off: i16, src: Operand) {
        let at = self.wide(base.0.into());
        let off = i32::from(off);
        if size == Size::DW {
            let value = self.operand64(src);
            self.at.ins().store(PROVED, value, at, off);
            return;
        }
        // As numbers of this size, of which constants become part of the instruction.
        let value = self.operand32(src);
        let ty = of_size(size);
        let value = if ty == I32 { value } else { self.at.ins().ireduce(ty, value) };
        self.at.ins().store(PROVED, value, at, off);
    }

    /// The address of an access.
    fn address(&mut self, base: Reg, off: i16) -> Value {
        let at = self.wide(base.0.into());
        if off == 0 { at } else { self.at.ins().iadd_imm_s(at, i64::from(off)) }
    }

    fn atomic(&mut self, size: Size, op: AtomicOp, base: Reg, off: i16, src: Reg) {
        let at = self.address(base, off);
        let (ty, operand) = self.atomic_operand(size, src);
        let rmw = match op {
            AtomicOp::Add { .. } => AtomicRmwOp::Add,
            AtomicOp::Or { .. } => AtomicRmwOp::Or,
            AtomicOp::And { .. } => AtomicRmwOp::And,
            AtomicOp::Xor { .. } => AtomicRmwOp::Xor,
            AtomicOp::Xchg => AtomicRmwOp::Xchg,
            AtomicOp::Cmpxchg => {
                let expected = if ty == I32 { self.narrow(0) } else { self.wide(0) };
                let old = self.at.ins().atomic_cas(ATOMIC, at, expected, operand);
                self.set(0, ty, old);
                return;
            }
        };
        let old = self.at.ins().atomic_rmw(ty, ATOMIC, rmw, at, operand);
        if op.fetches() {
            self.set(src.0.into(), ty, old);
        }
    }

    fn atomic_operand(&mut self, size: Size, src: Reg) -> (Type, Value) {
        match size {
            Size::DW => (I64, self.wide(src.0.into())),
            _ => (I32, self.narrow(src.0.into())),
        }
    }

    fn set(&mut self, n: usize, ty: Type, value: Value) {
        if ty == I64 { self.set_wide(n, value) } else { self.set_narrow(n, value) }
    }

    fn load_acquire(&mut self, size: Size, dst: Reg, base: Reg, off: i16) {
        let at = self.address(base, off);
        let ty = of_size(size);
        let value = self.at.ins().atomic_load(ty, ATOMIC, at);
        let value = if ty == I8 || ty == I16 { self.at.ins().uextend(I32, value) } else { value };
        self.set(dst.0.into(), if ty == I64 { I64 } else { I32 }, value);
    }

    fn store_release(&mut self, size: Size, base: Reg, off: i16, src: Reg) {
        let at = self.address(base, off);
        let ty = of_size(size);
        let value = if ty == I64 { self.wide(src.0.into()) } else { self.narrow(src.0.into()) };
        let value = if ty == I8 || ty == I16 { self.at.ins().ireduce(ty, value) } else { value };
        self.at.ins().atomic_store(ATOMIC, value, at);
    }

    fn ask_load(&mut self, slot: usize, size: Size, signed: bool, dst: Reg, base: Reg, off: i16) {
        let at = self.address(base, off);
        let size_value = self.at.ins().iconst(I64, size.bytes() as i64);
        let value = self.thunk(slot, Thunk::Load, &[at, size_value]);
        let n = usize::from(dst.0);
        match (size, signed) {
            (Size::DW, _) => self.set_wide(n, value),
            (_, false) => {
                let value = self.at.ins().ireduce(I32, value);
                self.set_narrow(n, value);
            }
            (_, true) => {
                let value = self.at.ins().ireduce(of_size(size), value);
                let value = self.at.ins().sextend(I64, value);
                self.set_wide(n, value);
            }
        }
    }

    fn ask_store(&mut self, slot: usize, size: Size, base: Reg, off: i16, value: Value) {
        let at = self.address(base, off);
        let size = self.at.ins().iconst(I64, size.bytes() as i64);
        self.thunk(slot, Thunk::Store, &[at, size, value]);
    }

    fn ask_atomic(&mut self, slot: usize, size: Size, op: AtomicOp, base: Reg, off: i16, src: Reg) {
        let at = self.address(base, off);
        let (operand, expected) = (self.wide(src.0.into()), self.wide(0));
        let old = self.thunk(slot, Thunk::Atomic, &[at, operand, expected]);
        let (ty, old) = match size {
            Size::DW => (I64, old),
            _ => (I32, self.at.ins().ireduce(I32, old)),
        };
        match op {
            AtomicOp::Cmpxchg => self.set(0, ty, old),
            _ if op.fetches() => self.set(src.0.into(), ty, old),
            _ => {}
        }
    }

    /// `LD_ABS` and `LD_IND`, which end the function where the packet is too short.
    pub(super) fn load_packet(&mut self, slot: usize, size: Size, index: Option<Reg>, imm: i32) {
        let off = self.at.ins().iconst(I64, i64::from(imm));
        let off = match index {
            Some(index) => {
                let index = self.narrow(index.0.into());
                let index = self.at.ins().sextend(I64, index);
                self.at.ins().iadd(index, off)
            }
            None => off,
        };
        let size = self.at.ins().iconst(I64, size.bytes() as i64);
        let value = self.thunk(slot, Thunk::LoadPacket, &[off, size]);
        self.forget_arguments();
        let value = self.at.ins().ireduce(I32, value);
        self.set_narrow(0, value);
    }
}

fn of_size(size: Size) -> Type {
    match size {
        Size::B => I8,
        Size::H => I16,
        Size::W => I32,
        Size::DW => I64,
    }
}
