//! The kinds of rejection that are told apart: the kernel's words, what they mean, and what to do. One table.
//!
//! In a pattern, a word in braces stands for any text; `{reg}` is the number of the register that is to blame. In meanings
//! and remedies `{var}` and `{name}` are that register by its C name where that is known, and other words stand for what
//! they matched.
//! The first pattern that fits is taken, so narrow ones stand before wide ones.

/// How far back the reason lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nowhere: the instruction itself is what is wrong.
    Insn,
    /// In the register's history: where it came from and what was checked.
    Value,
    /// In the history of the number that was added to the pointer, where there is one; else the register's.
    Offset,
    /// Where the reference was taken that is still held.
    Reference,
    /// In the path: a lock taken, a section entered.
    Region,
    /// In the amount of work: the places where it was done.
    Work,
}

/// A kind of rejection.
pub(super) struct Kind {
    pub(super) pattern: &'static str,
    pub(super) blame: Blame,
    /// What is wrong, in terms of the source.
    pub(super) meaning: &'static str,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

const fn kind(pattern: &'static str, blame: Blame, meaning: &'static str, remedy: &'static str) -> Kind {
    Kind { pattern, blame, meaning, remedy }
}

/// The first kind that a line of the verifier is of, with what its pattern's names matched.
pub(super) fn find(line: &str) -> Option<(&'static Kind, Vec<(&'static str, String)>)> {
    KINDS.iter().find_map(|kind| Some((kind, matches(kind.pattern, line)?)))
}

