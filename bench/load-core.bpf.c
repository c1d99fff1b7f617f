// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What `cargo xtask bench load` opens, loads and attaches to see what relocations against the kernel's types cost.
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 targ_pid = 0;
__u64 calls = 0;

struct event {
	__u32 pid;
	__u32 parent;
	__u64 start;
	__u32 threads;
	__u32 exit_code;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct event);
} last SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_openat")
int openat(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct event event = {};

	event.pid = BPF_CORE_READ(task, tgid);
	if (event.pid != targ_pid)
		return 0;
	calls++;
	event.parent = BPF_CORE_READ(task, real_parent, tgid);
	event.start = BPF_CORE_READ(task, start_time);
	if (bpf_core_field_exists(task->signal))
		event.threads = BPF_CORE_READ(task, signal, nr_threads);
	event.exit_code = BPF_CORE_READ(task, exit_code);
	bpf_map_update_elem(&last, &event.pid, &event, BPF_ANY);
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
