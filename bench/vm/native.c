// A kernel as native code: `NAME` of the file in `KERNEL`, and the functions that it calls.
#include "common.h"
#define SEC ".text"
#include KERNEL
__attribute__((noinline)) u64 entry(u8 *m) { return kernel(m, 0); }
#ifdef HAVE_SUB
#include "calls_sub.h"
#endif
