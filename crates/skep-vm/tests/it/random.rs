//! Any bytes are safe to run: random programs end with a value, a fault or a refusal, and touch nothing that is not theirs.
//!
//! A violation shows as a crash of the test process, or in the guard bytes around the context.

use std::sync::Arc;

use skep_isa::helper;
use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{AluOp, AtomicOp, CallTarget, Endian, Imm64, Insn, JmpOp, Op, Operand, Reg, Size};
use skep_vm::map::flags;
use skep_vm::{Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo};

use crate::build::{call, prepare};

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn reg(&mut self) -> Reg {
        Reg(self.below(11) as u8)
    }

    fn dst(&mut self) -> Reg {
        Reg(self.below(10) as u8)
    }

    fn imm(&mut self) -> i32 {
        match self.below(4) {
            0 => self.next() as i32,
            1 => self.pick(&[0, 1, -1, 8, 64, 512, i32::MIN, i32::MAX]),
            _ => self.below(64) as i32 - 16,
        }
    }

    fn off(&mut self) -> i16 {
        match self.below(8) {
            0 => self.next() as i16,
            _ => self.below(80) as i16 - 72,
        }
    }

    fn operand(&mut self) -> Operand {
        if self.below(2) == 0 { Operand::Reg(self.reg()) } else { Operand::Imm(self.imm()) }
    }
}

const SIZES: &[Size] = &[Size::B, Size::H, Size::W, Size::DW];
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
const JMP: &[JmpOp] = &[JmpOp::Eq, JmpOp::Gt, JmpOp::Set, JmpOp::Ne, JmpOp::Sgt, JmpOp::Lt, JmpOp::Sle];
const ATOMIC: &[AtomicOp] = &[
    AtomicOp::Add { fetch: true },
    AtomicOp::Or { fetch: false },
    AtomicOp::And { fetch: true },
    AtomicOp::Xor { fetch: false },
    AtomicOp::Xchg,
    AtomicOp::Cmpxchg,
];

/// Maps of every kind that helpers take.
fn maps() -> Vec<Arc<Map>> {
    let make = |spec: MapSpec| Map::create(spec).expect("the test's map is valid");
    let new = |map_type, key, value, entries| MapSpec::new(map_type, "m", key, value, entries);
    let array = make(new(MapType::ARRAY, 4, 16, 4));
    let maps = vec![
        make(new(MapType::ARRAY, 4, 24, 1)),
        make(new(MapType::HASH, 8, 12, 8)),
        make(new(MapType::LRU_HASH, 4, 8, 4)),
        make(new(MapType::PERCPU_HASH, 4, 8, 4)),
        make(new(MapType::PERCPU_ARRAY, 4, 8, 4)),
        make(new(MapType::RINGBUF, 0, 0, 4096)),
        make(new(MapType::PERF_EVENT_ARRAY, 4, 4, 8)),
        make(new(MapType::QUEUE, 0, 8, 4)),
        make(new(MapType::STACK, 0, 8, 4)),
        make(new(MapType::BLOOM_FILTER, 0, 8, 4)),
        make(new(MapType::LPM_TRIE, 8, 8, 16).flags(flags::NO_PREALLOC)),
        make(new(MapType::STACK_TRACE, 4, 80, 4)),
        make(new(MapType::PROG_ARRAY, 4, 4, 4)),
        make(new(MapType::ARRAY_OF_MAPS, 4, 4, 4).inner(Arc::clone(&array))),
        make(new(MapType::TASK_STORAGE, 4, 8, 0).flags(flags::NO_PREALLOC)),
        make(new(MapType::USER_RINGBUF, 0, 0, 4096)),
        make(new(MapType::ARRAY, 4, 64, 1).flags(flags::RDONLY_PROG)),
    ];
    maps[13].set_inner(&1u32.to_ne_bytes(), array, 0).expect("it fits");
    maps[6].perf().expect("it is one").open(4096);
    maps
}

/// One random operation for slot `pc` of about `len`.
fn op(rng: &mut Rng, helpers: &[u32], maps: usize, pc: usize, len: usize) -> Op {
    let target = |rng: &mut Rng| (rng.below(len as u64) as i64 - pc as i64 - 1) as i16;
    let size = rng.pick(SIZES);
    match rng.below(24) {
        0..=5 => Op::Alu { wide: rng.below(2) == 0, op: rng.pick(ALU), dst: rng.dst(), src: rng.operand() },
        6..=8 => Op::Load { size, signed: false, dst: rng.dst(), base: rng.reg(), off: rng.off() },
        9..=11 => Op::Store { size, base: rng.reg(), off: rng.off(), src: rng.operand() },
        12 => {
            let size = rng.pick(&[Size::W, Size::DW]);
            Op::Atomic { size, op: rng.pick(ATOMIC), base: rng.reg(), off: rng.off(), src: rng.dst() }
        }
        13 | 14 => {
            let (op, dst, src) = (rng.pick(JMP), rng.reg(), rng.operand());
            Op::Jump { wide: rng.below(2) == 0, op, dst, src, off: target(rng) }
        }
        15 => Op::Ja { long: false, off: target(rng).into() },
        16 => Op::LoadImm64 { dst: rng.dst(), imm: Imm64::MapIdx(rng.below(maps as u64) as i32) },
        17 => Op::LoadImm64 { dst: rng.dst(), imm: Imm64::MapIdxValue { idx: 0, off: rng.below(24) as u32 } },
        18 => Op::LoadImm64 { dst: rng.pick(&[Reg::R2, Reg::R3]), imm: Imm64::Func(target(rng).into()) },
        19 | 20 => Op::Call(CallTarget::Helper(rng.pick(helpers))),
        21 => Op::Call(CallTarget::Local(target(rng).into())),
        22 => Op::Endian { kind: Endian::Be, bits: rng.pick(&[16, 32, 64]), dst: rng.dst() },
        _ => Op::Exit,
    }
}

