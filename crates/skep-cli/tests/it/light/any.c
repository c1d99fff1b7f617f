// Loads an object by its light skeleton, whoever wrote it.
#include <errno.h>
#include <stdbool.h>
#include "any.h"

int main(void)
{
	struct any *skel = any__open_and_load();

	if (!skel)
		return 1;
	any__destroy(skel);
	return 0;
}
