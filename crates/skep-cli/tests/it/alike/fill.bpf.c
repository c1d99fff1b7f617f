// Kernel functions that fill and copy dynptrs, go over bits, count the elements of maps and make packets linear.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

extern int bpf_dynptr_copy(struct bpf_dynptr *to, __u32 to_off, struct bpf_dynptr *from, __u32 off, __u32 len) __ksym;
extern int bpf_dynptr_memset(struct bpf_dynptr *to, __u32 off, __u32 len, __u8 value) __ksym;
extern int bpf_dynptr_adjust(const struct bpf_dynptr *p, __u32 start, __u32 end) __ksym;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *p) __ksym;
extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *to, __u32 off, __u32 len, const void *from) __ksym;
extern int bpf_probe_read_kernel_dynptr(struct bpf_dynptr *to, __u32 off, __u32 len, const void *from) __ksym;
extern int bpf_probe_read_user_str_dynptr(struct bpf_dynptr *to, __u32 off, __u32 len, const void *from) __ksym;
extern int bpf_probe_read_kernel_str_dynptr(struct bpf_dynptr *to, __u32 off, __u32 len, const void *from) __ksym;
extern int bpf_copy_from_user_dynptr(struct bpf_dynptr *to, __u32 off, __u32 len, const void *from) __ksym;
extern int bpf_copy_from_user_str_dynptr(struct bpf_dynptr *to, __u32 off, __u32 len, const void *from) __ksym;
extern int bpf_iter_bits_new(struct bpf_iter_bits *it, const __u64 *words, __u32 count) __ksym;
extern int *bpf_iter_bits_next(struct bpf_iter_bits *it) __ksym;
extern void bpf_iter_bits_destroy(struct bpf_iter_bits *it) __ksym;
extern __s64 bpf_map_sum_elem_count(const struct bpf_map *map) __ksym;
extern int bpf_xdp_pull_data(struct xdp_md *ctx, __u32 len) __ksym;

char first[300], second[300], text[] = "a text";
int got[32];
long sum;

#define GOT(call) got[n++ & 31] = (call)

SEC("syscall") int memory(void *ctx)
{
	struct bpf_dynptr a, b, none;
	int n = 0;

	bpf_dynptr_from_mem(first, sizeof(first), 0, &a);
	bpf_dynptr_from_mem(second, sizeof(second), 0, &b);
	bpf_dynptr_from_mem(second, sizeof(second), 1, &none);
	GOT(bpf_dynptr_memset(&a, 10, 20, 0x5a));
	GOT(bpf_dynptr_memset(&a, 290, 11, 1));
	GOT(bpf_dynptr_memset(&a, 300, 0, 1));
	GOT(bpf_dynptr_memset(&none, 0, 1, 1));
	GOT(bpf_dynptr_memset(&none, 0, 0, 1));
	GOT(bpf_dynptr_copy(&b, 100, &a, 5, 40));
	GOT(bpf_dynptr_copy(&b, 290, &a, 5, 40));
	GOT(bpf_dynptr_copy(&b, 0, &a, 290, 40));
	GOT(bpf_dynptr_copy(&a, 12, &a, 8, 16));
	GOT(bpf_dynptr_copy(&none, 0, &a, 0, 1));
	GOT(bpf_dynptr_copy(&a, 0, &none, 0, 1));
	GOT(bpf_dynptr_copy(&none, 0, &none, 0, 0));
	GOT(bpf_dynptr_copy(&none, 0, &none, 0, 4));
	GOT(bpf_dynptr_adjust(&b, 10, 20));
	GOT(bpf_dynptr_memset(&b, 0, 10, 7));
	GOT(bpf_dynptr_memset(&b, 0, 11, 7));
	return 0;
}

SEC("syscall") int read(void *ctx)
{
	struct bpf_dynptr a, none;
	int n = 0;

	bpf_dynptr_from_mem(first, sizeof(first), 0, &a);
	bpf_dynptr_from_mem(second, sizeof(second), 1, &none);
	GOT(bpf_dynptr_memset(&a, 0, 100, 0xee));
	GOT(bpf_probe_read_kernel_dynptr(&a, 1, sizeof(text), text));
	GOT(bpf_probe_read_kernel_dynptr(&a, 299, sizeof(text), text));
	GOT(bpf_probe_read_kernel_str_dynptr(&a, 20, 20, text));
	GOT(bpf_probe_read_kernel_str_dynptr(&a, 30, 4, text));
	GOT(bpf_probe_read_kernel_str_dynptr(&a, 40, 0, text));
	GOT(bpf_probe_read_kernel_str_dynptr(&a, 299, 4, text));
	GOT(bpf_probe_read_user_dynptr(&a, 50, 8, (void *)8));
	GOT(bpf_probe_read_user_str_dynptr(&a, 60, 8, (void *)8));
	GOT(bpf_probe_read_user_dynptr(&none, 0, 8, (void *)8));
	GOT(bpf_probe_read_user_dynptr(&none, 0, 0, (void *)8));
	GOT(bpf_probe_read_kernel_dynptr(&none, 0, 1, text));
	return 0;
}

