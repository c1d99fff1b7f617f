//! Programs through the waist: loading, running, refusals.

use skep_isa::uapi::ProgType;
use skep_isa::{AluOp, Op, Operand, Reg, Size};
use skep_runtime::command::{Command, InfoArray, ProgLoad, Reply, TestRun};
use skep_runtime::{ErrorKind, Program};

use crate::asm::{alu, load, mov, mov_reg, slots};
use crate::kernel;

#[test]
fn a_program_runs_on_a_packet() {
    let Some(kernel) = kernel() else { return };
    // The length of the packet, plus two.
    let code = slots(&[load(Size::W, Reg::R0, Reg::R1, 0), alu(AluOp::Add, Reg::R0, 2), Op::Exit]);
    let spec = ProgLoad::new(ProgType::SOCKET_FILTER, "length", &code, "GPL");
    let program = Program::load(&kernel, &spec).expect("the verifier accepts it");

    let (packet, mut out) = ([5; 64], [0; 64]);
    let run = TestRun { data_in: &packet, data_out: &mut out, repeat: 3, ..TestRun::default() };
    let reply = kernel.bpf(Command::ProgTestRun { prog: program.fd(), run }).expect("it runs");
    let Reply::TestRun { retval, data_size_out, .. } = reply else { panic!("{reply:?}") };
    // A socket filter's test run hides the Ethernet header from the program, and gives it back empty.
    assert_eq!((retval, data_size_out), (64 - 14 + 2, 64));
    assert_eq!(out[14..], packet[14..]);
}

/// Linux writes the context where it came from, and here that is not the caller's memory.
#[test]
fn contexts_of_calls_come_back_where_there_is_room() {
    const SLEEPABLE: u32 = 1 << 4;
    let Some(kernel) = kernel() else { return };
    // From a register: Linux before 6.4 lets no program store a constant into its context.
    let code = slots(&[
        mov(Reg::R2, 42),
        Op::Store { size: Size::DW, base: Reg::R1, off: 8, src: Operand::Reg(Reg::R2) },
        mov(Reg::R0, 3),
        Op::Exit,
    ]);
    let spec = ProgLoad { prog_flags: SLEEPABLE, ..ProgLoad::new(ProgType::SYSCALL, "call", &code, "GPL") };
    let program = Program::load(&kernel, &spec).expect("the verifier accepts it");
    let given = [41_u64, 0].map(u64::to_ne_bytes).concat();
    for room in [0, 8, 16, 24] {
        let mut left = vec![0; room];
        let run = TestRun { ctx_in: &given, ctx_out: &mut left, ..TestRun::default() };
        let ran = program.test_run(run).map(|ran| (ran.retval, ran.ctx_size_out)).map_err(|e| e.errno());
        let expected = match room {
            0 => Ok((3, 0)),
            8 => Err(28), // `ENOSPC`
            _ => Ok((3, 16)),
        };
        assert_eq!(ran, expected, "room for {room} bytes");
        if room >= 16 {
            assert_eq!(left[..16], [41_u64, 42].map(u64::to_ne_bytes).concat());
        }
    }
    assert_eq!(given[8..], [0; 8], "what was lent for reading is as it was");
}

#[test]
fn a_refusal_carries_the_log() {
    let Some(kernel) = kernel() else { return };
    let code = slots(&[mov_reg(Reg::R0, Reg::R3), Op::Exit]);
    let spec = ProgLoad::new(ProgType::SOCKET_FILTER, "unset", &code, "GPL");
    let refusal = Program::load(&kernel, &spec).expect_err("r3 holds nothing");
    assert_eq!(refusal.kind(), ErrorKind::Rejected);
    assert!(refusal.to_string().contains("R3 !read_ok"), "{refusal}");
}

#[test]
fn a_long_log_is_read_in_full() {
    let Some(kernel) = kernel() else { return };
    // Each instruction makes a line; the mistake is at the end, beyond the first buffer.
    let mut ops = vec![mov(Reg::R0, 0); 4000];
    ops.extend([mov_reg(Reg::R0, Reg::R3), Op::Exit]);
    let code = slots(&ops);
    let spec = ProgLoad { log_level: 2, ..ProgLoad::new(ProgType::SOCKET_FILTER, "long", &code, "GPL") };
    let refusal = Program::load(&kernel, &spec).expect_err("r3 holds nothing").to_string();
    assert!(refusal.len() > 100_000, "{} bytes", refusal.len());
    assert!(refusal.contains("3999: (b7)") && refusal.contains("R3 !read_ok"));
}

#[test]
fn information_is_written_only_where_something_is_lent() {
    const XLATED: usize = 32;
    let Some(kernel) = kernel() else { return };
    let code = slots(&[mov(Reg::R0, 7), Op::Exit]);
    let spec = ProgLoad::new(ProgType::SOCKET_FILTER, "seven", &code, "GPL");
    let program = Program::load(&kernel, &spec).expect("the verifier accepts it");
    let mut info = [0; 232];
    info[20..24].copy_from_slice(&16_u32.to_ne_bytes()); // xlated_prog_len
    let mut ask = |room: &mut [u8], address: u64| {
        info[XLATED..XLATED + 8].copy_from_slice(&address.to_ne_bytes());
        let arrays = &mut [InfoArray { address_at: XLATED, bytes: room }];
        kernel.bpf(Command::ObjGetInfo { fd: program.fd(), info: &mut info, arrays })
    };
    let mut room = [0; 16];
    ask(&mut room, 0).expect("there is room for two instructions");
    assert_eq!(room[..8], [0xb7, 0, 0, 0, 7, 0, 0, 0]);
    let refusal = ask(&mut room[..8], 0).expect_err("there is no room for two").to_string();
    assert!(refusal.contains("8 bytes where 16"), "{refusal}");
    let refusal = ask(&mut [], 0x1000).expect_err("nothing is there").to_string();
    assert!(refusal.contains("nothing that was lent"), "{refusal}");
}
