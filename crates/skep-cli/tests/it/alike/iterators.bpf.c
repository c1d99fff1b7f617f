// Iterators, and what they write.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 3000);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} list SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

int wanted_fd;
__u64 wanted_address;

SEC("iter/bpf_map_elem") int numbers_elem(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;

	if (!key || !value) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "end of %llu\n", ctx->meta->seq_num);
		return 0;
	}
	BPF_SEQ_PRINTF(ctx->meta->seq, "%6u: %llu of %s\n", *key, *value, ctx->map->name);
	return 0;
}

SEC("iter/bpf_map_elem") int list_elem(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;
	char text[8] = "<raw>\n";

	if (!key || !value)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %u: %llx, map of %u\n", ctx->meta->seq_num, *key, *value,
		       ctx->map->max_entries);
	*value = *key + 100;
	return bpf_seq_write(ctx->meta->seq, text, 6) != 0;
}

SEC("iter/bpf_map_elem") int counters_elem(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;

	if (!key || !value)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %llu\n", *key, value[0]);
	return 0;
}

SEC("iter/bpf_map") int maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;

	// Those of this object, of which there is one.
	if (map && map->name[0] == 'n' && map->name[1] == 'u' && map->name[6] == 's' && !map->name[7])
		BPF_SEQ_PRINTF(ctx->meta->seq, "%s: type %d, %u and %u bytes, %u at most\n", map->name, map->map_type,
			       map->key_size, map->value_size, map->max_entries);
	return 0;
}

SEC("iter/bpf_prog") int progs(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;

	if (prog && prog->aux->name[0] == 'p' && prog->aux->name[1] == 'r' && prog->aux->name[4] == 's' &&
	    !prog->aux->name[5])
		BPF_SEQ_PRINTF(ctx->meta->seq, "%s: type %d for %d\n", prog->aux->name, prog->type,
			       prog->expected_attach_type);
	return 0;
}

SEC("iter/bpf_link") int links(struct bpf_iter__bpf_link *ctx)
{
	struct bpf_link *link = ctx->link;

	if (link && link->prog->aux->name[0] == 'l' && link->prog->aux->name[4] == 's' && !link->prog->aux->name[5])
		BPF_SEQ_PRINTF(ctx->meta->seq, "link of type %d\n", link->type);
	return 0;
}

SEC("iter/task") int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task) {
		struct timespec64 time = { 1, 2 };
		struct btf_ptr shown = { &time, bpf_core_type_id_kernel(struct timespec64), 0 };
		long ret = bpf_seq_printf_btf(ctx->meta->seq, &shown, sizeof(shown), 0);

		BPF_SEQ_PRINTF(ctx->meta->seq, "end %ld\n", ret);
		return 0;
	}
	if (task->pid == task->tgid)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d, child of %d, %s\n", task->pid, task->real_parent->tgid,
			       task->comm);
	return 0;
}

static char text[256];

// The path, how long it is, what lies behind it, and what comes of too little room.
static __always_inline void show_path(struct seq_file *seq, struct path *path)
{
	long whole, four, none;

	text[100] = text[250] = 'x';
	whole = bpf_d_path(path, text, sizeof(text));
	BPF_SEQ_PRINTF(seq, "%s, %ld, %d %d %d\n", text, whole, text[100], text[250], text[254]);
	four = bpf_d_path(path, text, 4);
	none = bpf_d_path(path, text, 0);
	BPF_SEQ_PRINTF(seq, "%ld %ld\n", four, none);
}

SEC("iter/task_file") int files(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;

	if (file && task && ctx->fd == wanted_fd) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d has %u at %lld of %lu\n", task->tgid, ctx->fd,
			       file->f_pos, file->f_inode->i_ino);
		show_path(ctx->meta->seq, (struct path *)&file->f_path);
	}
	return 0;
}

SEC("iter/task_vma") int vmas(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;

	if (vma && vma->vm_start <= wanted_address && wanted_address < vma->vm_end) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "%lx to %lx, %lu pages in, %lx, file of %lu\n", vma->vm_start, vma->vm_end,
			       vma->vm_pgoff, vma->vm_flags & 15, vma->vm_file->f_inode->i_ino);
		show_path(ctx->meta->seq, (struct path *)&vma->vm_file->f_path);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
