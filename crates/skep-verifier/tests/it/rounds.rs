//! Functions that are called again and again.

use skep_isa::uapi::ProgType;
use skep_isa::{Insn, Reg};
use skep_verifier::Outcome;

use super::{R0, R1, R2, R10, add, exit, insn, mov, mov_reg, run};

const R3: Reg = Reg(3);
const R4: Reg = Reg(4);
const R6: Reg = Reg(6);
const R7: Reg = Reg(7);
const R8: Reg = Reg(8);

fn call(helper: i32) -> Insn {
    insn(0x85, R0, R0, 0, helper)
}

/// `*(u64 *)(base + off) = imm`.
fn store(base: Reg, off: i16, imm: i32) -> Insn {
    insn(0x7a, base, R0, off, imm)
}

/// A callback of `bpf_loop` that uses a variable of its caller as an offset, and changes it. The round that changes it ends
/// where another path has ended before, with the variable as it was; what that path makes of it is only known when the next
/// round has been walked.
fn uses_what_it_changes() -> Vec<Insn> {
    const LOOP: i32 = 181;
    const LOOKUP: i32 = 1;
    const RANDOM: i32 = 7;
    let mut code = vec![
        store(R10, -8, 0),
        mov(R1, 100),
        insn(0x18, R2, Reg(4), 0, 7), // the callback
        insn(0, R0, R0, 0, 0),
        mov_reg(R3, R10),
        add(R3, -8),
        mov(R4, 0),
        call(LOOP),
        mov(R0, 0),
        exit(),
        mov_reg(R6, R2),
    ];
    // The path that changes nothing, long enough for a state to be remembered where the paths meet.
    code.push(insn(0x55, R1, R0, 9, 5)); // if r1 != 5 goto the other path
    code.extend((0..8).map(|number| mov(R8, number)));
    code.push(insn(0x05, R0, R0, 11, 0));
    code.extend([
        insn(0x79, R7, R6, 0, 0), // r7 = the variable
        store(R10, -8, 0),
        mov_reg(R2, R10),
        add(R2, -8),
        insn(0x18, R1, Reg(5), 0, 0), // map number 0
        insn(0, R0, R0, 0, 0),
        call(LOOKUP),
        insn(0x15, R0, R0, 3, 0),
        insn(0x0f, R0, R7, 0, 0), // r0 += r7
        insn(0x71, R0, R0, 0, 0),
        store(R6, 0, 100),
        call(RANDOM),
        mov(R0, 0),
        exit(),
    ]);
    code
}

#[test]
fn the_next_round_sees_what_a_round_has_changed() {
    let outside = run(ProgType::RAW_TRACEPOINT, &uses_what_it_changes()).outcome;
    let Outcome::Reject(rejection) = outside else { panic!("{outside:?}") };
    assert!(rejection.message.contains("outside of the allowed memory range"), "{rejection:?}");
}
