//! Loading in libbpf's sense, on the kernel: objects that ask for one thing each, compiled here.

use std::sync::Arc;

use skep::load::{Options, load_with};
use skep::runtime::command::{Command, TestRun};
use skep::runtime::{ErrorKind, Reply, SharedRuntime};
use skep::{Error, Loaded, host, variables};
use skep_kernel::KernelRuntime;
use skep_user::{Config, UserRuntime};

use crate::harness::{Scratch, has_clang, skip};
use crate::objects::BpfFs;

const HEAD: &str = "#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_core_read.h>\n\
                    char LICENSE[] SEC(\"license\") = \"GPL\";\n";

/// The kernel, unless it is not for us, or there is no compiler: then the reason is printed.
fn kernel() -> Option<SharedRuntime> {
    let runtime = KernelRuntime::new();
    if let Err(e) = runtime.probe() {
        skip(&e.to_string());
        return None;
    }
    if !has_clang() {
        skip("clang is not installed");
        return None;
    }
    Some(Arc::new(runtime))
}

fn load(runtime: &SharedRuntime, name: &str, source: &str, options: &Options) -> Result<Loaded, Error> {
    let scratch = Scratch::new(&format!("loading-{name}"));
    let path = scratch.write(&format!("{name}.bpf.c"), format!("{HEAD}{source}"));
    let object = skep::open(&path).expect("it compiles").object;
    load_with(runtime, &object, host::link(&object)?, options)
}

