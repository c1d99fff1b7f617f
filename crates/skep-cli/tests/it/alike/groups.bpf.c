// Storage of the group that a program is attached to, and the group of a packet's socket.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, __u64);
} plain SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, __u64);
} percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} groups SEC(".maps");

__u64 out[8];

SEC("cgroup_skb/egress")
int storage(struct __sk_buff *skb)
{
	__u64 *shared = bpf_get_local_storage(&plain, 0), *own = bpf_get_local_storage(&percpu, 0);

	out[0] = ++*shared;
	*own += 2;
	out[1] = *own;
	return 1;
}

SEC("tc")
int groups_of(struct __sk_buff *skb)
{
	out[0] = bpf_skb_under_cgroup(skb, &groups, 0);
	out[1] = bpf_skb_under_cgroup(skb, &groups, 2);
	out[2] = bpf_skb_cgroup_id(skb);
	out[3] = bpf_skb_ancestor_cgroup_id(skb, 0);
	out[4] = bpf_skb_ancestor_cgroup_id(skb, 60);
	return 0;
}

char _license[] SEC("license") = "GPL";
