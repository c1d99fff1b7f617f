// SPDX-License-Identifier: MIT OR Apache-2.0
// What libbpf does with an object: "OBJECT STAGE ERRNO" on a line for each argument, STAGE being the first that fails, or
// "ok". With "-a" as first argument programs are attached as well, and detached right after.
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static int attach(struct bpf_object *object)
{
	struct bpf_program *program;
	int result = 0;

	bpf_object__for_each_program(program, object) {
		struct bpf_link *link;

		if (!bpf_program__autoload(program) || !bpf_program__autoattach(program))
			continue;
		link = bpf_program__attach(program);
		// Without a section that says where, libbpf refuses with EOPNOTSUPP or EINVAL; its skeletons skip those.
		if (!link && libbpf_get_error(link) != -EOPNOTSUPP && libbpf_get_error(link) != -EINVAL)
			result = -libbpf_get_error(link);
		bpf_link__destroy(link);
	}
	return result;
}

static void check(const char *path, int with_attach)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	const char *stage = "ok";
	int error;

	if (!object) {
		printf("%s open %d\n", path, (int)-libbpf_get_error(object));
		return;
	}
	error = -bpf_object__load(object);
	if (error)
		stage = "load";
	else if (with_attach && (error = attach(object)))
		stage = "attach";
	printf("%s %s %d\n", path, stage, error);
	bpf_object__close(object);
}

int main(int argc, char **argv)
{
	int with_attach = argc > 1 && !strcmp(argv[1], "-a");

	libbpf_set_print(quiet);
	for (int i = 1 + with_attach; i < argc; i++)
		check(argv[i], with_attach);
	return 0;
}
