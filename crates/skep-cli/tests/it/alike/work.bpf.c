// Work queues in values.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern int bpf_wq_init(struct bpf_wq *wq, void *map, unsigned int flags) __ksym;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned int flags) __ksym;
extern int bpf_wq_set_callback_impl(struct bpf_wq *wq, int (*function)(void *map, int *key, void *value),
				    unsigned int flags, void *aux) __ksym;

struct element {
	__u64 before;
	struct bpf_wq work;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct element);
} array SEC(".maps");

long out[8];
__u64 done;

static int count(void *map, int *key, void *value)
{
	struct element *element = value;

	__sync_fetch_and_add(&done, *key + element->before);
	return 0;
}

SEC("syscall")
int work(void *ctx)
{
	__u32 key = 3;
	struct element *e = bpf_map_lookup_elem(&array, &key);

	if (!e)
		return 1;
	e->before = 40;
	out[0] = bpf_wq_start(&e->work, 0);
	out[1] = bpf_wq_init(&e->work, &array, 1);
	out[2] = bpf_wq_init(&e->work, &array, 0);
	out[3] = bpf_wq_init(&e->work, &array, 0);
	out[4] = bpf_wq_set_callback_impl(&e->work, count, 0, 0);
	out[5] = bpf_wq_start(&e->work, 1);
	out[6] = bpf_wq_start(&e->work, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
