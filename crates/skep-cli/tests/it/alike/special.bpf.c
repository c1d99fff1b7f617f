// Maps whose values have fields of the kernel's own: locks, timers, pointers, work queues.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct locked { __u64 before; struct bpf_spin_lock lock; __u32 behind; __u64 after; };
struct timed { __u32 before; struct bpf_timer timer; __u64 after; };
struct both { struct bpf_timer timer; struct bpf_spin_lock lock; __u32 after; };
struct pointing { __u64 before; struct task_struct __kptr *task; __u32 after; };

#define MAP(name, kind, of)                    \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_##kind);     \
		__uint(max_entries, 6);                \
		__type(key, __u32);                    \
		__type(value, struct of);              \
	} name SEC(".maps")

MAP(locked_array, ARRAY, locked);
MAP(locked_hash, HASH, locked);
MAP(timed_array, ARRAY, timed);
MAP(timed_hash, HASH, timed);
MAP(both_array, ARRAY, both);
MAP(both_hash, HASH, both);
MAP(pointing_array, ARRAY, pointing);
MAP(pointing_hash, HASH, pointing);
MAP(pointing_each, PERCPU_ARRAY, pointing);

SEC("syscall") int nothing(void *ctx) { return 0; }

char LICENSE[] SEC("license") = "GPL";
