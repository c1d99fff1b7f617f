// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// A program that says whose it is, counts for each processor, and sends a record, whose type only its own types tell.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

struct event {
	int length;
	char text[4];
};

struct event *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, long);
} counts SEC(".maps");

const char bpf_metadata_author[] SEC(".rodata") = "nobody";
const int bpf_metadata_version SEC(".rodata") = 7;

SEC("socket")
int said(struct __sk_buff *skb)
{
	struct event event = { .length = skb->len, .text = "abc" };
	int key = 0;
	long *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		++*count;
	bpf_ringbuf_output(&records, &event, sizeof(event), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
