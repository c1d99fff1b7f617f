// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
// clang: -g0
/* As objects were before types: maps as structures, nothing described. */
#include "bpf.h"

struct bpf_map_def {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
};

struct bpf_map_def SEC("maps") one = { BPF_MAP_TYPE_HASH, 4, 8, 16, 1 };
struct bpf_map_def SEC("maps") two = { BPF_MAP_TYPE_ARRAY, 4, 32, 1, 0 };

u32 threshold = 40;
static volatile u64 seen;

SEC("kprobe/do_sys_open")
int probe(void *ctx)
{
	u32 key = threshold;

	seen++;
	return bpf_map_lookup_elem(&one, &key) == bpf_map_lookup_elem(&two, &key);
}

char _license[] SEC("license") = "GPL";
