// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The traced side of `cargo xtask bench trace`: calls one system call, or one function, in a loop and says what an
// iteration costs.
//
//     syscall-loop getppid|openat|returns|pushes|enters COUNT
//
// An iteration of openat is an openat and a close. The last three are functions, named `NAME_at_once`, that begin in
// different ways; they are given the number of the iteration. The result goes to stderr as `NSITER nanoseconds`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Functions by the instruction at which they are probed, which is no compiler's choice.
#define FUNCTION(name, code) \
	void name(long iteration); \
	__asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n" code "\n.size " #name ", .-" #name)

FUNCTION(returns_at_once, "ret");
FUNCTION(pushes_at_once, "push %rbp\nmov %rsp, %rbp\npop %rbp\nret");
FUNCTION(enters_at_once, "endbr64\nsub $8, %rsp\nadd $8, %rsp\nret");

static void call_getppid(long iteration)
{
	(void)iteration;
	syscall(SYS_getppid);
}

static void call_openat(long iteration)
{
	(void)iteration;
	close(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0));
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int argc, char **argv)
{
	void (*call)(long) = argc == 3 && !strcmp(argv[1], "getppid") ? call_getppid
			     : argc == 3 && !strcmp(argv[1], "openat") ? call_openat
			     : argc == 3 && !strcmp(argv[1], "returns") ? returns_at_once
			     : argc == 3 && !strcmp(argv[1], "pushes") ? pushes_at_once
			     : argc == 3 && !strcmp(argv[1], "enters") ? enters_at_once
								       : NULL;
	long count = argc == 3 ? atol(argv[2]) : 0;
	double start;

	if (!call || count < 1) {
		fprintf(stderr, "usage: syscall-loop getppid|openat|returns|pushes|enters COUNT\n");
		return 2;
	}
	start = now_ns();
	for (long i = 0; i < count; i++)
		call(i);
	fprintf(stderr, "NSITER %.1f\n", (now_ns() - start) / count);
	return 0;
}
