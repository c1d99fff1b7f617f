// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* The other one: same names for other things where they are static, and for the same things where they are not. */
#include "common.h"

extern struct counts counts __attribute__((section(".maps")));
extern int LINUX_KERNEL_VERSION __kconfig;

struct pair shared = { .second = 9 };
int second_result;
static volatile int other = 5;
static volatile int state = 200;

static __noinline int adjust(int x)
{
	return x + state + other;
}

__hidden int scale(int x)
{
	return adjust(x) - 4;
}

int weight(int x)
{
	return x + shared.second;
}

SEC("syscall")
int second(void *ctx)
{
	u32 key = 1;
	u64 *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		second_result = *count * 1000 + adjust(1);
	return LINUX_KERNEL_VERSION == 0;
}

char _license[] SEC("license") = "GPL";
