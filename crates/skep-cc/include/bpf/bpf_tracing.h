/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * Arguments of traced functions by name and type: registers of each architecture, and the macros that declare programs.
 *
 * The architecture is __TARGET_ARCH_<arch>, which whoever calls clang defines.
 */
#ifndef __BPF_TRACING_H__
#define __BPF_TRACING_H__

#include "bpf_helpers.h"

/* --- Architectures ----------------------------------------------------------------------------------------------- */

#if defined(__TARGET_ARCH_x86)
#define bpf_target_x86
#elif defined(__TARGET_ARCH_arm64)
#define bpf_target_arm64
#elif defined(__TARGET_ARCH_arm)
#define bpf_target_arm
#elif defined(__TARGET_ARCH_riscv)
#define bpf_target_riscv
#elif defined(__TARGET_ARCH_s390)
#define bpf_target_s390
#elif defined(__TARGET_ARCH_powerpc)
#define bpf_target_powerpc
#elif defined(__TARGET_ARCH_loongarch)
#define bpf_target_loongarch
#elif defined(__x86_64__) || defined(__i386__)
#define bpf_target_x86
#elif defined(__aarch64__)
#define bpf_target_arm64
#elif defined(__arm__)
#define bpf_target_arm
#elif defined(__riscv) && __riscv_xlen == 64
#define bpf_target_riscv
#elif defined(__s390x__)
#define bpf_target_s390
#elif defined(__powerpc__)
#define bpf_target_powerpc
#elif defined(__loongarch__)
#define bpf_target_loongarch
#endif

/*
 * Per architecture: fields of the saved registers that hold function arguments (__PT_PARMn_REG), system call arguments
 * where they differ (__PT_PARMn_SYSCALL_REG), return address, frame pointer, return value, stack and instruction
 * pointer. __PT_REGS_CAST where user space and the kernel name the struct differently. __PT_SYSCALL_ARG1_TYPE where
 * the first system call argument is in a field that only the kernel's struct has.
 */
#if defined(bpf_target_x86)

#if defined(__KERNEL__) || defined(__VMLINUX_H__)
#define __PT_PARM1_REG di
#define __PT_PARM2_REG si
#define __PT_PARM3_REG dx
#define __PT_PARM4_REG cx
#define __PT_RET_REG sp
#define __PT_FP_REG bp
#define __PT_RC_REG ax
#define __PT_SP_REG sp
#define __PT_IP_REG ip
#else /* asm/ptrace.h as user space sees it */
#define __PT_PARM1_REG rdi
#define __PT_PARM2_REG rsi
#define __PT_PARM3_REG rdx
#define __PT_PARM4_REG rcx
#define __PT_RET_REG rsp
#define __PT_FP_REG rbp
#define __PT_RC_REG rax
#define __PT_SP_REG rsp
#define __PT_IP_REG rip
#endif
#define __PT_PARM5_REG r8
#define __PT_PARM6_REG r9
#define __PT_PARM4_SYSCALL_REG r10 /* the syscall instruction takes rcx for itself */

#elif defined(bpf_target_arm64)

struct pt_regs___arm64 {
	unsigned long orig_x0;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const struct user_pt_regs *)(x))
#define __PT_PARM1_REG regs[0]
#define __PT_PARM2_REG regs[1]
#define __PT_PARM3_REG regs[2]
#define __PT_PARM4_REG regs[3]
#define __PT_PARM5_REG regs[4]
#define __PT_PARM6_REG regs[5]
#define __PT_PARM7_REG regs[6]
#define __PT_PARM8_REG regs[7]
#define __PT_PARM1_SYSCALL_REG orig_x0
#define __PT_SYSCALL_ARG1_TYPE struct pt_regs___arm64
#define __PT_RET_REG regs[30]
#define __PT_FP_REG regs[29]
#define __PT_RC_REG regs[0]
#define __PT_SP_REG sp
#define __PT_IP_REG pc

#elif defined(bpf_target_arm)

