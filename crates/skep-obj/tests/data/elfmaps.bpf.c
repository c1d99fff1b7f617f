// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
// clang: -g0
/* Maps as iproute2 and cilium define them: with a number, a way to pin, and a template's number. */
#include "bpf.h"

struct bpf_elf_map {
	u32 type;
	u32 size_key;
	u32 size_value;
	u32 max_elem;
	u32 flags;
	u32 id;
	u32 pinning;
	u32 inner_id;
	u32 inner_idx;
};

struct bpf_elf_map SEC("maps") shared = { BPF_MAP_TYPE_HASH, 4, 8, 16, 1, 0, 2 };
struct bpf_elf_map SEC("maps") inner = { BPF_MAP_TYPE_ARRAY, 4, 32, 1, 0, 42, 1 };
struct bpf_elf_map SEC("maps") outer = { 12, 4, 4, 5, 0, 0, 0, 42 };

SEC("tc")
int filter(void *ctx)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&shared, &key) == bpf_map_lookup_elem(&outer, &key);
}

char _license[] SEC("license") = "GPL";
