// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What `cargo xtask bench load` opens, loads and attaches: a tracepoint, two maps, globals of every kind.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 targ_pid = 0;
__u64 calls = 0;
__u64 lost = 0;
__u32 step = 1;

struct event {
	__u32 pid;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_openat")
int openat(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1, *count;
	struct event *event;

	if (pid != targ_pid)
		return 0;
	calls += step;
	count = bpf_map_lookup_elem(&counts, &pid);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&counts, &pid, &one, BPF_ANY);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		lost++;
		return 0;
	}
	event->pid = pid;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
