// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Instructions that depend on the target's types. */
#include "bpf.h"

struct record {
	u32 pid;
	u32 narrow;
	u64 moved;
	u64 lost;
} __core;

struct record___new {
	u32 extra;
} __core;

#define field_exists(f) __builtin_preserve_field_info(f, 2)
#define type_size(t) __builtin_preserve_type_info(*(t *)0, 1)

SEC("raw_tp/sys_enter")
int load(struct record *r)
{
	return r->moved + r->narrow;
}

SEC("raw_tp/sys_enter")
int ask(struct record *r)
{
	struct record___new *n = (void *)r;

	if (field_exists(n->extra))
		return type_size(struct record);
	return 1;
}

SEC("raw_tp/sys_enter")
int missing(struct record *r)
{
	if (r->pid)
		return r->lost;
	return 0;
}

char _license[] SEC("license") = "GPL";
