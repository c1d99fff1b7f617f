// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// A program with a function that another program replaces.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

__attribute__((noinline)) int answer(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 4096 ? 3 : 1;
}

SEC("xdp")
int asks(struct xdp_md *ctx)
{
	return answer(ctx);
}

char LICENSE[] SEC("license") = "GPL";
