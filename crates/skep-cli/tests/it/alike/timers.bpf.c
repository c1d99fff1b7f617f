// Timers and work queues in values: every result, and what their callbacks leave behind.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define CLOCK_MONOTONIC 1
#define BPF_F_TIMER_ABS 1

struct element {
	__u64 before;
	struct bpf_timer timer;
	__u64 after;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct element);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct element);
} hash SEC(".maps");

long out[32];
__u64 fired, keys, rounds;

static int count(void *map, __u32 *key, struct element *value)
{
	__sync_fetch_and_add(&fired, 1);
	__sync_fetch_and_add(&keys, *key + value->before);
	return 0;
}

static int again(void *map, __u32 *key, struct element *value)
{
	if (__sync_fetch_and_add(&rounds, 1) < 4)
		out[20] = bpf_timer_start(&value->timer, 1000000, 0);
	out[21] = bpf_timer_cancel(&value->timer);
	return 0;
}

static struct element *of_array(__u32 key)
{
	return bpf_map_lookup_elem(&array, &key);
}

SEC("tc")
int results(void *ctx)
{
	struct element *e = of_array(0);

	if (!e)
		return 1;
	out[0] = bpf_timer_start(&e->timer, 0, 0);
	out[1] = bpf_timer_cancel(&e->timer);
	out[2] = bpf_timer_set_callback(&e->timer, count);
	out[3] = bpf_timer_init(&e->timer, &array, 3);
	out[4] = bpf_timer_init(&e->timer, &array, 16);
	out[5] = bpf_timer_init(&e->timer, &array, CLOCK_MONOTONIC);
	out[6] = bpf_timer_init(&e->timer, &array, CLOCK_MONOTONIC);
	out[7] = bpf_timer_start(&e->timer, 0, 0);
	out[8] = bpf_timer_set_callback(&e->timer, count);
	out[9] = bpf_timer_start(&e->timer, 0, 4);
	out[10] = bpf_timer_start(&e->timer, 1000000000000, 0);
	out[11] = bpf_timer_cancel(&e->timer);
	out[12] = bpf_timer_cancel(&e->timer);
	out[13] = bpf_timer_start(&e->timer, 0, 0);
	return 0;
}

SEC("tc")
int fire(void *ctx)
{
	__u32 key = 77;
	struct element fresh = { .before = 1000 };
	struct element *e = of_array(2);

	if (!e)
		return 1;
	e->before = 10;
	bpf_timer_init(&e->timer, &array, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&e->timer, count);
	bpf_timer_start(&e->timer, 1000, 0);
	out[0] = bpf_map_update_elem(&hash, &key, &fresh, 0);
	e = bpf_map_lookup_elem(&hash, &key);
	if (!e)
		return 2;
	bpf_timer_init(&e->timer, &hash, 7);
	bpf_timer_set_callback(&e->timer, count);
	bpf_timer_start(&e->timer, 1, BPF_F_TIMER_ABS);
	return 0;
}

SEC("tc")
int repeat(void *ctx)
{
	struct element *e = of_array(3);

	if (!e)
		return 1;
	bpf_timer_init(&e->timer, &array, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&e->timer, again);
	out[0] = bpf_timer_start(&e->timer, 1000, 0);
	return 0;
}

SEC("tc")
int deleted(void *ctx)
{
	__u32 key = 5;
	struct element fresh = {};
	struct element *e;

	bpf_map_update_elem(&hash, &key, &fresh, 0);
	e = bpf_map_lookup_elem(&hash, &key);
	if (!e)
		return 1;
	bpf_timer_init(&e->timer, &hash, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&e->timer, count);
	bpf_timer_start(&e->timer, 30000000, 0);
	out[0] = bpf_map_delete_elem(&hash, &key);
	bpf_map_update_elem(&hash, &key, &fresh, 0);
	e = bpf_map_lookup_elem(&hash, &key);
	if (!e)
		return 2;
	out[1] = bpf_timer_start(&e->timer, 0, 0);
	out[2] = bpf_timer_init(&e->timer, &hash, CLOCK_MONOTONIC);
	return 0;
}

char _license[] SEC("license") = "GPL";
