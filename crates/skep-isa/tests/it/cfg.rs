//! Control-flow graphs.

use skep_isa::cfg::{BlockId, Cfg, EdgeKind, SubprogId};
use skep_isa::{Insn, Style, assemble};

use crate::codec::Xorshift;

fn build(text: &str) -> Cfg {
    let insns = assemble(text).unwrap_or_else(|e| panic!("{e}")).insns;
    Cfg::build(&insns).unwrap_or_else(|e| panic!("{e}"))
}

/// The graph as a line a block: slots, `!` if unreachable, and edges.
#[track_caller]
fn check(text: &str, expected: &str) {
    let cfg = build(text);
    let line = |(index, block): (usize, &skep_isa::cfg::Block)| {
        let edges: String = block
            .edges
            .iter()
            .map(|edge| match edge.kind {
                EdgeKind::Next => format!(" next {}", edge.to.0),
                EdgeKind::Jump => format!(" jump {}", edge.to.0),
            })
            .collect();
        let mark = if block.reachable { "" } else { "!" };
        format!("{index}{mark} f{} {}..{}{edges}", block.subprog.0, block.slots.start, block.slots.end)
    };
    let lines: Vec<String> = cfg.blocks.iter().enumerate().map(line).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected);
    for (index, block) in cfg.blocks.iter().enumerate() {
        for pc in block.slots.clone() {
            assert_eq!(cfg.block_at(pc), Some(BlockId(index)));
            assert_eq!(cfg.subprog_at(pc), Some(block.subprog));
        }
    }
}

#[test]
fn blocks_end_at_jumps_and_before_targets() {
    check("r0 = 0\nexit", "0 f0 0..2");
    check(
        "
        r1 = 5 ll
        loop: r1 += -1
        if r1 != 0 goto loop
        if r1 == 7 goto out
        r0 = 1
        out: exit
        ",
        "
        0 f0 0..2 next 1
        1 f0 2..4 next 2 jump 1
        2 f0 4..5 next 3 jump 4
        3 f0 5..6 next 4
        4 f0 6..7
        ",
    );
    check("a: may_goto b\ngotol a\nb: exit", "0 f0 0..1 next 1 jump 2\n1 f0 1..2 jump 0\n2 f0 2..3");
}

#[test]
fn code_that_no_way_leads_to() {
    check("goto end\nr0 = 1\nr0 = 2\nend: exit", "0 f0 0..1 jump 2\n1! f0 1..3 next 2\n2 f0 3..4");
    // A function is reachable through reachable calls alone.
    let program = "
        call a
        exit
        call c
        exit
        a: r1 = b ll
        exit
        b: exit
        c: exit
    ";
    let cfg = build(program);
    assert_eq!(cfg.unreachable().collect::<Vec<_>>(), [2..4, 8..9]);
    assert_eq!(cfg.subprogs.len(), 4);
    let calls = |index: usize| {
        let calls = cfg.subprogs[index].calls.iter();
        calls.map(|call| (call.pc, call.callee, call.is_address)).collect::<Vec<_>>()
    };
    assert_eq!(calls(0), [(0, SubprogId(1), false), (2, SubprogId(3), false)]);
    assert_eq!(calls(1), [(4, SubprogId(2), true)]);
    assert_eq!(cfg.subprogs[1].slots, 4..7);
    assert_eq!(cfg.subprogs[1].blocks, 2..3);
    assert_eq!(cfg.subprog_at(9), None);
}

#[test]
fn programs_without_a_graph() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let insns = assemble(text).unwrap().insns;
        assert_eq!(Cfg::build(&insns).expect_err(text).to_string(), expected);
    }
    check("", "instruction 0: the program is empty");
    check(
        "goto +5\nexit",
        "instruction 0 (`goto +0x5`) goes to slot 6, but the program has only slots 0 to 1",
    );
    check(
        "goto -2\nexit",
        "instruction 0 (`goto -0x2`) goes to slot -1, but the program has only slots 0 to 1",
    );
    check(
        "goto +1\nr1 = 5 ll\nexit",
        "instruction 0 (`goto +0x1`) goes to slot 2, into the middle of a 64-bit immediate load",
    );
    check(
        "call local f\ngoto f\nf: exit",
        "instruction 1 (`goto +0x0`) jumps to slot 2, into another subprogram",
    );
    check(
        "exit\ncall -2\nr1 = 0",
        "instruction 2 (`r1 = 0x0`) is the last one of the subprogram at slot 0, but neither `exit` nor a jump",
    );
    check(
        "call local f\nf: exit",
        "instruction 0 (`call 0x0`) is the last one of the subprogram at slot 0, but neither `exit` nor a jump",
    );
    check(
        "if r1 == 0 goto -1",
        "instruction 0 (`if r1 == 0x0 goto -0x1`) is the last one of the subprogram at slot 0, but neither `exit` nor a jump",
    );
    let bad = [Insn { code: 0x07, off: 3, ..Insn::default() }];
    assert_eq!(
        Cfg::build(&bad).unwrap_err().to_string(),
        "instruction 0: `BPF_ALU` uses reserved fields: `off` is `0x3`, not 0"
    );
}

#[test]
fn dot_draws_every_block_and_edge() {
    let text = "call f\nif r0 s> 1 goto +1\nr0 = 0\nexit\nf: exit";
    let insns = assemble(text).unwrap().insns;
    let dot = Cfg::build(&insns).unwrap().dot(&insns, Style::Kernel, &());
    assert_eq!(
        dot,
        r#"digraph "DOT graph for eBPF program" {
  subgraph cluster_0 {
    label="func_0"; style=dashed;
    bb_0 [shape=record, style=filled, label="{0:\ (85)\ call\ pc+3\l1:\ (65)\ if\ r0\ s\>\ 0x1\ goto\ pc+1\l}"];
    bb_1 [shape=record, style=filled, label="{2:\ (b7)\ r0\ =\ 0\l}"];
    bb_2 [shape=record, style=filled, label="{3:\ (95)\ exit\l}"];
    bb_0:s -> bb_1:n [style=solid];
    bb_0:s -> bb_2:n [style=bold];
    bb_1:s -> bb_2:n [style=solid];
  }
  subgraph cluster_1 {
    label="func_1"; style=dashed;
    bb_3 [shape=record, style=filled, label="{4:\ (95)\ exit\l}"];
  }
  bb_0 -> bb_3 [style=dashed, label="call"];
}
"#
    );
}

#[test]
fn random_programs_do_not_panic() {
    let mut random = Xorshift(0xcf9);
    let mut built = 0;
    for _ in 0..20_000 {
        // Short programs of instructions that decode, with jumps that often stay inside.
        let count = 2 + random.next() as usize % 6;
        let mut insns: Vec<Insn> = (0..count).map(|_| random.insn()).collect();
        insns.retain(|insn| skep_isa::decode(&[*insn], 0).is_ok());
        insns.push(Insn { code: 0x95, ..Insn::default() });
        if let Ok(cfg) = Cfg::build(&insns) {
            let covered: usize = cfg.blocks.iter().map(|block| block.slots.len()).sum();
            assert_eq!(covered, insns.len());
            assert!(!cfg.dot(&insns, Style::Llvm, &()).is_empty());
            built += 1;
        }
    }
    assert!(built > 1_000, "the generator makes too few programs: {built}");
}
