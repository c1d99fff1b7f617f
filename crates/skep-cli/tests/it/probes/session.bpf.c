// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// One program for entry and return: it keeps the argument, and looks at every second call's return only.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

extern bool bpf_session_is_return(void) __ksym;
extern __u64 *bpf_session_cookie(void) __ksym;

__u64 entries, exits, right;

SEC("uprobe.session")
int both(struct pt_regs *ctx)
{
	__u64 *kept = bpf_session_cookie();

	if (bpf_session_is_return()) {
		exits++;
		if (PT_REGS_RC(ctx) == *kept + 1)
			right++;
		return 0;
	}
	entries++;
	*kept = PT_REGS_PARM1(ctx);
	return *kept % 2;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
