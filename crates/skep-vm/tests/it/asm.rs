//! Assembled programs run: the assembler and the interpreter agree on what the text means.

use skep_isa::asm::assemble;
use skep_isa::uapi::ProgType;
use skep_vm::{MapRef, NoEnv, Program, ProgramInfo};

fn check(text: &str, memory: &[u8], expected: u64) {
    let insns = assemble(text).expect("the test assembles").insns;
    let none = |_: MapRef| None;
    let program = Program::prepare(&insns, &none, ProgramInfo::new("test", ProgType::UNSPEC));
    let result = program.expect("the test prepares").run(&mut memory.to_vec(), &mut NoEnv);
    assert_eq!(result, Ok(expected), "{text}");
}

#[test]
fn jumps_to_exit_need_no_label() {
    check("mov %r0, 1\nja exit\nmov %r0, 2\nexit", &[], 1);
    check("r0 = 1\nif r0 == 1 goto out\nr0 = 2\nout: exit", &[], 1);
}

#[test]
fn loads_extend_and_swap() {
    check("r0 = *(s8 *)(r1 + 0)\nexit", &[0xfe, 0, 0, 0], (-2i64) as u64);
    check("r0 = *(s16 *)(r1 + 2)\nexit", &[0, 0, 0xfe, 0xff], (-2i64) as u64);
    check("r0 = *(u32 *)(r1 + 0)\nr0 = be32 r0\nexit", &[1, 2, 3, 4], 0x0102_0304);
    check("r0 = *(u16 *)(r1 + 1)\nr0 = bswap16 r0\nexit", &[0, 1, 2], 0x0102);
}

#[test]
fn may_goto_gives_up_in_the_end() {
    check("r0 = 0\nloop: may_goto out\nr0 += 1\ngoto loop\nout: exit", &[], 8 << 20);
}
