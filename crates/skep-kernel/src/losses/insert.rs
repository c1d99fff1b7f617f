//! Instructions behind the calls that write records: where the call failed, one more is lost.
//!
//! ```text
//! call bpf_ringbuf_reserve
//! if r0 > 0 goto +4           // for the other calls: if r0 s>= 0
//! r1 = counter ll
//! r2 = 1
//! lock *(u64 *)(r1 + 0) += r2
//! ```
//!
//! The comparison is not one for which the verifier takes `r0` as a record from there on: older kernels then believe the
//! program's own `if r0 == 0` to go both ways, and miss the record on one.
//!
//! Nobody misses `r1` and `r2`: a call leaves nothing in them that may be read. Which ring buffer a call is for is what all ways to
//! it leave in `r1`, or known because the program has no other.

use std::collections::HashSet;

use skep_isa::{AluOp, Insn, JmpOp, Op, Operand, Reg};
use skep_runtime::Fd;
use skep_runtime::command::ProgLoad;

/// Numbers of helpers.
const RINGBUF_OUTPUT: i32 = 130;
const RINGBUF_RESERVE: i32 = 131;
const RINGBUF_RESERVE_DYNPTR: i32 = 198;

/// Opcodes (RFC 9669 sections 4 and 5).
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const LD_IMM64: u8 = 0x18;
const MOV64_REG: u8 = 0xbf;
const CALL_REG: u8 = 0x8d;
const JA32: u8 = 0x06;
const ATOMIC_64: u8 = 0xdb;
/// Classes, in the three low bits of an opcode.
const LD: u8 = 0;
const LDX: u8 = 1;
const STX: u8 = 3;
const ALU: u8 = 4;
const JMP: u8 = 5;
const JMP32: u8 = 6;
const ALU64: u8 = 7;
/// What the other bits say of jumps, and of stores.
const OPERATION: u8 = 0xf0;
const JA: u8 = 0x00;
const MODE: u8 = 0xe0;
const MODE_ATOMIC: u8 = 0xc0;
/// Pseudo sources: of `LD_IMM64` a map, the first value of one, a function; of `CALL` a function.
const MAP_FD: Reg = Reg(1);
const MAP_VALUE: Reg = Reg(2);
const FUNC: Reg = Reg(4);
const CALL_FUNCTION: Reg = Reg(1);

/// A program with these instructions, and with its records of functions and lines where their instructions are now.
#[derive(Debug)]
pub(crate) struct Counted {
    insns: Vec<Insn>,
    func_info: Vec<u8>,
    line_info: Vec<u8>,
}

/// Is there a call that these instructions belong behind?
pub(super) fn writes_records(insns: &[Insn]) -> bool {
    insns.iter().any(|&insn| writes_record(insn))
}

impl Counted {
    /// Counts what a program loses; `counter_of` says which map counts for a ring buffer. `None` where nothing can be counted.
    pub(super) fn new(spec: &ProgLoad<'_>, counter_of: impl Fn(Fd) -> Option<Fd>) -> Option<Self> {
        let calls = calls(spec.insns, counter_of);
        if calls.is_empty() {
            return None;
        }
        let places = Places::new(spec.insns.len(), &calls);
        Some(Self {
            insns: places.insns(spec.insns, &calls)?,
            func_info: places.records(spec.func_info),
            line_info: places.records(spec.line_info),
        })
    }

    /// What to load instead of `spec`.
    pub(crate) fn spec<'a>(&'a self, spec: &ProgLoad<'a>) -> ProgLoad<'a> {
        ProgLoad {
            insns: &self.insns,
            func_info: (&self.func_info, spec.func_info.1),
            line_info: (&self.line_info, spec.line_info.1),
            ..spec.clone()
        }
    }
}

/// A call that writes a record, and the instructions that go behind it.
struct Call {
    at: usize,
    behind: Vec<Insn>,
}

fn calls(insns: &[Insn], counter_of: impl Fn(Fd) -> Option<Fd>) -> Vec<Call> {
    let origins = Origins::new(insns);
    let mut rings: Vec<Fd> = maps(insns).filter(|&map| counter_of(map).is_some()).collect();
    rings.sort_unstable_by_key(|map| map.0);
    rings.dedup();
    let only = <[Fd; 1]>::try_from(rings).ok().map(|[ring]| ring);
    let calls = (0..insns.len()).filter(|&at| writes_record(insns[at]));
    calls
        .filter_map(|at| {
            let counter = counter_of(map_at(insns, &origins, at).or(only)?)?;
            Some(Call { at, behind: count_failure(insns[at], counter) })
        })
        .collect()
}

