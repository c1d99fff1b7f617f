// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Every execve(2) and execveat(2), with its arguments and its result.
//
// The arguments are copied at entry: after a successful call the memory that held them is gone.
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define ARGS_BYTES 4096 // a power of two
#define ARGS_MAX 128
#define ANYONE ((uid_t)-1)

// Filters.
const volatile uid_t targ_uid = ANYONE;
const volatile bool ignore_failed = false;

// A row. The arguments end the record: bytes after their terminating zero are not sent.
struct event {
	pid_t pid;
	pid_t ppid;
	uid_t uid;
	int errno; // 0 where the call succeeded
	char comm[16]; // the new one then, else the old one
	char args[2 * ARGS_BYTES]; // the file and what follows argv[0], with blanks between
};

// A call that has not returned yet.
struct call {
	__u64 args_bytes; // of event.args, including a zero
	struct event event;
};

// Keyed by task rather than thread id: a thread that calls execve takes over the id of its process.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

// Where a call is put together: it is too large for the stack.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct call);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

// Appends a string of the calling process and a blank. The text so far is shorter than ARGS_BYTES, so there is room for
// as much again.
static bool append(struct call *call, const char *string)
{
	__u64 at = call->args_bytes;
	long bytes;

	if (at >= ARGS_BYTES)
		return false;
	bytes = bpf_probe_read_user_str(&call->event.args[at], ARGS_BYTES, string);
	if (bytes <= 0)
		return false;
	at += bytes;
	if (at <= sizeof(call->event.args))
		call->event.args[at - 1] = ' ';
	call->args_bytes = at;
	return true;
}

static void append_args(struct call *call, const char *file, const char *const *argv)
{
	const char *arg = NULL;
	int first = 1;
	__u64 last;

	call->args_bytes = 0;
	append(call, file);
	if (call->args_bytes <= 1) {
		// fexecve gives an empty path, but argv[0] then says what is meant.
		call->args_bytes = 0;
		first = 0;
	}
	for (int i = first; i < ARGS_MAX; i++) {
		if (bpf_probe_read_user(&arg, sizeof(arg), &argv[i]) || !arg || !append(call, arg))
			break;
	}
	// A zero takes the last blank's place.
	if (!call->args_bytes)
		call->args_bytes = 1;
	last = call->args_bytes - 1;
	if (last < sizeof(call->event.args))
		call->event.args[last] = 0;
}

static int enter(const char *file, const char *const *argv)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	uid_t uid = bpf_get_current_uid_gid();
	__u64 key = (__u64)task;
	__u32 zero = 0;
	struct call *call = bpf_map_lookup_elem(&scratch, &zero);

	if (!call || (targ_uid != ANYONE && uid != targ_uid))
		return 0;
	call->event.ppid = BPF_CORE_READ(task, real_parent, tgid);
	call->event.uid = uid;
	append_args(call, file, argv);
	bpf_map_update_elem(&calls, &key, call, BPF_ANY);
	return 0;
}

static int leave(long ret)
{
	__u64 key = bpf_get_current_task();
	struct call *call = bpf_map_lookup_elem(&calls, &key);
	__u64 args_bytes;

	if (!call)
		return 0;
	if (ret < 0 && ignore_failed)
		goto done;
	call->event.pid = bpf_get_current_pid_tgid() >> 32;
	call->event.errno = ret < 0 ? -ret : 0;
	bpf_get_current_comm(call->event.comm, sizeof(call->event.comm));
	args_bytes = call->args_bytes;
	if (args_bytes > sizeof(call->event.args))
		args_bytes = sizeof(call->event.args);
	bpf_ringbuf_output(&events, &call->event, offsetof(struct event, args) + args_bytes, 0);
done:
	bpf_map_delete_elem(&calls, &key);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_execve")
int enter_execve(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[0], (const char *const *)ctx->args[1]);
}

SEC("tracepoint/syscalls/sys_enter_execveat")
int enter_execveat(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[1], (const char *const *)ctx->args[2]);
}

SEC("tracepoint/syscalls/sys_exit_execve")
int exit_execve(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_execveat")
int exit_execveat(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
