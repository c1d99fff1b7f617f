// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Which programs are executed: a record for each, and a count.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

// Records of processes with lower numbers are left out.
const volatile pid_t first_pid = 0;

__u64 executed;

struct event {
	pid_t pid;
	uid_t uid;
	char comm[16];
	char file[128];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

// Keeps the type in the object, for those who read the records.
const struct event *unused __attribute__((unused));

SEC("tracepoint/sched/sched_process_exec")
int executes(struct trace_event_raw_sched_process_exec *ctx)
{
	struct event *event;
	pid_t pid = bpf_get_current_pid_tgid() >> 32;

	if (pid < first_pid)
		return 0;
	__sync_fetch_and_add(&executed, 1);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->pid = pid;
	event->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	// The name lies behind the context; the low half of the field says how far.
	bpf_probe_read_kernel_str(event->file, sizeof(event->file), (void *)ctx + (ctx->__data_loc_filename & 0xffff));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
