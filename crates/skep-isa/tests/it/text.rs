//! Disassembler and assembler, against the reference tools and against each other.

use skep_isa::disasm::{self, Names};
use skep_isa::table::{LD_IMM64, ROWS};
use skep_isa::{AsmErrorKind, CallTarget, Imm64, Insn, Op, Reg, Style, assemble, decode};

use crate::codec::{Xorshift, slots_of};

const STYLES: [Style; 4] = [Style::Llvm, Style::LlvmAlu32, Style::Kernel, Style::Suite];

fn parse_bytes(hex: &str) -> Vec<Insn> {
    let bytes: Vec<u8> = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.chunks(8).map(|chunk| Insn::from_le_bytes(chunk.try_into().unwrap())).collect()
}

/// What the reference tools print, from `data/texts.tsv`.
#[test]
fn texts_are_those_of_the_reference_tools() {
    let mut checked = 0;
    for line in include_str!("data/texts.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let insns = parse_bytes(columns[0]);
        for (style, expected) in STYLES.into_iter().zip(&columns[1..]) {
            if *expected != "-" {
                let text = disasm::insn_text(&insns, 0, style, &()).unwrap();
                assert_eq!(text.replace('\t', " "), *expected, "{style:?}, {}", columns[0]);
                checked += 1;
            }
        }
    }
    assert!(checked > 800, "the file is cut short: {checked} texts");
}

/// Instructions that the reference tools at hand are too old for or print in part.
#[test]
fn texts_of_newer_instructions() {
    #[track_caller]
    fn check(hex: &str, llvm: &str, kernel: &str) {
        let insns = parse_bytes(hex);
        assert_eq!(disasm::insn_text(&insns, 0, Style::Llvm, &()).unwrap(), llvm);
        assert_eq!(disasm::insn_text(&insns, 0, Style::Kernel, &()).unwrap(), kernel);
    }
    check(
        "d3 21 04 00 00 01 00 00",
        "w1 = load_acquire((u8 *)(r2 + 0x4))",
        "(d3) r1 = load_acquire((u8 *)(r2 +4))",
    );
    check(
        "db 21 f8 ff 10 01 00 00",
        "store_release((u64 *)(r1 - 0x8), r2)",
        "(db) store_release((u64 *)(r1 -8), r2)",
    );
    check("40 30 00 00 04 00 00 00", "r0 = *(u32 *)skb[r3 + 0x4]", "(40) r0 = *(u32 *)skb[r3 + 4]");
    check("8d 02 00 00 00 00 00 00", "callx r2", "(8d) callx r2");
    check("85 20 03 00 05 00 00 00", "call 0x5", "(85) call kernel-function#5@3");
    check(
        "18 21 00 00 05 00 00 00 00 00 00 00 08 00 00 00",
        "ld_pseudo\tr1, 0x2, 0x5, 0x8",
        "(18) r1 = map[id:5][0]+8",
    );
    check(
        "18 41 00 00 05 00 00 00 00 00 00 00 00 00 00 00",
        "ld_pseudo\tr1, 0x4, 0x5",
        "(18) r1 = subprog[+5]",
    );
}

#[test]
fn names_replace_numbers() {
    struct Known;
    impl Names for Known {
        fn call(&self, target: CallTarget) -> Option<String> {
            matches!(target, CallTarget::Kfunc { btf_id: 7, .. }).then(|| "bpf_cpumask_create".to_owned())
        }
        fn imm64(&self, imm: Imm64) -> Option<String> {
            matches!(imm, Imm64::MapFd(3)).then(|| "map[events]".to_owned())
        }
    }
    let text = |op: Op| disasm::insn_text(&op.encode().unwrap(), 0, Style::Kernel, &Known).unwrap();
    let kfunc = |btf_id| Op::Call(CallTarget::Kfunc { btf_id, fd_idx: 0 });
    let map = |fd| Op::LoadImm64 { dst: Reg::R1, imm: Imm64::MapFd(fd) };
    assert_eq!(text(kfunc(7)), "(85) call bpf_cpumask_create#7");
    assert_eq!(text(kfunc(8)), "(85) call kernel-function#8");
    assert_eq!(text(map(3)), "(18) r1 = map[events]");
    assert_eq!(text(map(4)), "(18) r1 = map[id:4]");
    assert_eq!(text(Op::Call(CallTarget::Helper(1))), "(85) call bpf_map_lookup_elem#1");
    assert_eq!(text(Op::Call(CallTarget::Helper(999))), "(85) call unknown#999");
}

#[test]
fn every_text_assembles_back() {
    for row in ROWS {
        for sample in [0, 1, 5, -1] {
            let slots = slots_of(row, sample);
            let op = decode(&slots, 0).unwrap();
            for style in STYLES {
                let text = op.text(style).unwrap();
                let llvm = matches!(style, Style::Llvm | Style::LlvmAlu32);
                if llvm && matches!(op, Op::Call(target) if !matches!(target, CallTarget::Indirect(_))) {
                    continue; // `llvm-objdump` prints all calls alike; see `bytes_decide_between_calls`.
                }
                let insns = assemble(&text).unwrap_or_else(|e| panic!("{text}: {e}")).insns;
                assert_eq!(insns, slots[..op.slots()], "{style:?}: {text}");
            }
        }
    }
}