#define __PT_PARM1_REG uregs[0]
#define __PT_PARM2_REG uregs[1]
#define __PT_PARM3_REG uregs[2]
#define __PT_PARM4_REG uregs[3]
#define __PT_PARM5_SYSCALL_REG uregs[4]
#define __PT_PARM6_SYSCALL_REG uregs[5]
#define __PT_PARM7_SYSCALL_REG uregs[6]
#define __PT_RET_REG uregs[14]
#define __PT_FP_REG uregs[11]
#define __PT_RC_REG uregs[0]
#define __PT_SP_REG uregs[13]
#define __PT_IP_REG uregs[12]

#elif defined(bpf_target_riscv)

struct pt_regs___riscv {
	unsigned long orig_a0;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const struct user_regs_struct *)(x))
#define __PT_PARM1_REG a0
#define __PT_PARM2_REG a1
#define __PT_PARM3_REG a2
#define __PT_PARM4_REG a3
#define __PT_PARM5_REG a4
#define __PT_PARM6_REG a5
#define __PT_PARM7_REG a6
#define __PT_PARM8_REG a7
#define __PT_PARM1_SYSCALL_REG orig_a0
#define __PT_SYSCALL_ARG1_TYPE struct pt_regs___riscv
#define __PT_RET_REG ra
#define __PT_FP_REG s0
#define __PT_RC_REG a0
#define __PT_SP_REG sp
#define __PT_IP_REG pc

#elif defined(bpf_target_s390)

struct pt_regs___s390 {
	unsigned long orig_gpr2;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const user_pt_regs *)(x))
#define __PT_PARM1_REG gprs[2]
#define __PT_PARM2_REG gprs[3]
#define __PT_PARM3_REG gprs[4]
#define __PT_PARM4_REG gprs[5]
#define __PT_PARM5_REG gprs[6]
#define __PT_PARM1_SYSCALL_REG orig_gpr2
#define __PT_PARM6_SYSCALL_REG gprs[7]
#define __PT_SYSCALL_ARG1_TYPE struct pt_regs___s390
#define __PT_RET_REG gprs[14]
#define __PT_FP_REG gprs[11]
#define __PT_RC_REG gprs[2]
#define __PT_SP_REG gprs[15]
#define __PT_IP_REG psw.addr

#elif defined(bpf_target_powerpc)

#define __PT_PARM1_REG gpr[3]
#define __PT_PARM2_REG gpr[4]
#define __PT_PARM3_REG gpr[5]
#define __PT_PARM4_REG gpr[6]
#define __PT_PARM5_REG gpr[7]
#define __PT_PARM6_REG gpr[8]
#define __PT_PARM7_REG gpr[9]
#define __PT_PARM8_REG gpr[10]
#define __PT_PARM1_SYSCALL_REG orig_gpr3
#define __PT_RET_REG regs[31]
#define __PT_FP_REG __unsupported__
#define __PT_RC_REG gpr[3]
#define __PT_SP_REG gpr[1]
#define __PT_IP_REG nip
#define PT_REGS_SYSCALL_REGS(ctx) ctx

#elif defined(bpf_target_loongarch)

#define __PT_REGS_CAST(x) ((const struct user_pt_regs *)(x))
#define __PT_PARM1_REG regs[4]
#define __PT_PARM2_REG regs[5]
#define __PT_PARM3_REG regs[6]
#define __PT_PARM4_REG regs[7]
#define __PT_PARM5_REG regs[8]
#define __PT_PARM6_REG regs[9]
#define __PT_PARM7_REG regs[10]
#define __PT_PARM8_REG regs[11]
#define __PT_RET_REG regs[1]
#define __PT_FP_REG regs[22]
#define __PT_RC_REG regs[4]
#define __PT_SP_REG regs[3]
#define __PT_IP_REG csr_era
#define PT_REGS_SYSCALL_REGS(ctx) ctx

#else

/* Programs that do not look at registers need no architecture; the others get an error that says what is missing. */
#define __PT_REGS_CAST(x) ({ _Pragma("GCC error \"define __TARGET_ARCH_x86 or another __TARGET_ARCH_*\"") \
			     (struct ___bpf_no_arch *)(x); })
struct ___bpf_no_arch {
	unsigned long none;
};
#define __PT_PARM1_REG none
#define __PT_PARM2_REG none
#define __PT_PARM3_REG none
#define __PT_PARM4_REG none
#define __PT_PARM5_REG none
#define __PT_PARM6_REG none
#define __PT_PARM7_REG none
#define __PT_PARM8_REG none
#define __PT_RET_REG none
#define __PT_FP_REG none
#define __PT_RC_REG none
#define __PT_SP_REG none
#define __PT_IP_REG none

