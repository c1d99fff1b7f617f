// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// The other side of `cargo xtask bench load`: with libbpf, drains a ring buffer that a test run has filled, and reads a
// hash in batches; says how many nanoseconds of processor time a record and an entry took. Usage: PROGRAM RECORDS ENTRIES
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include SKELETON

#define BATCH 4096
// Times that the ring buffer is filled and drained; the median counts.
#define ROUNDS 15

static unsigned long long sum, handled;

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static int handle(void *context, void *data, size_t bytes)
{
	handled++;
	sum += ((unsigned long long *)data)[1];
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int drain(struct bench *skeleton, unsigned int records)
{
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(skeleton->maps.events), handle, NULL, NULL);
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &records, .ctx_size_in = sizeof(records));
	double times[ROUNDS];
	int round;

	if (!ring)
		return 1;
	for (round = 0; round < ROUNDS; round++) {
		unsigned long long start;

		if (bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.produce), &run))
			return 1;
		start = now_ns();
		ring_buffer__consume(ring);
		times[round] = now_ns() - start;
	}
	ring_buffer__free(ring);
	qsort(times, ROUNDS, sizeof(times[0]), compare);
	printf("record_ns %f\n", times[ROUNDS / 2] / records);
	return handled != (unsigned long long)ROUNDS * records;
}

static int fill(int map, unsigned int entries)
{
	unsigned int *keys = calloc(entries, sizeof(*keys));
	unsigned long long *values = calloc(entries, sizeof(*values));
	unsigned int at, count = entries;
	int failed;

	for (at = 0; at < entries; at++) {
		keys[at] = at;
		values[at] = 7ULL * at;
	}
	failed = bpf_map_update_batch(map, keys, values, &count, NULL);
	free(keys);
	free(values);
	return failed;
}

static int read_all(int map, unsigned int entries)
{
	unsigned int *keys = calloc(BATCH, sizeof(*keys)), next, *position = NULL, read = 0;
	unsigned long long *values = calloc(BATCH, sizeof(*values)), start = now_ns();
	int failed = 0;

	while (!failed) {
		unsigned int count = BATCH, at;

		failed = bpf_map_lookup_batch(map, position, &next, keys, values, &count, NULL);
		if (failed && errno != ENOENT)
			return 1;
		for (at = 0; at < count; at++)
			sum += keys[at] + values[at];
		read += count;
		position = &next;
	}
	printf("entry_ns %f\n", (double)(now_ns() - start) / entries);
	free(keys);
	free(values);
	return read != entries;
}

int main(int argc, char **argv)
{
	unsigned int records = argc > 1 ? atoi(argv[1]) : 0, entries = argc > 2 ? atoi(argv[2]) : 0;
	struct bench *skeleton = bench__open_and_load();
	int failed;

	if (!skeleton || !records || !entries)
		return 1;
	failed = drain(skeleton, records) || fill(bpf_map__fd(skeleton->maps.entries), entries) ||
		 read_all(bpf_map__fd(skeleton->maps.entries), entries);
	printf("sum %llu\n", sum);
	bench__destroy(skeleton);
	return failed;
}
