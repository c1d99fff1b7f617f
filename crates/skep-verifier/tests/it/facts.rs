//! What proofs say of instructions.

use skep_isa::uapi::ProgType;
use skep_isa::{Reg, assemble};
use skep_verifier::facts::{Access, Argument, Branch, Facts, Region};
use skep_verifier::{Outcome, prove};

fn facts_of(prog_type: ProgType, text: &str) -> Facts {
    let insns = assemble(text).expect("the program can be assembled").insns;
    match super::run_by(prove, prog_type, &insns).outcome {
        Outcome::Accept(verified) => verified.facts().expect("they were asked for").clone(),
        other => panic!("{other:?}"),
    }
}

fn at(region: Region, min: i64, max: i64) -> Access {
    Access { region, min, max }
}

#[test]
fn accesses_have_regions_and_offsets() {
    let facts = facts_of(
        ProgType::SOCKET_FILTER,
        "r2 = *(u32 *)(r1 + 4)
         *(u64 *)(r10 - 16) = r2
         r2 &= 7
         r3 = r10
         r3 += -16
         r3 += r2
         r0 = *(u8 *)(r3 + 1)
         exit",
    );
    assert_eq!(facts.access(0), Some(at(Region::Context, 4, 4)));
    assert_eq!(facts.access(1), Some(at(Region::Frame, -16, -16)));
    assert_eq!(facts.access(2), None);
    assert_eq!(facts.access(6), Some(at(Region::Frame, -15, -8)));
}

#[test]
fn arguments_and_values_of_maps_are_known() {
    let facts = facts_of(
        ProgType::SOCKET_FILTER,
        "*(u32 *)(r10 - 4) = 7
         r2 = r10
         r2 += -4
         r1 = map[idx:0]
         call 1
         if r0 == 0 goto +1
         r0 = *(u32 *)(r0 + 4)
         exit",
    );
    let arguments = facts.arguments(5).expect("it is a call");
    assert_eq!(arguments[0], Argument::Map(0));
    assert_eq!(arguments[1], Argument::Memory(at(Region::Frame, -4, -4)));
    assert_eq!(facts.branch(6), Branch::Both);
    assert_eq!(facts.access(7), Some(at(Region::MapValue(0), 4, 4)));
}

#[test]
fn dead_edges_and_different_regions_are_told() {
    let facts = facts_of(
        ProgType::SOCKET_FILTER,
        "r6 = r1
         r7 = r10
         r7 += -8
         r1 = map[idx:0]+0
         *(u64 *)(r10 - 8) = 0
         r0 = 1
         if r0 == 1 goto +1
         r0 = 2
         r2 = *(u32 *)(r6 + 0)
         if r2 > 5 goto +1
         r7 = r1
         r0 = *(u8 *)(r7 + 0)
         exit",
    );
    assert_eq!(facts.branch(7), Branch::Taken);
    assert_eq!(facts.branch(10), Branch::Both);
    assert_eq!(facts.access(12).map(|access| access.region), Some(Region::Other));
}

/// The unsigned range of a register before an instruction.
fn range(facts: &Facts, slot: usize, reg: u8) -> (u64, u64) {
    let number = facts.range(slot, Reg(reg));
    (number.umin, number.umax)
}

#[test]
fn ranges_join_where_ways_meet() {
    let facts = facts_of(
        ProgType::SOCKET_FILTER,
        "r2 = *(u32 *)(r1 + 0)
         r0 = 3
         if r2 > 9 goto +2
         r0 = r2
         r0 &= 7
         r0 += 1
         r3 = r2
         w3 %= 10
         r3 <<= 2
         r0 += r3
         exit",
    );
    assert_eq!(range(&facts, 3, 2), (0, 9));
    assert_eq!(range(&facts, 5, 0), (0, 7), "three, or what is left of a number up to nine");
    assert_eq!(range(&facts, 6, 2), (0, u64::MAX), "a field of a context may be a pointer");
    assert_eq!(range(&facts, 8, 3), (0, 9));
    assert_eq!(range(&facts, 9, 3), (0, 36));
    assert_eq!(range(&facts, 10, 0), (1, 44));
    assert_eq!(range(&facts, 10, 4), (0, u64::MAX), "it is not read there");
}

#[test]
fn ranges_hold_in_every_round_of_a_loop() {
    let facts = facts_of(
        ProgType::SOCKET_FILTER,
        "r6 = 0
         r7 = 0
         again: call 5
         r0 &= 3
         r7 += r0
         r6 += 1
         if r6 < 100 goto again
         r0 = r7
         exit",
    );
    assert_eq!(range(&facts, 5, 6), (0, 99));
    assert_eq!(range(&facts, 6, 6), (1, 100));
    assert_eq!(range(&facts, 4, 0), (0, 3));
    assert_eq!(range(&facts, 4, 7), (0, u64::MAX), "it grows from round to round");
}

#[test]
fn a_covered_path_has_its_numbers_in_the_ranges() {
    // Nothing relies on r6, so that the analysis of the second path ends where both meet.
    let facts = facts_of(
        ProgType::SOCKET_FILTER,
        "r6 = 1
         r2 = *(u32 *)(r1 + 0)
         if r2 > 5 goto +1
         r6 = 70
         r2 = 0
         r1 = 0
         r3 = 0
         r4 = 0
         r5 = 0
         r0 = 0
         r6 += 1
         if r0 == 1 goto +0
         exit",
    );
    assert_eq!(range(&facts, 10, 6), (1, 70));
}