fn writes_record(insn: Insn) -> bool {
    insn.code == CALL
        && insn.src() == Reg::R0
        && matches!(insn.imm, RINGBUF_OUTPUT | RINGBUF_RESERVE | RINGBUF_RESERVE_DYNPTR)
}

/// The maps that the code names.
fn maps(insns: &[Insn]) -> impl Iterator<Item = Fd> {
    insns.iter().filter(|insn| insn.code == LD_IMM64 && insn.src() == MAP_FD).map(|insn| Fd(insn.imm))
}

/// The map in `r1` at a call, if all ways that lead there say the same.
fn map_at(insns: &[Insn], origins: &[Origins], call: usize) -> Option<Fd> {
    let (mut found, mut seen) = (None, HashSet::new());
    let mut wanted = vec![(call, Reg::R1)];
    while let Some((at, register)) = wanted.pop() {
        if !seen.insert((at, register)) {
            continue;
        }
        for before in origins[at].instructions(at)? {
            match after(insns[before], register) {
                Value::Of(register) => wanted.push((before, register)),
                Value::Map(map) if found.is_none_or(|other| other == map) => found = Some(map),
                Value::Map(_) | Value::Other => return None,
            }
        }
    }
    found
}

/// What a register has after an instruction.
enum Value {
    /// What a register had before.
    Of(Reg),
    Map(Fd),
    Other,
}

fn after(insn: Insn, register: Reg) -> Value {
    match insn.code {
        LD_IMM64 if insn.dst() == register && insn.src() == MAP_FD => Value::Map(Fd(insn.imm)),
        MOV64_REG if insn.dst() == register && insn.off == 0 => Value::Of(insn.src()),
        _ if changes(insn, register) => Value::Other,
        _ => Value::Of(register),
    }
}

/// Does an instruction write a register? Calls, and loads from packets, leave nothing in the first six.
fn changes(insn: Insn, register: Reg) -> bool {
    match insn.code & 7 {
        // The second slot of `LD_IMM64` has no operation.
        LD => insn.code != 0 && (insn.dst() == register || (insn.code != LD_IMM64 && register <= Reg::R5)),
        LDX | ALU | ALU64 => insn.dst() == register,
        STX => insn.code & MODE == MODE_ATOMIC && (insn.src() == register || register == Reg::R0),
        _ => matches!(insn.code, CALL | CALL_REG) && register <= Reg::R5,
    }
}

/// Does the code never go on behind an instruction?
fn leaves(insn: Insn) -> bool {
    insn.code == EXIT || (is_jump(insn) && insn.code & OPERATION == JA)
}

/// From where an instruction is reached.
#[derive(Clone, Default)]
struct Origins {
    /// From calls, with registers of which nothing is known here.
    is_entry: bool,
    from_above: bool,
    jumps: Vec<usize>,
}

impl Origins {
    /// Those of all instructions.
    fn new(insns: &[Insn]) -> Vec<Self> {
        let mut origins = vec![Self::default(); insns.len() + 1];
        origins[0].is_entry = true;
        for (at, &insn) in insns.iter().enumerate() {
            origins[at + 1].from_above = !leaves(insn);
            match target(at, insn).and_then(|target| origins.get_mut(target)) {
                Some(origins) if is_jump(insn) => origins.jumps.push(at),
                Some(origins) => origins.is_entry = true,
                None => {}
            }
        }
        origins
    }

    /// The instructions from which that at `at` is reached; `None` where a function begins.
    fn instructions(&self, at: usize) -> Option<impl Iterator<Item = usize>> {
        let above = self.from_above.then(|| at - 1);
        (!self.is_entry).then(|| above.into_iter().chain(self.jumps.iter().copied()))
    }
}

/// Jumps within a function: classes `JMP` and `JMP32` but calls and `exit`.
fn is_jump(insn: Insn) -> bool {
    matches!(insn.code & 7, JMP | JMP32) && !matches!(insn.code, CALL | CALL_REG | EXIT)
}

