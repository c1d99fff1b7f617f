// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What is run in place of a function of another program.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

__u64 asked;

SEC("freplace/answer")
int answers(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&asked, 1);
	return 2;
}

char LICENSE[] SEC("license") = "GPL";
