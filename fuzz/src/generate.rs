//! Programs made up: statements that mostly make sense, near the limits of what may be accessed.
//!
//! A [`Maker`] remembers roughly what each register holds and writes statements that fit: arithmetic, branches, loops,
//! memory of every kind, helpers, functions, callbacks. Bounds are often off by one, so that part of the programs must be
//! rejected. What is accepted is to be tried by running it.

mod memory;
mod statements;

use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_isa::{AluOp, CallTarget, Imm64, Insn, JmpOp, Op, Operand, Reg, Size};
use skep_verifier::MapInfo;

use crate::rng::Rng;

/// What a register holds, as far as the maker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing, or something unknown.
    None,
    /// A number.
    Scalar,
    /// The context.
    Ctx,
    /// Memory, of which so many bytes from here on may be accessed: stack, map value, record, packet.
    Memory(i32),
}

/// One instruction, or one with a target still to be found.
#[derive(Clone, Copy, Debug)]
enum Item {
    Op(Op),
    /// A jump of any kind to a label.
    Jump(Op, usize),
    Label(usize),
}

/// A program type that runs here without a kernel, and its attach type.
pub const TYPES: &[(ProgType, AttachType)] = &[
    (ProgType::SOCKET_FILTER, AttachType(0)),
    (ProgType::XDP, AttachType::XDP),
    (ProgType::XDP, AttachType::XDP),
    (ProgType::SCHED_CLS, AttachType(0)),
    (ProgType::RAW_TRACEPOINT, AttachType(0)),
    (ProgType::KPROBE, AttachType(0)),
    (ProgType::TRACEPOINT, AttachType(0)),
    (ProgType::SYSCALL, AttachType(0)),
];

/// The maps that programs use, by number.
pub fn maps() -> Vec<MapInfo> {
    let map = |ty: MapType, key_size, value_size, max_entries| {
        MapInfo::new(format!("map_{}", ty.0), ty, key_size, value_size, max_entries)
    };
    vec![
        map(MapType::ARRAY, 4, 48, 1),
        map(MapType::ARRAY, 4, 24, 4),
        map(MapType::HASH, 8, 32, 8),
        map(MapType::PERCPU_ARRAY, 4, 16, 2),
        map(MapType::LRU_HASH, 4, 40, 8),
        map(MapType::RINGBUF, 0, 0, 4096),
    ]
}

/// The types that have test runs (`BPF_PROG_TEST_RUN`), and their attach types.
const TESTED: &[(ProgType, AttachType)] = &[
    (ProgType::SOCKET_FILTER, AttachType(0)),
    (ProgType::XDP, AttachType::XDP),
    (ProgType::XDP, AttachType::XDP),
    (ProgType::SCHED_CLS, AttachType(0)),
    (ProgType::RAW_TRACEPOINT, AttachType(0)),
    (ProgType::SYSCALL, AttachType(0)),
];

/// The maps that [`steady_program`] uses: which element a map of least recently used ones gives up is nobody's promise.
pub fn steady_maps() -> Vec<MapInfo> {
    let steady = |info: MapInfo| match info.ty {
        MapType::LRU_HASH => MapInfo { ty: MapType::HASH, ..info },
        _ => info,
    };
    maps().into_iter().map(steady).collect()
}

/// The map that is a ring buffer.
const RING: usize = 5;

/// A program made up, and what it is loaded as.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its type.
    pub prog_type: ProgType,
    /// Its attach type.
    pub attach_type: AttachType,
    /// Instructions.
    pub insns: Vec<Insn>,
}

/// Makes a program.
pub fn program(rng: &mut Rng) -> Made {
    made(rng, TYPES, false)
}

/// Makes a program that does the same wherever it runs, as long as it makes nothing of addresses: numbers that nobody knows
/// beforehand come from a map, and frames are written before anything is read from them.
pub fn steady_program(rng: &mut Rng) -> Made {
    made(rng, TESTED, true)
}

