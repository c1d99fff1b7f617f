// One of everything that a light skeleton has to bring to the kernel.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

struct counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct counts);
} outer SEC(".maps") = { .values = { [1] = &counts } };

int tail(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int(void *));
} tails SEC(".maps") = { .values = { [2] = (void *)&tail } };

const volatile int wanted_pid = 0;
const volatile short steps[2][2] = {};
long factor = 7;
long seen;
long tailed;
long in_outer;
int function_there;
long symbol;
long parent;
int version;
char quiet[100000];

extern int LINUX_KERNEL_VERSION __kconfig;
extern const void schedule __ksym __weak;
extern const int no_such_variable __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym;
extern int no_such_function(void) __ksym __weak;

static __noinline int parent_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, real_parent, tgid);
}

SEC("raw_tp/sys_enter")
int count(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 key = 1, pid = BPF_CORE_READ(task, tgid);
	__u64 one = 1;
	void *inner;

	if (pid != wanted_pid)
		return 0;
	__sync_fetch_and_add(&seen, factor + steps[1][0]);
	parent = parent_of(task);
	version = LINUX_KERNEL_VERSION;
	symbol = (long)&schedule;
	bpf_map_update_elem(&counts, &pid, &one, BPF_ANY);
	inner = bpf_map_lookup_elem(&outer, &key);
	if (inner && bpf_map_lookup_elem(inner, &pid))
		in_outer = 1;
	bpf_ringbuf_output(&events, &pid, sizeof(pid), 0);
	if (&no_such_variable)
		quiet[99999] = no_such_variable;
	bpf_tail_call(ctx, &tails, 2);
	return 0;
}

SEC("raw_tp/sys_enter")
int tail(void *ctx)
{
	__sync_fetch_and_add(&tailed, 1);
	return 0;
}

SEC("iter/bpf_map")
int maps(struct bpf_iter__bpf_map *ctx)
{
	char word[] = "iterated\n";

	function_there = bpf_rcu_read_lock != NULL;
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	if (no_such_function)
		no_such_function();
	if (ctx->meta->seq_num == 0)
		bpf_seq_write(ctx->meta->seq, word, sizeof(word) - 1);
	return 0;
}

SEC("?kprobe/no_such_function")
int optional(void *ctx)
{
	return 0;
}
