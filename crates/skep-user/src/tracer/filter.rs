//! The seccomp filter of a traced command: classic BPF that hands the asked system calls to the tracer and lets all
//! others through at full speed.
//!
//! The numbers are a sorted list of boundaries at which the answer flips, searched by a binary tree of `jge`
//! instructions: nine comparisons for 400 system calls. A conditional jump reaches 255 instructions; where the right half of
//! a tree is farther away, an unconditional jump (32 bits) goes there.

use super::interest::Interest;
use crate::sys::process::FilterInsn;

/// `AUDIT_ARCH_X86_64`.
pub(super) const ARCH: u32 = 0xc000_003e;
/// Set in the numbers of x32 calls.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JGE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JA: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> FilterInsn {
    FilterInsn { code, jt, jf, k }
}

fn answer(trace: bool) -> FilterInsn {
    insn(RET, 0, 0, if trace { libc::SECCOMP_RET_TRACE } else { libc::SECCOMP_RET_ALLOW })
}

const JSET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;

/// Where the lower half of an argument is.
const fn data_argument(n: u32) -> u32 {
    16 + 8 * n
}

/// Stops a call if some bits of an argument are set, or if they are not. Expects the call's number to be loaded, and leaves
/// it so for other calls.
fn by_argument(nr: i64, argument: u32, bits: i32, set: bool) -> [FilterInsn; 5] {
    [
        insn(JEQ, 0, 4, nr as u32),
        insn(LOAD, 0, 0, data_argument(argument)),
        insn(JSET, 0, 1, bits as u32),
        answer(set),
        answer(!set),
    ]
}

/// Stops calls that map files or make memory executable, because what they map may have to be probed.
fn mappings(interest: &Interest) -> impl Iterator<Item = FilterInsn> {
    let calls = interest.calls();
    let probes = !interest.sites.is_empty();
    let wanted = move |nr: i64| probes && !calls.contains(nr.cast_unsigned());
    let map = by_argument(libc::SYS_mmap, 3, libc::MAP_ANONYMOUS, false);
    let protect = by_argument(libc::SYS_mprotect, 2, libc::PROT_EXEC, true);
    let parts = [(libc::SYS_mmap, map), (libc::SYS_mprotect, protect)];
    parts.into_iter().filter(move |(nr, _)| wanted(*nr)).flat_map(|(_, part)| part)
}

/// Builds the filter for what is of interest.
pub(super) fn build(interest: &Interest) -> Vec<FilterInsn> {
    let ranges = interest.calls().ranges();
    let flips: Vec<u32> = ranges.iter().flat_map(|&(start, end)| [start, end]).collect();
    let mut filter = vec![
        insn(LOAD, 0, 0, DATA_ARCH),
        insn(JEQ, 1, 0, ARCH),
        answer(interest.foreign),
        insn(LOAD, 0, 0, DATA_NR),
        insn(JGE, 0, 1, X32_BIT),
        answer(interest.foreign),
    ];
    filter.extend(mappings(interest));
    filter.extend(tree(&flips, false));
    filter
}

/// The search tree over `flips`; below the first of them the answer is `below`.
fn tree(flips: &[u32], below: bool) -> Vec<FilterInsn> {
    if flips.is_empty() {
        return vec![answer(below)];
    }
    let middle = flips.len() / 2;
    let left = tree(&flips[..middle], below);
    let right = tree(&flips[middle + 1..], below ^ middle.is_multiple_of(2));
    let mut nodes = match u8::try_from(left.len()) {
        Ok(distance) => vec![insn(JGE, distance, 0, flips[middle])],
        Err(_) => vec![insn(JGE, 0, 1, flips[middle]), insn(JA, 0, 0, left.len() as u32)],
    };
    nodes.extend(left);
    nodes.extend(right);
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::Site;
    use crate::tracer::interest::CallSet;

    /// Runs a filter as the kernel does; answers whether it traces.
    fn traces(filter: &[FilterInsn], arch: u32, nr: u32) -> bool {
        traces_call(filter, arch, nr, [0; 6])
    }

    fn traces_call(filter: &[FilterInsn], arch: u32, nr: u32, args: [u32; 6]) -> bool {
        let (mut pc, mut acc) = (0usize, 0u32);
        loop {
            let at = filter[pc];
            pc += 1;
            match at.code {
                LOAD => {
                    acc = match at.k {
                        DATA_ARCH => arch,
                        DATA_NR => nr,
                        argument => args[(argument as usize - 16) / 8],
                    }
                }
                RET => return at.k == libc::SECCOMP_RET_TRACE,
                JA => pc += at.k as usize,
                JEQ => pc += usize::from(if acc == at.k { at.jt } else { at.jf }),
                JGE => pc += usize::from(if acc >= at.k { at.jt } else { at.jf }),
                JSET => pc += usize::from(if acc & at.k != 0 { at.jt } else { at.jf }),
                code => panic!("unexpected instruction {code:#x}"),
            }
        }
    }

    fn check(numbers: &[u32], foreign: bool) {
        let set = CallSet::of(numbers);
        let filter = build(&Interest { enter: set, foreign, ..Interest::default() });
        assert!(filter.len() < 4096, "the kernel takes no longer filters");
        for nr in 0..CallSet::LIMIT + 10 {
            assert_eq!(traces(&filter, ARCH, nr), set.contains(u64::from(nr)), "call {nr} of {numbers:?}");
        }
        assert_eq!(traces(&filter, ARCH, X32_BIT | 1), foreign);
        assert_eq!(traces(&filter, 0x4000_0003, 1), foreign);
    }

    #[test]
    fn filters_trace_exactly_what_is_asked() {
        check(&[], false);
        check(&[0], false);
        check(&[2, 257], false);
        check(&[2, 3, 4, 257, 437], true);
        check(&(0..400).map(|n| n * 2).collect::<Vec<_>>(), false);
        check(&(0..CallSet::LIMIT).collect::<Vec<_>>(), true);
    }

    #[test]
    fn with_probes_mappings_of_files_stop() {
        let site = Site { path: "x".into(), offset: 0, entry: true, ret: false, semaphore: 0 };
        let mut interest = Interest { sites: vec![site], enter: CallSet::of(&[2]), ..Interest::default() };
        let (map, protect) = (libc::SYS_mmap as u32, libc::SYS_mprotect as u32);
        let (anonymous, exec) = (libc::MAP_ANONYMOUS as u32, libc::PROT_EXEC as u32);
        let filter = build(&interest);
        assert!(traces_call(&filter, ARCH, map, [0, 0, 0, 2, 3, 0]));
        assert!(!traces_call(&filter, ARCH, map, [0, 0, exec, 2 | anonymous, 3, 0]));
        assert!(traces_call(&filter, ARCH, protect, [0, 0, exec | 1, 0, 0, 0]));
        assert!(!traces_call(&filter, ARCH, protect, [0, 0, 1, 0, 0, 0]));
        assert!(traces(&filter, ARCH, 2) && !traces(&filter, ARCH, 3));
        interest.enter.insert(map);
        assert!(traces_call(&build(&interest), ARCH, map, [0, 0, 0, anonymous, 0, 0]));
    }

    #[test]
    fn search_depth_is_logarithmic() {
        let numbers: Vec<u32> = (0..400).map(|n| n * 2).collect();
        let filter = build(&Interest { enter: CallSet::of(&numbers), ..Interest::default() });
        assert!(filter.len() <= 6 + 2 * 800 + 1 + 800, "{} instructions", filter.len());
    }
}
