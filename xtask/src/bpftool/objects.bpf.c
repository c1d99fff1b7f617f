// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What the command lines of the comparison look at: maps with values of every kind of type, programs of several types.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

enum color { RED, GREEN = 5 };

struct inner {
	short a;
	char name[8];
};

struct val {
	__u32 x : 3;
	__u32 y : 29;
	int neg;
	__u64 big;
	struct inner in[2];
	enum color c;
	bool b;
	void *p;
	char ch;
	union {
		int i;
		char c4[4];
	} u;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct val);
} vals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu SEC(".maps");

int global = 7;
const volatile int limit = 3;
static volatile __u64 seen;

static __attribute__((noinline)) int triple(int a)
{
	return a * 3 + seen;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 *count = bpf_map_lookup_elem(&counts, &key);

	if (count) {
		(*count)++;
		seen += limit;
		global++;
	}
	bpf_printk("seen %d", triple(key));
	return XDP_PASS;
}

SEC("tc")
int classify(struct __sk_buff *skb)
{
	return skb->len > 20 ? 0 : 2;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int count(void *ctx)
{
	seen++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