#endif

/* An argument that the architecture passes elsewhere than in a register: using it names a field that does not exist. */
#ifndef __PT_PARM4_REG
#define __PT_PARM4_REG __unsupported__
#endif
#ifndef __PT_PARM5_REG
#define __PT_PARM5_REG __unsupported__
#endif
#ifndef __PT_PARM6_REG
#define __PT_PARM6_REG __unsupported__
#endif
#ifndef __PT_PARM7_REG
#define __PT_PARM7_REG __unsupported__
#endif
#ifndef __PT_PARM8_REG
#define __PT_PARM8_REG __unsupported__
#endif

/* System calls take their arguments where functions do, unless said otherwise above. */
#ifndef __PT_PARM1_SYSCALL_REG
#define __PT_PARM1_SYSCALL_REG __PT_PARM1_REG
#endif
#ifndef __PT_PARM2_SYSCALL_REG
#define __PT_PARM2_SYSCALL_REG __PT_PARM2_REG
#endif
#ifndef __PT_PARM3_SYSCALL_REG
#define __PT_PARM3_SYSCALL_REG __PT_PARM3_REG
#endif
#ifndef __PT_PARM4_SYSCALL_REG
#define __PT_PARM4_SYSCALL_REG __PT_PARM4_REG
#endif
#ifndef __PT_PARM5_SYSCALL_REG
#define __PT_PARM5_SYSCALL_REG __PT_PARM5_REG
#endif
#ifndef __PT_PARM6_SYSCALL_REG
#define __PT_PARM6_SYSCALL_REG __PT_PARM6_REG
#endif
#ifndef __PT_PARM7_SYSCALL_REG
#define __PT_PARM7_SYSCALL_REG __unsupported__
#endif

#ifndef __PT_REGS_CAST
#define __PT_REGS_CAST(x) (x)
#endif

struct pt_regs;

/* --- Registers --------------------------------------------------------------------------------------------------- */

/* Directly, where the context itself is the saved registers. */
#define PT_REGS_PARM1(x) (__PT_REGS_CAST(x)->__PT_PARM1_REG)
#define PT_REGS_PARM2(x) (__PT_REGS_CAST(x)->__PT_PARM2_REG)
#define PT_REGS_PARM3(x) (__PT_REGS_CAST(x)->__PT_PARM3_REG)
#define PT_REGS_PARM4(x) (__PT_REGS_CAST(x)->__PT_PARM4_REG)
#define PT_REGS_PARM5(x) (__PT_REGS_CAST(x)->__PT_PARM5_REG)
#define PT_REGS_PARM6(x) (__PT_REGS_CAST(x)->__PT_PARM6_REG)
#define PT_REGS_PARM7(x) (__PT_REGS_CAST(x)->__PT_PARM7_REG)
#define PT_REGS_PARM8(x) (__PT_REGS_CAST(x)->__PT_PARM8_REG)
#define PT_REGS_RET(x) (__PT_REGS_CAST(x)->__PT_RET_REG)
#define PT_REGS_FP(x) (__PT_REGS_CAST(x)->__PT_FP_REG)
#define PT_REGS_RC(x) (__PT_REGS_CAST(x)->__PT_RC_REG)
#define PT_REGS_SP(x) (__PT_REGS_CAST(x)->__PT_SP_REG)
#define PT_REGS_IP(x) (__PT_REGS_CAST(x)->__PT_IP_REG)

/* Through bpf_probe_read_kernel, relocated, where they are elsewhere. bpf_core_read.h must be included too. */
#define PT_REGS_PARM1_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM1_REG)
#define PT_REGS_PARM2_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM2_REG)
#define PT_REGS_PARM3_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM3_REG)
#define PT_REGS_PARM4_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM4_REG)
#define PT_REGS_PARM5_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM5_REG)
#define PT_REGS_PARM6_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM6_REG)
#define PT_REGS_PARM7_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM7_REG)
#define PT_REGS_PARM8_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM8_REG)
#define PT_REGS_RET_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_RET_REG)
#define PT_REGS_FP_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_FP_REG)
#define PT_REGS_RC_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_RC_REG)
#define PT_REGS_SP_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_SP_REG)
#define PT_REGS_IP_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_IP_REG)

