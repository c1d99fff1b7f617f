// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
// The types that `relos.bpf.c` is resolved against: members are elsewhere, of other sizes, nested, or gone.

typedef unsigned int u32;

struct inner {
	char padding;
	struct {
		int second[8];
		int first;
	};
};

struct task {
	long pushed;
	union {
		struct {
			const volatile u32 pid;
			int state;
		};
		long both;
	};
	char comm[32];
	unsigned pad : 7;
	unsigned flag : 3;
	int signed_flag : 5;
	struct inner inner;
	struct inner *pointer;
	struct {
		u32 moved;
	};
	u32 shrunk;
	u32 renamed;
	void *other_kind;
} task;

enum color { VIOLET, BLUE = 40, RED } color;
enum wide { BIG = 5, SMALL = 0x7fffffffffffffffull } wide;
enum negative { ZERO, MINUS = -6 } negative;
enum high { TOP = 0xffffffffu } high;

typedef int (*callback_t)(struct task *, int);
callback_t callback;
union both { int a; char b; long c; } both;
