// A program that the verifier takes, and behind it one that it refuses.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

long seen;

SEC("raw_tp/sys_enter")
int fine(void *ctx)
{
	seen++;
	return 0;
}

SEC("raw_tp/sys_enter")
int wrong(void *ctx)
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&counts, &key);

	return *count;
}
