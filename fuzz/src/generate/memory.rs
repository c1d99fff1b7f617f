//! Statements of memory: stack, context, packet, map values, ring buffer records, and helpers that take them.

use skep_isa::uapi::ProgType;
use skep_isa::{AluOp, AtomicOp, Imm64, JmpOp, Op, Operand, Reg, Size};

use super::{Kind, Maker, RING};

const SIZES: &[Size] = &[Size::B, Size::H, Size::W, Size::DW];

const ATOMIC: &[AtomicOp] = &[
    AtomicOp::Add { fetch: false },
    AtomicOp::Add { fetch: true },
    AtomicOp::Or { fetch: true },
    AtomicOp::And { fetch: false },
    AtomicOp::Xor { fetch: true },
    AtomicOp::Xchg,
    AtomicOp::Cmpxchg,
];

impl Maker<'_> {
    pub(super) fn memory_statement(&mut self) {
        let has_context = self.kinds[6] == Kind::Ctx;
        match self.rng.below(14) {
            0 | 1 => self.spill_and_fill(),
            2 => self.anywhere_on_the_stack(),
            3 if has_context => self.context(),
            4 | 5 if has_context => self.packet(),
            6 | 7 => self.map_value(),
            8 => self.direct_value(),
            9 => self.update_map(),
            10 => self.record(),
            11 => self.sized_helper(),
            _ => self.known_memory(),
        }
    }

    /// `reg = r10 + off`.
    pub(super) fn stack_pointer(&mut self, reg: Reg, off: i32) {
        self.mov(reg, Reg::R10);
        self.alu(true, AluOp::Add, reg, Operand::Imm(off));
        self.set(reg, Kind::Memory(-off));
        // Written, so that helpers may read it.
        let mut at = off;
        while at < 0 && self.rng.below(8) > 0 {
            self.op(Op::Store { size: Size::DW, base: Reg::R10, off: at as i16, src: Operand::Imm(at) });
            at += 8;
        }
    }

    fn spill_and_fill(&mut self) {
        let holding: Vec<u8> = (0..10).filter(|r| self.kinds[*r as usize] != Kind::None).collect();
        if holding.is_empty() {
            return;
        }
        let src = Reg(self.rng.pick(&holding));
        let off = -8 * (1 + self.rng.below(8) as i16);
        let whole = self.kinds[src.0 as usize] != Kind::Scalar || self.rng.below(4) > 0;
        let size = if whole { Size::DW } else { self.rng.pick(SIZES) };
        self.op(Op::Store { size, base: Reg::R10, off, src: Operand::Reg(src) });
        if self.rng.one_in(3) {
            self.statement_of_numbers();
        }
        let dst = self.saved();
        let kind = if whole { self.kinds[src.0 as usize] } else { Kind::Scalar };
        let load = if whole { Size::DW } else { self.rng.pick(SIZES) };
        let signed = load != Size::DW && self.rng.one_in(4);
        self.op(Op::Load { size: load, signed, dst, base: Reg::R10, off });
        self.set(dst, kind);
        if self.steady && kind != Kind::Scalar {
            // What is written over one half of an address later leaves the other as a number.
            self.op(Op::Store { size: Size::DW, base: Reg::R10, off, src: Operand::Imm(0) });
        }
    }

    fn statement_of_numbers(&mut self) {
        let (dst, imm) = (self.scalar(), self.imm());
        self.alu(true, AluOp::Xor, dst, Operand::Imm(imm));
    }

    /// An access at a variable offset from the frame pointer.
    fn anywhere_on_the_stack(&mut self) {
        let bytes = 8 << self.rng.below(4);
        let base = self.saved();
        self.stack_pointer(base, -bytes);
        self.access_with_index(base, bytes);
    }

    /// Loads from the context, mostly at offsets where its type has a number.
    fn context(&mut self) {
        let (dst, size) = (self.saved(), self.context_size());
        let off = match self.prog_type {
            _ if self.rng.one_in(40) => self.rng.below(200) as i16,
            ProgType::XDP => self.rng.pick(&[12, 16]),
            ProgType::SOCKET_FILTER | ProgType::SCHED_CLS => {
                self.rng.pick(&[0, 4, 8, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64])
            }
            _ => self.rng.below(12) as i16 * 8,
        };
        self.op(Op::Load { size, signed: false, dst, base: Reg::R6, off });
        self.set(dst, Kind::Scalar);
    }

    fn context_size(&mut self) -> Size {
        match self.prog_type {
            ProgType::RAW_TRACEPOINT | ProgType::KPROBE => Size::DW,
            ProgType::TRACEPOINT | ProgType::SYSCALL => self.rng.pick(SIZES),
            _ => Size::W,
        }
    }

    /// An access to the packet behind a comparison with its end.
    fn packet(&mut self) {
        let (data, end) = match self.prog_type {
            ProgType::XDP => (0, 4),
            ProgType::SCHED_CLS => (76, 80),
            _ => return self.context(),
        };
        let (packet, limit) = (Reg::R2, Reg::R3);
        // Making an index may take a call, which loses the packet.
        let index = self.rng.one_in(3).then(|| self.index(31));
        self.op(Op::Load { size: Size::W, signed: false, dst: packet, base: Reg::R6, off: data });
        self.op(Op::Load { size: Size::W, signed: false, dst: limit, base: Reg::R6, off: end });
        self.kinds[2..5].fill(Kind::None);
        if let Some(index) = index {
            self.alu(true, AluOp::Add, packet, Operand::Reg(index));
        }
        let bytes = 1 + self.rng.below(20) as i32;
        self.mov(Reg::R4, packet);
        self.alu(true, AluOp::Add, Reg::R4, Operand::Imm(bytes));
        let (outside, end) = (self.label(), self.label());
        let op = self.rng.pick(&[JmpOp::Gt, JmpOp::Gt, JmpOp::Ge, JmpOp::Lt, JmpOp::Le]);
        let before = self.kinds;
        let inside_falls_through = matches!(op, JmpOp::Gt | JmpOp::Ge);
        self.branches += 1;
        self.jump_if(true, op, Reg::R4, Operand::Reg(limit), outside);
        if !inside_falls_through {
            self.jump(end);
            self.place(outside);
        }
        self.access_near(packet, bytes);
        if inside_falls_through {
            self.place(outside);
        }
        self.place(end);
        self.join(before);
        self.kinds[2..5].fill(Kind::None);
    }

    /// A look-up, a check for null, an access.
    fn map_value(&mut self) {
        let map = self.rng.below(RING);
        self.key(Reg::R2, map);
        self.map_reg(Reg::R1, map);
        self.call(1);
        self.set(Reg::R0, Kind::None);
        let bytes = self.maps[map].value_size as i32;
        let end = self.label();
        self.branches += 1;
        self.jump_if(true, JmpOp::Eq, Reg::R0, Operand::Imm(0), end);
        let before = self.kinds;
        let base = if self.rng.one_in(2) { Reg::R0 } else { self.saved() };
        if base != Reg::R0 {
            self.mov(base, Reg::R0);
        }
        self.access_with_index(base, bytes);
        self.place(end);
        self.set(Reg::R0, Kind::None);
        self.join(before);
        self.set(Reg::R0, Kind::None);
    }

    fn key(&mut self, reg: Reg, map: usize) {
        let bytes = self.maps[map].key_size as i32;
        self.mov(reg, Reg::R10);
        let off = -8 * (1 + self.rng.below(4) as i32);
        self.alu(true, AluOp::Add, reg, Operand::Imm(off));
        let key = self.rng.below(5) as i32;
        let size = if bytes == 8 { Size::DW } else { Size::W };
        let src = if self.rng.one_in(3) { Operand::Reg(self.scalar()) } else { Operand::Imm(key) };
        self.op(Op::Store { size, base: Reg::R10, off: off as i16, src });
        // `scalar` may have called something.
        self.mov(reg, Reg::R10);
        self.alu(true, AluOp::Add, reg, Operand::Imm(off));
        self.set(reg, Kind::Memory(bytes));
    }

    /// The address of a value of an array of one element.
    fn direct_value(&mut self) {
        let (base, bytes) = (self.saved(), self.maps[0].value_size as i32);
        let off = self.rng.below(bytes as usize / 8) as i32 * 8;
        self.op(Op::LoadImm64 { dst: base, imm: Imm64::MapIdxValue { idx: 0, off: off as u32 } });
        self.set(base, Kind::Memory(bytes - off));
        self.access_with_index(base, bytes - off);
    }

    fn update_map(&mut self) {
        let map = self.rng.below(RING);
        let value = self.maps[map].value_size as i32;
        self.key(Reg::R2, map);
        if self.rng.one_in(4) {
            self.map_reg(Reg::R1, map);
            return self.call(3);
        }
        self.stack_pointer(Reg::R3, -((value + 7) / 8 * 8));
        let flags = self.rng.below(3) as i32;
        self.mov_imm(Reg::R4, flags);
        self.map_reg(Reg::R1, map);
        self.call(2);
    }

    /// A ring buffer record, written and submitted.
    fn record(&mut self) {
        let bytes = 1 + self.rng.below(40) as i32;
        self.map_reg(Reg::R1, RING);
        self.mov_imm(Reg::R2, bytes);
        self.mov_imm(Reg::R3, 0);
        self.call(131);
        self.set(Reg::R0, Kind::None);
        let end = self.label();
        self.branches += 1;
        self.jump_if(true, JmpOp::Eq, Reg::R0, Operand::Imm(0), end);
        let before = self.kinds;
        let base = self.saved();
        self.mov(base, Reg::R0);
        self.access_near(base, bytes);
        self.mov(Reg::R1, base);
        self.mov_imm(Reg::R2, 0);
        let submit = self.rng.pick(&[132, 133]);
        self.call(submit);
        self.set(base, Kind::None);
        self.place(end);
        self.join(before);
        self.set(base, Kind::None);
        self.set(Reg::R0, Kind::None);
    }

    /// A helper that takes memory and how much of it.
    fn sized_helper(&mut self) {
        let bytes = 8 * (1 + self.rng.below(8) as i32);
        let index = self.index(bytes);
        self.stack_pointer(Reg::R1, -bytes);
        self.mov(Reg::R2, index);
        if self.rng.one_in(2) {
            // `bpf_get_current_comm` takes at least one byte.
            self.alu(true, AluOp::Add, Reg::R2, Operand::Imm(1));
            return self.call(16);
        }
        self.mov_imm(Reg::R3, 0);
        self.call(113); // bpf_probe_read_kernel
    }

    /// An access to memory that a register is known to point to.
    fn known_memory(&mut self) {
        let held = |kind: &Kind| matches!(kind, Kind::Memory(1..));
        let holding: Vec<u8> = (0..10).filter(|r| held(&self.kinds[*r as usize])).collect();
        if holding.is_empty() {
            return self.anywhere_on_the_stack();
        }
        let base = Reg(self.rng.pick(&holding));
        if let Kind::Memory(bytes) = self.kinds[base.0 as usize] {
            self.access_near(base, bytes);
        }
    }

    /// A number that is mostly below `limit`: by a mask, by a comparison, by division.
    fn index(&mut self, limit: i32) -> Reg {
        let reg = self.saved();
        let source = self.scalar();
        self.mov(reg, source);
        let near = limit.max(1) + self.rng.pick(&[0, 0, 0, 0, -1, -1, 1, -8]);
        match self.rng.below(4) {
            0 => {
                let mask = (limit.max(1) as u32).next_power_of_two() as i32 - 1;
                let (wide, narrower) = (self.rng.one_in(2), self.rng.below(2));
                self.alu(wide, AluOp::And, reg, Operand::Imm(mask >> narrower));
            }
            1 => self.alu(self.branches.is_multiple_of(2), AluOp::Mod, reg, Operand::Imm(near.max(1))),
            2 => {
                let bits = 59 + self.rng.below(4) as i32;
                self.alu(true, AluOp::Rsh, reg, Operand::Imm(bits));
            }
            _ => self.compare_and_reset(reg, near),
        }
        reg
    }

    /// `if (reg is too large) reg = 0`, with any of the comparisons, one of which may be right.
    fn compare_and_reset(&mut self, reg: Reg, limit: i32) {
        self.branches += 1;
        let end = self.label();
        let wide = self.rng.below(8) > 0;
        let op = if self.rng.one_in(8) {
            self.rng.pick(&JmpOp::ALL)
        } else {
            self.rng.pick(&[JmpOp::Lt, JmpOp::Le])
        };
        self.jump_if(wide, op, reg, Operand::Imm(limit), end);
        let reset = self.rng.below(limit.max(1) as usize) as i32;
        self.mov_imm(reg, reset);
        self.place(end);
    }

    /// An access of some size to `bytes` of memory, at an index or not.
    fn access_with_index(&mut self, base: Reg, bytes: i32) {
        if self.rng.one_in(2) {
            self.set(base, Kind::Memory(bytes));
            return self.access_near(base, bytes);
        }
        // The index must not be where the base is, nor be made by a call that loses it.
        let saved = self.saved();
        if base != saved {
            self.mov(saved, base);
        }
        let room = self.kinds[saved.0 as usize];
        let size = self.rng.pick(SIZES);
        let index = self.index(bytes - size.bytes() as i32 + 1);
        if index == saved {
            return;
        }
        if size != Size::B && self.rng.below(8) > 0 {
            self.alu(true, AluOp::And, index, Operand::Imm(-(size.bytes() as i32)));
        }
        let subtract = self.rng.one_in(24);
        self.alu(true, if subtract { AluOp::Sub } else { AluOp::Add }, saved, Operand::Reg(index));
        self.access(size, saved, 0);
        self.set(saved, if room == Kind::None { Kind::None } else { Kind::Memory(0) });
    }

    /// An access within, or just outside of, `bytes` from a register on.
    pub(super) fn access_near(&mut self, base: Reg, bytes: i32) {
        let size = self.rng.pick(SIZES);
        let last = bytes - size.bytes() as i32;
        let off = match self.rng.below(40) {
            0 => last + 1,
            1 => -1,
            2..=9 => last,
            _ => self.rng.below(last.max(0) as usize + 1) as i32,
        };
        let aligned =
            if self.rng.below(3) > 0 { off / size.bytes() as i32 * size.bytes() as i32 } else { off };
        self.access(size, base, aligned as i16);
    }

    fn access(&mut self, size: Size, base: Reg, off: i16) {
        match self.rng.below(6) {
            0 | 1 => {
                let dst = self.rng.pick(&[Reg::R1, Reg::R2, Reg::R4, Reg::R5]);
                let signed = size != Size::DW && self.rng.one_in(4);
                self.op(Op::Load { size, signed, dst, base, off });
                self.set(dst, Kind::Scalar);
            }
            2 if size.bytes() >= 4 => {
                let (src, op) = (self.held_scalar(base), self.rng.pick(ATOMIC));
                let needs_r0 = op == AtomicOp::Cmpxchg && self.kinds[0] != Kind::Scalar;
                if let Some(src) = src.filter(|_| !needs_r0) {
                    self.op(Op::Atomic { size, op, base, off, src });
                }
            }
            _ => {
                let src = match self.held_scalar(base) {
                    Some(reg) if self.rng.one_in(2) => Operand::Reg(reg),
                    _ => Operand::Imm(self.imm()),
                };
                self.op(Op::Store { size, base, off, src });
            }
        }
    }

    /// A register other than this that holds a number already.
    fn held_scalar(&mut self, not: Reg) -> Option<Reg> {
        let is_scalar = |r: &u8| self.kinds[*r as usize] == Kind::Scalar && *r != not.0;
        let holding: Vec<u8> = (0..10).filter(is_scalar).collect();
        (!holding.is_empty()).then(|| Reg(self.rng.pick(&holding)))
    }
}
