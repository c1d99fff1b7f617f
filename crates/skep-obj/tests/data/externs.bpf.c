// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* What a kernel has to supply: configuration values, symbols, variables, functions. */
#include "bpf.h"

enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig __weak;
extern enum libbpf_tristate CONFIG_MODULE __kconfig __weak;
extern char CONFIG_NAME[8] __kconfig __weak;
extern u64 CONFIG_WIDE __kconfig __weak;
extern unsigned int CONFIG_HZ __kconfig __weak;

struct task_struct { int pid; };
struct per_cpu { int count; };

extern const void init_task __ksym;
extern const void no_such_symbol __ksym __weak;
extern const struct per_cpu counters __ksym;
extern const int gone __ksym __weak;
extern void bpf_release(struct task_struct *task) __ksym;
extern int bpf_optional(int x) __ksym __weak;
extern int bpf_missing(int x) __ksym;

int result;

SEC("raw_tp/sys_enter")
int config(void *ctx)
{
	result = LINUX_KERNEL_VERSION + CONFIG_BPF + CONFIG_MODULE + CONFIG_NAME[1] + CONFIG_HZ;
	return CONFIG_WIDE;
}

SEC("raw_tp/sys_enter")
int symbols(void *ctx)
{
	return (u64)&init_task + (u64)&no_such_symbol + (u64)&counters + (u64)&gone;
}

SEC("raw_tp/sys_enter")
int functions(void *ctx)
{
	bpf_release(ctx);
	if (bpf_optional)
		return bpf_optional(1);
	return 0;
}

SEC("raw_tp/sys_enter")
int broken(void *ctx)
{
	return bpf_missing(2);
}

char _license[] SEC("license") = "GPL";
