// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// A congestion control that nobody is meant to use.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("struct_ops/skep_ssthresh")
__u32 BPF_PROG(skep_ssthresh, struct sock *sk)
{
	return 4;
}

SEC("struct_ops/skep_avoid")
void BPF_PROG(skep_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC("struct_ops/skep_undo")
__u32 BPF_PROG(skep_undo, struct sock *sk)
{
	return 4;
}

SEC(".struct_ops")
struct tcp_congestion_ops skep_test = {
	.ssthresh = (void *)skep_ssthresh,
	.cong_avoid = (void *)skep_avoid,
	.undo_cwnd = (void *)skep_undo,
	.name = "skep_test",
};

char LICENSE[] SEC("license") = "GPL";
