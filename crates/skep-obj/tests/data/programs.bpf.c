// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Programs, subprograms, callbacks, global variables. */
#include "bpf.h"

const volatile u32 limit = 7;
const volatile char greeting[] = "hello";
u64 total = 5;
u64 calls;
static u32 hidden_count;
u32 custom SEC(".data.custom") = 3;
int shadow __hidden = 1;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

__noinline int leaf(int x)
{
	return x * 3 + shadow;
}

__hidden __noinline int covert(int x)
{
	return x ^ (int)calls;
}

static __noinline int middle(int x)
{
	hidden_count += x;
	return leaf(x) + covert(x + 1);
}

static int each(u32 i, void *ctx)
{
	calls += i + middle(i);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int on_open(void *ctx)
{
	u32 key = limit;
	u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		*value += greeting[key & 3];
	total += middle(key);
	return leaf(1);
}

SEC("tracepoint/syscalls/sys_exit_openat")
int on_exit(void *ctx)
{
	bpf_loop(4, each, 0, 0);
	return custom;
}

SEC("?raw_tp/sched_switch")
int off(void *ctx)
{
	return 0;
}

SEC("tracepont/oops/nowhere")
int misspelt(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
u32 _version SEC("version") = 0x60c00;
