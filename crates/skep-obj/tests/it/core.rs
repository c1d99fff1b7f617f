//! CO-RE relocations: instructions follow the target's types.

use std::sync::Arc;

use skep_btf::cdecl;
use skep_isa::Insn;
use skep_obj::{ErrorKind, LinkedProgram, Target};

use crate::fixture::{link, object};

/// A machine whose kernel has these types.
fn machine(types: &str) -> Target {
    let declarations = cdecl::parse(types).unwrap_or_else(|e| panic!("{e}"));
    Target { btf: Some(Arc::new(declarations.btf)), ..Target::default() }
}

fn program(name: &str, types: &str) -> LinkedProgram {
    let linked = link(&object("core"), &machine(types));
    linked.programs.into_iter().find(|p| p.name == name).expect(name)
}

/// Loads: size in bytes and offset.
fn loads(program: &LinkedProgram) -> Vec<(u32, i16)> {
    let size = |insn: &Insn| match insn.code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    };
    program.insns.iter().filter(|i| i.code & 7 == 1).map(|i| (size(i), i.off)).collect()
}

const SAME: &str =
    "struct record { unsigned pid; unsigned narrow; unsigned long long moved; unsigned long long lost; };";

#[test]
fn offsets_and_sizes_follow_the_target() {
    assert_eq!(loads(&program("load", SAME)), [(4, 4), (8, 8)]);
    let moved = "struct record { char pad[24]; unsigned short narrow; long a; unsigned long long moved; };";
    assert_eq!(loads(&program("load", moved)), [(2, 24), (8, 40)]);
}

#[test]
fn questions_get_answers() {
    let constants = |types: &str| {
        let program = program("ask", types);
        assert_eq!((program.result.clone(), program.poisoned.as_slice()), (Ok(()), &[][..]));
        program.insns.iter().filter(|i| matches!(i.code, 0xb4 | 0xb7)).map(|i| i.imm).collect::<Vec<_>>()
    };
    assert!(constants("struct record { unsigned extra; char more[36]; };").contains(&40));
    assert!(constants("struct record { unsigned extra; };").contains(&1), "the field is there");
    assert!(!constants("struct record { char more[36]; };").contains(&40));
}

#[test]
fn what_is_missing_is_poisoned_with_its_reason() {
    let program = program("missing", "struct record { unsigned pid; };");
    assert_eq!(program.result, Ok(()), "it may never get there");
    let poison = program.poisoned.first().expect("a field is missing");
    let call = program.insns[poison.insn];
    assert_eq!((call.code, call.imm, call.src().0), (0x85, 0xbad_2310, 0));
    assert!(poison.reason.contains("struct record.lost"), "{}", poison.reason);
}

#[test]
fn a_signed_field_of_another_size_cannot_be_converted() {
    let types = "struct record { unsigned pid; int narrow; long long moved; long long lost; };";
    assert_eq!(program("load", types).poisoned, [], "the same size converts");
    let types = "struct record { unsigned pid; short narrow; int moved; };";
    let poisoned = program("load", types).poisoned;
    assert_eq!(poisoned.len(), 2, "{poisoned:?}");
}

#[test]
fn without_types_the_programs_that_need_them_fail() {
    let linked = link(&object("core"), &Target::default());
    for program in &linked.programs {
        let error = program.result.clone().expect_err("the types are not known");
        assert_eq!(error.kind(), ErrorKind::Unresolved);
        assert!(error.to_string().contains("core.bpf.c:"), "{error}");
        assert!(error.advice().is_some_and(|hint| hint.contains("CONFIG_DEBUG_INFO_BTF")), "{error:?}");
    }
}

#[test]
fn relocations_can_be_left_to_the_kernel() {
    let linked = link(&object("core"), &Target { deferred: true, ..Target::default() });
    let program = linked.programs.iter().find(|p| p.name == "load").expect("a program");
    assert_eq!((program.result.clone(), program.poisoned.len()), (Ok(()), 0));
    assert_eq!(loads(program), [(4, 4), (8, 8)], "as compiled");
    let relocated = program.deferred.core_relos.iter().map(|relo| {
        assert!(relo.insn_off.is_multiple_of(Insn::SIZE as u32));
        program.insns[relo.insn_off as usize / Insn::SIZE].off
    });
    assert_eq!(relocated.collect::<Vec<_>>(), [4, 8]);
}