fn run(runtime: &SharedRuntime, loaded: &Loaded, program: &str) -> u32 {
    let prog = loaded.program(program).expect("it was loaded").program.fd();
    match runtime.bpf(Command::ProgTestRun { prog, run: TestRun::default() }) {
        Ok(Reply::TestRun { retval, .. }) => retval,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_program_lacks_leaves_out_that_program() {
    let Some(kernel) = kernel() else { return };
    let source = "
extern void no_such_kfunc(void) __ksym;
SEC(\"syscall\") int lacks(void *ctx) { no_such_kfunc(); return 0; }
SEC(\"?syscall\") int optional(void *ctx) { return 0; }
SEC(\"syscall\") int fine(void *ctx) { return 7; }
";
    let loaded = load(&kernel, "lacks", source, &Options::default()).expect("the other one");
    assert_eq!(run(&kernel, &loaded, "fine"), 7);
    assert!(loaded.program("lacks").is_none() && loaded.program("optional").is_none());
    let [left] = loaded.left_out.as_slice() else { panic!("{:?}", loaded.left_out) };
    assert!(left.program == "lacks" && left.reason.to_string().contains("no_such_kfunc"), "{}", left.reason);

    let alone = "extern void no_such_kfunc(void) __ksym;
SEC(\"syscall\") int lacks(void *ctx) { no_such_kfunc(); return 0; }";
    let refused = load(&kernel, "alone", alone, &Options::default()).expect_err("nothing is left");
    assert!(refused.to_string().contains("no_such_kfunc"), "{refused}");
}

#[test]
fn a_program_does_without_what_only_the_kernel_has() {
    let Some(btf) = host::kernel_btf().filter(|_| has_clang()) else {
        return skip("clang is not installed, or the kernel does not show its types");
    };
    let config = Config { btf: Some(btf), ..Config::default() };
    let user = UserRuntime::new(config).expect("a runtime");
    let source = "
extern struct cgroup *bpf_cgroup_from_id(u64 cgid) __weak __ksym;
extern void bpf_cgroup_release(struct cgroup *cgrp) __weak __ksym;
extern void bpf_rcu_read_lock(void) __weak __ksym;
extern void bpf_rcu_read_unlock(void) __weak __ksym;
SEC(\"syscall\") int asks(void *ctx)
{
	if (bpf_cgroup_from_id) {
		struct cgroup *group = bpf_cgroup_from_id(1);
		if (group)
			bpf_cgroup_release(group);
		return 1;
	}
	if (!bpf_rcu_read_lock)
		return 2;
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return 3;
}
";
    let loaded = load(&user, "absent", source, &Options::default()).expect("it loads");
    assert_eq!(run(&user, &loaded, "asks"), 3);
}

#[test]
fn a_field_that_is_missing_is_named() {
    let Some(kernel) = kernel() else { return };
    let source = "
struct task_struct___mine { int no_such_field; } __attribute__((preserve_access_index));
SEC(\"raw_tp/sys_enter\") int f(void *ctx)
{
	struct task_struct___mine *task = (void *)bpf_get_current_task();
	return BPF_CORE_READ(task, no_such_field);
}
";
    let refused = load(&kernel, "field", source, &Options::default()).expect_err("there is no such field");
    let text = refused.to_string();
    assert!(text.contains("no_such_field") && text.contains("field.bpf.c:"), "{text}");
    assert!(!text.contains("unknown#"), "{text}");
}

#[test]
fn a_refusal_ends_with_its_reason_and_place() {
    let Some(kernel) = kernel() else { return };
    let source = "
SEC(\"socket\") int f(struct __sk_buff *skb)
{
	char *p = (void *)(long)skb->len;
	return *p;
}
";
    let Err(refused) = load(&kernel, "refused", source, &Options::default()) else {
        panic!("it is not safe")
    };
    let text = refused.to_string();
    assert!(text.contains("invalid mem access") && text.contains("refused.bpf.c:"), "{text}");
    assert!(matches!(refused, Error::Runtime(e) if e.kind() == ErrorKind::Rejected));
}

#[test]
fn maps_are_shared_under_their_names() {
    let Some(kernel) = kernel() else { return };
    let Some(bpffs) = BpfFs::new("shared") else { return };
    let options = Options { pin_directory: bpffs.path("").into(), ..Options::default() };
    let source = |entries: u32| {
        format!(
            "struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, {entries}); __type(key, u32);
	__type(value, u32); __uint(pinning, LIBBPF_PIN_BY_NAME); }} shared SEC(\".maps\");
SEC(\"syscall\") int get(void *ctx) {{ u32 key = 1, *value = bpf_map_lookup_elem(&shared, &key); return value ? *value : 0; }}"
        )
    };
    let first = load(&kernel, "first", &source(8), &options).expect("the first creates it");
    let map = first.map("shared").expect("it is there");
    assert!(!map.reused);
    map.map.update(&1_u32.to_ne_bytes(), &42_u32.to_ne_bytes(), 0).expect("room");
    drop(first);
    let second = load(&kernel, "second", &source(8), &options).expect("the second finds it");
    assert!(second.map("shared").is_some_and(|map| map.reused));
    assert_eq!(run(&kernel, &second, "get"), 42);
    let other = load(&kernel, "other", &source(16), &options).expect_err("it has another size");
    assert!(other.to_string().contains("number of elements: 8 instead of 16"), "{other}");

    let missing = Options { pin_directory: std::env::temp_dir(), ..Options::default() };
    let refused = load(&kernel, "missing", &source(8), &missing).expect_err("no bpf file system");
    assert!(
        refused.hint().is_some_and(|hint| hint.contains("mount -t bpf")),
        "{refused}: {:?}",
        refused.hint()
    );
}

#[test]
fn global_variables_are_shared_memory() {
    let Some(kernel) = kernel() else { return };
    let source = "
int before = 3;
u64 counter;
const volatile int step = 5;
SEC(\"syscall\") int count(void *ctx) { counter += step; return before; }
";
    let loaded = load(&kernel, "globals", source, &Options::default()).expect("it is loaded");
    assert_eq!(run(&kernel, &loaded, "count"), 3);
    run(&kernel, &loaded, "count");
    assert_eq!(variables::read(&loaded, "counter").expect("a value"), 10_u64.to_ne_bytes());
    variables::write(&loaded, "counter", &90_u64.to_ne_bytes()).expect("it is not constant");
    variables::write(&loaded, "before", &4_u32.to_ne_bytes()).expect("it is not constant");
    assert_eq!(run(&kernel, &loaded, "count"), 4);
    assert_eq!(variables::read(&loaded, "counter").expect("a value"), 95_u64.to_ne_bytes());
    assert!(variables::write(&loaded, "step", &[0; 4]).is_err(), "constants stay");
    assert!(variables::write(&loaded, "counter", &[0; 4]).is_err(), "eight bytes, not four");
}

#[test]
fn programs_take_records_of_ours() {
    let Some(kernel) = kernel() else { return };
    let source = "
struct { __uint(type, BPF_MAP_TYPE_USER_RINGBUF); __uint(max_entries, 4096); } records SEC(\".maps\");
u64 sum;
static long take(struct bpf_dynptr *record, void *unused)
{
	u32 value;
	if (bpf_dynptr_read(&value, sizeof(value), record, 0, 0) == 0)
		sum += value;
	return 0;
}
SEC(\"syscall\") int drain(void *ctx) { return bpf_user_ringbuf_drain(&records, take, NULL, 0); }
";
    let loaded = match load(&kernel, "records", source, &Options::default()) {
        // Before Linux 6.1 there is no such map.
        Err(Error::Runtime(e)) if e.kind() == ErrorKind::Invalid => return skip(&e.to_string()),
        result => result.expect("it is loaded"),
    };
    let mut producer = loaded.map("records").expect("it is there").map.producer(4096).expect("it is mapped");
    let mut sent = 0_u64;
    for round in 0..3 {
        let mut number = 0_u32;
        let full = loop {
            number += 1;
            match producer.send(&number.to_ne_bytes()) {
                Ok(()) => sent += u64::from(number),
                Err(e) => break e,
            }
        };
        assert_eq!((full.kind(), number), (ErrorKind::Full, 257), "round {round}: 4096 bytes of 16 each");
        assert_eq!(run(&kernel, &loaded, "drain"), 256);
    }
    assert_eq!(variables::read(&loaded, "sum").expect("a value"), sent.to_ne_bytes());
    assert_eq!(producer.send(&[0; 5000]).expect_err("never").errno(), 7);
}
