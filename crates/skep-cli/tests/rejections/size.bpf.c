// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("tracepoint/syscalls/sys_enter_write")
int copy(unsigned long *args)
{
	char text[64];
	__u32 length = args[4];
	if (length == 0)
		return 0;
	return bpf_probe_read_user(text, length, (void *)args[3]) < 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
