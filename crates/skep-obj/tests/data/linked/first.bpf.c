// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* One of two objects that are linked: it has the map, and names what the other defines. */
#include "common.h"

struct counts counts SEC(".maps");

extern int LINUX_KERNEL_VERSION __kconfig;
extern struct pair shared;
extern int weight(int x);

const volatile int step = 3;
int first_result;
static volatile int state = 100;

static __noinline int adjust(int x)
{
	return x + state;
}

__weak int scale(int x)
{
	return x * 7;
}

__weak __noinline int unused(struct pair *pair)
{
	return pair ? pair->first : 0;
}

SEC("syscall")
int first(void *ctx)
{
	u32 key = 1;
	u64 *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		*count += step;
	first_result = adjust(1) + weight(10) * 1000 + scale(1) * 1000000;
	shared.first = LINUX_KERNEL_VERSION > 0;
	return 0;
}

char _license[] SEC("license") = "GPL";
