// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What is seldom met: security hooks, special fields beyond what a map may have, results of traced functions that are
// pointers, pointers to one processor's copy of an object, fields of sockets that congestion control may write.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

struct eleven {
	struct task_struct __kptr *tasks[11];
};

struct twelve {
	struct task_struct __kptr *tasks[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct eleven);
} enough SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct twelve);
} too_many SEC(".maps");

struct counter {
	__u64 count;
};

/* Of a structure that is only pointed to, clang would tell the name alone. */
struct counter total;

struct holder {
	struct counter __percpu_kptr *counter;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct holder);
} holders SEC(".maps");

extern void bpf_task_release(struct task_struct *task) __ksym;

SEC("tp_btf/task_newtask")
int takes_from_eleven(void *ctx)
{
	__u32 key = 0;
	struct eleven *value = bpf_map_lookup_elem(&enough, &key);
	struct task_struct *task = value ? bpf_kptr_xchg(&value->tasks[10], (void *)0) : (void *)0;

	if (task)
		bpf_task_release(task);
	return 0;
}

SEC("tp_btf/task_newtask")
int takes_from_twelve(void *ctx)
{
	__u32 key = 0;
	struct twelve *value = bpf_map_lookup_elem(&too_many, &key);
	struct task_struct *task = value ? bpf_kptr_xchg(&value->tasks[10], (void *)0) : (void *)0;

	if (task)
		bpf_task_release(task);
	return 0;
}

SEC("tp_btf/task_newtask")
int counts_on_this_processor(void *ctx)
{
	__u32 key = 0;
	struct holder *value = bpf_map_lookup_elem(&holders, &key);
	struct counter *here, *all = value ? value->counter : (void *)0;

	if (!all)
		return 0;
	here = bpf_this_cpu_ptr(all);
	here->count++;
	return 0;
}

struct mm_struct___here {
	unsigned long mmap_base;
} __attribute__((preserve_access_index));

unsigned long base;

SEC("fexit/get_task_mm")
int BPF_PROG(reads_a_result, struct task_struct *task, struct mm_struct___here *mm)
{
	base = mm->mmap_base;
	return 0;
}

SEC("lsm/file_mprotect")
int BPF_PROG(passes_a_result_on, struct vm_area_struct *vma, unsigned long asked, unsigned long prot, int ret)
{
	return ret;
}

extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym;

SEC("lsm/task_free")
int BPF_PROG(keeps_a_task_that_goes, struct task_struct *task)
{
	struct task_struct *kept = bpf_task_acquire(task);

	if (kept)
		bpf_task_release(kept);
	return 0;
}

struct file___here {
	struct path f_path;
} __attribute__((preserve_access_index));

char path[64];

SEC("lsm/file_open")
int BPF_PROG(names_a_file, struct file___here *file)
{
	bpf_d_path(&file->f_path, path, sizeof(path));
	return 0;
}

SEC("lsm.s/task_free")
void BPF_PROG(sleeps_where_it_may_not, struct task_struct *task)
{
}

SEC("lsm/getprocattr")
int BPF_PROG(does_more_than_refuse, struct task_struct *task, char *name, char **value)
{
	return 0;
}

SEC("lsm_cgroup/socket_bind")
int BPF_PROG(answers_for_a_group, struct socket *sock, struct sockaddr *address, int length)
{
	bpf_set_retval(-1);
	return 0;
}

struct pending___here {
	__u8 pending;
} __attribute__((preserve_access_index));

struct inet_connection_sock___here {
	struct pending___here icsk_ack;
} __attribute__((preserve_access_index));

SEC("struct_ops/acknowledges")
__u32 BPF_PROG(acknowledges, struct inet_connection_sock___here *sk)
{
	sk->icsk_ack.pending = 1;
	return 4;
}

SEC("struct_ops/undo")
__u32 BPF_PROG(undo, struct sock *sk)
{
	return 4;
}

SEC("struct_ops/avoid")
void BPF_PROG(avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops rare = {
	.ssthresh = (void *)acknowledges,
	.undo_cwnd = (void *)undo,
	.cong_avoid = (void *)avoid,
	.name = "skep_rare",
};

char LICENSE[] SEC("license") = "GPL";