/// How far an instruction refers to another, in slots from the next one.
fn distance(insn: Insn) -> Option<i64> {
    match insn.code {
        JA32 => Some(insn.imm.into()),
        _ if is_jump(insn) => Some(insn.off.into()),
        CALL if insn.src() == CALL_FUNCTION => Some(insn.imm.into()),
        LD_IMM64 if insn.src() == FUNC => Some(insn.imm.into()),
        _ => None,
    }
}

fn with_distance(insn: Insn, distance: i64) -> Option<Insn> {
    match insn.code {
        JA32 | CALL | LD_IMM64 => Some(Insn { imm: i32::try_from(distance).ok()?, ..insn }),
        _ => Some(Insn { off: i16::try_from(distance).ok()?, ..insn }),
    }
}

/// The instruction that another refers to.
fn target(at: usize, insn: Insn) -> Option<usize> {
    let from = i64::try_from(at).ok()? + 1;
    usize::try_from(from + distance(insn)?).ok()
}

/// Adds one to the counter where the call has failed.
fn count_failure(call: Insn, counter: Fd) -> Vec<Insn> {
    let (op, imm) = if call.imm == RINGBUF_RESERVE { (JmpOp::Gt, 0) } else { (JmpOp::Sge, 0) };
    let jump = Op::Jump { wide: true, op, dst: Reg::R0, src: Operand::Imm(imm), off: 4 };
    let one = Op::Alu { wide: true, op: AluOp::Mov, dst: Reg::R2, src: Operand::Imm(1) };
    let slots = |op: Op| op.encode().expect("invariant: these operations have encodings").to_vec();
    let mut code = slots(jump);
    code.push(Insn::new(LD_IMM64, Reg::R1, MAP_VALUE, 0, counter.0));
    code.push(Insn::default());
    code.extend(slots(one));
    code.push(Insn::new(ATOMIC_64, Reg::R1, Reg::R2, 0, 0));
    code
}

/// Where each instruction is when those behind calls are there; one place more, for the end.
struct Places(Vec<usize>);

impl Places {
    fn new(count: usize, calls: &[Call]) -> Self {
        let mut calls = calls.iter().peekable();
        let mut added = 0;
        let place = |at| {
            if let Some(call) = calls.next_if(|call| call.at + 1 == at) {
                added += call.behind.len();
            }
            at + added
        };
        Self((0..=count).map(place).collect())
    }

    /// The code; `None` where a jump would become too long.
    fn insns(&self, insns: &[Insn], calls: &[Call]) -> Option<Vec<Insn>> {
        let mut code = Vec::with_capacity(*self.0.last()?);
        let mut calls = calls.iter().peekable();
        for (at, &insn) in insns.iter().enumerate() {
            code.push(self.moved(at, insn)?);
            if let Some(call) = calls.next_if(|call| call.at == at) {
                code.extend(&call.behind);
            }
        }
        Some(code)
    }

    /// An instruction that refers to the same one as before. A target that is not there is the kernel's to refuse.
    fn moved(&self, at: usize, insn: Insn) -> Option<Insn> {
        let Some(place) = target(at, insn).and_then(|target| self.0.get(target)) else { return Some(insn) };
        let distance = i64::try_from(*place).ok()? - i64::try_from(self.0[at]).ok()? - 1;
        with_distance(insn, distance)
    }

