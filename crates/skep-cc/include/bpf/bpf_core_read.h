/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * CO-RE: reading the running kernel's data by names of fields, and asking about its types.
 *
 * Each macro makes clang record a relocation, which the loader resolves against the kernel's own BTF.
 */
#ifndef __BPF_CORE_READ_H__
#define __BPF_CORE_READ_H__

#include "bpf_helpers.h"

/* --- Questions that relocations ask; numbers are those of enum bpf_core_relo_kind, per builtin ------------------- */

/* Second argument of __builtin_preserve_field_info(). */
enum bpf_field_info_kind {
	BPF_FIELD_BYTE_OFFSET = 0,
	BPF_FIELD_BYTE_SIZE = 1,
	BPF_FIELD_EXISTS = 2,
	BPF_FIELD_SIGNED = 3,
	BPF_FIELD_LSHIFT_U64 = 4,
	BPF_FIELD_RSHIFT_U64 = 5,
};

/* Second argument of __builtin_btf_type_id(): in the object's BTF, or in the kernel's. */
enum bpf_type_id_kind {
	BPF_TYPE_ID_LOCAL = 0,
	BPF_TYPE_ID_TARGET = 1,
};

/* Second argument of __builtin_preserve_type_info(). */
enum bpf_type_info_kind {
	BPF_TYPE_EXISTS = 0,
	BPF_TYPE_SIZE = 1,
	BPF_TYPE_MATCHES = 2,
};

/* Second argument of __builtin_preserve_enum_value(). */
enum bpf_enum_value_kind {
	BPF_ENUMVAL_EXISTS = 0,
	BPF_ENUMVAL_VALUE = 1,
};

/* --- Fields, types and enumerators ------------------------------------------------------------------------------- */

/* An lvalue-like expression of a type, never evaluated. */
#define ___bpf_typeof(type) ((typeof(type) *)0)

/* A field is given as an expression, `p->field`, or as a type and a field, `struct s, field`. */
#define ___bpf_field_ref1(field) (field)
#define ___bpf_field_ref2(type, field) (___bpf_typeof(type)->field)
#define ___bpf_field_ref(field...) ___bpf_apply(___bpf_field_ref, ___bpf_narg(field))(field)

/* 1 if the kernel has the field, else 0. */
#define bpf_core_field_exists(field...) __builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_EXISTS)
/* Bytes the field takes in the kernel. */
#define bpf_core_field_size(field...) __builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_BYTE_SIZE)
/* Bytes from the start of the struct to the field in the kernel. */
#define bpf_core_field_offset(field...) __builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_BYTE_OFFSET)

/* A type's id in the object's own BTF. */
#define bpf_core_type_id_local(type) __builtin_btf_type_id(*___bpf_typeof(type), BPF_TYPE_ID_LOCAL)
/* The id of the kernel's type of this name and kind; 0 without one. */
#define bpf_core_type_id_kernel(type) __builtin_btf_type_id(*___bpf_typeof(type), BPF_TYPE_ID_TARGET)
/* 1 if the kernel has a type of this name and kind, else 0. */
#define bpf_core_type_exists(type) __builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_EXISTS)
/* 1 if the kernel has one with the same members, else 0. */
#define bpf_core_type_matches(type) __builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_MATCHES)
/* Bytes the kernel's type takes; 0 without one. */
#define bpf_core_type_size(type) __builtin_preserve_type_info(*___bpf_typeof(type), BPF_TYPE_SIZE)

/* 1 if the kernel's enum has the enumerator, else 0. */
#define bpf_core_enum_value_exists(enum_type, enum_value)                                                              \
	__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_EXISTS)
/* The enumerator's value in the kernel; 0 without it. */
#define bpf_core_enum_value(enum_type, enum_value)                                                                     \
	__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_VALUE)

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

/* Makes the verifier see a pointer to the kernel's `type`, whose fields can then be read like any others. */
#define bpf_core_cast(ptr, type) ((typeof(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))

/* --- Bit fields -------------------------------------------------------------------------------------------------- */

#define __CORE_RELO(src, field, info) __builtin_preserve_field_info((src)->field, BPF_FIELD_##info)

/* Where the field's storage unit lies in a u64: at its low end in value, so at the far end on a big-endian target. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ___core_low_bytes(dst, size) ((void *)dst)
#else
#define ___core_low_bytes(dst, size) ((void *)dst + (8 - (size)))
#endif

#define __CORE_BITFIELD_PROBE_READ(dst, src, fld)                                                                      \
	bpf_probe_read_kernel(___core_low_bytes(dst, __CORE_RELO(src, fld, BYTE_SIZE)),                                \
			      __CORE_RELO(src, fld, BYTE_SIZE),                                                        \
			      (const void *)src + __CORE_RELO(src, fld, BYTE_OFFSET))

/* Cuts the field out of its storage unit: away with the bits above, then down over the bits below. */
#define ___core_bitfield_extract(val, s, field)                                                                        \
	val <<= __CORE_RELO(s, field, LSHIFT_U64);                                                                     \
	if (__CORE_RELO(s, field, SIGNED))                                                                             \
		val = ((long long)val) >> __CORE_RELO(s, field, RSHIFT_U64);                                           \
	else                                                                                                           \
		val = val >> __CORE_RELO(s, field, RSHIFT_U64)

