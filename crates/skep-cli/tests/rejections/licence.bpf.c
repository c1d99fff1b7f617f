// SPDX-License-Identifier: MIT OR Apache-2.0
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("tracepoint/syscalls/sys_enter_close")
int greet(void *ctx)
{
	bpf_printk("closing");
	return 0;
}

char LICENSE[] SEC("license") = "Proprietary";
