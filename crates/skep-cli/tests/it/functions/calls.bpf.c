// Kernel functions that are system calls: their entry, with the caller's arguments, and their return.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

__u64 entries, returns, wrapped;
long failed, same = -1;
char last[32];

SEC("ksyscall/openat")
int BPF_KSYSCALL(open_entry, int dfd, const char *path, int flags)
{
	entries++;
	bpf_probe_read_user_str(last, sizeof(last), path);
	return 0;
}

SEC("kretsyscall/openat")
int BPF_KRETPROBE(open_return, long ret)
{
	returns++;
	if (ret == -2)
		failed++;
	return 0;
}

SEC("kprobe/__x64_sys_openat")
int BPF_KPROBE(function_entry, struct pt_regs *caller)
{
	char path[32] = {};

	bpf_probe_read_user_str(path, sizeof(path), (void *)PT_REGS_PARM2_CORE_SYSCALL(caller));
	wrapped++;
	same = bpf_strncmp(path, sizeof(path), "/no/such");
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
