// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Which functions of a binary run: their addresses, as its own file has them.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} seen SEC(".maps");

SEC("uprobe.multi")
int hit(struct pt_regs *ctx)
{
	__u64 at = PT_REGS_IP(ctx), one = 1;

	bpf_map_update_elem(&seen, &at, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
