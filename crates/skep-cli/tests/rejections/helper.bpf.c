// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int peek(struct xdp_md *ctx)
{
	__u8 first;
	if (bpf_skb_load_bytes(ctx, 0, &first, sizeof(first)))
		return XDP_DROP;
	return first ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
