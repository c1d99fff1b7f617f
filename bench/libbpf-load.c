// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// The other side of `cargo xtask bench load`: opens, loads and attaches the object of a skeleton with libbpf, and says how
// much memory that took at most. The skeleton's file is given by the compiler's option `-DSKELETON`.
#include <stdio.h>
#include <unistd.h>
#include SKELETON

// `VmHWM`: the most that was resident.
static void print_peak(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof(line), status)) {
		unsigned long kib;

		if (sscanf(line, "VmHWM: %lu", &kib) == 1)
			printf("peak_kib %lu\n", kib);
	}
	if (status)
		fclose(status);
}

int main(void)
{
	struct bench *skeleton = bench__open();
	int status = 1;

	if (!skeleton)
		return 1;
	skeleton->rodata->targ_pid = getpid();
	if (bench__load(skeleton) == 0 && bench__attach(skeleton) == 0)
		status = 0;
	if (status == 0)
		print_peak();
	bench__destroy(skeleton);
	return status;
}
