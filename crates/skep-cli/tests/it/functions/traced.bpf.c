// Functions that a test run calls: what programs are given, and what they put in the functions' place.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

__u64 entered, left, sum, count, answer, task;
int instead;

SEC("fentry/bpf_fentry_test3")
int BPF_PROG(entry, char a, int b, __u64 c)
{
	struct task_struct *current = bpf_get_current_task_btf();

	entered++;
	sum = a * 100 + b * 10 + c;
	count = bpf_get_func_arg_cnt(ctx);
	task = current->pid == (__u32)bpf_get_current_pid_tgid();
	return 0;
}

SEC("fexit/bpf_fentry_test8")
int BPF_PROG(leave, struct bpf_fentry_test_t *arg, int ret)
{
	__u64 result = 1;

	left += arg->a == 0 && ret == 0 && bpf_get_func_ret(ctx, &result) == 0 && result == 0;
	return 0;
}

SEC("fmod_ret/bpf_modify_return_test")
int BPF_PROG(change, int a, int *b, int ret)
{
	int before = 0;

	bpf_probe_read_kernel(&before, sizeof(before), b);
	entered += before == 2 && a == 1;
	return instead;
}

SEC("fexit/bpf_modify_return_test")
int BPF_PROG(changed, int a, int *b, int ret)
{
	answer = ret;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
