// Sets of processors, locks that answer errors, and exceptions.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define CPUS 2

extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern struct bpf_cpumask *bpf_cpumask_acquire(struct bpf_cpumask *mask) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *mask) __ksym;
extern __u32 bpf_cpumask_first(const struct cpumask *mask) __ksym;
extern __u32 bpf_cpumask_first_zero(const struct cpumask *mask) __ksym;
extern __u32 bpf_cpumask_first_and(const struct cpumask *a, const struct cpumask *b) __ksym;
extern void bpf_cpumask_set_cpu(__u32 cpu, struct bpf_cpumask *mask) __ksym;
extern void bpf_cpumask_clear_cpu(__u32 cpu, struct bpf_cpumask *mask) __ksym;
extern bool bpf_cpumask_test_cpu(__u32 cpu, const struct cpumask *mask) __ksym;
extern bool bpf_cpumask_test_and_set_cpu(__u32 cpu, struct bpf_cpumask *mask) __ksym;
extern bool bpf_cpumask_test_and_clear_cpu(__u32 cpu, struct bpf_cpumask *mask) __ksym;
extern void bpf_cpumask_setall(struct bpf_cpumask *mask) __ksym;
extern void bpf_cpumask_clear(struct bpf_cpumask *mask) __ksym;
extern bool bpf_cpumask_and(struct bpf_cpumask *to, const struct cpumask *a, const struct cpumask *b) __ksym;
extern void bpf_cpumask_or(struct bpf_cpumask *to, const struct cpumask *a, const struct cpumask *b) __ksym;
extern void bpf_cpumask_xor(struct bpf_cpumask *to, const struct cpumask *a, const struct cpumask *b) __ksym;
extern bool bpf_cpumask_equal(const struct cpumask *a, const struct cpumask *b) __ksym;
extern bool bpf_cpumask_intersects(const struct cpumask *a, const struct cpumask *b) __ksym;
extern bool bpf_cpumask_subset(const struct cpumask *a, const struct cpumask *b) __ksym;
extern bool bpf_cpumask_empty(const struct cpumask *mask) __ksym;
extern bool bpf_cpumask_full(const struct cpumask *mask) __ksym;
extern void bpf_cpumask_copy(struct bpf_cpumask *to, const struct cpumask *from) __ksym;
extern __u32 bpf_cpumask_any_distribute(const struct cpumask *mask) __ksym;
extern __u32 bpf_cpumask_any_and_distribute(const struct cpumask *a, const struct cpumask *b) __ksym;
extern __u32 bpf_cpumask_weight(const struct cpumask *mask) __ksym;
extern int bpf_cpumask_populate(struct cpumask *mask, void *from, size_t from__sz) __ksym;
extern int bpf_res_spin_lock(struct bpf_res_spin_lock *lock) __ksym;
extern void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock) __ksym;
extern int bpf_res_spin_lock_irqsave(struct bpf_res_spin_lock *lock, unsigned long *flags) __ksym;
extern void bpf_res_spin_unlock_irqrestore(struct bpf_res_spin_lock *lock, unsigned long *flags) __ksym;
extern void bpf_throw(__u64 cookie) __ksym;

// Bytes: the kernel leaves anything above the lowest one of a truth value.
unsigned char got[64];
long bits[4];

#define GOT(call) got[n++ & 63] = (call)
#define SET(mask) ((const struct cpumask *)(mask))

SEC("syscall") int one(void *ctx)
{
	struct bpf_cpumask *mask = bpf_cpumask_create();
	int n = 0;

	if (!mask)
		return 1;
	GOT(bpf_cpumask_empty(SET(mask)));
	GOT(bpf_cpumask_first(SET(mask)) >= CPUS);
	GOT(bpf_cpumask_any_distribute(SET(mask)) >= CPUS);
	bpf_cpumask_set_cpu(1, mask);
	bpf_cpumask_set_cpu(100000, mask);
	GOT(bpf_cpumask_first(SET(mask)));
	GOT(bpf_cpumask_first_zero(SET(mask)));
	GOT(bpf_cpumask_any_distribute(SET(mask)));
	GOT(bpf_cpumask_weight(SET(mask)));
	GOT(bpf_cpumask_test_cpu(1, SET(mask)));
	GOT(bpf_cpumask_test_cpu(0, SET(mask)));
	GOT(bpf_cpumask_test_cpu(100000, SET(mask)));
	GOT(bpf_cpumask_test_and_set_cpu(0, mask));
	GOT(bpf_cpumask_test_and_set_cpu(0, mask));
	GOT(bpf_cpumask_test_and_clear_cpu(1, mask));
	GOT(bpf_cpumask_test_and_clear_cpu(100000, mask));
	bits[0] = mask->cpumask.bits[0];
	bpf_cpumask_clear_cpu(0, mask);
	GOT(bpf_cpumask_empty(SET(mask)));
	bpf_cpumask_setall(mask);
	GOT(bpf_cpumask_full(SET(mask)));
	GOT(bpf_cpumask_first_zero(SET(mask)) >= CPUS);
	bpf_cpumask_clear(mask);
	GOT(bpf_cpumask_full(SET(mask)));
	bits[1] = mask->cpumask.bits[0];
	bpf_cpumask_release(mask);
	return 0;
}

