//! Explanations made from logs: of old kernels and new ones, of all paths, and of text that is none.

use skep_verifier::explain::{Facts, explain};
use skep_verifier::log::read::{Path, Place};

/// Linux 5.10: states stand in lines of their own, numbers are `inv`, lines have no place.
const OLD: &str = "\
func#0 @0
0: R1=ctx(id=0,off=0,imm=0) R10=fp0
; __u32 key = 0;
0: (62) *(u32 *)(r10 -4) = 0
1: R1=ctx(id=0,off=0,imm=0) R10=fp0 fp-8=0000????
; value = bpf_map_lookup_elem(&counts, &key);
1: (bf) r2 = r10
2: (07) r2 += -4
3: (18) r1 = 0xffff8881050c3000
5: (85) call bpf_map_lookup_elem#1
6: R0_w=map_value_or_null(id=1,off=0,ks=4,vs=8,imm=0) R10=fp0 fp-8=mmmm????
; *value += 1;
6: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

#[test]
fn logs_of_old_kernels() {
    let explanation = explain(OLD, None, &Facts::default()).expect("a rejection");
    assert_eq!(explanation.insn, 6);
    assert_eq!(explanation.message, "R0 invalid mem access 'map_value_or_null'");
    assert!(explanation.summary.starts_with("`value` may be NULL when it is used"), "{explanation}");
    assert!(explanation.path.iter().any(|stop| stop.what.contains("comes from `bpf_map_lookup_elem`")));
    assert!(explanation.remedy.is_some_and(|remedy| remedy.contains("if (!value)")));
}

/// Level 2 of Linux 6.18: the first path is fine, the second fails.
const ALL_PATHS: &str = "\
func#0 @0
Live regs before insn:
      0: .1........ (61) r2 = *(u32 *)(r1 +12)
      1: .12....... (b7) r0 = 0
0: R1=ctx() R10=fp0
; if (i == 7) @ a.bpf.c:4
0: (61) r2 = *(u32 *)(r1 +12)         ; R1=ctx() R2=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))
1: (b7) r0 = 0                        ; R0=0
2: (15) if r2 == 0x7 goto pc+1        ; R2=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))
; return 0; @ a.bpf.c:5
3: (95) exit
mark_precise: frame0: last_idx 3 first_idx 0 subseq_idx -1 
mark_precise: frame0: regs=r0 stack= before 2: (15) if r2 == 0x7 goto pc+1

from 2 to 4: R0=0 R1=ctx() R2=7 R10=fp0
4: R0=0 R1=ctx() R2=7 R10=fp0
; return *p; @ a.bpf.c:6
4: (61) r0 = *(u32 *)(r2 +0)
R2 invalid mem access 'scalar'
processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

#[test]
fn logs_of_all_paths_are_cut_down_to_the_last() {
    let path = Path::read(ALL_PATHS);
    let insns: Vec<u32> = path.steps.iter().map(|step| step.insn).collect();
    assert_eq!(insns, [0, 1, 2, 4]);
    assert_eq!(path.before(3, 0, Place::Reg(2)).and_then(|value| value.number), Some(7));
    assert_eq!(path.messages, ["R2 invalid mem access 'scalar'"]);
    assert_eq!(path.processed, Some(5));
    let explanation = explain(ALL_PATHS, None, &Facts::default()).expect("a rejection");
    let location = explanation.location.expect("a line");
    assert_eq!((location.file.as_deref(), location.line), (Some("a.bpf.c"), Some(6)));
}

#[test]
fn what_is_no_log_is_not_explained() {
    assert!(explain("", None, &Facts::default()).is_none());
    assert!(explain("processed 3 insns\n", None, &Facts::default()).is_none());
}

#[test]
fn damaged_logs_do_not_panic() {
    for log in [OLD, ALL_PATHS] {
        for end in 0..log.len() {
            let _ = explain(&log[..end], None, &Facts::default());
            let _ = explain(&log[end..], Some(3), &Facts::default());
        }
    }
    for line in [
        "5: (",
        "5: (é) x",
        "from 1 to",
        "R3=(",
        "0: (bf) r99 = r1",
        "; @ :",
        "from 99 to 3: R1=fp[",
        "to caller at x:",
    ] {
        let _ = explain(&format!("{OLD}{line}\n{line}"), None, &Facts::default()).map(|e| e.to_string());
    }
}
