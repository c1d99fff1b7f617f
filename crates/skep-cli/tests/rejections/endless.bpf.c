// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int wait(struct xdp_md *ctx)
{
	while (ctx->rx_queue_index != 7)
		asm volatile("" ::: "memory");
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
