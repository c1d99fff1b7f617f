//! Execution, and what ends it.

use skep_isa::uapi::MapType;
use skep_isa::{Imm64, Op, Reg};
use skep_vm::map::flags;
use skep_vm::{Map, MapSpec, Reason};

use crate::build::{add, load, mov, mov_reg, run, run_within, store};

#[test]
fn computes_and_returns() {
    assert_eq!(run(&[mov(Reg::R0, 40), add(Reg::R0, 2), Op::Exit], &[]), Ok(42));
}

#[test]
fn stack_is_zero_and_keeps_what_is_stored() {
    let program = [
        load(Reg::R0, Reg::R10, -512),
        store(Reg::R10, -8, -1),
        load(Reg::R1, Reg::R10, -8),
        Op::Alu { wide: true, op: skep_isa::AluOp::Add, dst: Reg::R0, src: skep_isa::Operand::Reg(Reg::R1) },
        Op::Exit,
    ];
    assert_eq!(run(&program, &[]), Ok(u64::MAX));
}

#[test]
fn accesses_outside_are_faults() {
    let check = |base: Reg, off: i16, write: bool| {
        let access = if write { store(base, off, 1) } else { load(Reg::R0, base, off) };
        run(&[mov(Reg::R2, 0), mov_reg(Reg::R3, Reg::R10), access, Op::Exit], &[]).unwrap_err()
    };
    assert!(matches!(check(Reg::R10, 0, false).reason, Reason::Load { size: 8, .. }));
    assert!(matches!(check(Reg::R10, -4, true).reason, Reason::Store { size: 8, .. }));
    assert!(matches!(check(Reg::R10, -513, true).reason, Reason::Store { .. }));
    assert!(matches!(check(Reg::R2, 0, false).reason, Reason::Load { addr: 0, .. }));
    assert!(matches!(check(Reg::R1, 60, false).reason, Reason::Load { .. }));
    let fault = check(Reg::R2, 16, true);
    assert_eq!(fault.insn, 2);
    assert_eq!(
        fault.to_string(),
        "program `test`: instruction 2: writes 8 bytes at 0x10: \
         a null pointer, perhaps of a look-up that was not checked"
    );
}

#[test]
fn endless_loops_end() {
    let fault = run_within(10_000, &[Op::Ja { long: false, off: -1 }]).unwrap_err();
    assert_eq!(fault.reason, Reason::Budget);
}

#[test]
fn faults_say_what_is_near() {
    let globals = Map::create(MapSpec::new(MapType::ARRAY, ".rodata", 4, 12, 1).flags(flags::RDONLY_PROG));
    let maps = [globals.expect("the test's map is valid")];
    let check = |setup: Op, access: Op, expected: &str| {
        let place = run(&[setup, access, Op::Exit], &maps).unwrap_err().place;
        assert_eq!(place.as_deref(), Some(expected));
    };
    let value = |off| Op::LoadImm64 { dst: Reg::R3, imm: Imm64::MapIdxValue { idx: 0, off } };
    let frame = "of a stack frame of 512 bytes below `r10`";
    check(mov(Reg::R3, 0), load(Reg::R0, Reg::R10, -4), &format!("`r10-4`, {frame}"));
    check(mov(Reg::R3, 0), store(Reg::R10, -520, 0), &format!("`r10-520`, {frame}"));
    check(mov(Reg::R3, 0), load(Reg::R0, Reg::R1, 60), "byte 60 of the context, which has 64");
    let map = "a value of map `.rodata`, which has 12";
    check(
        value(8),
        load(Reg::R0, Reg::R3, 0),
        &format!("byte 8 of {map}: is not writable, or crosses the end"),
    );
    check(value(0), store(Reg::R3, 0, 1), &format!("byte 0 of {map}: is not writable, or crosses the end"));
    check(value(0), load(Reg::R0, Reg::R3, 24), &format!("byte 24 of {map}: is behind the last"));
}
