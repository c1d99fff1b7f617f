// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/ingress")
int admit(struct __sk_buff *skb)
{
	return skb->len;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