/* Arguments of a system call, from the registers that PT_REGS_SYSCALL_REGS gives. */
#ifndef __PT_SYSCALL_ARG1_TYPE
#define PT_REGS_PARM1_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM1_SYSCALL_REG)
#define PT_REGS_PARM1_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM1_SYSCALL_REG)
#else
#define PT_REGS_PARM1_SYSCALL(x) (((const __PT_SYSCALL_ARG1_TYPE *)(x))->__PT_PARM1_SYSCALL_REG)
#define PT_REGS_PARM1_CORE_SYSCALL(x) BPF_CORE_READ((const __PT_SYSCALL_ARG1_TYPE *)(x), __PT_PARM1_SYSCALL_REG)
#endif
#define PT_REGS_PARM2_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM2_SYSCALL_REG)
#define PT_REGS_PARM3_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM3_SYSCALL_REG)
#define PT_REGS_PARM4_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM4_SYSCALL_REG)
#define PT_REGS_PARM5_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM5_SYSCALL_REG)
#define PT_REGS_PARM6_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM6_SYSCALL_REG)
#define PT_REGS_PARM7_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM7_SYSCALL_REG)
#define PT_REGS_PARM2_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM2_SYSCALL_REG)
#define PT_REGS_PARM3_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM3_SYSCALL_REG)
#define PT_REGS_PARM4_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM4_SYSCALL_REG)
#define PT_REGS_PARM5_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM5_SYSCALL_REG)
#define PT_REGS_PARM6_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM6_SYSCALL_REG)
#define PT_REGS_PARM7_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM7_SYSCALL_REG)

/*
 * In a kprobe on a system call's function: where the system call's arguments are. Most architectures wrap system calls
 * in functions of one argument, the registers; those that do not said so above.
 */
#ifndef PT_REGS_SYSCALL_REGS
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))
#endif

/* The caller's address, at entry and at return: in a register, or on the stack. */
#if defined(bpf_target_powerpc)
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ (ip) = (ctx)->link; })
#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#elif defined(bpf_target_arm64)
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ (ip) = PT_REGS_RET(ctx); })
#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#else
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)PT_REGS_RET(ctx)); })
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx)                                                                             \
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)(PT_REGS_FP(ctx) + sizeof(ip))); })
#endif

/* --- Programs with named arguments ------------------------------------------------------------------------------- */

/*
 * All of these define the program as a function of its context that calls an inlined function with named, typed
 * arguments, the body. What the arguments are is a list of expressions, of which ___bpf_takeN keeps the first N, each
 * after a comma: as many as the body has parameters.
 */
#define ___bpf_take0(...)
#define ___bpf_take1(x, ...) , x
#define ___bpf_take2(x, ...) , x ___bpf_take1(__VA_ARGS__)
#define ___bpf_take3(x, ...) , x ___bpf_take2(__VA_ARGS__)
#define ___bpf_take4(x, ...) , x ___bpf_take3(__VA_ARGS__)
#define ___bpf_take5(x, ...) , x ___bpf_take4(__VA_ARGS__)
#define ___bpf_take6(x, ...) , x ___bpf_take5(__VA_ARGS__)
#define ___bpf_take7(x, ...) , x ___bpf_take6(__VA_ARGS__)
#define ___bpf_take8(x, ...) , x ___bpf_take7(__VA_ARGS__)
#define ___bpf_take9(x, ...) , x ___bpf_take8(__VA_ARGS__)
#define ___bpf_take10(x, ...) , x ___bpf_take9(__VA_ARGS__)
#define ___bpf_take11(x, ...) , x ___bpf_take10(__VA_ARGS__)
#define ___bpf_take12(x, ...) , x ___bpf_take11(__VA_ARGS__)

#define ___bpf_take(n, list) ___bpf_apply(___bpf_take, n) list

