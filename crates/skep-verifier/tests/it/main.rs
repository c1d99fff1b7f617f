//! Whole programs through the public interface: small ones written out here, and random ones that must not panic.

mod explain;
mod facts;
mod log;
mod rounds;

use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{Insn, Reg};
use skep_verifier::{Input, MapInfo, Outcome, Report, Target, verify};

const R0: Reg = Reg::R0;
const R1: Reg = Reg::R1;
const R2: Reg = Reg::R2;
const R10: Reg = Reg::R10;

fn insn(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
    Insn::new(code, dst, src, off, imm)
}

/// `dst = imm`, 64 bits.
fn mov(dst: Reg, imm: i32) -> Insn {
    insn(0xb7, dst, R0, 0, imm)
}

fn mov_reg(dst: Reg, src: Reg) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}

fn add(dst: Reg, imm: i32) -> Insn {
    insn(0x07, dst, R0, 0, imm)
}

fn exit() -> Insn {
    insn(0x95, R0, R0, 0, 0)
}

/// Loads four bytes.
fn load(dst: Reg, base: Reg, off: i16) -> Insn {
    insn(0x61, dst, base, off, 0)
}

/// An array of one eight-byte value, as map number 0.
fn array() -> MapInfo {
    MapInfo::new("values", MapType::ARRAY, 4, 8, 1)
}

fn run(prog_type: ProgType, insns: &[Insn]) -> Report {
    run_by(verify, prog_type, insns)
}

fn run_by(verify: fn(&Input<'_>) -> Report, prog_type: ProgType, insns: &[Insn]) -> Report {
    with_input(prog_type, insns, verify)
}

fn with_input<T>(prog_type: ProgType, insns: &[Insn], f: impl FnOnce(&Input<'_>) -> T) -> T {
    let (maps, target) = ([array()], Target::default());
    f(&Input::new("test", prog_type, insns, &maps, &target))
}

/// Empty for acceptance, else the kernel's message.
fn check(prog_type: ProgType, insns: &[Insn], expected: &str) {
    let report = run(prog_type, insns);
    let got = match &report.outcome {
        Outcome::Accept(_) => "",
        Outcome::Reject(r) => r.message.as_str(),
        Outcome::Unsupported(u) => panic!("{u}"),
    };
    assert_eq!(got, expected);
}

#[test]
fn programs_must_set_their_result() {
    check(ProgType::SOCKET_FILTER, &[mov(R0, 0), exit()], "");
    check(ProgType::SOCKET_FILTER, &[exit()], "R0 !read_ok");
}

#[test]
fn the_stack_is_512_bytes() {
    let store = |off| insn(0x7a, R10, R0, off, 1);
    check(ProgType::XDP, &[store(-512), mov(R0, 1), exit()], "");
    check(ProgType::XDP, &[store(-520), mov(R0, 1), exit()], "invalid write to stack R10 off=-520 size=8");
}

#[test]
fn packets_are_read_after_a_bounds_check() {
    let (data, end) = (load(R2, R1, 0), load(R1, R1, 4));
    let peek = insn(0x71, R0, R2, 0, 0);
    check(ProgType::XDP, &[data, peek, exit()], "R2 offset is outside of the packet");
    let checked = [
        data,
        end,
        mov(R0, 1),
        mov_reg(Reg::R3, R2),
        add(Reg::R3, 1),
        insn(0x2d, Reg::R3, R1, 1, 0), // if r3 > r1 goto exit
        peek,
        exit(),
    ];
    check(ProgType::XDP, &checked, "");
}

#[test]
fn map_values_may_be_null() {
    let lookup = |after: &[Insn]| {
        let mut program = vec![
            insn(0x62, R10, R0, -4, 7), // *(u32 *)(r10 - 4) = 7, beyond the array
            mov_reg(R2, R10),
            add(R2, -4),
            insn(0x18, R1, Reg(5), 0, 0), // map number 0
            insn(0, R0, R0, 0, 0),
            insn(0x85, R0, R0, 0, 1),
        ];
        program.extend_from_slice(after);
        program
    };
    let value = load(R0, R0, 0);
    let unchecked = lookup(&[value, mov(R0, 0), exit()]);
    check(ProgType::SOCKET_FILTER, &unchecked, "R0 invalid mem access 'map_value_or_null'");
    let checked = lookup(&[insn(0x15, R0, R0, 1, 0), value, mov(R0, 0), exit()]);
    check(ProgType::SOCKET_FILTER, &checked, "");
}

#[test]
fn endless_loops_are_found() {
    check(ProgType::SOCKET_FILTER, &[mov(R0, 0), insn(0x05, R0, R0, -1, 0), exit()], "unreachable insn 2");
    let endless = [mov(R0, 0), insn(0x15, R1, R0, -1, 0), insn(0x05, R0, R0, -2, 0), exit()];
    assert!(matches!(run(ProgType::SOCKET_FILTER, &endless).outcome, Outcome::Reject(_)));
}

#[test]
fn bounded_loops_end() {
    // r0 counts to 100.
    let program = [mov(R0, 0), add(R0, 1), insn(0xa5, R0, R0, -2, 100), exit()];
    let report = run(ProgType::SOCKET_FILTER, &program);
    assert!(matches!(report.outcome, Outcome::Accept(_)), "{:?}", report.outcome);
    assert!(report.stats.insns_processed >= 200);
}

/// A deterministic stream of numbers (xorshift).
#[test]
fn the_offset_of_an_exit_is_nothing() {
    check(ProgType::SOCKET_FILTER, &[mov(R0, 0), insn(0x95, R0, R0, 4, 0)], "");
    check(ProgType::SOCKET_FILTER, &[mov(R0, 0), insn(0x95, R0, R0, 0, 1)], "BPF_EXIT uses reserved fields");
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn insn(&mut self) -> Insn {
        let codes =
            [0xb7, 0xbf, 0x07, 0x0f, 0x57, 0x61, 0x63, 0x7b, 0x79, 0x15, 0x2d, 0x85, 0x95, 0xc7, 0xdb];
        let imms = [0, 1, -1, 8, i32::MAX, i32::MIN, 1 << 29];
        let code = if self.next().is_multiple_of(16) {
            self.next() as u8
        } else {
            codes[self.next() as usize % codes.len()]
        };
        let regs = (self.next() % 11) as u8 | (((self.next() % 11) as u8) << 4);
        let off = [0, 1, -8, 4, i16::MAX, i16::MIN, -512][self.next() as usize % 7];
        Insn { code, regs, off, imm: imms[self.next() as usize % imms.len()] }
    }
}

#[test]
fn random_programs_do_not_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let types =
        [ProgType::SOCKET_FILTER, ProgType::XDP, ProgType::SCHED_CLS, ProgType::KPROBE, ProgType::SYSCALL];
    for i in 0..4000 {
        let len = 1 + random.next() as usize % 12;
        let mut insns: Vec<Insn> = (0..len).map(|_| random.insn()).collect();
        insns.push(mov(R0, 0));
        insns.push(exit());
        run(types[i % types.len()], &insns);
    }
}
