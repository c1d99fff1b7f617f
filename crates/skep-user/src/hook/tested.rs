//! The functions that Linux keeps so that tracing programs can be tried on them (`net/bpf/test_run.c`): a test run calls each
//! with the same arguments, and the programs attached to it see them.

/// One call: the function, what it is given, and what it answers.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [u64],
    pub(crate) result: u64,
}

/// Where the memory begins that arguments point to; no other object is there.
const MEMORY: u64 = 0xffff_c000_0000_0000;
/// A pointer to a structure that holds nothing.
const NOTHING: u64 = MEMORY;
/// A pointer to a number that is zero.
const ZERO: u64 = MEMORY + 8;
/// A pointer to a number that is two.
const TWO: u64 = MEMORY + 16;
/// What is there.
const BYTES: [u8; 20] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];

/// The calls of a test run of `fentry` and `fexit` programs, in order.
pub(crate) const TRACED: &[Call] = &[
    Call { name: "bpf_fentry_test1", arguments: &[1], result: 2 },
    Call { name: "bpf_fentry_test2", arguments: &[2, 3], result: 5 },
    Call { name: "bpf_fentry_test3", arguments: &[4, 5, 6], result: 15 },
    Call { name: "bpf_fentry_test4", arguments: &[7, 8, 9, 10], result: 34 },
    Call { name: "bpf_fentry_test5", arguments: &[11, 12, 13, 14, 15], result: 65 },
    Call { name: "bpf_fentry_test6", arguments: &[16, 17, 18, 19, 20, 21], result: 111 },
    Call { name: "bpf_fentry_test7", arguments: &[0], result: 0 },
    Call { name: "bpf_fentry_test8", arguments: &[NOTHING], result: 0 },
    Call { name: "bpf_fentry_test9", arguments: &[ZERO], result: 0 },
    Call { name: "bpf_fentry_test10", arguments: &[0], result: 0 },
];

/// The calls of a test run of `fmod_ret` programs. Each adds one to the number that its second argument points to.
pub(crate) const CHANGED: &[Call] = &[
    Call { name: "bpf_modify_return_test", arguments: &[1, TWO], result: 4 },
    Call { name: "bpf_modify_return_test2", arguments: &[1, TWO, 3, 4, 5, 6, 7], result: 29 },
];

/// The place of a function among all of them.
pub(crate) fn index(function: &str) -> Option<usize> {
    TRACED.iter().chain(CHANGED).position(|call| call.name == function)
}

/// The place of the first of [`CHANGED`].
pub(crate) const FIRST_CHANGED: usize = TRACED.len();

/// Memory that arguments point to.
pub(crate) fn memory(addr: u64, len: usize) -> Option<&'static [u8]> {
    let start = usize::try_from(addr.checked_sub(MEMORY)?).ok()?;
    BYTES.get(start..start.checked_add(len)?)
}
