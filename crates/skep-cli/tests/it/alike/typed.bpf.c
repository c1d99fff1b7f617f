// Values of the kernel's types as text: bytes of several patterns, whatever they mean to the type.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define BYTES 16384

static __u32 data[BYTES / 4];
char text[65536];
long ret;

static __always_inline void fill(int pattern)
{
	volatile __u32 *to = data;

	for (__u32 i = 0; i < BYTES / 4; i++)
		to[i] = pattern == 0   ? 0
			: pattern == 1 ? (i % 7 ? 0 : i + 1)
			: pattern == 2 ? 0x00616200 + i % 26
				       : i * 2654435761u;
}

#define SHOW(name, type, pattern, flags)                                                          \
	SEC("syscall") int name##_##pattern##_##flags(void *ctx)                                  \
	{                                                                                         \
		struct btf_ptr shown = { data, bpf_core_type_id_kernel(type), 0 };                \
		fill(pattern);                                                                    \
		ret = bpf_snprintf_btf(text, sizeof(text), &shown, sizeof(shown), flags);         \
		return ret;                                                                       \
	}

#define SHOW_ALL(name, type)                                                                      \
	SHOW(name, type, 0, 4)                                                                    \
	SHOW(name, type, 0, 13)                                                                   \
	SHOW(name, type, 1, 4)                                                                    \
	SHOW(name, type, 1, 7)                                                                    \
	SHOW(name, type, 2, 4)                                                                    \
	SHOW(name, type, 3, 12)                                                                   \
	SHOW(name, type, 3, 5)

SHOW_ALL(pair, struct list_head)
SHOW_ALL(bits, struct iphdr)
SHOW_ALL(arrays, struct ethhdr)
SHOW_ALL(unions, struct in6_addr)
SHOW_ALL(buffer, struct sk_buff)
SHOW_ALL(task, struct task_struct)
SHOW_ALL(name, struct new_utsname)
SHOW_ALL(attributes, union bpf_attr)
SHOW_ALL(device, struct net_device)
SHOW_ALL(signal, kernel_siginfo_t)
SHOW_ALL(sockets, struct tcp_sock)
SHOW_ALL(memory, struct vm_area_struct)
SHOW_ALL(program, struct bpf_prog_aux)
SHOW_ALL(info, struct bpf_map_info)
SHOW_ALL(number, __u64)
SHOW_ALL(word, enum bpf_prog_type)

SEC("syscall") int errors(void *ctx)
{
	struct btf_ptr shown = { data, bpf_core_type_id_kernel(struct list_head), 0 };
	long twelve, large, missing, flags, nothing, none, null;

	fill(1);
	twelve = bpf_snprintf_btf(text, 12, &shown, sizeof(shown), 4);
	nothing = bpf_snprintf_btf(text, 1, &shown, sizeof(shown), 4);
	flags = bpf_snprintf_btf(text, 12, &shown, sizeof(shown), 16);
	large = bpf_snprintf_btf(text, 12, &shown, sizeof(shown) - 1, 0);
	shown.type_id = 0;
	none = bpf_snprintf_btf(text, 12, &shown, sizeof(shown), 0);
	shown.type_id = 0x7fffffff;
	missing = bpf_snprintf_btf(text, 12, &shown, sizeof(shown), 0);
	shown.type_id = bpf_core_type_id_kernel(struct list_head);
	shown.ptr = 0;
	null = bpf_snprintf_btf(text, 12, &shown, sizeof(shown), 0);
	ret = (twelve & 0xffff) | (nothing & 0xffff) << 16;
	return flags + 100 * large + 10000 * none + 1000000 * missing + null;
}

char LICENSE[] SEC("license") = "GPL";