SEC("syscall") int two(void *ctx)
{
	struct bpf_cpumask *a = bpf_cpumask_create(), *b, *c;
	long from[4] = {1};
	int n = 0;

	if (!a)
		return 1;
	b = bpf_cpumask_create();
	if (!b) {
		bpf_cpumask_release(a);
		return 1;
	}
	c = bpf_cpumask_acquire(b);
	bpf_cpumask_set_cpu(0, a);
	bpf_cpumask_set_cpu(1, b);
	GOT(bpf_cpumask_equal(SET(a), SET(b)));
	GOT(bpf_cpumask_equal(SET(b), SET(c)));
	GOT(bpf_cpumask_intersects(SET(a), SET(b)));
	GOT(bpf_cpumask_first_and(SET(a), SET(b)) >= CPUS);
	GOT(bpf_cpumask_and(c, SET(a), SET(a)));
	GOT(bpf_cpumask_first(SET(b)));
	bpf_cpumask_set_cpu(1, b);
	GOT(bpf_cpumask_subset(SET(a), SET(b)));
	GOT(bpf_cpumask_subset(SET(b), SET(a)));
	GOT(bpf_cpumask_first_and(SET(a), SET(b)));
	GOT(bpf_cpumask_any_and_distribute(SET(a), SET(b)));
	bpf_cpumask_xor(b, SET(a), SET(b));
	GOT(bpf_cpumask_first(SET(b)));
	GOT(bpf_cpumask_and(a, SET(a), SET(b)));
	bpf_cpumask_copy(a, SET(b));
	GOT(bpf_cpumask_equal(SET(a), SET(b)));
	bpf_cpumask_clear(b);
	bpf_cpumask_set_cpu(0, b);
	bpf_cpumask_or(a, SET(a), SET(b));
	GOT(bpf_cpumask_first(SET(a)));
	GOT(bpf_cpumask_populate((struct cpumask *)a, from, sizeof(from)));
	GOT(bpf_cpumask_populate((struct cpumask *)a, from, 4));
	GOT(bpf_cpumask_first(SET(a)));
	bpf_cpumask_release(a);
	bpf_cpumask_release(b);
	bits[0] = c->cpumask.bits[0];
	bpf_cpumask_release(c);
	return 0;
}

struct guarded {
	struct bpf_res_spin_lock lock;
	int count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, int);
	__type(value, struct guarded);
	__uint(max_entries, 2);
} guarded SEC(".maps");

SEC("tc") int locked(struct __sk_buff *skb)
{
	int first = 0, second = 1, n = 0;
	struct guarded *a = bpf_map_lookup_elem(&guarded, &first);
	struct guarded *b = bpf_map_lookup_elem(&guarded, &second);
	unsigned long flags;

	if (!a || !b)
		return 1;
	if (!bpf_res_spin_lock(&a->lock)) {
		a->count++;
		if (!bpf_res_spin_lock(&b->lock)) {
			b->count += 2;
			bpf_res_spin_unlock(&b->lock);
		}
		bpf_res_spin_unlock(&a->lock);
	}
	if (!bpf_res_spin_lock_irqsave(&a->lock, &flags)) {
		a->count += 4;
		bpf_res_spin_unlock_irqrestore(&a->lock, &flags);
	}
	GOT(a->count);
	GOT(b->count);
	return 0;
}

static __attribute__((noinline)) int deep(__u32 value)
{
	got[0] = value;
	if (value > 50)
		bpf_throw(value);
	got[1] = 1;
	return value;
}

SEC("tc") int thrown(struct __sk_buff *skb)
{
	int answer = deep(skb->len);

	got[2] = 1;
	return answer;
}

SEC("tc") int calm(struct __sk_buff *skb)
{
	int answer = deep(skb->len & 31);

	got[2] = 1;
	return answer;
}

__attribute__((noinline)) int caught(__u64 cookie)
{
	got[4] = cookie;
	return cookie + 5;
}

SEC("tc") __attribute__((btf_decl_tag("exception_callback:caught"))) int thrown_and_caught(struct __sk_buff *skb)
{
	int answer = deep(skb->len);

	got[2] = 1;
	return answer;
}
