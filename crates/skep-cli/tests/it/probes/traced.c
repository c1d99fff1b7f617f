// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the probe tests trace: calls `probed` in every way that is hard for a tracer, and checks that it is called and
// returns as without one. Exit status 0 says so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 64
#define SELF "/proc/self/exe"

extern char **environ;

__attribute__((noinline)) long probed(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

static int status_of(pid_t child)
{
	int status = -1;

	waitpid(child, &status, 0);
	return status;
}

static int loop(const char *count)
{
	for (long i = 0; i < atol(count); i++)
		if (probed(i) != i + 1)
			return 1;
	return 0;
}

static void *call_often(void *unused)
{
	for (long i = 0; i < 100; i++)
		probed(i);
	return unused;
}

static const char *opened;

static void *open_often(void *unused)
{
	for (int i = 0; i < 10; i++)
		close(open(opened, O_RDONLY));
	return unused;
}

static int threads(void *(*run)(void *))
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, run, NULL))
			return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}

static int forks(void)
{
	for (long i = 0; i < 10; i++) {
		pid_t child = fork();

		if (!child)
			_exit(probed(i) == i + 1 ? 0 : 1);
		if (status_of(child))
			return 1;
	}
	return probed(0) != 1;
}

static int vforks(void)
{
	for (long i = 0; i < 10; i++) {
		pid_t child = vfork();

		if (!child) {
			// An exec that fails leaves everything as it was.
			execl("/nonexistent", "traced", NULL);
			probed(i);
			execl(SELF, "traced", "loop", "3", NULL);
			_exit(1);
		}
		if (status_of(child))
			return 1;
	}
	return 0;
}

static int spawns(void)
{
	char *argv[] = { "traced", "loop", "3", NULL };

	for (int i = 0; i < 10; i++) {
		pid_t child;

		if (posix_spawn(&child, SELF, NULL, NULL, argv, environ) || status_of(child))
			return 1;
	}
	return 0;
}

static int execs(const char *times)
{
	long left = atol(times);
	char next[20];

	probed(left);
	if (left == 0)
		return 0;
	snprintf(next, sizeof(next), "%ld", left - 1);
	execl(SELF, "traced", "execs", next, NULL);
	return 1;
}

static jmp_buf out;

__attribute__((noinline)) static long jumper(long n)
{
	long result = probed(n);

	if (n % 2)
		longjmp(out, 1);
	__asm__ volatile("" : "+r"(result));
	return result;
}

static int jumps(void)
{
	for (volatile long i = 0; i < 20; i++)
		if (!setjmp(out) && jumper(i) != i + 1)
			return 1;
	return 0;
}

static volatile int signals;

static void on_alarm(int signal)
{
	probed(signal);
	signals++;
}

// Says how often it has called.
static int interrupted(void)
{
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
	long calls = 0;

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	while (signals < 100)
		if (probed(calls) != ++calls)
			return 1;
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%ld calls\n", calls + signals);
	return 0;
}

static int libraries(const char *path)
{
	for (long i = 0; i < 5; i++) {
		void *library = dlopen(path, RTLD_NOW);
		long (*function)(long) = library ? (long (*)(long))dlsym(library, "library_function") : NULL;

		if (!function || function(i) != i * 3)
			return 1;
		dlclose(library);
	}
	return 0;
}

// Finished calls of each thread, and who is to be killed; children count here too.
static struct {
	volatile long calls[THREADS];
	volatile pid_t victim;
} *shared;

static void *call_on(void *thread)
{
	for (volatile long *calls = &shared->calls[(long)thread];; ++*calls)
		probed(1);
	return NULL;
}

static void start_calling(long threads)
{
	pthread_t thread;

	for (long i = 0; i < threads; i++)
		pthread_create(&thread, NULL, call_on, (void *)i);
}

// Waits until there is somebody who calls, lets them call a while, and ends them.
static int kill_victim(void)
{
	while (!shared->victim || !shared->calls[0])
		usleep(1000);
	usleep(50000);
	return kill(shared->victim, SIGKILL);
}

// Says how many calls were finished, and in how many threads one more may have begun.
static int tell(int threads, long more)
{
	for (int i = 0; i < THREADS; i++)
		more += shared->calls[i];
	printf("%ld calls of %d threads\n", more, threads);
	return 0;
}

// A child with so many threads that is killed while they call.
static int killed(long threads)
{
	pid_t child = fork();

	if (!child) {
		shared->victim = getpid();
		start_calling(threads - 1);
		call_on((void *)(threads - 1));
	}
	return kill_victim() || status_of(child) != SIGKILL || tell(threads, 0);
}

// A child that has our memory when it is killed, so that its breakpoints stay.
static int vkilled(void)
{
	pid_t killer = fork();

	if (!killer)
		_exit(kill_victim());
	pid_t child = vfork();
	if (!child) {
		shared->victim = getpid();
		call_on(NULL);
	}
	if (status_of(child) != SIGKILL || status_of(killer))
		return 1;
	for (long i = 0; i < 10; i++)
		if (probed(i) != i + 1)
			return 1;
	return tell(1, 10);
}

// A child that ends while its threads call.
static int leaves(void)
{
	pid_t child = fork();

	if (!child) {
		start_calling(8);
		while (!shared->calls[0])
			usleep(1000);
		usleep(50000);
		exit(3);
	}
	return status_of(child) != 3 << 8 || tell(8, 0);
}

static void *exec_soon(void *unused)
{
	while (!shared->calls[0])
		usleep(1000);
	usleep(50000);
	execl(SELF, "traced", "loop", "3", NULL);
	return unused;
}

// A child of which a thread that is not the first executes a program, while others call.
static int thread_execs(void)
{
	pid_t child = fork();
	pthread_t thread;

	if (!child) {
		start_calling(8);
		pthread_create(&thread, NULL, exec_soon, NULL);
		pthread_join(thread, NULL);
		_exit(1);
	}
	return status_of(child) || tell(8, 3);
}

// Is killed itself.
static int dies(void)
{
	start_calling(8);
	usleep(50000);
	return kill(getpid(), SIGKILL);
}

// Goes on until a file is there, or for some two minutes.
static int until(const char *path)
{
	for (int i = 0; i < 100000; i++) {
		if (probed(i) != i + 1)
			return 1;
		if (access(path, F_OK) == 0)
			return 0;
		usleep(1000);
	}
	return 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *with = argc > 2 ? argv[2] : "";

	opened = with;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return !strcmp(what, "loop")	    ? loop(with)
	       : !strcmp(what, "threads")   ? threads(call_often)
	       : !strcmp(what, "opens")	    ? threads(open_often)
	       : !strcmp(what, "forks")	    ? forks()
	       : !strcmp(what, "vforks")    ? vforks()
	       : !strcmp(what, "spawns")    ? spawns()
	       : !strcmp(what, "execs")	    ? execs(with)
	       : !strcmp(what, "jumps")	    ? jumps()
	       : !strcmp(what, "interrupted") ? interrupted()
	       : !strcmp(what, "libraries") ? libraries(with)
	       : !strcmp(what, "killed")    ? killed(atol(with))
	       : !strcmp(what, "vkilled")   ? vkilled()
	       : !strcmp(what, "leaves")    ? leaves()
	       : !strcmp(what, "thread-execs") ? thread_execs()
	       : !strcmp(what, "dies")	    ? dies()
	       : !strcmp(what, "until")	    ? until(with)
					    : 2;
}
