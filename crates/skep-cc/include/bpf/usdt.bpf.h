/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * Arguments of USDT probes.
 *
 * Where an argument lies (a constant, a register, memory) is written in the traced program's notes and differs from one
 * place of a probe to the next. The loader reads the notes and puts a description of each place into a map; the
 * functions here look it up and fetch. Names and layouts of the maps are libbpf's (1.7), which any loader of such objects
 * has to know.
 */
#ifndef __USDT_BPF_H__
#define __USDT_BPF_H__

#if __has_include(<linux/errno.h>)
#include <linux/errno.h>
#else
#define ENOENT 2
#define ESRCH 3
#define EINVAL 22
#endif
#include "bpf_helpers.h"
#include "bpf_tracing.h"

/* How many places may differ in how they pass arguments; define it before including this to have another number. */
#ifndef BPF_USDT_MAX_SPEC_CNT
#define BPF_USDT_MAX_SPEC_CNT 256
#endif

/* How many places there may be at all; only counts where the kernel has no attach cookies. */
#ifndef BPF_USDT_MAX_IP_CNT
#define BPF_USDT_MAX_IP_CNT (4 * BPF_USDT_MAX_SPEC_CNT)
#endif

#define BPF_USDT_MAX_ARG_CNT 12

/* --- What the loader describes ----------------------------------------------------------------------------------- */

enum __bpf_usdt_arg_type {
	BPF_USDT_ARG_CONST, /* val_off itself */
	BPF_USDT_ARG_REG, /* a register */
	BPF_USDT_ARG_REG_DEREF, /* memory at a register plus val_off */
	BPF_USDT_ARG_SIB, /* memory at a register plus a scaled register plus val_off */
};

struct __bpf_usdt_arg_spec {
	__u64 val_off;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	enum __bpf_usdt_arg_type arg_type : 8;
	__u16 idx_reg_off : 12; /* of the scaled register in struct pt_regs */
	__u16 scale_bitshift : 4;
	__u8 __reserved : 8;
#else
	__u8 __reserved : 8;
	__u16 idx_reg_off : 12;
	__u16 scale_bitshift : 4;
	enum __bpf_usdt_arg_type arg_type : 8;
#endif
	short reg_off; /* of the register in struct pt_regs */
	bool arg_signed;
	char arg_bitshift; /* how many of 64 bits the argument leaves unused */
};

struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[BPF_USDT_MAX_ARG_CNT];
	__u64 usdt_cookie;
	short arg_cnt;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_USDT_MAX_SPEC_CNT);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_USDT_MAX_IP_CNT);
	__type(key, long);
	__type(value, __u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps") __weak;

/* Known when the object is loaded: the cookie of an attachment then is the number of its description. */
extern const _Bool LINUX_HAS_BPF_COOKIE __kconfig;

static __always_inline int __bpf_usdt_spec_id(struct pt_regs *ctx)
{
	if (!LINUX_HAS_BPF_COOKIE) {
		long ip = PT_REGS_IP(ctx);
		int *id = bpf_map_lookup_elem(&__bpf_usdt_ip_to_spec_id, &ip);

		return id ? *id : -ESRCH;
	}
	return bpf_get_attach_cookie(ctx);
}

/* The description of the place being traced, or null. */
static __always_inline struct __bpf_usdt_spec *___bpf_usdt_spec(struct pt_regs *ctx)
{
	int id = __bpf_usdt_spec_id(ctx);

	return id < 0 ? NULL : bpf_map_lookup_elem(&__bpf_usdt_specs, &id);
}

/* Where argument `n` is, or null. The bound is checked first against the array, in a form the verifier follows. */
static __always_inline struct __bpf_usdt_arg_spec *___bpf_usdt_arg_spec(struct __bpf_usdt_spec *spec, __u64 n)
{
	if (n >= BPF_USDT_MAX_ARG_CNT)
		return NULL;
	barrier_var(n);
	return n < spec->arg_cnt ? &spec->args[n] : NULL;
}

/* --- What programs call ------------------------------------------------------------------------------------------ */

/* How many arguments the probe has. */
__weak __hidden int bpf_usdt_arg_cnt(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);

	return spec ? spec->arg_cnt : -ESRCH;
}

/* How many bytes argument `arg_num` has, counted from 0. */
static __always_inline int bpf_usdt_arg_size(struct pt_regs *ctx, __u64 arg_num)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);
	struct __bpf_usdt_arg_spec *arg;

	if (!spec)
		return -ESRCH;
	arg = ___bpf_usdt_arg_spec(spec, arg_num);
	return arg ? (unsigned int)(64 - arg->arg_bitshift) / 8 : -ENOENT;
}

/* Fetches argument `arg_num`, counted from 0; `*res` is 0 where that fails. */
__weak __hidden int bpf_usdt_arg(struct pt_regs *ctx, __u64 arg_num, long *res)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);
	struct __bpf_usdt_arg_spec *arg;
	unsigned long val, index = 0;
	int err;

	*res = 0;
	if (!spec)
		return -ESRCH;
	arg = ___bpf_usdt_arg_spec(spec, arg_num);
	if (!arg)
		return -ENOENT;
	if (arg->arg_type > BPF_USDT_ARG_SIB)
		return -EINVAL;

	if (arg->arg_type == BPF_USDT_ARG_CONST) {
		val = arg->val_off;
	} else {
		err = bpf_probe_read_kernel(&val, sizeof(val), (void *)ctx + arg->reg_off);
		if (err)
			return err;
	}
	if (arg->arg_type == BPF_USDT_ARG_SIB) {
		err = bpf_probe_read_kernel(&index, sizeof(index), (void *)ctx + arg->idx_reg_off);
		if (err)
			return err;
		index <<= arg->scale_bitshift;
	}
	if (arg->arg_type == BPF_USDT_ARG_REG_DEREF || arg->arg_type == BPF_USDT_ARG_SIB) {
		err = bpf_probe_read_user(&val, sizeof(val), (void *)(val + index + arg->val_off));
		if (err)
			return err;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		val >>= arg->arg_bitshift;
#endif
	}

	val <<= arg->arg_bitshift;
	*res = arg->arg_signed ? (long)val >> arg->arg_bitshift : val >> arg->arg_bitshift;
	return 0;
}

/* What the attachment was given to tell it from others. */
__weak __hidden long bpf_usdt_cookie(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);

	return spec ? spec->usdt_cookie : 0;
}

/* A program on a USDT probe, with named arguments. */
#define BPF_USDT(name, args...) ___bpf_define(name, struct pt_regs, ___bpf_usdt_list, ##args)
#define ___bpf_usdt_list                                                                                               \
	(___bpf_usdt_get(0), ___bpf_usdt_get(1), ___bpf_usdt_get(2), ___bpf_usdt_get(3), ___bpf_usdt_get(4),           \
	 ___bpf_usdt_get(5), ___bpf_usdt_get(6), ___bpf_usdt_get(7), ___bpf_usdt_get(8), ___bpf_usdt_get(9),           \
	 ___bpf_usdt_get(10), ___bpf_usdt_get(11))
#define ___bpf_usdt_get(n) ({ long ___arg; bpf_usdt_arg(ctx, n, &___arg); ___arg; })

#endif /* __USDT_BPF_H__ */