/// A call with arguments that may be of use: a map, pointers into the stack, small numbers.
fn useful_call(rng: &mut Rng, helpers: &[u32], maps: usize, out: &mut Vec<Op>) {
    let map = Imm64::MapIdx(rng.below(maps as u64) as i32);
    let map_arg = rng.pick(&[Reg::R1, Reg::R1, Reg::R2]);
    for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        if rng.below(3) > 0 {
            out.push(Op::Alu { wide: true, op: AluOp::Mov, dst: reg, src: Operand::Reg(Reg::R10) });
            let imm = -(rng.below(16) as i32) * 8;
            out.push(Op::Alu { wide: true, op: AluOp::Add, dst: reg, src: Operand::Imm(imm) });
        } else {
            let imm = rng.imm();
            out.push(Op::Alu { wide: true, op: AluOp::Mov, dst: reg, src: Operand::Imm(imm) });
        }
    }
    out.push(Op::LoadImm64 { dst: map_arg, imm: map });
    out.push(Op::Call(CallTarget::Helper(rng.pick(helpers))));
}

/// The numbers of the helpers that are served.
fn helpers() -> Vec<u32> {
    let served = |id: &u32| prepare(&[call(*id), Op::Exit], &[]).is_ok();
    helper::ALL.iter().map(|helper| helper.id).filter(served).collect()
}

fn program(rng: &mut Rng, helpers: &[u32], maps: usize) -> Vec<Insn> {
    let mut ops = Vec::new();
    let len = 4 + rng.below(24) as usize;
    while ops.len() < len {
        if rng.below(6) == 0 {
            useful_call(rng, helpers, maps, &mut ops);
        } else {
            ops.push(op(rng, helpers, maps, ops.len(), len));
        }
    }
    ops.push(Op::Exit);
    ops.iter().filter_map(Op::encode).flat_map(|slots| slots.to_vec()).collect()
}

/// Prepares and runs; counts what came of it.
fn try_run(insns: &[Insn], maps: &[Arc<Map>], counts: &mut [u32; 3]) {
    const GUARD: u8 = 0x5a;
    let find = |reference| match reference {
        MapRef::Index(n) | MapRef::Fd(n) => maps.get(n as usize).cloned(),
    };
    let info = ProgramInfo { budget: 5_000, ..ProgramInfo::new("random", ProgType::RAW_TRACEPOINT) };
    let Ok(program) = Program::prepare(insns, &find, info) else {
        counts[0] += 1;
        return;
    };
    let mut room = [GUARD; 192];
    let [before, rest @ ..] = &mut room;
    let (context, after) = rest.split_at_mut(64);
    let outcome = program.run(context, &mut NoEnv);
    counts[if outcome.is_ok() { 2 } else { 1 }] += 1;
    assert!(
        *before == GUARD && after.iter().all(|byte| *byte == GUARD),
        "{insns:?} wrote beside its context"
    );
}

#[test]
fn random_operations_are_safe() {
    let (maps, helpers) = (maps(), helpers());
    let mut rng = Rng(1);
    let mut counts = [0; 3];
    for _ in 0..150_000 {
        let insns = program(&mut rng, &helpers, maps.len());
        try_run(&insns, &maps, &mut counts);
    }
    let [refused, faulted, ran] = counts;
    assert!(faulted > 50_000 && ran > 20_000, "the programs test too little: {refused} {faulted} {ran}");
}

#[test]
fn random_bytes_and_mutations_are_safe() {
    let (maps, helpers) = (maps(), helpers());
    let mut rng = Rng(2);
    let mut counts = [0; 3];
    for _ in 0..100_000 {
        let mut insns = program(&mut rng, &helpers, maps.len());
        for _ in 0..1 + rng.below(2) {
            let at = rng.below(insns.len() as u64) as usize;
            let mut bytes = insns[at].to_le_bytes();
            bytes[rng.below(8) as usize] = rng.next() as u8;
            insns[at] = Insn::from_le_bytes(bytes);
        }
        try_run(&insns, &maps, &mut counts);
        let bytes: Vec<Insn> = (0..4).map(|_| Insn::from_le_bytes(rng.next().to_le_bytes())).collect();
        try_run(&bytes, &maps, &mut counts);
    }
    assert!(counts[1] > 4_000 && counts[2] > 1_000, "the programs test too little: {counts:?}");
}
