//! Programs on packets: what they reach, and what they must not.

use skep_isa::helper::id;
use skep_isa::uapi::ProgType;
use skep_isa::{JmpOp, Op, Operand, Reg, Size};
use skep_vm::packet::{DataAccess, Packet, skb, xdp};
use skep_vm::{Fault, MapRef, NoEnv, Program, ProgramInfo, Reason};

use crate::build::{add, call, mov, mov_reg, slots};

fn word(dst: Reg, base: Reg, off: i16) -> Op {
    Op::Load { size: Size::W, signed: false, dst, base, off }
}

fn run(prog_type: ProgType, ops: &[Op], packet: &mut Packet) -> Result<u64, Box<Fault>> {
    let none = |_: MapRef| None;
    let program = Program::prepare(&slots(ops), &none, ProgramInfo::new("test", prog_type));
    program.expect("the test prepares").run_packet(packet, &mut NoEnv)
}

fn frame(len: u8) -> Packet {
    let mut packet = Packet::xdp(xdp::PAGE_BYTES).expect("there is low memory");
    packet.fill(&(0..len).collect::<Vec<_>>(), 0).expect("it fits");
    packet
}

fn data(packet: &Packet) -> Vec<u8> {
    let mut data = Vec::new();
    packet.append_data(&mut data);
    data
}

#[test]
fn data_is_read_and_written_by_address() {
    let mut packet = frame(64);
    let program = [
        word(Reg::R2, Reg::R1, 0),
        word(Reg::R3, Reg::R1, 4),
        mov_reg(Reg::R4, Reg::R2),
        add(Reg::R4, 20),
        Op::Jump { wide: true, op: JmpOp::Gt, dst: Reg::R4, src: Operand::Reg(Reg::R3), off: 1 },
        Op::Store { size: Size::B, base: Reg::R2, off: 19, src: Operand::Imm(0xee) },
        Op::Load { size: Size::B, signed: false, dst: Reg::R0, base: Reg::R2, off: 18 },
        Op::Exit,
    ];
    assert_eq!(run(ProgType::XDP, &program, &mut packet), Ok(18));
    assert_eq!(data(&packet)[18..21], [18, 0xee, 20]);
}

#[test]
fn nothing_beside_the_data_is_reached() {
    for off in [64i16, -1, 61] {
        let access = [word(Reg::R2, Reg::R1, 0), word(Reg::R0, Reg::R2, off), Op::Exit];
        let fault = run(ProgType::XDP, &access, &mut frame(64)).expect_err("it is outside");
        assert!(matches!(fault.reason, Reason::Load { .. }), "{off}: {fault}");
    }
}

#[test]
fn data_that_has_moved_is_out_of_reach() {
    let cut = [
        word(Reg::R6, Reg::R1, 0),
        mov(Reg::R2, 8),
        call(id::bpf_xdp_adjust_head),
        Op::Load { size: Size::B, signed: false, dst: Reg::R0, base: Reg::R6, off: 0 },
        Op::Exit,
    ];
    assert!(run(ProgType::XDP, &cut, &mut frame(64)).is_err());
}

#[test]
fn what_a_program_writes_into_its_context_moves_nothing() {
    let mut packet = frame(64);
    let lie = [
        word(Reg::R2, Reg::R1, 0),
        Op::Store { size: Size::W, base: Reg::R1, off: 4, src: Operand::Imm(-1) },
        word(Reg::R0, Reg::R2, 64),
        Op::Exit,
    ];
    assert!(run(ProgType::XDP, &lie, &mut packet).is_err());
    assert_eq!(packet.len(), 64);
}

#[test]
fn data_is_as_writable_as_the_hook_lets_it_be() {
    let check = |access: DataAccess, readable: bool, writable: bool| {
        let mut packet = Packet::skb(access).expect("there is low memory");
        packet.fill(&[0; 64], 0).expect("it fits");
        packet.receive(skb::Layer::Link, &skb::LinkAddresses::LOOPBACK).expect("it is a frame");
        let load = [word(Reg::R2, Reg::R1, skb::DATA as i16), word(Reg::R0, Reg::R2, 0), Op::Exit];
        let zero = Operand::Imm(0);
        let store = [
            load[0],
            Op::Store { size: Size::W, base: Reg::R2, off: 0, src: zero },
            mov(Reg::R0, 0),
            Op::Exit,
        ];
        assert_eq!(run(ProgType::SCHED_CLS, &load, &mut packet).is_ok(), readable, "{access:?}");
        assert_eq!(run(ProgType::SCHED_CLS, &store, &mut packet).is_ok(), writable, "{access:?}");
    };
    check(DataAccess::None, false, false);
    check(DataAccess::Read, true, false);
    check(DataAccess::Write, true, true);
}

#[test]
fn helpers_of_the_other_context_end_the_run() {
    let other = [mov(Reg::R2, 0), call(id::bpf_skb_pull_data), Op::Exit];
    assert!(run(ProgType::XDP, &other, &mut frame(64)).is_err());
}

#[test]
fn packets_of_any_length_fit_their_frame() {
    let mut packet = frame(0);
    assert!(packet.fill(&[0; xdp::PAGE_BYTES], 0).is_err());
    for (len, meta) in [(0, 0), (14, 0), (100, 32), (3000, 212)] {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        packet.fill(&bytes, meta).expect("it fits");
        assert_eq!((data(&packet), packet.meta_len()), (bytes[meta..].to_vec(), meta));
    }
    assert!(packet.fill(&[0; 10], 11).is_err());
}
