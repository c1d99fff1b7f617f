// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// A program for every kind of hook that the command line attaches to.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	return XDP_PASS;
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("tc")
int classify(struct __sk_buff *skb)
{
	return -1;
}

SEC("sk_msg")
int verdict(struct sk_msg_md *msg)
{
	return SK_PASS;
}

SEC("flow_dissector")
int dissect(struct __sk_buff *skb)
{
	return BPF_OK;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int trace(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
