// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What the probe tests attach: counts calls and returns, fills a map that is too small, and writes to a buffer.
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

__u64 entries, exits, sum, strange, kept, refused, sent, dropped;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u64);
	__type(value, __u64);
} few SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

SEC("uprobe")
int enter(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&entries, 1);
	if (PT_REGS_IP(ctx) != bpf_get_func_ip(ctx))
		__sync_fetch_and_add(&strange, 1);
	return 0;
}

SEC("uretprobe")
int leave(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&exits, 1);
	__sync_fetch_and_add(&sum, PT_REGS_RC(ctx));
	return 0;
}

SEC("uprobe")
int fill(struct pt_regs *ctx)
{
	__u64 key = PT_REGS_PARM1(ctx);

	if (bpf_map_update_elem(&few, &key, &key, BPF_ANY))
		__sync_fetch_and_add(&refused, 1);
	else
		__sync_fetch_and_add(&kept, 1);
	return 0;
}

SEC("uprobe")
int emit(struct pt_regs *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&records, 64, 0);

	if (!record) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	*record = PT_REGS_PARM1(ctx);
	bpf_ringbuf_submit(record, 0);
	__sync_fetch_and_add(&sent, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
