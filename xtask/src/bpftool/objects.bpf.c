// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What the command lines of the comparison look at: maps with values of every kind of type, programs of several types.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

enum color { RED, GREEN = 5 };
enum sign { MINUS = -1, PLUS = 1 };

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

// Maps whose elements cannot be read, or not be counted.
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perfs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, long);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, enum sign);
} signs SEC(".maps");

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

static long each(__u32 at, void *ctx)
{
	seen += at;
	return 0;
}

SEC("xdp")
int a_name_that_is_cut_off(struct xdp_md *ctx)
{
	bpf_loop(3, each, 0, 0);
	return XDP_PASS;
}

SEC("sk_msg")
int verdict(struct sk_msg_md *msg)
{
	return SK_PASS;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	return 1;
}

SEC("flow_dissector")
int dissect(struct __sk_buff *skb)
{
	return BPF_OK;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int count(void *ctx)
{
	seen++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
