// Pages of an arena: given out, linked, taken back. Addresses differ, what is found at them does not.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8);
} arena SEC(".maps");

__u64 out[16];

#ifdef __BPF_FEATURE_ADDR_SPACE_CAST
#define __arena __attribute__((address_space(1)))

extern void __arena *bpf_arena_alloc_pages(void *map, void __arena *at, __u32 count, int node, __u64 flags) __ksym;
extern void bpf_arena_free_pages(void *map, void __arena *at, __u32 count) __ksym;

struct linked {
	struct linked __arena *next;
	__u64 value;
};

SEC("syscall")
int pages(void *ctx)
{
	struct linked __arena *first = bpf_arena_alloc_pages(&arena, 0, 2, -1, 0), *second, *third;

	out[0] = first != 0;
	if (!first)
		return 1;
	second = (void __arena *)first + 4096;
	first->next = second;
	first->value = 5;
	second->value = 7;
	out[1] = first->next->value + first->value;
	third = bpf_arena_alloc_pages(&arena, 0, 7, -1, 0);
	out[2] = third != 0;
	third = bpf_arena_alloc_pages(&arena, first, 1, -1, 0);
	out[3] = third != 0;
	bpf_arena_free_pages(&arena, first, 2);
	third = bpf_arena_alloc_pages(&arena, 0, 8, -1, 0);
	out[4] = third != 0;
	if (third)
		out[5] = third->value;
	out[6] = bpf_arena_alloc_pages(&arena, 0, 1, -1, 0) != 0;
	out[7] = bpf_arena_alloc_pages(&arena, 0, 0, -1, 0) != 0;
	out[8] = bpf_arena_alloc_pages(&arena, 0, 1, -1, 1) != 0;
	return 0;
}
#else
// What clang can compile since version 19.
SEC("syscall")
int skipped(void *ctx)
{
	return 0;
}
#endif

char _license[] SEC("license") = "GPL";
