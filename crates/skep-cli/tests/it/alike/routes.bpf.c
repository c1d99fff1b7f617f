// Routes of the host: the test makes a device `device` with the network 10.9.0.0/24, a router 10.9.0.2, and routes.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define ADDRESS(a, b, c, d) bpf_htonl((a) << 24 | (b) << 16 | (c) << 8 | (d))
#define QUERIES 17

__u16 device;
long result[QUERIES];
struct bpf_fib_lookup found[QUERIES];

static __always_inline void ask(void *ctx, int n, __u32 destination, __u32 flags, __u16 len, __u32 table)
{
	struct bpf_fib_lookup query = {};

	query.family = AF_INET;
	query.ifindex = device;
	query.tot_len = len;
	query.ipv4_dst = destination;
	query.tbid = table;
	result[n] = bpf_fib_lookup(ctx, &query, sizeof(query), flags);
	found[n] = query;
}

static __always_inline int ask_all(void *ctx)
{
	ask(ctx, 0, ADDRESS(10, 77, 0, 1), 0, 0, 0);
	ask(ctx, 1, ADDRESS(10, 77, 0, 1), BPF_FIB_LOOKUP_SKIP_NEIGH, 0, 0);
	ask(ctx, 2, ADDRESS(10, 77, 0, 1), BPF_FIB_LOOKUP_DIRECT, 0, 0);
	ask(ctx, 3, ADDRESS(10, 77, 0, 1), BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_TBID, 0, 254);
	ask(ctx, 4, ADDRESS(10, 77, 0, 1), BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_TBID, 0, 77);
	ask(ctx, 5, ADDRESS(10, 77, 0, 1), BPF_FIB_LOOKUP_OUTPUT, 0, 0);
	ask(ctx, 6, ADDRESS(10, 77, 0, 1), 0, 1500, 0);
	ask(ctx, 7, ADDRESS(10, 77, 0, 1), 0, 1501, 0);
	ask(ctx, 8, ADDRESS(10, 9, 0, 2), 0, 0, 0);
	ask(ctx, 9, ADDRESS(10, 9, 0, 3), 0, 0, 0);
	ask(ctx, 10, ADDRESS(10, 9, 0, 1), 0, 0, 0);
	ask(ctx, 11, ADDRESS(10, 78, 0, 1), 0, 0, 0);
	ask(ctx, 12, ADDRESS(10, 79, 0, 1), 0, 0, 0);
	ask(ctx, 13, ADDRESS(10, 80, 0, 1), 0, 0, 0);
	ask(ctx, 14, ADDRESS(192, 0, 2, 1), 0, 0, 0);
	ask(ctx, 15, ADDRESS(10, 81, 0, 1), 0, 1400, 0);
	ask(ctx, 16, ADDRESS(10, 82, 0, 1), 0, 1400, 0);
	return 0;
}

SEC("tc")
int of_buffers(struct __sk_buff *skb)
{
	return ask_all(skb);
}

SEC("xdp")
int of_frames(struct xdp_md *ctx)
{
	return ask_all(ctx);
}

char _license[] SEC("license") = "GPL";
