/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* What the two objects that are linked have in common. */
#pragma once
#include "../bpf.h"

struct pair {
	struct pair *next;
	u32 first, second;
};

struct counts {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
};
