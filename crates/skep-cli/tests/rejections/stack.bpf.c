// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int histogram(struct xdp_md *ctx)
{
	char seen[16] = {};
	__u32 queue = ctx->rx_queue_index;
	seen[queue] = 1;
	return seen[3] ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