/* A bit field's value as u64, sign-extended if it is signed; its storage is read with bpf_probe_read_kernel. */
#define BPF_CORE_READ_BITFIELD_PROBED(s, field)                                                                        \
	({                                                                                                             \
		unsigned long long val = 0;                                                                            \
                                                                                                                       \
		__CORE_BITFIELD_PROBE_READ(&val, s, field);                                                            \
		___core_bitfield_extract(val, s, field);                                                               \
		val;                                                                                                   \
	})

/* The same for programs that may read kernel memory directly. barrier_var keeps one relocated address for all sizes. */
#define BPF_CORE_READ_BITFIELD(s, field)                                                                               \
	({                                                                                                             \
		const void *p = (const void *)s + __CORE_RELO(s, field, BYTE_OFFSET);                                  \
		unsigned long long val;                                                                                \
                                                                                                                       \
		asm volatile("" : "+r"(p));                                                                            \
		switch (__CORE_RELO(s, field, BYTE_SIZE)) {                                                            \
		case 1: val = *(const unsigned char *)p; break;                                                        \
		case 2: val = *(const unsigned short *)p; break;                                                       \
		case 4: val = *(const unsigned int *)p; break;                                                         \
		case 8: val = *(const unsigned long long *)p; break;                                                   \
		default: val = 0; break;                                                                               \
		}                                                                                                      \
		___core_bitfield_extract(val, s, field);                                                               \
		val;                                                                                                   \
	})

/* Sets a bit field and leaves its neighbours alone, where a program may write to the struct. */
#define BPF_CORE_WRITE_BITFIELD(s, field, new_val)                                                                     \
	({                                                                                                             \
		void *p = (void *)s + __CORE_RELO(s, field, BYTE_OFFSET);                                              \
		unsigned int byte_size = __CORE_RELO(s, field, BYTE_SIZE);                                             \
		unsigned int lshift = __CORE_RELO(s, field, LSHIFT_U64);                                               \
		unsigned int rshift = __CORE_RELO(s, field, RSHIFT_U64);                                               \
		unsigned long long mask, val, nval = new_val;                                                          \
		unsigned int rpad = rshift - lshift;                                                                   \
                                                                                                                       \
		asm volatile("" : "+r"(p));                                                                            \
		switch (byte_size) {                                                                                   \
		case 1: val = *(unsigned char *)p; break;                                                              \
		case 2: val = *(unsigned short *)p; break;                                                             \
		case 4: val = *(unsigned int *)p; break;                                                               \
		case 8: val = *(unsigned long long *)p; break;                                                         \
		}                                                                                                      \
		mask = (~0ULL << rshift) >> lshift;                                                                    \
		val = (val & ~mask) | ((nval << rpad) & mask);                                                         \
		switch (byte_size) {                                                                                   \
		case 1: *(unsigned char *)p = val; break;                                                              \
		case 2: *(unsigned short *)p = val; break;                                                             \
		case 4: *(unsigned int *)p = val; break;                                                               \
		case 8: *(unsigned long long *)p = val; break;                                                         \
		}                                                                                                      \
	})

/* --- One read ---------------------------------------------------------------------------------------------------- */

/*
 * `src` is the address of a field, `&p->a.b`. The _user forms read user memory through *kernel* types: uapi structs
 * that a system call was given. What the kernel has no type for is read with the BPF_PROBE_READ_USER family.
 */
