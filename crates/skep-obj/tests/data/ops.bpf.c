// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Functions that a kernel subsystem calls. */
#include "bpf.h"

struct my_ops {
	int (*init)(void);
	u32 flags;
	int (*release)(int);
	char name[8];
	int (*unknown)(void);
};

SEC("struct_ops/init")
int init_it(void *ctx)
{
	return 0;
}

SEC("struct_ops.s/release")
int release_it(void *ctx)
{
	return 1;
}

SEC("struct_ops/unused")
int unused(void *ctx)
{
	return 2;
}

SEC(".struct_ops.link")
struct my_ops ops = {
	.init = (void *)init_it,
	.release = (void *)release_it,
	.flags = 7,
	.name = "mine",
};

SEC("?.struct_ops")
struct my_ops other = {
	.init = (void *)init_it,
};

char _license[] SEC("license") = "GPL";
