// A kernel as a program whose memory is a global variable: what the verifier accepts of programs without packets.
#include "common.h"
#define SEC "syscall"
#include KERNEL
u8 memory[3072] __attribute__((section(".data"))) = {1};
__attribute__((section(SEC))) u64 entry(void *ctx) { return kernel(memory, 0); }
#ifdef HAVE_SUB
#include "calls_sub.h"
#endif
