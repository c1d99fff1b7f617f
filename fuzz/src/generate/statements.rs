//! Statements of numbers and control: arithmetic, branches, loops, functions.

use skep_isa::{AluOp, CallTarget, Endian, Imm64, JmpOp, Op, Operand, Reg};

use super::{Function, Item, Kind, Maker};

const ALU: &[AluOp] = &[
    AluOp::Add,
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Sdiv,
    AluOp::Or,
    AluOp::And,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::Smod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];

/// Branches of one program; each may double the paths.
const MAX_BRANCHES: usize = 7;

impl Maker<'_> {
    pub(super) fn statement(&mut self) {
        match self.rng.below(20) {
            0..=4 => self.arithmetic(),
            5 | 6 => self.convert(),
            7 | 8 if self.may_branch() => self.branch(),
            9 if self.may_branch() && !self.counting => self.bounded_loop(),
            10 if self.depth < 2 => self.call_function(),
            11 if self.depth < 2 => self.call_loop(),
            12 => self.move_about(),
            _ => self.memory_statement(),
        }
    }

    fn may_branch(&self) -> bool {
        self.branches < MAX_BRANCHES && self.depth < 4
    }

    fn arithmetic(&mut self) {
        let (dst, wide, op) = (self.scalar(), self.rng.below(3) > 0, self.rng.pick(ALU));
        let src = match op {
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if self.rng.one_in(2) => {
                Operand::Imm(self.rng.below(if wide { 64 } else { 32 }) as i32)
            }
            AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod if self.rng.one_in(2) => {
                Operand::Imm(self.imm() | 1)
            }
            // A shift by more than the width is no instruction.
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => Operand::Reg(self.scalar()),
            _ => self.operand(),
        };
        self.alu(wide, op, dst, src);
    }

    fn convert(&mut self) {
        let (dst, wide) = (self.scalar(), self.rng.one_in(2));
        let op = match self.rng.below(4) {
            0 => Op::Neg { wide, dst },
            1 => {
                let kind = self.rng.pick(&[Endian::Le, Endian::Be, Endian::Swap]);
                Op::Endian { kind, bits: self.rng.pick(&[16, 32, 64]), dst }
            }
            _ => {
                let src = self.scalar();
                let bits = if wide { self.rng.pick(&[8, 16, 32]) } else { self.rng.pick(&[8, 16]) };
                Op::MovSx { wide, bits, dst, src }
            }
        };
        self.op(op);
    }

    fn move_about(&mut self) {
        let holding: Vec<u8> = (0..10).filter(|r| self.kinds[*r as usize] != Kind::None).collect();
        if let Some(src) = (!holding.is_empty()).then(|| self.rng.pick(&holding)) {
            let dst = Reg(self.rng.below(10) as u8);
            if dst != Reg::R6 && !(self.counting && dst == Reg::R9) {
                self.mov(dst, Reg(src));
            }
        }
    }

    /// `if …` one or two blocks.
    fn branch(&mut self) {
        self.branches += 1;
        let (dst, wide, op) = (self.scalar(), self.rng.below(3) > 0, self.rng.pick(&JmpOp::ALL));
        let src = self.operand();
        let (other, end) = (self.label(), self.label());
        self.jump_if(wide, op, dst, src, other);
        let before = self.kinds;
        self.block();
        let after = std::mem::replace(&mut self.kinds, before);
        if self.rng.one_in(2) {
            self.jump(end);
            self.place(other);
            self.block();
        } else {
            self.place(other);
        }
        self.place(end);
        self.join(after);
    }

    fn block(&mut self) {
        self.depth += 1;
        for _ in 0..1 + self.rng.below(3) {
            self.statement();
        }
        self.depth -= 1;
    }

    /// What holds where two paths meet.
    pub(super) fn join(&mut self, other: [Kind; 10]) {
        for (kind, other) in self.kinds.iter_mut().zip(other) {
            *kind = match (*kind, other) {
                (a, b) if a == b => a,
                (Kind::Memory(a), Kind::Memory(b)) => Kind::Memory(a.min(b)),
                _ => Kind::None,
            };
        }
    }

    /// A loop that counts in a register of its own.
    fn bounded_loop(&mut self) {
        self.branches += 2;
        let (counter, times) = (Reg::R9, 1 + self.rng.below(6) as i32);
        self.mov_imm(counter, 0);
        let start = self.label();
        self.place(start);
        self.set(counter, Kind::None);
        self.loop_body();
        self.alu(self.branches.is_multiple_of(2), AluOp::Add, counter, Operand::Imm(1));
        let op = self.rng.pick(&[JmpOp::Lt, JmpOp::Slt, JmpOp::Ne, JmpOp::Le]);
        self.jump_if(true, op, counter, Operand::Imm(times), start);
        self.set(counter, Kind::Scalar);
    }

    /// A statement that may be run again after itself: what it leaves fits what it began with.
    fn loop_body(&mut self) {
        self.depth += 2;
        self.counting = true;
        for _ in 0..4 {
            let (items, before, functions) = (self.items.len(), self.kinds, self.functions.len());
            self.statement();
            self.join(before);
            if self.kinds == before {
                break;
            }
            // Once more, with less to rely on.
            self.items.truncate(items);
            self.functions.truncate(functions);
        }
        self.counting = false;
        self.depth -= 2;
    }

    /// A call of a function of the program.
    fn call_function(&mut self) {
        let scalar = self.scalar();
        self.mov(Reg::R1, scalar);
        let kind = if self.rng.one_in(2) {
            let bytes = 8 * (1 + self.rng.below(4) as i32);
            self.stack_pointer(Reg::R2, -bytes);
            Kind::Memory(bytes)
        } else {
            self.mov(Reg::R2, scalar);
            Kind::Scalar
        };
        let label = self.label();
        self.functions.push((label, Function::Called(kind)));
        self.items.push(Item::Jump(Op::Call(CallTarget::Local(0)), label));
        self.called();
    }

    /// `bpf_loop` with a callback.
    fn call_loop(&mut self) {
        let label = self.label();
        self.branches += 2;
        let scalar = self.scalar();
        self.stack_pointer(Reg::R3, -16);
        if self.rng.one_in(2) {
            let times = self.rng.below(8) as i32;
            self.mov_imm(Reg::R1, times);
        } else {
            self.mov(Reg::R1, scalar);
            self.alu(true, AluOp::And, Reg::R1, Operand::Imm(7));
        }
        self.items.push(Item::Jump(Op::LoadImm64 { dst: Reg::R2, imm: Imm64::Func(0) }, label));
        self.mov_imm(Reg::R4, 0);
        self.functions.push((label, Function::Loop));
        self.call(181);
    }
}