#define ___bpf_define(name, context, list, args...)                                                                    \
	name(context *ctx);                                                                                            \
	static __always_inline typeof(name(0)) ____##name(context *ctx, ##args);                                       \
	typeof(name(0)) name(context *ctx)                                                                             \
	{                                                                                                              \
		_Pragma("GCC diagnostic push")                                                                         \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                                                 \
		return ____##name(ctx ___bpf_take(___bpf_narg(args), list));                                           \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(context *ctx, ##args)

/* fentry, fexit, fmod_ret, lsm, tp_btf, raw_tp, struct_ops: the context is an array of u64, one for each argument. */
#define BPF_PROG(name, args...) ___bpf_define(name, unsigned long long, ___bpf_prog_list, ##args)
#define ___bpf_prog_list                                                                                               \
	(ctx[0], ctx[1], ctx[2], ctx[3], ctx[4], ctx[5], ctx[6], ctx[7], ctx[8], ctx[9], ctx[10], ctx[11])

/* kprobe and uprobe: the context is the saved registers. */
#define BPF_KPROBE(name, args...) ___bpf_define(name, struct pt_regs, ___bpf_kprobe_list, ##args)
#define BPF_UPROBE(name, args...) BPF_KPROBE(name, ##args)
#define ___bpf_kprobe_list                                                                                             \
	((unsigned long long)PT_REGS_PARM1(ctx), (unsigned long long)PT_REGS_PARM2(ctx),                               \
	 (unsigned long long)PT_REGS_PARM3(ctx), (unsigned long long)PT_REGS_PARM4(ctx),                               \
	 (unsigned long long)PT_REGS_PARM5(ctx), (unsigned long long)PT_REGS_PARM6(ctx),                               \
	 (unsigned long long)PT_REGS_PARM7(ctx), (unsigned long long)PT_REGS_PARM8(ctx))

/* kretprobe and uretprobe: by then only the return value is left. */
#define BPF_KRETPROBE(name, args...) ___bpf_define(name, struct pt_regs, ___bpf_kretprobe_list, ##args)
#define BPF_URETPROBE(name, args...) BPF_KRETPROBE(name, ##args)
#define ___bpf_kretprobe_list ((unsigned long long)PT_REGS_RC(ctx))

/*
 * ksyscall: a system call's arguments. Whether the traced function wraps the real one, and so has the registers as its
 * only argument, is decided when the object is loaded; bpf_core_read.h must be included too.
 */
#define BPF_KSYSCALL(name, args...)                                                                                    \
	name(struct pt_regs *ctx);                                                                                     \
	extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;                                                              \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args);                                \
	typeof(name(0)) name(struct pt_regs *ctx)                                                                      \
	{                                                                                                              \
		struct pt_regs *regs = LINUX_HAS_SYSCALL_WRAPPER ? (struct pt_regs *)PT_REGS_PARM1(ctx) : ctx;         \
		_Pragma("GCC diagnostic push")                                                                         \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                                                 \
		if (LINUX_HAS_SYSCALL_WRAPPER)                                                                         \
			return ____##name(ctx ___bpf_take(___bpf_narg(args), ___bpf_syscall_core_list));               \
		else                                                                                                   \
			return ____##name(ctx ___bpf_take(___bpf_narg(args), ___bpf_syscall_list));                    \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args)
#define BPF_KPROBE_SYSCALL BPF_KSYSCALL
#define ___bpf_syscall_list                                                                                            \
	((unsigned long long)PT_REGS_PARM1_SYSCALL(regs), (unsigned long long)PT_REGS_PARM2_SYSCALL(regs),             \
	 (unsigned long long)PT_REGS_PARM3_SYSCALL(regs), (unsigned long long)PT_REGS_PARM4_SYSCALL(regs),             \
	 (unsigned long long)PT_REGS_PARM5_SYSCALL(regs), (unsigned long long)PT_REGS_PARM6_SYSCALL(regs),             \
	 (unsigned long long)PT_REGS_PARM7_SYSCALL(regs))
#define ___bpf_syscall_core_list                                                                                       \
	((unsigned long long)PT_REGS_PARM1_CORE_SYSCALL(regs), (unsigned long long)PT_REGS_PARM2_CORE_SYSCALL(regs),   \
	 (unsigned long long)PT_REGS_PARM3_CORE_SYSCALL(regs), (unsigned long long)PT_REGS_PARM4_CORE_SYSCALL(regs),   \
	 (unsigned long long)PT_REGS_PARM5_CORE_SYSCALL(regs), (unsigned long long)PT_REGS_PARM6_CORE_SYSCALL(regs),   \
	 (unsigned long long)PT_REGS_PARM7_CORE_SYSCALL(regs))

/* --- Programs whose arguments may be structs --------------------------------------------------------------------- */

/* How many arguments there are, 0 to 24. */
#ifndef ___bpf_nth2
#define ___bpf_nth2(_, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20, _21, \
		    _22, _23, _24, pick, ...)                                                                          \
	pick
