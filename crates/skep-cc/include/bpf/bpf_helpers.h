/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * What every BPF C program needs: sections, map definitions, attributes, barriers, printing, open-coded loops.
 *
 * Names and meanings are those of libbpf's header of this name, so programs written for it compile unchanged. Include
 * vmlinux.h (or linux/bpf.h and linux/types.h) first: the helper declarations below use its types.
 */
#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include "bpf_helper_defs.h"

/* --- Sections and attributes ------------------------------------------------------------------------------------- */

/* Places a program, map, licence or variable in section `name`. On an extern, `used` means nothing; say nothing. */
#define SEC(name)                                                                                                      \
	_Pragma("GCC diagnostic push")                                                                                 \
	_Pragma("GCC diagnostic ignored \"-Wignored-attributes\"")                                                     \
	__attribute__((section(name), used))                                                                           \
	_Pragma("GCC diagnostic pop")

/* linux/stddef.h has a definition of its own that lacks `inline`. */
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

#ifndef __weak
#define __weak __attribute__((weak))
#endif

/* A subprogram that is not static but is verified in its callers' context, as if it were. */
#define __hidden __attribute__((visibility("hidden")))

/* Externs: values of the kernel's configuration, and its symbols and kfuncs. */
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))

/* Pointers that maps may hold. */
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#define __kptr_ref __attribute__((btf_type_tag("kptr_ref")))
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))
#define __uptr __attribute__((btf_type_tag("uptr")))

/* What the verifier may assume of an argument of a global subprogram. */
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#define __arg_nullable __attribute__((btf_decl_tag("arg:nullable")))
#define __arg_trusted __attribute__((btf_decl_tag("arg:trusted")))
#define __arg_untrusted __attribute__((btf_decl_tag("arg:untrusted")))
#define __arg_arena __attribute__((btf_decl_tag("arg:arena")))

