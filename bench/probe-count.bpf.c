// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Looks at every call of a function for one argument: the work of a debugger's breakpoint with a condition.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

__u64 hits;

SEC("uprobe")
int count(struct pt_regs *ctx)
{
	if (PT_REGS_PARM1(ctx) == 471)
		hits++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
