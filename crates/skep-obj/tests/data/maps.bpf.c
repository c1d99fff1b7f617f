// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Maps defined by types: every property, inner maps, initial elements. */
#include "bpf.h"

struct key {
	u32 pid;
	u32 cpu;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1000);
	__type(key, struct key);
	__uint(key_size, sizeof(struct key));
	__uint(value_size, 24);
	__uint(map_flags, 1);
	__uint(numa_node, 3);
	__uint(pinning, 1);
	__ulong(map_extra, 0x100000002ULL);
} everything SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &second, [3] = &first },
};

int tail(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(u32));
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [1] = (void *)&tail },
};

SEC("socket")
int tail(void *ctx)
{
	return 1;
}

SEC("socket")
int use(void *ctx)
{
	struct key key = {};

	return bpf_map_lookup_elem(&everything, &key) == bpf_map_lookup_elem(&outer, &key);
}

char _license[] SEC("license") = "GPL";
