// The task that a test run happens in.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

__u64 found;

SEC("syscall") int current_task(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *again = (void *)bpf_get_current_task();
	__u64 ids = bpf_get_current_pid_tgid();
	char comm[16], read[16] = {};
	int tgid = 0;

	bpf_get_current_comm(comm, sizeof(comm));
	bpf_probe_read_kernel(read, sizeof(read), &task->comm);
	bpf_probe_read_kernel(&tgid, sizeof(tgid), &again->tgid);
	found = (task->pid == (int)ids) + 2 * (tgid == (int)(ids >> 32)) + 4 * (task->group_leader->pid == tgid);
	for (int n = 0; n < 16; n++)
		if (comm[n] != read[n])
			found += 100;
	return 0;
}

SEC("syscall") int task_of_a_number(void *ctx)
{
	struct task_struct *task = bpf_task_from_pid((int)bpf_get_current_pid_tgid());

	if (task) {
		found = task == bpf_get_current_task_btf();
		bpf_task_release(task);
	}
	task = bpf_task_from_pid(0x7ffffff);
	if (!task)
		return found;
	bpf_task_release(task);
	return 99;
}

// Pointers in the kernel's structures may be null; what is behind them reads as 0.
SEC("syscall") int behind_null(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	found = task->reclaim_state->reclaimed;
	found += task->bio_list->head != 0;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
