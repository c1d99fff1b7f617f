// Loads what the verifier refuses; nothing of it may be left.
#include <stdio.h>
#include "refused.h"

static char verdict[1 << 16];

static int descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

int main(void)
{
	int before = descriptors(), err;
	struct refused *skel = refused__open();

	if (!skel)
		return 1;
	err = refused__load(skel);
	printf("error %d, left %d\n", err, descriptors() - before);
	skel->ctx.log_level = 1;
	skel->ctx.log_size = sizeof(verdict);
	skel->ctx.log_buf = (long)verdict;
	err = refused__load(skel);
	printf("error %d, left %d, said %d\n", err, descriptors() - before,
	       strstr(verdict, "map_value_or_null") != NULL);
	printf("given %d %d\n", skel->progs.fine.prog_fd, skel->maps.counts.map_fd);
	refused__destroy(skel);
	printf("again %d\n", refused__open_and_load() == NULL);
	return 0;
}
