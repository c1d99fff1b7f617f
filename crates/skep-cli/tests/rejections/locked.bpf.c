// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

struct total {
	struct bpf_spin_lock lock;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct total);
} totals SEC(".maps");

SEC("tc")
int add(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct total *total = bpf_map_lookup_elem(&totals, &zero);
	if (!total)
		return 0;
	bpf_spin_lock(&total->lock);
	total->bytes += bpf_ktime_get_ns();
	bpf_spin_unlock(&total->lock);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
