// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// A congestion control that never has more than four segments on the way, and counts what it is asked.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// What is used of the kernel's structure: it is found by its name without what follows `___`, its members by theirs.
struct tcp_congestion_ops___counted {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

__u64 acknowledged;

SEC("struct_ops/count_ssthresh")
__u32 BPF_PROG(count_ssthresh, struct sock *sk)
{
	return 4;
}

SEC("struct_ops/count_avoid")
void BPF_PROG(count_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	__sync_fetch_and_add(&acknowledged, acked);
}

SEC("struct_ops/count_undo")
__u32 BPF_PROG(count_undo, struct sock *sk)
{
	return 4;
}

SEC(".struct_ops")
struct tcp_congestion_ops___counted skep_counts = {
	.ssthresh = (void *)count_ssthresh,
	.cong_avoid = (void *)count_avoid,
	.undo_cwnd = (void *)count_undo,
	.name = "skep_counts",
};

char LICENSE[] SEC("license") = "GPL";
