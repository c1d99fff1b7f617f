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

__u64 start, end, flags, offset, inode;

static long look(struct task_struct *task, struct vm_area_struct *vma, void *context)
{
	*(__u64 *)context += 1;
	start = vma->vm_start;
	end = vma->vm_end;
	flags = vma->vm_flags & 15;
	offset = vma->vm_pgoff;
	inode = vma->vm_file->f_inode->i_ino;
	return 1;
}

SEC("syscall") int what_is_mapped(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 called = 0;

	found = bpf_find_vma(task, task->mm->start_code, look, &called, 0) == 0;
	found += 2 * called;
	found += 4 * (bpf_find_vma(task, 16, look, &called, 0) == -2);
	found += 8 * (bpf_find_vma(task, task->mm->start_code, look, &called, 1) == -22);
	found += 16 * (bpf_find_vma(task, 0xffffffffff600000ULL, look, &called, 0) == -2);
	return called;
}

char LICENSE[] SEC("license") = "GPL";