#endif
#define ___bpf_narg24(...)                                                                                             \
	___bpf_nth2(_, ##__VA_ARGS__, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, \
		    2, 1, 0)

/* A struct of up to 16 bytes takes as many of the context's u64 as it needs, one or two. */
#define ___bpf_words(t) (sizeof(t) > 8 ? 2 : 1)

/* The unsigned integer as wide as a type, so that a value narrower than a u64 comes from its low end. */
#define ___bpf_uint(t)                                                                                                 \
	typeof(__builtin_choose_expr(sizeof(t) == 1, (__u8)0,                                                          \
				     __builtin_choose_expr(sizeof(t) == 2, (__u16)0,                                   \
							   __builtin_choose_expr(sizeof(t) == 4, (__u32)0, (__u64)0))))

/* An argument of type `t` that begins at the context's n-th u64. */
#define ___bpf_arg(t, x, n)                                                                                            \
	({                                                                                                             \
		_Static_assert(sizeof(t) <= 16, "`" #t "` is too large to be passed in registers");                    \
		__builtin_choose_expr(                                                                                 \
			sizeof(t) <= 8, ({ union { ___bpf_uint(t) z; t x; } ___t = { .z = ctx[n] }; ___t.x; }),        \
			({ union { __u64 z[2]; t x; } ___t = { .z = { ctx[n], ctx[(n) + 1] } }; ___t.x; }));           \
	})

#define ___bpf_params0()
#define ___bpf_params2(t, x) , t x
#define ___bpf_params4(t, x, ...) , t x ___bpf_params2(__VA_ARGS__)
#define ___bpf_params6(t, x, ...) , t x ___bpf_params4(__VA_ARGS__)
#define ___bpf_params8(t, x, ...) , t x ___bpf_params6(__VA_ARGS__)
#define ___bpf_params10(t, x, ...) , t x ___bpf_params8(__VA_ARGS__)
#define ___bpf_params12(t, x, ...) , t x ___bpf_params10(__VA_ARGS__)
#define ___bpf_params14(t, x, ...) , t x ___bpf_params12(__VA_ARGS__)
#define ___bpf_params16(t, x, ...) , t x ___bpf_params14(__VA_ARGS__)
#define ___bpf_params18(t, x, ...) , t x ___bpf_params16(__VA_ARGS__)
#define ___bpf_params20(t, x, ...) , t x ___bpf_params18(__VA_ARGS__)
#define ___bpf_params22(t, x, ...) , t x ___bpf_params20(__VA_ARGS__)
#define ___bpf_params24(t, x, ...) , t x ___bpf_params22(__VA_ARGS__)
#define ___bpf_params(args...) ___bpf_apply(___bpf_params, ___bpf_narg24(args))(args)

#define ___bpf_args0(n)
#define ___bpf_args2(n, t, x) , ___bpf_arg(t, x, n)
#define ___bpf_args4(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args2((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args6(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args4((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args8(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args6((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args10(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args8((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args12(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args10((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args14(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args12((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args16(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args14((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args18(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args16((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args20(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args18((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args22(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args20((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args24(n, t, x, ...) , ___bpf_arg(t, x, n) ___bpf_args22((n) + ___bpf_words(t), __VA_ARGS__)
#define ___bpf_args(args...) ___bpf_apply(___bpf_args, ___bpf_narg24(args))(0, ##args)

/* BPF_PROG with a comma between type and name: BPF_PROG2(name, struct pair, p, int, ret). */
#define BPF_PROG2(name, args...)                                                                                       \
	name(unsigned long long *ctx);                                                                                 \
	static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx ___bpf_params(args));                \
	typeof(name(0)) name(unsigned long long *ctx)                                                                  \
	{                                                                                                              \
		return ____##name(ctx ___bpf_args(args));                                                              \
	}                                                                                                              \
	static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx ___bpf_params(args))

#endif /* __BPF_TRACING_H__ */