    /// Records that begin with an instruction's number.
    fn records(&self, (records, record_bytes): (&[u8], u32)) -> Vec<u8> {
        let mut records = records.to_vec();
        for record in records.chunks_exact_mut((record_bytes as usize).max(4)) {
            let at = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
            let place = self.0.get(at as usize).and_then(|&place| u32::try_from(place).ok());
            record[..4].copy_from_slice(&place.unwrap_or(at).to_ne_bytes());
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_isa::uapi::ProgType;

    const RESERVE: Insn = Insn::new(CALL, Reg::R0, Reg::R0, 0, RINGBUF_RESERVE);
    const OUTPUT: Insn = Insn::new(CALL, Reg::R0, Reg::R0, 0, RINGBUF_OUTPUT);
    const LEAVE: Insn = Insn::new(EXIT, Reg::R0, Reg::R0, 0, 0);
    /// `r1 = r6`
    const FROM_R6: Insn = Insn::new(MOV64_REG, Reg::R1, Reg::R6, 0, 0);

    fn map(dst: Reg, fd: i32) -> [Insn; 2] {
        [Insn::new(LD_IMM64, dst, MAP_FD, 0, fd), Insn::default()]
    }

    fn jump(off: i16) -> Insn {
        Insn::new(0x55, Reg::R0, Reg::R0, off, 0)
    }

    fn counted(insns: &[Insn]) -> Option<Vec<Insn>> {
        let spec = ProgLoad::new(ProgType::TRACEPOINT, "p", insns, "GPL");
        Some(Counted::new(&spec, |map| (map.0 < 100).then_some(Fd(map.0 + 100)))?.insns)
    }

    /// The maps that count, in the order of the code.
    fn counters(insns: &[Insn]) -> Vec<i32> {
        let code = counted(insns).unwrap_or_default();
        let values = code.iter().filter(|insn| insn.code == LD_IMM64 && insn.src() == MAP_VALUE);
        values.map(|insn| insn.imm).collect()
    }

    #[test]
    fn calls_count_for_the_map_they_are_given() {
        let mut two = [map(Reg::R1, 3), map(Reg::R6, 4)].concat();
        two.extend([RESERVE, FROM_R6, OUTPUT, LEAVE]);
        assert_eq!(counters(&two), [103, 104]);
        assert_eq!(counters(&[LEAVE]), [] as [i32; 0]);
        assert_eq!(counters(&[&map(Reg::R1, 200)[..], &[RESERVE, LEAVE]].concat()), [] as [i32; 0]);
    }

    #[test]
    fn a_map_from_two_places_is_known_if_it_is_the_only_one() {
        let joined =
            |fd| [&map(Reg::R6, 3)[..], &[jump(2)], &map(Reg::R6, fd), &[FROM_R6, OUTPUT, LEAVE]].concat();
        assert_eq!(counters(&joined(3)), [103]);
        assert_eq!(counters(&joined(4)), [] as [i32; 0]);
        let unknown = [&map(Reg::R7, 3)[..], &[FROM_R6, OUTPUT, LEAVE]].concat();
        assert_eq!(counters(&unknown), [103]);
    }

    #[test]
    fn maps_are_followed_through_branches_and_loops() {
        let mut code = [map(Reg::R6, 3), map(Reg::R7, 4)].concat();
        // The second call is reached past the first one, and again from behind.
        code.extend([
            jump(2),
            FROM_R6,
            RESERVE,
            Insn::new(MOV64_REG, Reg::R1, Reg::R7, 0, 0),
            RESERVE,
            jump(-3),
            LEAVE,
        ]);
        assert_eq!(counters(&code), [103, 104]);
    }

    #[test]
    fn jumps_keep_their_targets() {
        let call_function = Insn::new(CALL, Reg::R0, CALL_FUNCTION, 0, 5);
        let code: Vec<Insn> =
            [&[call_function, jump(4)][..], &map(Reg::R1, 3), &[RESERVE, jump(-4), LEAVE, LEAVE]].concat();
        let counted = counted(&code).expect("there is a call");
        assert_eq!(counted.len(), code.len() + 5);
        assert_eq!(counted[0].imm, 10, "over the call");
        assert_eq!(counted[1].off, 9, "over the call");
        assert_eq!(counted[10].off, -9, "back over the call");
        assert_eq!(counted[5].off, 4, "what is behind the call is skipped when it succeeds");
    }

    #[test]
    fn jumps_that_become_too_long_leave_the_program_alone() {
        let far = vec![LEAVE; i16::MAX as usize - 3];
        let code = [&[jump(i16::MAX)][..], &map(Reg::R1, 3), &[RESERVE], &far, &[LEAVE]].concat();
        assert_eq!(counted(&code), None);
    }

    #[test]
    fn lines_stay_with_their_instructions() {
        let code = [&map(Reg::R1, 3)[..], &[RESERVE, LEAVE]].concat();
        let lines: Vec<u8> = [0_u32, 7, 2, 8, 3, 9].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let spec =
            ProgLoad { line_info: (&lines, 8), ..ProgLoad::new(ProgType::TRACEPOINT, "p", &code, "GPL") };
        let counted = Counted::new(&spec, Some).expect("there is a call");
        let words: Vec<u32> = counted
            .line_info
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")))
            .collect();
        assert_eq!(words, [0, 7, 2, 8, 8, 9]);
    }
}
