// Uses the light skeleton of all.bpf.c, without libbpf.
#include <stdio.h>
#include "all.h"

// The descriptors that are open.
static int descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static long entries(int map)
{
	struct bpf_map_info info = {};
	union bpf_attr attr = {};

	attr.info.bpf_fd = map;
	attr.info.info_len = sizeof(info);
	attr.info.info = (long)&info;
	return skel_sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? -1 : info.max_entries;
}

static long frozen(int map)
{
	int key = 0;
	char value[4096] = {};

	return skel_map_update_elem(map, &key, value, 0) < 0;
}

static void iterate(int link)
{
	union bpf_attr attr = {};
	char text[64] = {};
	int fd;

	attr.iter_create.link_fd = link;
	fd = skel_sys_bpf(BPF_ITER_CREATE, &attr, sizeof(attr));
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		perror("iterator");
	close(fd);
	printf("%s", text);
}

int main(void)
{
	int before = descriptors();
	struct all *skel = all__open();
	int err;

	if (!skel)
		return 1;
	skel->rodata->wanted_pid = getpid();
	skel->data->factor = 3;
	skel->rodata->steps[1][0] = 2;
	skel->bss->seen = 1000;
	skel->maps.counts.max_entries = 16;
	err = all__load(skel);
	if (err) {
		printf("load: %s\n", strerror(-err));
		return 2;
	}
	err = all__attach(skel);
	if (err) {
		printf("attach: %d\n", err);
		return 3;
	}
	getppid();
	getppid();
	all__detach(skel);
	printf("seen %d tailed %d outer %ld\n", skel->bss->seen >= 1010 && skel->bss->seen % 5 == 0,
	       skel->bss->tailed >= 2, skel->bss->in_outer);
	printf("parent %d version %d symbol %lx\n", skel->bss->parent == getppid(),
	       skel->bss->version == skel->kconfig->LINUX_KERNEL_VERSION && skel->bss->version > 0,
	       skel->bss->symbol);
	printf("entries %ld frozen %ld %ld optional %d\n", entries(skel->maps.counts.map_fd),
	       frozen(skel->maps.rodata.map_fd), frozen(skel->maps.data.map_fd), skel->progs.optional.prog_fd);
	if (all__maps__attach(skel) <= 0)
		return 4;
	iterate(skel->links.maps_fd);
	printf("function %d\n", skel->bss->function_there);
	all__destroy(skel);
	printf("left %d\n", descriptors() - before);
	return 0;
}