fn made(rng: &mut Rng, types: &[(ProgType, AttachType)], steady: bool) -> Made {
    let (prog_type, attach_type) = rng.pick(types);
    let mut maker = Maker { steady, ..Maker::new(rng, prog_type) };
    maker.main();
    let insns = maker.finish();
    Made { prog_type, attach_type, insns }
}

/// A program under construction.
struct Maker<'r> {
    rng: &'r mut Rng,
    prog_type: ProgType,
    items: Vec<Item>,
    kinds: [Kind; 10],
    labels: usize,
    /// Functions still to be written: their label, and what they are.
    functions: Vec<(usize, Function)>,
    /// Branches so far; each doubles the paths.
    branches: usize,
    /// Statements within statements.
    depth: usize,
    /// In a loop, whose counter is `r9`?
    counting: bool,
    /// Is the program to do the same wherever it runs?
    steady: bool,
    maps: Vec<MapInfo>,
}

/// What a function is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    /// Called with two arguments: a number, and memory of so many bytes or a number.
    Called(Kind),
    /// Called by `bpf_loop` with a number and memory.
    Loop,
}

impl<'r> Maker<'r> {
    fn new(rng: &'r mut Rng, prog_type: ProgType) -> Self {
        Self {
            rng,
            prog_type,
            items: Vec::new(),
            kinds: [Kind::None; 10],
            labels: 0,
            functions: Vec::new(),
            branches: 0,
            depth: 0,
            counting: false,
            steady: false,
            maps: maps(),
        }
    }

    /// The main program, then the functions it calls.
    fn main(&mut self) {
        self.kinds[1] = Kind::Ctx;
        self.mov(Reg::R6, Reg::R1);
        self.body(10);
        while let Some((label, function)) = self.functions.pop() {
            self.items.push(Item::Label(label));
            self.kinds = [Kind::None; 10];
            self.kinds[1] = Kind::Scalar;
            self.kinds[2] = match function {
                Function::Called(kind) => kind,
                Function::Loop => Kind::Memory(16),
            };
            // Functions that call functions would only nest deeper.
            self.depth = 2;
            self.body(4);
        }
    }

    /// Statements, and an exit with a number that the type allows.
    fn body(&mut self, most: usize) {
        if self.steady {
            self.clear_frame();
        }
        for _ in 0..1 + self.rng.below(most) {
            self.statement();
        }
        let is_number = self.kinds[0] == Kind::Scalar;
        if !is_number || self.rng.below(3) > 0 {
            let result = self.rng.below(2) as i32;
            self.mov_imm(Reg::R0, result);
        }
        self.op(Op::Exit);
    }

    /// What is not written may hold anything.
    fn clear_frame(&mut self) {
        for off in (-512..0).step_by(8) {
            self.op(Op::Store { size: Size::DW, base: Reg::R10, off, src: Operand::Imm(0) });
        }
    }

    /// Slots, with jumps that lead where they should.
    fn finish(self) -> Vec<Insn> {
        let (mut at, mut labels) = (0, vec![0; self.labels]);
        for item in &self.items {
            match item {
                Item::Label(label) => labels[*label] = at,
                Item::Op(op) | Item::Jump(op, _) => at += op.slots(),
            }
        }
        let mut insns: Vec<Insn> = Vec::with_capacity(at);
        for item in &self.items {
            let op = match *item {
                Item::Label(_) => continue,
                Item::Op(op) => op,
                Item::Jump(op, label) => aim(op, labels[label] as i64 - insns.len() as i64 - 1),
            };
            insns.extend(op.encode().into_iter().flat_map(|slots| slots.to_vec()));
        }
        insns
    }

    fn op(&mut self, op: Op) {
        self.items.push(Item::Op(op));
    }

    fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels - 1
    }

    fn place(&mut self, label: usize) {
        self.items.push(Item::Label(label));
    }

    fn jump(&mut self, label: usize) {
        self.items.push(Item::Jump(Op::Ja { long: false, off: 0 }, label));
    }

    fn jump_if(&mut self, wide: bool, op: JmpOp, dst: Reg, src: Operand, label: usize) {
        self.items.push(Item::Jump(Op::Jump { wide, op, dst, src, off: 0 }, label));
    }

    fn alu(&mut self, wide: bool, op: AluOp, dst: Reg, src: Operand) {
        self.op(Op::Alu { wide, op, dst, src });
    }

    fn mov(&mut self, dst: Reg, src: Reg) {
        self.alu(true, AluOp::Mov, dst, Operand::Reg(src));
        self.set(dst, if src == Reg::R10 { Kind::Memory(0) } else { self.kinds[src.0 as usize] });
    }

    fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.alu(true, AluOp::Mov, dst, Operand::Imm(imm));
        self.set(dst, Kind::Scalar);
    }

    fn set(&mut self, reg: Reg, kind: Kind) {
        self.kinds[reg.0 as usize] = kind;
    }

    fn map_reg(&mut self, dst: Reg, map: usize) {
        self.op(Op::LoadImm64 { dst, imm: Imm64::MapIdx(map as i32) });
        self.set(dst, Kind::None);
    }

    /// Calls a helper, which takes the argument registers and gives a number, unless the caller knows better.
    fn call(&mut self, helper: u32) {
        self.op(Op::Call(CallTarget::Helper(helper)));
        self.called();
    }

    fn called(&mut self) {
        self.kinds[1..6].fill(Kind::None);
        self.kinds[0] = Kind::Scalar;
    }

    /// A register that calls leave alone, and in which no loop counts.
    fn saved(&mut self) -> Reg {
        Reg(7 + self.rng.below(if self.counting { 2 } else { 3 }) as u8)
    }

    /// A register that holds a number, made to if there is none.
    fn scalar(&mut self) -> Reg {
        let holding: Vec<u8> = (0..10).filter(|r| self.kinds[*r as usize] == Kind::Scalar).collect();
        if holding.is_empty() || self.rng.one_in(6) {
            let reg = self.saved();
            self.number(reg);
            return reg;
        }
        Reg(self.rng.pick(&holding))
    }

    /// Puts a number into a register that nobody knows beforehand, or a constant.
    fn number(&mut self, reg: Reg) {
        match self.rng.below(4) {
            0 => {
                let imm = self.imm();
                self.mov_imm(reg, imm);
            }
            1 => {
                let value = self.rng.number();
                self.op(Op::LoadImm64 { dst: reg, imm: Imm64::Value(value) });
                self.set(reg, Kind::Scalar);
            }
            _ => {
                self.unknown();
                if self.rng.one_in(2) {
                    // `bpf_get_prandom_u32` gives 32 bits; make it 64.
                    self.mov(reg, Reg::R0);
                    self.alu(true, AluOp::Mul, reg, Operand::Imm(0x4321_8765));
                } else {
                    self.mov(reg, Reg::R0);
                }
            }
        }
    }

    /// Puts 32 bits that nobody knows beforehand into `r0`.
    fn unknown(&mut self) {
        if !self.steady {
            return self.call(7);
        }
        let off = self.rng.below(self.maps[0].value_size as usize / 4) as u32 * 4;
        self.op(Op::LoadImm64 { dst: Reg::R0, imm: Imm64::MapIdxValue { idx: 0, off } });
        self.op(Op::Load { size: Size::W, signed: false, dst: Reg::R0, base: Reg::R0, off: 0 });
        self.set(Reg::R0, Kind::Scalar);
    }

    fn imm(&mut self) -> i32 {
        self.rng.number() as i32
    }

    /// A number or a register that holds one.
    fn operand(&mut self) -> Operand {
        if self.rng.one_in(2) { Operand::Imm(self.imm()) } else { Operand::Reg(self.scalar()) }
    }
}

/// The same jump, call or address with an offset in slots.
fn aim(op: Op, slots: i64) -> Op {
    match op {
        Op::Ja { long, .. } => Op::Ja { long, off: slots as i32 },
        Op::Jump { wide, op, dst, src, .. } => Op::Jump { wide, op, dst, src, off: slots as i16 },
        Op::Call(CallTarget::Local(_)) => Op::Call(CallTarget::Local(slots as i32)),
        Op::LoadImm64 { dst, .. } => Op::LoadImm64 { dst, imm: Imm64::Func(slots as i32) },
        other => other,
    }
}
