// Sockets of the host, found from packet programs; the test listens at `port` and is connected from `client`.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define LOOPBACK bpf_htonl(0x7f000001)

__u16 port, client, udp_port;
__u64 out[48];

static __always_inline void look(int at, struct bpf_sock *sk)
{
	out[at] = sk != 0;
	if (!sk)
		return;
	out[at + 1] = sk->family | (__u64)sk->type << 16 | (__u64)sk->protocol << 32;
	out[at + 2] = sk->src_port | (__u64)sk->dst_port << 32;
	out[at + 3] = sk->state;
	out[at + 4] = sk->src_ip4 | (__u64)sk->dst_ip4 << 32;
}

static __always_inline void look_closer(int at, struct bpf_sock *sk)
{
	look(at, sk);
	if (!sk)
		return;
	out[at + 5] = bpf_sk_fullsock(sk) != 0;
	out[at + 6] = bpf_get_listener_sock(sk) != 0;
}

static __always_inline struct bpf_sock_tuple from(__u16 source, __u16 destination)
{
	struct bpf_sock_tuple tuple = {};

	tuple.ipv4.saddr = LOOPBACK;
	tuple.ipv4.daddr = LOOPBACK;
	tuple.ipv4.sport = bpf_htons(source);
	tuple.ipv4.dport = bpf_htons(destination);
	return tuple;
}

SEC("tc")
int listener(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = from(1, port);
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);

	look_closer(0, sk);
	if (sk) {
		out[40] = bpf_sk_assign(skb, sk, 1);
		out[41] = bpf_sk_assign(skb, sk, 0);
		bpf_sk_release(sk);
	}
	return 0;
}

SEC("tc")
int connected(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = from(client, port);
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);

	look_closer(0, sk);
	if (sk)
		bpf_sk_release(sk);
	sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	out[10] = sk != 0;
	if (sk) {
		out[11] = sk->state;
		bpf_sk_release(sk);
	}
	return 0;
}

SEC("xdp")
int datagrams(struct xdp_md *ctx)
{
	struct bpf_sock_tuple tuple = from(9, udp_port);
	struct bpf_sock *sk = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);

	look(0, sk);
	if (sk)
		bpf_sk_release(sk);
	tuple = from(9, 1);
	sk = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	out[20] = sk != 0;
	if (sk)
		bpf_sk_release(sk);
	sk = bpf_sk_lookup_udp(ctx, &tuple, 5, BPF_F_CURRENT_NETNS, 0);
	out[21] = sk != 0;
	if (sk)
		bpf_sk_release(sk);
	return 0;
}

char _license[] SEC("license") = "GPL";