#[test]
fn listings_assemble_back() {
    let insns: Vec<Insn> = ROWS
        .iter()
        .flat_map(|row| {
            let slots = slots_of(row, 3);
            slots.into_iter().take(if row.code == LD_IMM64 { 2 } else { 1 })
        })
        .collect();
    for style in STYLES {
        let listing = disasm::listing(&insns, style, &());
        assert_eq!(assemble(&listing).unwrap_or_else(|e| panic!("{style:?}: {e}")).insns, insns, "{style:?}");
    }
}

#[test]
fn bytes_decide_between_calls() {
    let check =
        |line: &str, expected: Op| assert_eq!(assemble(line).unwrap().insns, *expected.encode().unwrap());
    let local = Op::Call(CallTarget::Local(5));
    check("  0:\t85 10 00 00 05 00 00 00\tcall 0x5 <main+0x30>", local);
    check("  0:\t85 20 00 00 05 00 00 00\tcall 0x5", Op::Call(CallTarget::Kfunc { btf_id: 5, fd_idx: 0 }));
    check("call 0x5", Op::Call(CallTarget::Helper(5)));
    check("call -0x5", Op::Call(CallTarget::Local(-5)));
    // Version 19 prints no immediate here.
    let (base, src) = (Reg::R2, Reg::R1);
    check(
        "0:\t40 30 00 00 04 00 00 00\tr0 = *(u32 *)skb[r3]",
        Op::LoadInd { size: skep_isa::Size::W, src: Reg::R3, imm: 4 },
    );
    check(
        "0:\tdb 12 00 00 10 01 00 00\tlock *(u64 *)(r2 + 0x0) += r1",
        Op::StoreRelease { size: skep_isa::Size::DW, base, off: 0, src },
    );
    let error = assemble("0:\t95 00 00 00 00 00 00 00\tr1 = r2").unwrap_err();
    assert_eq!(error.kind, AsmErrorKind::BytesDiffer);
    let unknown = "0:\tff 00 00 00 00 00 00 00\t<unknown>";
    assert_eq!(assemble(unknown).unwrap().insns, [Insn { code: 0xff, ..Insn::default() }]);
}

/// Assembles two texts that mean the same.
#[track_caller]
fn check_same(text: &str, canonical: &str) {
    let insns = |text| assemble(text).unwrap_or_else(|e| panic!("{text}: {e}")).insns;
    assert_eq!(insns(text), insns(canonical), "{text}");
}

#[test]
fn spellings() {
    check_same("mov %r0, 1", "r0 = 1");
    check_same("mov64 %r0, 1", "r0 = 1");
    check_same("add32 %r0, -1", "w0 += -1");
    check_same("mov %r0, 0xffffffff", "r0 = -1");
    check_same("ldxdw %r0, [%r1+8]", "r0 = *(u64 *)(r1 + 8)");
    check_same("stxdw [%r10-8], %r0", "*(u64 *)(r10 - 0x8) = r0");
    check_same("stw [%r1], 0x11223344", "*(u32 *)(r1 + 0) = 287454020");
    check_same("lock fetch_add [%r10-8], %r1", "r1 = atomic_fetch_add((u64 *)(r10 - 8), r1)");
    check_same("lock fetch add32 [%r10-8], %r1", "w1 = atomic_fetch_add((u32 *)(r10 - 8), w1)");
    check_same("lock add64 [%r10-8], %r1", "lock *(u64 *)(r10 - 8) += r1");
    check_same("swap16 %r0", "r0 = bswap16 r0");
    check_same("call helper 5", "call bpf_ktime_get_ns");
    check_same("call runtime 5", "call kernel-function#5");
    check_same("w1 = *(u8 *)(r2 + 0)", "r1 = *(u8 *)(r2 +0)");
    check_same("*(u32 *)(r10 - 4) = w5", "(63) *(u32 *)(r10 -4) = r5");
    check_same("(18) r1 = 0x5", "r1 = 0x5 ll");
    check_same("r1 = 0x500000000", "r1 = 0x500000000 ll");
    check_same("(15) if r1 == 0xffffffff goto pc-1", "if r1 == -1 goto -1");
    check_same("R1 += R2; r1=r2;r1 =-5", "r1 += r2\nr1 = r2\nr1 = -5");
}

