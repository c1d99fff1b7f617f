// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What `cargo xtask bench load` reads: a ring buffer that a test run fills, and a hash that user space fills.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

struct record {
	__u64 number;
	__u64 value;
	char name[16];
};

struct request {
	__u32 records;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, __u64);
} entries SEC(".maps");

static long put(__u32 number, void *unused)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return 1;
	record->number = number;
	record->value = 3 * (__u64)number;
	__builtin_memset(record->name, 'x', sizeof(record->name));
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("syscall")
int produce(struct request *request)
{
	return bpf_loop(request->records, put, NULL, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
