// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	ctx->ingress_ifindex = 2;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
