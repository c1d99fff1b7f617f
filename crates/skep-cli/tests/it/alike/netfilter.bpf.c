// What a filter is told of a packet, and the packet itself.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 off, void *buf, __u32 size) __ksym;

#define NF_DROP 0
#define NF_ACCEPT 1
__u64 hook, family, len, bytes, source, devices;

SEC("netfilter")
int filter(struct bpf_nf_ctx *ctx)
{
	struct sk_buff *skb = ctx->skb;
	const struct nf_hook_state *state = ctx->state;
	struct bpf_dynptr packet;
	struct iphdr room, *header;

	hook = state->hook;
	family = state->pf;
	len = skb->len;
	devices = (state->in != NULL) + 2 * (state->out != NULL);
	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &packet))
		return NF_DROP;
	bytes = bpf_dynptr_size(&packet);
	header = bpf_dynptr_slice(&packet, 0, &room, sizeof(room));
	if (!header)
		return NF_DROP;
	source = header->saddr;
	return NF_ACCEPT;
}

char LICENSE[] SEC("license") = "GPL";
