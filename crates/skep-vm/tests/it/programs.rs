//! Random programs that Linux accepts give the same result here.
//!
//! Needs the right to load and run programs in the kernel; without it the test says so and passes.

use std::os::fd::AsRawFd;

use skep_isa::uapi::{Cmd, ProgType};
use skep_isa::{AluOp, AtomicOp, Endian, Insn, JmpOp, Op, Operand, Reg, Size};
use skep_vm::{Errno, MapRef, NoEnv, Program, ProgramInfo};

use crate::bpf::Attr;
use crate::build::{mov, slots};
use crate::random::Rng;

const ALU: &[AluOp] = &[
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Sdiv,
    AluOp::Mod,
    AluOp::Smod,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Arsh,
    AluOp::Xor,
    AluOp::Mov,
];
const ATOMIC: &[AtomicOp] = &[
    AtomicOp::Add { fetch: true },
    AtomicOp::Add { fetch: false },
    AtomicOp::Or { fetch: true },
    AtomicOp::And { fetch: true },
    AtomicOp::Xor { fetch: true },
    AtomicOp::Xchg,
    AtomicOp::Cmpxchg,
];

/// Bytes of stack that are written at the beginning.
const STACK: i16 = 32;

/// A number that makes something happen: small, at an edge, or anything.
fn number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.below(70),
        1 => rng.pick(&[0, 1, u64::MAX, 1 << 31, 1 << 63, u64::from(u32::MAX), i64::MIN as u64 + 1]),
        _ => rng.next() >> rng.below(64),
    }
}

fn operand(rng: &mut Rng, wide: bool, op: AluOp) -> Operand {
    use AluOp::{Arsh, Div, Lsh, Mod, Rsh, Sdiv, Smod};
    if rng.below(2) == 0 {
        return Operand::Reg(Reg(rng.below(9) as u8));
    }
    let imm = number(rng) as i32;
    // The verifier refuses constants that shift too far or divide by zero.
    match op {
        Lsh | Rsh | Arsh => Operand::Imm(imm & if wide { 63 } else { 31 }),
        Div | Mod | Sdiv | Smod if imm == 0 => Operand::Imm(3),
        _ => Operand::Imm(imm),
    }
}

fn op(rng: &mut Rng, left: u64) -> Op {
    let (dst, src, wide) = (Reg(rng.below(9) as u8), Reg(rng.below(9) as u8), rng.below(2) == 0);
    let size = rng.pick(&[Size::B, Size::H, Size::W, Size::DW]);
    let place = |rng: &mut Rng, size: Size| {
        let cells = STACK as u64 / u64::from(size.bytes());
        (1 + rng.below(cells)) as i16 * -(size.bytes() as i16)
    };
    let base = Reg::R10;
    match rng.below(16) {
        0..=7 => {
            let op = rng.pick(ALU);
            Op::Alu { wide, op, dst, src: operand(rng, wide, op) }
        }
        8 => Op::MovSx { wide, bits: rng.pick(&[8, 16]), dst, src },
        9 => Op::Neg { wide, dst },
        10 => {
            let kind = rng.pick(&[Endian::Le, Endian::Be, Endian::Swap]);
            Op::Endian { kind, bits: rng.pick(&[16, 32, 64]), dst }
        }
        11 => {
            let src = operand(rng, wide, AluOp::Add);
            Op::Jump { wide, op: rng.pick(&JmpOp::ALL), dst, src, off: rng.below(left.max(1)) as i16 }
        }
        12 => Op::Load { size, signed: size != Size::DW && wide, dst, base, off: place(rng, size) },
        13 | 14 => Op::Store { size, base, off: place(rng, size), src: operand(rng, wide, AluOp::Add) },
        _ => {
            let size = rng.pick(&[Size::W, Size::DW]);
            Op::Atomic { size, op: rng.pick(ATOMIC), base, off: place(rng, size), src }
        }
    }
}

/// Gives every register and the stack a value, computes, and folds all of it into `r0`.
fn program(rng: &mut Rng) -> Vec<Insn> {
    let mut ops = Vec::new();
    for reg in 0..9 {
        let imm = skep_isa::Imm64::Value(number(rng));
        ops.push(Op::LoadImm64 { dst: Reg(reg), imm });
    }
    for slot in 1..=STACK / 8 {
        ops.push(Op::Store {
            size: Size::DW,
            base: Reg::R10,
            off: -8 * slot,
            src: Operand::Reg(Reg(slot as u8)),
        });
    }
    let steps = 10 + rng.below(60);
    ops.extend((0..steps).map(|n| op(rng, steps - n)));
    let fold = |src| {
        let mul = Op::Alu { wide: true, op: AluOp::Mul, dst: Reg::R0, src: Operand::Imm(0x0100_0193) };
        [mul, Op::Alu { wide: true, op: AluOp::Xor, dst: Reg::R0, src: Operand::Reg(src) }]
    };
    ops.extend((1..9).flat_map(|reg| fold(Reg(reg))));
    for slot in 1..=STACK / 8 {
        ops.push(Op::Load { size: Size::DW, signed: false, dst: Reg::R1, base: Reg::R10, off: -8 * slot });
        ops.extend(fold(Reg::R1));
    }
    ops.push(Op::Alu { wide: true, op: AluOp::Mov, dst: Reg::R1, src: Operand::Reg(Reg::R0) });
    ops.push(Op::Alu { wide: true, op: AluOp::Rsh, dst: Reg::R1, src: Operand::Imm(32) });
    ops.push(Op::Alu { wide: true, op: AluOp::Xor, dst: Reg::R0, src: Operand::Reg(Reg::R1) });
    ops.push(Op::Exit);
    slots(&ops)
}

/// What the kernel returns for a program: the low half of `r0`.
fn in_kernel(insns: &[Insn]) -> Result<u32, Errno> {
    let license = c"GPL";
    let attr = Attr::new().u32(0, ProgType::SOCKET_FILTER.0).u32(4, insns.len() as u32);
    let attr = attr.u64(8, insns.as_ptr().addr() as u64).u64(16, license.as_ptr().addr() as u64);
    let prog = attr.open(Cmd::PROG_LOAD)?;
    let packet = [0u8; 64];
    let attr = Attr::new().u32(0, prog.as_raw_fd() as u32).u32(8, packet.len() as u32);
    let mut run = attr.u64(16, packet.as_ptr().addr() as u64);
    run.bpf(Cmd::PROG_TEST_RUN)?;
    Ok(run.word(4))
}

#[test]
fn random_programs_give_the_kernels_result() {
    let trivial = in_kernel(&slots(&[mov(Reg::R0, 7), Op::Exit]));
    if trivial != Ok(7) {
        println!(
            "skipped: random_programs_give_the_kernels_result runs programs in the kernel, which answers {trivial:?}"
        );
        return;
    }
    let mut rng = Rng(4);
    let none = |_: MapRef| None;
    let mut compared = 0;
    for n in 0..1500 {
        let insns = program(&mut rng);
        let Ok(expected) = in_kernel(&insns) else { continue };
        let info = ProgramInfo::new("random", ProgType::SOCKET_FILTER);
        let program = Program::prepare(&insns, &none, info).expect("what the kernel loads can be prepared");
        let result = program.run(&mut [0; 192], &mut NoEnv).expect("what the kernel accepts does not fault");
        assert_eq!(result as u32, expected, "program {n}: ours is left, the kernel's is right: {insns:?}");
        compared += 1;
    }
    assert!(compared > 1000, "the kernel accepted only {compared} programs");
}
