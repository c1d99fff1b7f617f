// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Every open(2), openat(2), openat2(2) and creat(2), with its result.
//
// At entry only the arguments are kept: the path may still be on a page that is not in memory, and a BPF program cannot
// wait for one. At exit the kernel itself has read it.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

#define PATH_MAX 4096
#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
#define ANYONE ((uid_t)-1)

// Filters. A zero `targ_pid` is every process.
const volatile pid_t targ_pid = 0;
const volatile uid_t targ_uid = ANYONE;
const volatile bool only_failed = false;

// A row. The path ends the record: bytes after its terminating zero are not sent.
struct event {
	pid_t pid;
	uid_t uid;
	char comm[16];
	int fd; // -1 where the call failed
	int errno; // 0 where it did not
	__u32 flags;
	char path[PATH_MAX];
};

// The arguments of a call that has not returned yet.
struct call {
	const char *path;
	const struct open_how *how; // where flags are for openat2, else null
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32); // thread
	__type(value, struct call);
} calls SEC(".maps");

// Where a record is put together: it is too large for the stack.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

static bool is_wanted(void)
{
	if (targ_pid && bpf_get_current_pid_tgid() >> 32 != targ_pid)
		return false;
	return targ_uid == ANYONE || (uid_t)bpf_get_current_uid_gid() == targ_uid;
}

static int enter(const char *path, __u32 flags, const struct open_how *how)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct call call = { .path = path, .how = how, .flags = flags };

	if (is_wanted())
		bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

static void report(const struct call *call, long ret)
{
	__u32 zero = 0;
	struct event *event = bpf_map_lookup_elem(&scratch, &zero);
	__u64 flags = call->flags;
	long path_bytes;

	if (!event)
		return;
	if (call->how)
		bpf_probe_read_user(&flags, sizeof(flags), &call->how->flags);
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	event->fd = ret < 0 ? -1 : ret;
	event->errno = ret < 0 ? -ret : 0;
	event->flags = flags;
	path_bytes = bpf_probe_read_user_str(event->path, sizeof(event->path), call->path);
	if (path_bytes <= 0 || path_bytes > sizeof(event->path)) {
		event->path[0] = 0; // not a readable address: the call failed with EFAULT
		path_bytes = 1;
	}
	bpf_ringbuf_output(&events, event, offsetof(struct event, path) + path_bytes, 0);
}

static int leave(long ret)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &tid);

	if (!call)
		return 0;
	if (ret < 0 || !only_failed)
		report(call, ret);
	bpf_map_delete_elem(&calls, &tid);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_open")
int enter_open(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[0], ctx->args[1], NULL);
}

SEC("tracepoint/syscalls/sys_enter_openat")
int enter_openat(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[1], ctx->args[2], NULL);
}

SEC("tracepoint/syscalls/sys_enter_openat2")
int enter_openat2(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[1], 0, (const struct open_how *)ctx->args[2]);
}

SEC("tracepoint/syscalls/sys_enter_creat")
int enter_creat(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[0], O_CREAT | O_WRONLY | O_TRUNC, NULL);
}

SEC("tracepoint/syscalls/sys_exit_open")
int exit_open(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_openat")
int exit_openat(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_openat2")
int exit_openat2(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_creat")
int exit_creat(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