#define bpf_core_read(dst, sz, src)                                                                                    \
	bpf_probe_read_kernel(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_user(dst, sz, src)                                                                               \
	bpf_probe_read_user(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_str(dst, sz, src)                                                                                \
	bpf_probe_read_kernel_str(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_user_str(dst, sz, src)                                                                           \
	bpf_probe_read_user_str(dst, sz, (const void *)__builtin_preserve_access_index(src))

/* --- Chains of reads --------------------------------------------------------------------------------------------- */

/*
 * BPF_CORE_READ(src, a, b.c, d) is src->a->b.c->d: every arrow is one read. ___core_chainN walks N accessors. `path` is
 * the expression up to here, which only typeof() sees, `from` where its value really is: `src` first, then ___next,
 * which receives every pointer but the last value.
 */
#define ___core_step(fn, dst, path, from, a) fn((void *)(dst), sizeof(*(dst)), &((typeof(path))(from))->a)
#define ___core_chain1(fn, step, dst, path, from, a) ___core_step(fn, dst, path, from, a);
#define ___core_chain2(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain1(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain3(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain2(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain4(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain3(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain5(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain4(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain6(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain5(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain7(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain6(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain8(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain7(fn, step, dst, path->a, ___next, __VA_ARGS__)
#define ___core_chain9(fn, step, dst, path, from, a, ...)                                                              \
	___core_step(step, &___next, path, from, a); ___core_chain8(fn, step, dst, path->a, ___next, __VA_ARGS__)

/* Answers what the last read answered. */
#define ___core_read(fn, step, dst, src, ...)                                                                          \
	({                                                                                                             \
		const void *___next __attribute__((unused));                                                           \
		___bpf_apply(___core_chain, ___bpf_narg(__VA_ARGS__))(fn, step, dst, (src), (src), __VA_ARGS__)        \
	})

/* src->a->b->c, for typeof() only. */
#define ___core_path1(src, a) (src)->a
#define ___core_path2(src, a, ...) ___core_path1((src)->a, __VA_ARGS__)
#define ___core_path3(src, a, ...) ___core_path2((src)->a, __VA_ARGS__)
#define ___core_path4(src, a, ...) ___core_path3((src)->a, __VA_ARGS__)
#define ___core_path5(src, a, ...) ___core_path4((src)->a, __VA_ARGS__)
#define ___core_path6(src, a, ...) ___core_path5((src)->a, __VA_ARGS__)
#define ___core_path7(src, a, ...) ___core_path6((src)->a, __VA_ARGS__)
#define ___core_path8(src, a, ...) ___core_path7((src)->a, __VA_ARGS__)
#define ___core_path9(src, a, ...) ___core_path8((src)->a, __VA_ARGS__)
#define ___core_path(src, ...) ___bpf_apply(___core_path, ___bpf_narg(__VA_ARGS__))(src, __VA_ARGS__)

/* The type a chain yields, without const where the compiler can take it off. */
#if defined(__clang__) && (__clang_major__ >= 19)
#define ___core_type(...) __typeof_unqual__(___core_path(__VA_ARGS__))
#else
#define ___core_type(...) typeof(___core_path(__VA_ARGS__))
#endif

/* The chain's value, zero where a read fails. */
#define ___core_value(into, src, ...)                                                                                  \
	({                                                                                                             \
		___core_type(src, __VA_ARGS__) ___value;                                                               \
		into(&___value, src, __VA_ARGS__);                                                                     \
		___value;                                                                                              \
	})

/* Kernel memory, relocated. */
#define BPF_CORE_READ_INTO(dst, src, a, ...)                                                                           \
	___core_read(bpf_core_read, bpf_core_read, dst, src, a, ##__VA_ARGS__)
#define BPF_CORE_READ_STR_INTO(dst, src, a, ...)                                                                       \
	___core_read(bpf_core_read_str, bpf_core_read, dst, src, a, ##__VA_ARGS__)
#define BPF_CORE_READ(src, a, ...) ___core_value(BPF_CORE_READ_INTO, src, a, ##__VA_ARGS__)

/* User memory, relocated. */
#define BPF_CORE_READ_USER_INTO(dst, src, a, ...)                                                                      \
	___core_read(bpf_core_read_user, bpf_core_read_user, dst, src, a, ##__VA_ARGS__)
#define BPF_CORE_READ_USER_STR_INTO(dst, src, a, ...)                                                                  \
	___core_read(bpf_core_read_user_str, bpf_core_read_user, dst, src, a, ##__VA_ARGS__)
#define BPF_CORE_READ_USER(src, a, ...) ___core_value(BPF_CORE_READ_USER_INTO, src, a, ##__VA_ARGS__)

/* Kernel memory, at the offsets of the object's own types. */
#define BPF_PROBE_READ_INTO(dst, src, a, ...)                                                                          \
	___core_read(bpf_probe_read_kernel, bpf_probe_read_kernel, dst, src, a, ##__VA_ARGS__)
#define BPF_PROBE_READ_STR_INTO(dst, src, a, ...)                                                                      \
	___core_read(bpf_probe_read_kernel_str, bpf_probe_read_kernel, dst, src, a, ##__VA_ARGS__)
#define BPF_PROBE_READ(src, a, ...) ___core_value(BPF_PROBE_READ_INTO, src, a, ##__VA_ARGS__)

/* User memory, at the offsets of the object's own types, whatever they are. */
#define BPF_PROBE_READ_USER_INTO(dst, src, a, ...)                                                                     \
	___core_read(bpf_probe_read_user, bpf_probe_read_user, dst, src, a, ##__VA_ARGS__)
#define BPF_PROBE_READ_USER_STR_INTO(dst, src, a, ...)                                                                 \
	___core_read(bpf_probe_read_user_str, bpf_probe_read_user, dst, src, a, ##__VA_ARGS__)
#define BPF_PROBE_READ_USER(src, a, ...) ___core_value(BPF_PROBE_READ_USER_INTO, src, a, ##__VA_ARGS__)

#endif /* __BPF_CORE_READ_H__ */