/// Matches a line with a pattern; gives what its names stand for.
fn matches(pattern: &'static str, line: &str) -> Option<Vec<(&'static str, String)>> {
    let (mut pattern, mut rest, mut found) = (pattern, line.trim(), Vec::new());
    loop {
        let Some((text, tail)) = pattern.split_once('{') else {
            return (rest == pattern).then_some(found);
        };
        let (name, tail) = tail.split_once('}')?;
        rest = rest.strip_prefix(text)?;
        let next = tail.split('{').next().unwrap_or_default();
        let end = match (next.is_empty(), tail.contains('{')) {
            (true, _) => rest.len(),
            (false, true) => rest.find(next)?,
            (false, false) => rest.rfind(next)?,
        };
        if name == "reg" && !(end > 0 && rest[..end].bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        found.push((name, rest[..end].to_owned()));
        (pattern, rest) = (tail, &rest[end..]);
    }
}

use Blame::{Insn, Offset, Reference, Region, Value, Work};

/// What bounds and their remedy have in common.
const BOUND_BOTH: &str = "compare the offset with both ends before using it, as an unsigned number: \
     `if (i >= SIZE) return 0;`, or mask it: `i &= SIZE - 1` with a power of two";

#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind("R0 !read_ok", Value, "the program or function can end without a result",
         "return a value on every path; a call of a helper gives r0 a new value, and a `void` function has none"),
    kind("R{reg} !read_ok", Value, "{var} is read here, but nothing was written to it on this path",
         "initialise it on every path; after a call only r0 and r6 to r9 hold values, so keep what is needed in those \
          (in C: pass all arguments the function takes, and make its prototype agree)"),
    kind("R{reg} invalid mem access 'map_value_or_null'", Value,
         "{var} may be NULL when it is used: {value}",
         "compare {var} with NULL right after the lookup: `if (!{name}) return 0;`"),
    kind("R{reg} invalid mem access '{type}_or_null'", Value, "{var} may be NULL when it is used: {value}",
         "compare {var} with NULL before using it: `if (!{name}) return 0;`"),
    kind("R{reg} invalid mem access 'ptr_or_null_{type}'", Value, "{var} may be NULL when it is used: {value}",
         "compare {var} with NULL before using it: `if (!{name}) return 0;`"),
    kind("R{reg} invalid mem access '{type}ptr_or_null_'", Value, "{var} may be NULL when it is used: {value}",
         "compare {var} with NULL before using it: `if (!{name}) return 0;`"),
    kind("R{reg} invalid mem access 'scalar'", Value, "{var} is a number for the verifier, not a pointer: {value}",
         "use the pointer itself rather than a number made of it; read kernel memory by `bpf_probe_read_kernel()` or \
          `BPF_CORE_READ()`, user memory by `bpf_probe_read_user()`; take packet pointers anew from the context after \
          helpers that may move the packet"),
    kind("R{reg} invalid mem access 'inv'", Value, "{var} is a number for the verifier, not a pointer: {value}",
         "use the pointer itself rather than a number made of it; read kernel memory by `bpf_probe_read_kernel()`; take \
          packet pointers anew from the context after helpers that may move the packet"),
    kind("R{reg} invalid mem access '{type}'", Value, "memory of this kind cannot be accessed directly: {value}",
         "use the helper or kernel function for it; a map's elements are reached by `bpf_map_lookup_elem()`, memory of a \
          dynptr by `bpf_dynptr_data()` or `bpf_dynptr_read()`"),
    kind("R{reg} min value is negative, either use unsigned index or do a if (index >=0) check.", Offset,
         "the offset {var} may be negative: {value}",
         "make it unsigned, or compare it with 0 as well: `if (i < 0 || i >= SIZE) return 0;`"),
    kind("R{reg} min value is negative, either use unsigned or 'var &= const'", Value,
         "the size {var} may be negative: {value}",
         "make it unsigned, or compare it with 0 as well; a mask does both: `len &= SIZE - 1`"),
    kind("R{reg} unbounded memory access, make sure to bounds check any such access", Offset,
         "nothing limits the offset {var}: {value}", BOUND_BOTH),
    kind("R{reg} unbounded memory access, use 'var &= const' or 'if (var < const)'", Value,
         "nothing limits the size {var}: {value}",
         "limit it before the call: `if (len > sizeof(buf)) len = sizeof(buf);` or `len &= sizeof(buf) - 1`; check the \
          same variable that is passed, after its last change"),
    kind("R{reg} min value is outside of the allowed memory range", Offset,
         "the access begins outside of the memory: {value}", BOUND_BOTH),
    kind("R{reg} max value is outside of the allowed memory range", Offset,
         "the access can reach beyond the end of the memory: {value}", BOUND_BOTH),
    kind("R{reg} offset is outside of the packet", Value,
         "the bytes read here were not compared with the end of the packet",
         "compare before the access, with the size of what is read: `if (p + sizeof(*p) > data_end) return XDP_DROP;`"),
    kind("invalid access to packet, off={off} size={size}, R{reg}(id={id}", Value,
         "the bytes read here were not compared with the end of the packet",
         "compare before the access, with the size of what is read: `if (p + sizeof(*p) > data_end) return XDP_DROP;`"),
    kind("misaligned stack access{rest}", Insn, "the address is no multiple of the access's size",
         "align the variable, or access it byte by byte"),
    kind("misaligned {what} access{rest}", Insn, "the address is no multiple of the access's size",
         "copy the bytes with `__builtin_memcpy()`, or access packed fields byte by byte"),
    kind("BPF_EXIT instruction in main prog would lead to reference leak", Reference,
         "the program ends while it still holds a reference",
         "release it on every path: `bpf_sk_release()`, `bpf_ringbuf_submit()` or `_discard()`, `bpf_kptr_xchg()` into a \
          map, or the kernel function that goes with the one that gave it"),
    kind("Unreleased reference id={id} alloc_insn={insn}", Reference, "the program ends while it still holds a reference",
         "release it on every path, also the ones that return early"),
    kind("{what} would lead to reference leak", Reference, "{what} would lose a reference that is still held",
         "release it first"),
    kind("infinite loop detected at insn {insn}", Work, "the loop comes back here with nothing changed: it never ends",
         "make every round change a variable that the condition compares, and bound it; `bpf_for()`, `bpf_repeat()` and \
          `bpf_loop()` make bounded loops"),
    kind("back-edge from insn {from} to {to}", Work, "the program has a loop, which this kernel does not allow",
         "unroll it (`#pragma unroll`), or use a kernel from 5.3 on"),
    kind("BPF program is too large. Processed {count} insn", Work,
         "walking all paths took more than a million instructions",
         "make fewer paths: put loops into `bpf_loop()` or `bpf_for()`, split the program by tail calls, make functions \
          global (not `static`) so that each is verified once, and forget what need not be known"),
    kind("The sequence of {count} jumps is too complex.", Work, "too many branches wait to be walked",
         "make fewer paths: put loops into `bpf_loop()`, make functions global, or split the program by tail calls"),
    kind("combined stack size of {calls} calls is {bytes}. Too large", Insn,
         "the nested functions use {bytes} bytes of stack together; 512 are allowed",
         "put large variables into a per-CPU array map, or nest fewer functions"),
    kind("the call stack of {frames} frames is too deep{rest}", Insn, "calls nest {frames} deep; 8 are allowed",
         "inline a function (`__always_inline`) or turn the recursion into a loop"),
    kind("invalid write to stack R{reg} off={off} size={size}", Insn,
         "the write at offset {off} of {size} bytes is outside of the stack, which has 512 bytes",
         "use a smaller buffer, or one in a per-CPU array map; check indexes of arrays on the stack"),
    kind("invalid read from stack R{reg} off={off} size={size}", Insn,
         "the read at offset {off} of {size} bytes is outside of the stack, which has 512 bytes",
         "check the index against the array's size, and the size against the buffer's"),
    kind("invalid{dir}stack R{reg}{rest}", Offset, "this access to the stack is not allowed: {value}",
         "initialise the whole buffer first (`= {}` or `__builtin_memset()`), and check indexes against its size"),
    kind("invalid indirect read from stack{rest}", Insn, "the helper reads bytes of the stack that were never written",
         "initialise the whole variable, padding too: `= {}` or `__builtin_memset(&v, 0, sizeof(v))`"),
    kind("invalid read from stack{rest}", Insn, "bytes of the stack are read that may not be read as data",
         "initialise the variable first; dynptrs and iterators are reached only through their functions"),
    kind("invalid variable-offset{rest}", Offset, "the index into the stack is not limited well enough: {value}", BOUND_BOTH),
    kind("invalid bpf_context access off={off} size={size}", Insn,
         "this program type may not access {size} bytes at offset {off} of its context",
         "use another field: each program and attach type has its own, some only for reading, and only with their full \
          size; check the section name too, and that the context structure is that of the program type"),
    kind("variable {type} access var_off={off} disallowed", Offset,
         "a {type} pointer is used with an offset that is not constant", "use constant offsets with this pointer"),
    kind("dereference of modified {type} ptr R{reg} off={off} disallowed", Value,
         "{var} was moved by {off} before it is used: {value}",
         "use the pointer as it was given; with an optimised field access, read the field into a variable through a \
          `volatile` pointer, or keep the compiler from adding the offset first"),
    kind("negative offset {type} ptr R{reg} off={off} disallowed", Value, "{var} points before its start: {value}",
         "use the pointer as it was given"),
    kind("program of this type cannot use helper {func}", Insn, "programs of this type may not call {func}",
         "use a program type that may (see the section name), or another helper; `bpftool feature \
          probe` lists what is allowed"),
    kind("unknown func {func}", Insn, "this program type, or this kernel, has no helper {func}",
         "check the program's section name and type, and from which kernel on the helper exists"),
    kind("invalid func {func}", Insn, "there is no helper {func}", "check from which kernel on the helper exists"),
    kind("helper call is not allowed in probe", Insn, "the helper may not be used here",
         "use another helper, or another program type"),
    kind("cannot call GPL-restricted function from non-GPL compatible program", Insn,
         "the helper is for programs under the GPL",
         "state a compatible licence: `char LICENSE[] SEC(\"license\") = \"GPL\";` (or `Dual BSD/GPL`, `Dual MIT/GPL`)"),
    kind("cannot call {func} from non-GPL compatible program", Insn, "this is for programs under the GPL",
         "state a compatible licence: `char LICENSE[] SEC(\"license\") = \"GPL\";`"),
    kind("{what} must have a GPL compatible license", Insn, "programs of this type must be under the GPL",
         "state a compatible licence: `char LICENSE[] SEC(\"license\") = \"GPL\";`"),
    kind("Cannot access kernel '{type}' from non-GPL compatible program", Insn, "kernel types are for programs under the GPL",
         "state a compatible licence: `char LICENSE[] SEC(\"license\") = \"GPL\";`"),
    kind("helper call might sleep in a non-sleepable prog", Insn, "the helper may sleep, and this program may not",
         "make the program sleepable where its type allows (`SEC(\"fentry.s/…\")`, `lsm.s`, `iter.s`, `uprobe.s`), or use \
          the helper that does not sleep"),
    kind("program must be sleepable to call sleepable kfunc {func}", Insn, "{func} may sleep, and this program may not",
         "make the program sleepable where its type allows (`SEC(\"fentry.s/…\")`, `lsm.s`, `iter.s`, `syscall`)"),
    kind("{what} is sleepable within {region}", Region, "{what} may sleep, which is not allowed within this {region}",
         "leave the region before the call"),
    kind("sleepable helper {func} in {region}", Region, "{func} may sleep, which is not allowed within this {region}",
         "leave the region before the call"),
    kind("global functions that may sleep are not allowed in non-sleepable context{rest}", Region,
         "the function may sleep, which is not allowed here", "leave the region, or make the program sleepable"),
    kind("a non-sleepable BPF program context", Region, "the function may sleep, which is not allowed here",
         "leave the region, or make the program sleepable"),
    kind("Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable", Insn,
         "programs of this type cannot be sleepable", "drop the `.s` of the section name"),
    kind("Sleepable programs can only use array, hash, ringbuf and local storage maps", Insn,
         "a sleepable program uses a map of another type", "use an array, hash, ring buffer or local storage map"),
    kind("function calls are not allowed while holding a lock", Region, "something is called while a spin lock is held",
         "move the call before `bpf_spin_lock()` or after `bpf_spin_unlock()`; within, only few functions may be called"),
    kind("global function calls are not allowed while holding a lock,", Region,
         "a global function is called while a spin lock is held", "make the function `static`, or call it outside"),
    kind("{what} cannot be used inside {region}", Region, "{what} within this {region}",
         "leave the region on every path that leads here: unlock, enable preemption or interrupts, end the RCU section"),
    kind("{field} at off={off} must be held for {what}", Region, "the lock of this {what} is not held",
         "take the `bpf_spin_lock` of the same map value or object before"),
    kind("bpf_spin_lock at off={off} must be held for {what}", Region, "the lock of this {what} is not held",
         "take the `bpf_spin_lock` of the same map value or object before"),
    kind("calling kernel function {func} is not allowed", Insn, "programs of this type may not call {func}",
         "use a program type that may (each kernel function is registered for some), or a helper instead"),
    kind("kfunc '{func}' is referenced but wasn't resolved", Insn, "this kernel has no function {func} for programs",
         "declare it `__ksym __weak` and test with `bpf_ksym_exists()`, load the module that has it, or use another kernel"),
    kind("R{reg} type={have} expected={want}", Value, "the function wants {want} here, but {var} is {value}",
         "pass what the function's prototype asks for; where the type says `_or_null`, compare with NULL first"),
    kind("arg#{arg} expected pointer to {want}", Insn, "argument {arg} must be a pointer to {want}",
         "pass what the function's prototype asks for"),
    kind("Possibly NULL pointer passed to {what}", Insn, "a pointer that may be NULL is passed to {what}",
         "compare it with NULL first"),
    kind("R{reg} must be referenced or trusted", Value, "{var} is not known to stay valid: {value}",
         "take a reference first (such as `bpf_task_acquire()`), or use the pointer as the hook gave it"),
    kind("R{reg} must be a rcu pointer", Value, "{var} is not protected: {value}",
         "read it inside `bpf_rcu_read_lock()` and compare it with NULL"),
    kind("R{reg} must be referenced when passed to release function", Value, "{var} holds no reference: {value}",
         "release only what an acquiring function gave, once, and by the same pointer"),
    kind("arg {arg} is an unacquired reference", Value, "what is released was not acquired, or was released before",
         "release only what an acquiring function gave, and once"),
    kind("R{reg} must be a known constant", Value, "{var} must be a constant: {value}", "pass a literal"),
    kind("R{reg} is not a known constant'", Value, "{var} must be a constant: {value}", "pass a literal"),
    kind("At {when} the register R0 has {have} should have been in [{low}, {high}]", Value,
         "the result may be outside of {low} to {high}, which this hook allows: {value}",
         "return one of the allowed values on every path; limit what was computed before returning it"),
    kind("At {when} the register R{reg} is not a known value ({have})", Value, "the result must be a number: {value}",
         "return one of the allowed values on every path"),
    kind("R{reg} pointer += pointer prohibited", Value, "two pointers are added", "add a number to a pointer, not a pointer"),
    kind("R{reg} pointer arithmetic on {type} prohibited, null-check it first", Value, "{var} may be NULL: {value}",
         "compare it with NULL before computing with it"),
    kind("R{reg} pointer arithmetic on {type} prohibited", Value, "{var} may not be moved: {value}",
         "use the pointer as it was given"),
    kind("R{reg} pointer arithmetic with {op} operator prohibited", Value, "{var} is a pointer, which `{op}` would spoil",
         "only add to and subtract from pointers; compute with numbers before adding them"),
    kind("R{reg} bitwise operator {op} on pointer prohibited", Value, "{var} is a pointer, which `{op}` would spoil",
         "only add to and subtract from pointers"),
    kind("R{reg} 32-bit pointer arithmetic prohibited", Value, "{var} is a pointer, cut to 32 bits here",
         "keep pointers in 64-bit variables (`void *`, `unsigned long`), not in `int` or `__u32`"),
    kind("R{reg} subtraction from stack pointer prohibited", Value, "an unknown number is taken from a stack pointer",
         "add a checked, non-negative index instead"),
    kind("math between {type} pointer and register with unbounded min value is not allowed", Offset,
         "{var}, which is added to a {type} pointer, may be anything negative: {value}",
         "make the index unsigned, or compare it with 0 as well, before adding it"),
    kind("math between {type} pointer and {number} is not allowed", Offset,
         "{number} is too far to move a {type} pointer", "check the index before adding it"),
    kind("{type} pointer offset {number} is not allowed", Offset, "{number} is too far from the start of the {type}",
         "check the index before adding it"),
    kind("value {number} makes {type} pointer be out of bounds", Offset,
         "{var} may be as far off as {number}, too far to move a {type} pointer: {value}",
         "compare it with both ends before adding it: `if (i < 0 || i >= SIZE) return 0;`, or make it unsigned"),
    kind("write into map forbidden{rest}", Insn, "the map may not be written by programs",
         "drop `BPF_F_RDONLY_PROG`; constants (`const volatile`) cannot be changed after loading"),
    kind("read from map forbidden{rest}", Insn, "the map may not be read by programs", "drop `BPF_F_WRONLY_PROG`"),
    kind("R{reg} cannot write into {type}", Value, "this memory is read-only: {value}", "copy it and change the copy"),
    kind("cannot write into packet", Insn, "this program type may not change the packet directly",
         "use `bpf_skb_store_bytes()`, or a program type that may (XDP, tc)"),
    kind("the prog does not allow writes to packet data", Insn, "this program type may not change the packet",
         "use another program type (XDP, tc)"),
    kind("only read is supported", Insn, "kernel memory may only be read", "use the helper or kernel function that changes it"),
    kind("only read from {type} is supported", Insn, "{type} may only be read", "use the map's helpers"),
    kind("access beyond struct {type} at off {off} size {size}", Value, "the access goes beyond `struct {type}`: {value}",
         "check that the pointer is of the type it is used as, and use CO-RE field accesses"),
    kind("cannot access ptr member {rest}", Insn, "a pointer is read in part", "read the whole pointer"),
    kind("R{reg} invalid {type} access off={off} size={size}", Insn,
         "this field of {type} may not be accessed (offset {off}, {size} bytes)", "use a field that programs may read"),
    kind("unreachable insn {insn}", Insn, "no path leads to instruction {insn}",
         "remove the code; an endless loop or a missing condition before it may be the reason"),
    kind("jump out of range from insn {from} to {to}", Insn, "a jump leaves its function", "compile again; code was cut"),
    kind("last insn is not an exit or jmp", Insn, "a function runs off its end", "return on every path"),
    kind("frame pointer is read only", Insn, "r10 may not be written", "copy it to another register first"),
    kind("div by zero", Insn, "a division by the constant 0", "divide by something else"),
    kind("invalid shift {bits}", Insn, "a shift by {bits}, more than the width of the number", "shift by less than 32 or 64"),
    kind("R{reg} invalid zero-sized read{rest}", Value, "the size may be 0: {value}",
         "compare it with 0 first: `if (len == 0) return 0;`"),
    kind("invalid zero-sized read", Value, "the size may be 0", "compare it with 0 first"),
    kind("cannot pass map_type {type} into func {func}", Insn, "{func} does not take maps of type {type}",
         "use the function that goes with the map's type"),
    kind("Expected an initialized dynptr as arg #{arg}", Insn, "argument {arg} must be a dynptr that is in use",
         "make it first (`bpf_dynptr_from_mem()`, `bpf_ringbuf_reserve_dynptr()`), and do not use it after releasing it"),
    kind("Dynptr has to be an uninitialized dynptr", Insn, "the dynptr is in use already", "use another variable"),
    kind("cannot overwrite referenced dynptr", Insn, "the dynptr's record was not submitted or discarded yet",
         "call `bpf_ringbuf_submit_dynptr()` or `_discard_dynptr()` first"),
    kind("expected an initialized {iter} as arg #{arg}", Insn, "the iterator is not in use here",
         "call its `_new` function first, and `_destroy` last; `bpf_for_each()` does both"),
    kind("expected uninitialized {iter} as arg #{arg}", Insn, "the iterator is in use already", "destroy it first"),
    kind("Caller passes invalid args into func#{func} ('{callee}')", Insn, "the arguments do not fit `{callee}`",
         "pass what its BTF says: compare pointers with NULL, or tag arguments `__arg_nonnull`, `__arg_ctx`, `__arg_trusted`"),
    kind("same insn cannot be used with different pointers", Insn,
         "one instruction would access different kinds of memory, depending on the path",
         "access each kind in its own branch; the compiler merged them, which `barrier_var()` or a `volatile` read prevents"),
    kind("cannot spill pointers to stack into stack frame of the caller", Insn,
         "the function stores a pointer to its own stack in its caller's", "store what it points to"),
    kind("cannot return stack pointer to the caller", Insn, "the function returns a pointer to its own stack",
         "let the caller pass a buffer"),
    kind("R{reg} leaks addr{rest}", Value, "a kernel address would be shown to user space", "store a number instead"),
    kind("arg#{arg} arg#{size} memory, len pair leads to invalid memory access", Insn,
         "the memory of argument {arg} is smaller than the size in argument {size}", "check the size against the buffer's"),
    kind("tracing progs cannot use {what} yet", Insn, "tracing programs cannot use {what}",
         "use atomic operations or per-CPU maps, or another program type"),
    kind("{who} cannot use bpf_spin_lock yet", Insn, "{who} cannot use spin locks", "use atomic operations or per-CPU maps"),
    kind("BPF_ATOMIC {what} into R{reg} {type} is not allowed", Insn, "atomic operations do not work on this memory",
         "use a map value or the stack"),
    kind("invalid size of register fill", Insn, "part of a spilled pointer is read", "read the whole pointer"),
    kind("Global function {func}() doesn't return scalar. Only those are supported.", Insn,
         "`{func}` is global and returns no number", "return `int`, or make it `static`"),
    kind("unexpected __bpf_trap() due to uninitialized variable?", Insn,
         "the compiler found an uninitialised variable or undefined behaviour, and put a trap here",
         "look at the compiler's warnings (-Wall), and initialise the variable"),
    kind("Invalid format string", Insn, "the format is not one that this helper understands",
         "use %d, %u, %x, %s, %p and their long forms, as many as arguments are passed"),
    kind("program of size 0", Insn, "the program has no instructions", "compile it again"),
    kind("Tracing programs must provide btf_id", Insn, "the function or hook to attach to is not known",
         "name it in the section, `SEC(\"fentry/do_unlinkat\")`, and check that this kernel has it"),
    kind("ldimm64 failed to find the address for kernel symbol '{symbol}'.", Insn, "this kernel has no symbol `{symbol}`",
         "declare it `__ksym __weak` and compare its address with NULL"),
    kind("fd {fd} is not pointing to valid bpf_map", Insn, "the program refers to a map that is not there",
         "load it with a loader that creates its maps"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_takes_the_name_of_the_value_to_blame() {
        let taken = KINDS.iter().find(|kind| ["{name}", "{var}"].iter().any(|it| kind.pattern.contains(it)));
        assert!(taken.is_none(), "{}", taken.map_or("", |kind| kind.pattern));
    }

    #[test]
    fn lines_find_their_kind() {
        let check = |line: &str, pattern: &str| {
            let found = find(line).map(|(kind, _)| kind.pattern);
            assert_eq!(found, Some(pattern), "{line}");
        };
        check("R0 !read_ok", "R0 !read_ok");
        check("R2 !read_ok", "R{reg} !read_ok");
        check("R7 invalid mem access 'sock_or_null'", "R{reg} invalid mem access '{type}_or_null'");
        check("R7 invalid mem access 'scalar'", "R{reg} invalid mem access 'scalar'");
        check("misaligned packet access off 0+2+0 size 4", "misaligned {what} access{rest}");
        check(
            "invalid write to stack R10 off=-520 size=8",
            "invalid write to stack R{reg} off={off} size={size}",
        );
        check(
            "invalid variable-offset read from stack R2 var_off=(0x0; 0xff) off=-16 size=1",
            "invalid variable-offset{rest}",
        );
        assert!(find("something else").is_none());
    }

    #[test]
    fn names_are_what_they_stand_for() {
        let (_, found) = find("R3 type=scalar expected=fp, pkt, map_value").expect("a kind");
        let expected = [("reg", "3"), ("have", "scalar"), ("want", "fp, pkt, map_value")];
        assert_eq!(found, expected.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn every_kind_has_a_meaning_and_a_remedy() {
        for kind in KINDS {
            assert!(!kind.meaning.is_empty() && !kind.remedy.is_empty(), "{}", kind.pattern);
        }
        assert!(KINDS.len() >= 40);
    }
}
