// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// An iterator over the elements of a map.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("iter/bpf_map_elem")
int show(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 args[1];

	if (!key)
		return 0;
	args[0] = *key;
	bpf_seq_printf(ctx->meta->seq, "key %d\n", 8, args, sizeof(args));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
