// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the probe tests load while they run.
__attribute__((noinline)) long library_function(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n * 3;
}