SEC("syscall") int copied(void *ctx)
{
	struct bpf_dynptr a;
	int n = 0;

	bpf_dynptr_from_mem(first, sizeof(first), 0, &a);
	bpf_dynptr_memset(&a, 0, 100, 0xee);
	GOT(bpf_copy_from_user_dynptr(&a, 10, 8, (void *)8));
	GOT(bpf_copy_from_user_str_dynptr(&a, 30, 8, (void *)8));
	GOT(bpf_copy_from_user_str_dynptr(&a, 30, 0, (void *)8));
	GOT(bpf_copy_from_user_dynptr(&a, 299, 8, (void *)8));
	return 0;
}

SEC("tc") int packet(struct __sk_buff *skb)
{
	struct bpf_dynptr a, p;
	int n = 0;

	bpf_dynptr_from_mem(first, sizeof(first), 0, &a);
	GOT(bpf_dynptr_from_skb(skb, 0, &p));
	GOT(bpf_dynptr_memset(&p, 40, 20, 0x33));
	GOT(bpf_dynptr_memset(&p, 90, 20, 0x33));
	GOT(bpf_dynptr_copy(&a, 0, &p, 30, 40));
	GOT(bpf_dynptr_copy(&p, 0, &a, 5, 30));
	GOT(bpf_dynptr_copy(&p, 90, &a, 5, 30));
	GOT(bpf_probe_read_kernel_str_dynptr(&p, 5, 30, text));
	GOT(bpf_dynptr_copy(&a, 100, &p, 0, 98));
	return 0;
}

__u64 words[512] = {0x8000000000000001, 0, 0x10};

static long over(const __u64 *from, __u32 count)
{
	struct bpf_iter_bits it;
	int *bit;
	long made = bpf_iter_bits_new(&it, from, count);

	while ((bit = bpf_iter_bits_next(&it)))
		sum = sum * 1000 + *bit;
	if (bpf_iter_bits_next(&it))
		sum = -1;
	bpf_iter_bits_destroy(&it);
	return made;
}

SEC("syscall") int bits(void *ctx)
{
	__u64 word = 0x8001;
	int n = 0;

	GOT(over(&word, 1));
	GOT(over(words, 1));
	GOT(over(words, 3));
	GOT(over(words, 511));
	GOT(over(words, 512));
	GOT(over(words, 0));
	GOT(over(NULL, 1));
	GOT(over((void *)8, 1));
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, int);
	__type(value, long);
	__uint(max_entries, 10);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__type(key, int);
	__type(value, long);
	__uint(max_entries, 1000);
} lru SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, int);
	__type(value, long);
	__uint(max_entries, 10);
} array SEC(".maps");

SEC("syscall") int elements(void *ctx)
{
	long value = 1;
	int n = 0;

	GOT(bpf_map_sum_elem_count((struct bpf_map *)&hash));
	int key;
	bpf_for(key, 0, 12) {
		bpf_map_update_elem(&hash, &key, &value, 0);
		if (key < 7)
			bpf_map_update_elem(&lru, &key, &value, 0);
	}
	GOT(bpf_map_sum_elem_count((struct bpf_map *)&hash));
	GOT(bpf_map_sum_elem_count((struct bpf_map *)&lru));
	int gone = 3;
	bpf_map_delete_elem(&hash, &gone);
	GOT(bpf_map_sum_elem_count((struct bpf_map *)&hash));
	GOT(bpf_map_sum_elem_count((struct bpf_map *)&array));
	return 0;
}

SEC("xdp") int pull(struct xdp_md *ctx)
{
	int n = 0;

	GOT(bpf_xdp_pull_data(ctx, 0));
	GOT(bpf_xdp_pull_data(ctx, 98));
	GOT(bpf_xdp_pull_data(ctx, 99));
	GOT(bpf_xdp_pull_data(ctx, -1));
	GOT(ctx->data_end - ctx->data);
	return 2;
}
