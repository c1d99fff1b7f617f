//! The log against what Linux 6.18 writes about the same programs (addresses of maps apart).

use skep_isa::uapi::ProgType;
use skep_isa::{Insn, Reg};
use skep_verifier::log::{Level, Recording};
use skep_verifier::verify_recorded;

use crate::{R0, R1, R2, R10, add, exit, insn, load, mov, mov_reg, with_input};

fn log(level: Level, insns: &[Insn]) -> String {
    let mut log = String::new();
    let recording = Recording {
        level: Some(level),
        sink: Some(Box::new(|text: &str| log.push_str(text))),
        ..Recording::default()
    };
    with_input(ProgType::XDP, insns, |input| verify_recorded(input, recording));
    log
}

/// Looks up a value, which is null on one path and read on the other.
fn lookup(after: &[Insn]) -> Vec<Insn> {
    let mut program = vec![
        insn(0x62, R10, R0, -4, 0),
        mov_reg(R2, R10),
        add(R2, -4),
        insn(0x18, R1, Reg(5), 0, 0),
        insn(0, R0, R0, 0, 0),
        insn(0x85, R0, R0, 0, 1),
    ];
    program.extend_from_slice(after);
    program
}

#[test]
fn a_rejection_has_its_path() {
    let program = [load(R2, R1, 0), insn(0x15, R2, R0, 1, 5), insn(0x71, R0, R2, 0, 0), exit()];
    let expected = "\
0: R1=ctx() R10=fp0
0: (61) r2 = *(u32 *)(r1 +0)          ; R1=ctx() R2=pkt(r=0)
1: (15) if r2 == 0x5 goto pc+1        ; R2=pkt(r=0)
2: (71) r0 = *(u8 *)(r2 +0)
invalid access to packet, off=0 size=1, R2(id=0,off=0,r=0)
R2 offset is outside of the packet
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";
    assert_eq!(log(Level::Path, &program), expected);
}

#[test]
fn level_2_has_every_path() {
    let program = lookup(&[insn(0x15, R0, R0, 1, 0), load(R1, R0, 0), mov(R0, 1), exit()]);
    let expected = "\
func#0 @0
Live regs before insn:
      0: .......... (62) *(u32 *)(r10 -4) = 0
      1: .......... (bf) r2 = r10
      2: ..2....... (07) r2 += -4
      3: ..2....... (18) r1 = 0x0
      5: .12....... (85) call bpf_map_lookup_elem#1
      6: 0......... (15) if r0 == 0x0 goto pc+1
      7: 0......... (61) r1 = *(u32 *)(r0 +0)
      8: .......... (b7) r0 = 1
      9: 0......... (95) exit
0: R1=ctx() R10=fp0
0: (62) *(u32 *)(r10 -4) = 0          ; R10=fp0 fp-8=0000????
1: (bf) r2 = r10                      ; R2=fp0 R10=fp0
2: (07) r2 += -4                      ; R2=fp-4
3: (18) r1 = 0x0                      ; R1=map_ptr(map=values,ks=4,vs=8)
5: (85) call bpf_map_lookup_elem#1    ; R0=map_value(map=values,ks=4,vs=8)
6: (15) if r0 == 0x0 goto pc+1        ; R0=map_value(map=values,ks=4,vs=8)
7: (61) r1 = *(u32 *)(r0 +0)          ; R0=map_value(map=values,ks=4,vs=8) R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))
8: (b7) r0 = 1                        ; R0=1
9: (95) exit
";
    let log = log(Level::All, &program);
    assert!(log.starts_with(expected), "{log}");
}

#[test]
fn an_accepted_program_has_no_path_at_level_1() {
    let log = log(Level::Path, &[mov(R0, 1), exit()]);
    assert!(log.starts_with("processed 2 insns (limit 1000000)"), "{log}");
}
