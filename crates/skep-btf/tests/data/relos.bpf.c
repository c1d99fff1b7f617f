// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
// Asks every CO-RE question once or more; `target.c` has the types that answer. Sections of the compiled objects are beside
// this file:
//
//   for f in relos.bpf target; do
//     clang -target bpf -g -O2 -mcpu=v3 -c $f.c -o $f.o
//     llvm-objcopy -O binary --only-section=.BTF --set-section-flags .BTF=alloc $f.o $f.btf
//   done
//   llvm-objcopy -O binary --only-section=.BTF.ext --set-section-flags .BTF.ext=alloc relos.bpf.o relos.bpf.btf_ext

#define CORE __attribute__((preserve_access_index))
#define FIELD(field, question) __builtin_preserve_field_info(field, question)
#define TYPE_ID(type, question) __builtin_btf_type_id(*(type *)0, question)
#define TYPE(type, question) __builtin_preserve_type_info(*(type *)0, question)
#define VALUE(type, name, question) __builtin_preserve_enum_value(*(type *)name, question)

typedef unsigned int u32;
typedef unsigned long u64;

struct inner {
	int first;
	int second[4];
} CORE;

struct task {
	u32 pid;
	int state;
	unsigned flag : 3;
	int signed_flag : 5;
	char comm[16];
	struct inner inner;
	struct inner *pointer;
	u32 moved;
	u64 shrunk;
	int gone;
	u32 other_kind;
} CORE;

struct task___flavour {
	u32 renamed;
} CORE;

struct never_there {
	int x;
} CORE;

enum color { RED, GREEN, BLUE };
enum wide { BIG = 0x123456789abcdef0ull, SMALL = 1 };
enum negative { MINUS = -5, ZERO = 0 };
enum high { TOP = 0xfffffff0u };

typedef int (*callback_t)(struct task *, int);
union both { int a; char b; };

u64 results[64];

__attribute__((section("raw_tp/fields"), used)) int fields(struct task *t)
{
	u64 *out = results;

	*out++ = FIELD(t->pid, 0);
	*out++ = FIELD(t->comm, 1);
	*out++ = FIELD(t->gone, 2);
	*out++ = FIELD(t->pid, 2);
	*out++ = FIELD(t->signed_flag, 3);
	*out++ = FIELD(t->flag, 3);
	*out++ = FIELD(t->flag, 0);
	*out++ = FIELD(t->flag, 1);
	*out++ = FIELD(t->flag, 4);
	*out++ = FIELD(t->flag, 5);
	*out++ = FIELD(t->inner.second[3], 0);
	*out++ = FIELD(t->inner.second[3], 1);
	*out++ = FIELD(t->comm[9], 2);
	*out++ = FIELD(t->other_kind, 2);
	*out++ = FIELD(((struct task___flavour *)t)->renamed, 0);
	*out++ = FIELD(((struct never_there *)t)->x, 2);
	*out++ = FIELD(t[2].pid, 0);
	return 0;
}

__attribute__((section("raw_tp/loads"), used)) int loads(struct task *t)
{
	t->moved = 1;
	return t->pid + t->state + t->shrunk + (long)t->pointer + t->inner.second[1] + t->gone;
}

__attribute__((section("raw_tp/types"), used)) int types(void *ctx)
{
	u64 *out = results;

	*out++ = TYPE_ID(struct task, 0);
	*out++ = TYPE_ID(struct task, 1);
	*out++ = TYPE_ID(struct never_there, 1);
	*out++ = TYPE(struct task, 0);
	*out++ = TYPE(struct never_there, 0);
	*out++ = TYPE(struct task, 1);
	*out++ = TYPE(struct task, 2);
	*out++ = TYPE(struct inner, 2);
	*out++ = TYPE(union both, 2);
	*out++ = TYPE(callback_t, 0);
	*out++ = TYPE(callback_t, 2);
	return 0;
}

__attribute__((section("raw_tp/values"), used)) int values(void *ctx)
{
	u64 *out = results;
	*out++ = VALUE(enum color, BLUE, 0);
	*out++ = VALUE(enum color, BLUE, 1);
	*out++ = VALUE(enum color, GREEN, 0);
	*out++ = VALUE(enum wide, BIG, 1);
	*out++ = VALUE(enum negative, MINUS, 1);
	*out++ = VALUE(enum high, TOP, 1);
	return 0;
}

char LICENSE[] __attribute__((section("license"), used)) = "GPL";