#[test]
fn labels() {
    let program = "
        main: r1 = callback ll
              call local work
              if r0 == 0 goto done
        loop: r0 += -1
              if r0 != 0 goto loop    # backwards
              may_goto loop
              gotol exit
        done: call work
              exit
        work: w0 = 5; exit
        callback:
              exit
    ";
    let numbers = "
        ld_pseudo r1, 4, 11
        call local +7
        if r0 == 0 goto +4
        r0 += -1
        if r0 != 0 goto -2
        may_goto -3
        gotol +1
        call local +1
        exit
        w0 = 5
        exit
        exit
    ";
    check_same(program, numbers);
    let assembly = assemble(program).unwrap();
    assert_eq!(assembly.labels["loop"], 4);
    assert_eq!(assembly.labels["callback"], 12);
    assert_eq!(assembly.lines[..4], [2, 2, 3, 4]);
    assert_eq!(assembly.lines.len(), assembly.insns.len());
}

#[test]
fn tools_output_is_read() {
    let objdump = "
probe.o:\tfile format elf64-bpf

Disassembly of section tracepoint/x:

0000000000000000 <handler>:
; int handler(void *ctx) {
       0:\t18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00\tr1 = 0x0 ll
\t\t0000000000000000:  R_BPF_64_64\tevents
       2:\tb7 00 00 00 00 00 00 00\tr0 = 0x0
       3:\t15 00 01 00 00 00 00 00\tif r0 == 0x0 goto +0x1 <handler+0x28>
       4:\tb7 00 00 00 01 00 00 00\tr0 = 0x1

0000000000000028 <LBB0_2>:
       5:\t95 00 00 00 00 00 00 00\texit
";
    let xlated = "
int handler(void * ctx):
; int handler(void *ctx) {
   0: (18) r1 = 0x0
   2: (b7) r0 = 0
   3: (15) if r0 == 0x0 goto pc+1
   4: (b7) r0 = 1
   5: (95) exit
";
    let log = "
0: R1=ctx() R10=fp0
; int handler(void *ctx) { @ probe.bpf.c:3
0: (18) r1 = 0x0                      ; R1_w=0
2: (b7) r0 = 0                        ; R0_w=0
3: (15) if r0 == 0x0 goto pc+1        ; R0_w=0
4: (b7) r0 = 1
5: (95) exit
";
    let expected = assemble("r1 = 0 ll\nr0 = 0\nif r0 == 0 goto +1\nr0 = 1\nexit").unwrap().insns;
    for text in [objdump, xlated, log] {
        assert_eq!(assemble(text).unwrap_or_else(|e| panic!("{e}")).insns, expected, "{text}");
    }
    assert_eq!(assemble(objdump).unwrap().labels["LBB0_2"], 5);
    assert_eq!(assemble(xlated).unwrap().labels["handler"], 0);
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(assemble(text).expect_err(text).to_string(), expected);
}

#[test]
fn errors_say_where_and_what() {
    check_error("exit\n  frobnicate r1", "line 2, column 3: found `frobnicate`, expected an instruction");
    check_error("if r1 == 5 gota +1", "line 1, column 12: found `gota`, expected `goto`");
    check_error("goto nowhere", "line 1, column 6: no line defines the label `nowhere`");
    check_error("a: exit\na: exit", "line 2, column 1: the label `a` is defined before");
    check_error(
        "mov %r0, %r12",
        "line 1, column 11: found `r12`, expected a number of 32 bits or a register `r0` to `r10`",
    );
    check_error(
        "r1 = *(u8 *)(r2 + 0x8000)",
        "line 1, column 19: found `0x8000`, expected an offset of 16 bits",
    );
    check_error(
        "r1 = 010",
        "line 1, column 6: found `010`, expected a number of 64 bits or a number of 32 bits or a register `r0` to `r10` or a label or a distance such as `+1` or one of 28 words",
    );
    check_error("exit now", "line 1, column 6: found `now`, expected the end of the statement");
    check_error(
        "goto",
        "line 1, column 5: the statement ends early, expected a label or a distance such as `+1`",
    );
    check_error("w1 = -w2", "line 1, column 7: found `w2`, expected `w1` again or a number of 32 bits");
    check_error("call bpf_no_such_thing", "line 1, column 6: no line defines the label `bpf_no_such_thing`");
    check_error("(95) r1 = r2", "line 1, column 6: found `r1`, expected `exit`");
    let far = format!("goto end\n{}end: exit", "r0 = 0\n".repeat(0x8000));
    check_error(
        &far,
        "line 1, column 6: the label `end` is 32768 slots away, further than this instruction reaches",
    );
}

#[test]
fn random_slots_and_texts_do_not_panic() {
    let mut random = Xorshift(0xbf);
    for _ in 0..500 {
        let slots = [random.insn(), random.insn()];
        for style in STYLES {
            let listing = disasm::listing(&slots, style, &());
            let mut bytes = listing.into_bytes();
            // Most cuts and changes leave a text that nearly assembles.
            let at = random.next() as usize % bytes.len();
            bytes[at] = b' ' + (random.next() % 95) as u8;
            let _ = assemble(&String::from_utf8_lossy(&bytes));
            let _ = assemble(&String::from_utf8_lossy(&bytes[..at]));
        }
    }
    let _ = assemble("\u{fffd}\u{1f41d}: r1 = \u{e9}\n(\u{e9}5) 1: <\u{e9}>:\n%\u{e9}");
}
