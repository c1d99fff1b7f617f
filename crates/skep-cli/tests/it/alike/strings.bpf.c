// Strings: kernel functions that compare them and look into them.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern int bpf_strcmp(const char *a, const char *b) __ksym;
extern int bpf_strcasecmp(const char *a, const char *b) __ksym;
extern int bpf_strchr(const char *s, char c) __ksym;
extern int bpf_strnchr(const char *s, unsigned long count, char c) __ksym;
extern int bpf_strchrnul(const char *s, char c) __ksym;
extern int bpf_strrchr(const char *s, int c) __ksym;
extern int bpf_strlen(const char *s) __ksym;
extern int bpf_strnlen(const char *s, unsigned long count) __ksym;
extern int bpf_strspn(const char *s, const char *accept) __ksym;
extern int bpf_strcspn(const char *s, const char *reject) __ksym;
extern int bpf_strstr(const char *s, const char *part) __ksym;
extern int bpf_strnstr(const char *s, const char *part, unsigned long len) __ksym;

char text[] = "Hello, world", other[] = "hello, World", part[] = "wor", empty[] = "", vowels[] = "aeiou";
int compared[6], chars[12], lengths[6], spans[8], parts[12];

SEC("syscall") int compare(void *ctx)
{
	compared[0] = bpf_strcmp(text, other);
	compared[1] = bpf_strcmp(text, text);
	compared[2] = bpf_strcasecmp(text, other);
	compared[3] = bpf_strcasecmp(part, text);
	compared[4] = bpf_strcasecmp(text, empty);
	compared[5] = bpf_strcasecmp(NULL, text);
	return 0;
}

SEC("syscall") int find_bytes(void *ctx)
{
	chars[0] = bpf_strchr(text, 'o');
	chars[1] = bpf_strchr(text, 'x');
	chars[2] = bpf_strchr(text, 0);
	chars[3] = bpf_strrchr(text, 'o');
	chars[4] = bpf_strnchr(text, 4, 'o');
	chars[5] = bpf_strnchr(text, 5, 'o');
	chars[6] = bpf_strnchr(text, 0, 'H');
	chars[7] = bpf_strnchr(text, 12, 0);
	chars[8] = bpf_strnchr(text, 13, 0);
	chars[9] = bpf_strchrnul(text, 'w');
	chars[10] = bpf_strchrnul(text, 'x');
	chars[11] = bpf_strchrnul(empty, 'x');
	return 0;
}

SEC("syscall") int measure(void *ctx)
{
	lengths[0] = bpf_strlen(text);
	lengths[1] = bpf_strlen(empty);
	lengths[2] = bpf_strnlen(text, 3);
	lengths[3] = bpf_strnlen(text, 12);
	lengths[4] = bpf_strnlen(text, 99);
	lengths[5] = bpf_strlen(NULL);
	return 0;
}

SEC("syscall") int span(void *ctx)
{
	spans[0] = bpf_strspn(text, "Hel");
	spans[1] = bpf_strspn(text, text);
	spans[2] = bpf_strspn(text, empty);
	spans[3] = bpf_strspn(empty, text);
	spans[4] = bpf_strcspn(text, vowels);
	spans[5] = bpf_strcspn(text, "xyz");
	spans[6] = bpf_strcspn(text, empty);
	spans[7] = bpf_strcspn(text, NULL);
	return 0;
}

SEC("syscall") int find_parts(void *ctx)
{
	parts[0] = bpf_strstr(text, part);
	parts[1] = bpf_strstr(text, other);
	parts[2] = bpf_strstr(text, empty);
	parts[3] = bpf_strstr(empty, part);
	parts[4] = bpf_strnstr(text, part, 9);
	parts[5] = bpf_strnstr(text, part, 10);
	parts[6] = bpf_strnstr(text, part, 99);
	parts[7] = bpf_strnstr(text, empty, 0);
	parts[8] = bpf_strnstr(text, part, 0);
	parts[9] = bpf_strnstr(empty, empty, 4);
	parts[10] = bpf_strnstr(text, text, 12);
	parts[11] = bpf_strnstr(text, NULL, 5);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