/* Is a weak extern present in the running kernel? Not weak, it always is, and asking is a mistake. */
#define bpf_ksym_exists(sym)                                                                                           \
	({                                                                                                             \
		_Static_assert(!__builtin_constant_p(!!sym), #sym " should be marked as __weak");                      \
		!!sym;                                                                                                 \
	})

/* --- Preprocessor machinery -------------------------------------------------------------------------------------- */

#ifndef ___bpf_concat
#define ___bpf_concat(a, b) a##b
#endif
#ifndef ___bpf_apply
#define ___bpf_apply(macro, n) ___bpf_concat(macro, n)
#endif
/* The fourteenth argument: with a list of answers pushed to the right by the arguments of interest, it picks one. */
#ifndef ___bpf_nth
#define ___bpf_nth(_, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, pick, ...) pick
#endif
/* How many arguments there are, 0 to 12, as one token. */
#ifndef ___bpf_narg
#define ___bpf_narg(...) ___bpf_nth(_, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#endif

/* --- Maps -------------------------------------------------------------------------------------------------------- */

/*
 * A map is a variable of an anonymous struct in section ".maps". Only the types of its members count; they carry
 * numbers as array lengths and enumerators, and types as pointers.
 */
#define __uint(name, val) int(*name)[val]
#define __ulong(name, val) enum { ___bpf_concat(__unique_value, __COUNTER__) = val } name
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

/* The value of a map's `pinning`. */
enum libbpf_pin_type {
	LIBBPF_PIN_NONE,
	LIBBPF_PIN_BY_NAME, /* under /sys/fs/bpf, or where the loader is told */
};

/* The value of a tristate option of the kernel's configuration. */
enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

/* --- What system headers would define, which cannot stand beside vmlinux.h --------------------------------------- */

#ifndef NULL
#define NULL ((void *)0)
#endif

#ifndef KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#endif

#ifndef likely
#define likely(x) (__builtin_expect(!!(x), 1))
#endif
#ifndef unlikely
#define unlikely(x) (__builtin_expect(!!(x), 0))
#endif

/* __builtin_offsetof() is folded before CO-RE can record the access; taking an address is not. */
#undef offsetof
#define offsetof(type, member) ((unsigned long)&((type *)0)->member)

#undef container_of
#define container_of(ptr, type, member)                                                                                \
	({                                                                                                             \
		void *__mptr = (void *)(ptr);                                                                          \
		((type *)(__mptr - offsetof(type, member)));                                                           \
	})

/* --- Telling the compiler less ----------------------------------------------------------------------------------- */

/* No memory access moves across. */
#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif

/* The compiler forgets what it knows of `var`, so that a bound check before stays before and is kept. */
#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

/* The back end cannot emit a trap: code that reaches this does not compile. */
#ifndef __bpf_unreachable
#define __bpf_unreachable() __builtin_trap()
#endif

#if defined(__bpf__)
/*
 * A tail call through a slot known at compile time. Map and slot are set right before the call, never merged from two
 * paths, so a JIT that sees both constants can jump directly. Helper 12 is bpf_tail_call; it clobbers r0 to r5.
 */
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	if (!__builtin_constant_p(slot))
		__bpf_unreachable();

	asm volatile("r1 = %[ctx]\n\t"
		     "r2 = %[map]\n\t"
		     "r3 = %[slot]\n\t"
		     "call 12"
		     :
		     : [ctx] "r"(ctx), [map] "r"(map), [slot] "i"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5");
}
#endif

/* --- Printing ---------------------------------------------------------------------------------------------------- */

/* ___bpf_fill(array, a, b, c) assigns array[0] = a, array[1] = b, array[2] = c. */
#define ___bpf_fill0(array, i, x) do { } while (0)
#define ___bpf_fill1(array, i, x) array[i] = x
#define ___bpf_fill2(array, i, x, ...) array[i] = x; ___bpf_fill1(array, i + 1, __VA_ARGS__)
#define ___bpf_fill3(array, i, x, ...) array[i] = x; ___bpf_fill2(array, i + 1, __VA_ARGS__)
#define ___bpf_fill4(array, i, x, ...) array[i] = x; ___bpf_fill3(array, i + 1, __VA_ARGS__)
#define ___bpf_fill5(array, i, x, ...) array[i] = x; ___bpf_fill4(array, i + 1, __VA_ARGS__)
#define ___bpf_fill6(array, i, x, ...) array[i] = x; ___bpf_fill5(array, i + 1, __VA_ARGS__)
#define ___bpf_fill7(array, i, x, ...) array[i] = x; ___bpf_fill6(array, i + 1, __VA_ARGS__)
#define ___bpf_fill8(array, i, x, ...) array[i] = x; ___bpf_fill7(array, i + 1, __VA_ARGS__)
#define ___bpf_fill9(array, i, x, ...) array[i] = x; ___bpf_fill8(array, i + 1, __VA_ARGS__)
#define ___bpf_fill10(array, i, x, ...) array[i] = x; ___bpf_fill9(array, i + 1, __VA_ARGS__)
#define ___bpf_fill11(array, i, x, ...) array[i] = x; ___bpf_fill10(array, i + 1, __VA_ARGS__)
#define ___bpf_fill12(array, i, x, ...) array[i] = x; ___bpf_fill11(array, i + 1, __VA_ARGS__)
#define ___bpf_fill(array, ...) ___bpf_apply(___bpf_fill, ___bpf_narg(__VA_ARGS__))(array, 0, __VA_ARGS__)

/*
 * Declares ___fmt, the format as constant data, and ___param, the arguments as the u64 array that the printing helpers
 * take; pointers and integers alike go in.
 */
#define ___bpf_format(fmt, args...)                                                                                    \
	static const char ___fmt[] = fmt;                                                                              \
	unsigned long long ___param[___bpf_narg(args)];                                                                \
                                                                                                                       \
	_Pragma("GCC diagnostic push")                                                                                 \
	_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                                                         \
	___bpf_fill(___param, args);                                                                                   \
	_Pragma("GCC diagnostic pop")

/* Prints into an iterator's output. */
#define BPF_SEQ_PRINTF(seq, fmt, args...)                                                                              \
	({                                                                                                             \
		___bpf_format(fmt, ##args)                                                                             \
		bpf_seq_printf(seq, ___fmt, sizeof(___fmt), ___param, sizeof(___param));                               \
	})

/* Prints into a buffer. */
#define BPF_SNPRINTF(out, out_size, fmt, args...)                                                                      \
	({                                                                                                             \
		___bpf_format(fmt, ##args)                                                                             \
		bpf_snprintf(out, out_size, ___fmt, ___param, sizeof(___param));                                       \
	})

/* Prints to a program's own output or error stream (Linux 6.17). */
#define bpf_stream_printk(stream_id, fmt, args...)                                                                     \
	({                                                                                                             \
		___bpf_format(fmt, ##args)                                                                             \
		bpf_stream_vprintk(stream_id, ___fmt, ___param, sizeof(___param));                                     \
	})

/* Kernels without global data cannot hold the format elsewhere than on the stack. */
#ifdef BPF_NO_GLOBAL_DATA
#define BPF_PRINTK_FMT_MOD
#else
#define BPF_PRINTK_FMT_MOD static const
#endif

#define __bpf_printk(fmt, ...)                                                                                         \
	({                                                                                                             \
		BPF_PRINTK_FMT_MOD char ____fmt[] = fmt;                                                               \
		bpf_trace_printk(____fmt, sizeof(____fmt), ##__VA_ARGS__);                                             \
	})

#define __bpf_vprintk(fmt, args...)                                                                                    \
	({                                                                                                             \
		___bpf_format(fmt, ##args)                                                                             \
		bpf_trace_vprintk(___fmt, sizeof(___fmt), ___param, sizeof(___param));                                 \
	})

/* bpf_trace_printk takes at most three arguments; it exists everywhere, so it serves where it can. */
#define ___bpf_pick_printk(...)                                                                                        \
	___bpf_nth(_, ##__VA_ARGS__, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk,        \
		   __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_printk, __bpf_printk,             \
		   __bpf_printk, __bpf_printk)

/* Prints a line to the kernel's trace pipe. */
#define bpf_printk(fmt, args...) ___bpf_pick_printk(args)(fmt, ##args)

/* --- Open-coded iterators (Linux 6.4) ---------------------------------------------------------------------------- */

struct bpf_iter_num;

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/*
 * The first clause of a for loop over `struct bpf_iter_<type>`: the iterator, destroyed on every way out, and a dummy
 * variable whose initialiser makes it, once. The destructor is named there too, because clang writes no BTF for a
 * function that is only named by a cleanup attribute.
 */
#define ___bpf_iter(type, args...)                                                                                     \
	struct bpf_iter_##type ___it __attribute__((aligned(8), cleanup(bpf_iter_##type##_destroy))),                  \
		*___p __attribute__((unused)) = (bpf_iter_##type##_new(&___it, ##args),                                \
						 (void)bpf_iter_##type##_destroy, (void *)0)

/* Steps through what iterator `type` yields; `cur` points to each element in turn. break and continue work. */
#ifndef bpf_for_each
#define bpf_for_each(type, cur, args...) for (___bpf_iter(type, ##args); (((cur) = bpf_iter_##type##_next(&___it)));)
#endif

/* Counts `i` from `start` up to but not including `end`, in a way that shows the verifier the bounds. */
#ifndef bpf_for
#define bpf_for(i, start, end)                                                                                         \
	for (___bpf_iter(num, (start), (end)); ({                                                                      \
		     int *___t = bpf_iter_num_next(&___it);                                                            \
		     (___t && ((i) = *___t, (i) >= (start) && (i) < (end)));                                           \
	     });)
#endif

/* Does something `n` times. */
#ifndef bpf_repeat
#define bpf_repeat(n) for (___bpf_iter(num, 0, (n)); bpf_iter_num_next(&___it);)
#endif

#endif /* __BPF_HELPERS__ */
