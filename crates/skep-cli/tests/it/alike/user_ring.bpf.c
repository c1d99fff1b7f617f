// Records from user space, taken as the variables say: how many at most, and with which flags.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

__u64 flags, limit;
__u64 taken, sum, bytes;
long past_end;

static long take(struct bpf_dynptr *record, void *unused)
{
	__u32 value = 0;
	__u32 size = bpf_dynptr_size(record);

	taken++;
	bytes += size;
	if (bpf_dynptr_read(&value, sizeof(value), record, 0, 0) == 0)
		sum += value;
	past_end = bpf_dynptr_read(&value, sizeof(value), record, size, 0);
	return taken >= limit;
}

SEC("syscall") int drain(void *ctx)
{
	taken = 0;
	return bpf_user_ringbuf_drain(&records, take, NULL, flags);
}

char LICENSE[] SEC("license") = "GPL";
