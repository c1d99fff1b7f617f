// A kernel as a program of machines that verify nothing: its context is the memory.
#include "common.h"
#define SEC "syscall"
#include KERNEL
__attribute__((section(SEC))) u64 entry(u8 *m) { return kernel(m, 0); }
#ifdef HAVE_SUB
#include "calls_sub.h"
#endif
