//! Every macro of the bundled headers, in the places programs use them, without a warning.

use object::{Object as _, ObjectSection as _};
use skep_cc::{Arch, Options};

use crate::{Source, clang};

/// Compiles a body after the usual includes, with every warning an error, and answers the object.
fn compile(body: &str, arch: Arch) -> Option<Vec<u8>> {
    let clang = clang()?;
    let text = format!(
        "#include <vmlinux.h>\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_core_read.h>\n\
         #include <bpf/bpf_tracing.h>\n#include <bpf/bpf_endian.h>\n\
         #pragma clang diagnostic error \"-Weverything\"\n\
         #pragma clang diagnostic ignored \"-Weverything\"\n#pragma clang diagnostic error \"-Wall\"\n\
         {body}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
    );
    let options = Options { arch: Some(arch), ..Options::default() };
    let compiled = Source::new(&text).compile(&clang, &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(compiled.warnings, "");
    Some(compiled.object)
}

fn check(body: &str) {
    compile(body, Arch::X86);
}

/// The numbers of the helpers that a section calls, in order.
fn helpers_called(object: &[u8], section: &str) -> Vec<u32> {
    let elf = object::File::parse(object).expect("an ELF object");
    let code = elf.section_by_name(section).expect("the section").data().expect("its bytes");
    let calls = code.chunks_exact(8).filter(|insn| insn[0] == 0x85 && insn[1] >> 4 == 0);
    calls.map(|insn| u32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]])).collect()
}

#[test]
fn maps_globals_and_externs() {
    check(
        r#"
        struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); };
        struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, char[16]); __type(value, __u64);
                 __uint(map_flags, BPF_F_NO_PREALLOC); __uint(pinning, LIBBPF_PIN_BY_NAME); } counts SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, __u32);
                 __array(values, struct inner); } outer SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_ARENA); __uint(max_entries, 4); __ulong(map_extra, 0x1ull << 44); } arena SEC(".maps");
        struct value { struct bpf_timer timer; struct task_struct __kptr *task; };
        struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct value); } tasks SEC(".maps");
        extern int LINUX_KERNEL_VERSION __kconfig;
        extern enum libbpf_tristate CONFIG_BPF __kconfig __weak;
        extern void bpf_task_release(struct task_struct *p) __ksym __weak;
        const volatile int target SEC(".rodata") = 1;
        int total SEC(".bss.mine");
        __hidden int hidden(int x) { return x + 1; }
        __weak int global_sub(struct pt_regs *ctx __arg_ctx, int *p __arg_nonnull, int *q __arg_nullable) { return p && q ? *p + *q : 0; }
        SEC("kprobe/x") int program(void *ctx)
        {
            __u32 key = 0;
            struct value *v = bpf_map_lookup_elem(&tasks, &key);
            int a = 1;
            if (!v || CONFIG_BPF == TRI_NO || LINUX_KERNEL_VERSION < KERNEL_VERSION(5, 10, 300)) return 0;
            if (bpf_ksym_exists(bpf_task_release)) total++;
            a = target;
            barrier_var(a);
            barrier();
            struct value *same = container_of(&v->task, struct value, task);
            return same == v && likely(a) ? hidden(a) : global_sub(ctx, &a, NULL);
        }"#,
    );
}

#[test]
fn printing_takes_any_number_of_arguments() {
    let object = compile(
        r#"
        SEC("tp/none") int none(void *ctx) { bpf_printk("x"); return 0; }
        SEC("tp/three") int three(void *ctx) { bpf_printk("%d %d %d", 1, 2, 3); return 0; }
        SEC("tp/five") int five(struct task_struct *task)
        {
            char text[16];
            bpf_printk("%d %s %p %d %llu", 1, "two", task, BPF_CORE_READ(task, real_parent, tgid), bpf_ktime_get_ns());
            BPF_SNPRINTF(text, sizeof(text), "%d %d", BPF_CORE_READ(task, mm, exe_file, f_flags), text[0]);
            return 0;
        }
        SEC("iter") int iterate(struct bpf_iter__task *ctx)
        {
            BPF_SEQ_PRINTF(ctx->meta->seq, "%d\n", ctx->task->tgid);
            BPF_SEQ_PRINTF(ctx->meta->seq, "done\n");
            return 0;
        }"#,
        Arch::X86,
    );
    let Some(object) = object else { return };
    assert_eq!(helpers_called(&object, "tp/none"), [6]);
    assert_eq!(helpers_called(&object, "tp/three"), [6]);
    assert_eq!(helpers_called(&object, "tp/five"), [113, 113, 5, 177, 113, 113, 113, 165]);
    assert_eq!(helpers_called(&object, "iter"), [126, 126]);
}

#[test]
fn chains_of_reads_take_one_read_per_arrow() {
    let object = compile(
        r#"
        SEC("tp/kernel") int kernel(struct task_struct *task)
        {
            char name[16]; int tgid;
            tgid = BPF_CORE_READ(task, tgid);
            BPF_CORE_READ_INTO(&tgid, task, nsproxy, pid_ns_for_children, ns.inum);
            BPF_CORE_READ_STR_INTO(&name, task, mm, exe_file, f_path.dentry, d_name.name);
            return tgid + BPF_CORE_READ(task, signal, pids[1], level) + name[0];
        }
        SEC("tp/user") int user(struct open_how *how)
        {
            struct { struct { int x; char s[4]; } *p; } *mine = (void *)how; char s[4];
            BPF_PROBE_READ_USER_STR_INTO(&s, mine, p, s);
            BPF_PROBE_READ_STR_INTO(&s, mine, p, s);
            return BPF_CORE_READ_USER(how, flags) + BPF_PROBE_READ_USER(mine, p, x) + BPF_PROBE_READ(mine, p, x) + s[0];
        }
        SEC("tp/long") int longest(struct task_struct *t)
        {
            return BPF_CORE_READ(t, parent, parent, parent, parent, parent, parent, parent, parent, pid);
        }"#,
        Arch::X86,
    );
    let Some(object) = object else { return };
    assert_eq!(helpers_called(&object, "tp/kernel"), [113, 113, 113, 113, 113, 113, 113, 115, 113, 113, 113]);
    assert_eq!(helpers_called(&object, "tp/user"), [112, 114, 113, 115, 112, 112, 112, 113, 113]);
    assert_eq!(helpers_called(&object, "tp/long"), [113; 9]);
}

#[test]
fn questions_about_types_compile_to_relocations() {
    let object = compile(
        r#"
        enum color { RED = 1 };
        struct task_struct___old { long state; } __attribute__((preserve_access_index));
        struct bits { unsigned a : 3, b : 7; int c : 5; } __attribute__((preserve_access_index));
        SEC("kprobe/x") long program(struct task_struct *t)
        {
            struct bits *bits = (void *)t;
            long n = 0;
            n += bpf_core_field_exists(t->comm) + bpf_core_field_exists(struct task_struct___old, state);
            n += bpf_core_field_size(t->comm) + bpf_core_field_offset(struct task_struct, comm);
            n += bpf_core_type_exists(struct file) + bpf_core_type_size(struct file) + bpf_core_type_id_local(struct file);
            n += bpf_core_type_id_kernel(struct file);
            n += bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ringbuf_reserve);
            n += bpf_core_enum_value_exists(enum color, RED) + bpf_core_enum_value(enum color, RED);
            n += BPF_CORE_READ_BITFIELD_PROBED(bits, b) + BPF_CORE_READ_BITFIELD(bits, c);
            n += BPF_CORE_READ((struct task_struct___old *)t, state);
            BPF_CORE_WRITE_BITFIELD(bits, a, 5);
            return n + bpf_core_cast(t, struct task_struct)->pid;
        }"#,
        Arch::X86,
    );
    let Some(object) = object else { return };
    let elf = object::File::parse(&*object).expect("an ELF object");
    let ext = elf.section_by_name(".BTF.ext").expect("the section").data().expect("its bytes");
    let core_relo_bytes = u32::from_le_bytes([ext[28], ext[29], ext[30], ext[31]]);
    // A head of 4 bytes and one of 8 for the section; 16 for each relocation.
    assert!((core_relo_bytes - 12) / 16 >= 20, "{core_relo_bytes} bytes of CO-RE relocations");
}

#[test]
fn programs_have_named_arguments_on_every_architecture() {
    let body = r#"
        struct pair { __u64 a, b; };
        struct small { short a; };
        SEC("fentry/x") int BPF_PROG(none) { return 0; }
        SEC("fentry/x") int BPF_PROG(three, struct file *file, int flags, char c) { return file && flags + c; }
        SEC("fentry/x") int BPF_PROG(twelve, int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l) { return a + l; }
        SEC("fentry/x") int BPF_PROG2(structs, struct pair, p, int, i, struct small, s, char, c) { return p.b + i + s.a + c; }
        SEC("fentry/x") int BPF_PROG2(nothing) { return ctx != 0; }
        SEC("kprobe/x") int BPF_KPROBE(probe, struct file *file, unsigned long flags, void *p, int n) { return file && flags && p && n; }
        SEC("kprobe/x") int BPF_KPROBE(probe_none) { return PT_REGS_SP(ctx) + PT_REGS_IP_CORE(ctx) != 0; }
        SEC("kretprobe/x") int BPF_KRETPROBE(ret, long value) { return value; }
        SEC("kretprobe/x") int BPF_KRETPROBE(ret_none) { return 0; }
        SEC("ksyscall/openat") int BPF_KSYSCALL(openat, int dfd, const char *path, int flags, int mode) { return dfd + flags + mode + (path != 0); }
        SEC("uprobe/x") int BPF_UPROBE(up, int a) { return a; }
        SEC("uretprobe/x") int BPF_URETPROBE(upret, int a) { return a; }
        SEC("kprobe/y") int plain(struct pt_regs *ctx)
        {
            struct pt_regs *regs = PT_REGS_SYSCALL_REGS(ctx); long ip;
            BPF_KPROBE_READ_RET_IP(ip, ctx);
            return PT_REGS_PARM1(ctx) + PT_REGS_PARM4_CORE(ctx) + PT_REGS_PARM1_CORE_SYSCALL(regs) + PT_REGS_PARM4_CORE_SYSCALL(regs) + PT_REGS_RC(ctx) + ip;
        }"#;
    for arch in [Arch::X86, Arch::Arm64] {
        compile(body, arch);
    }
}

#[test]
fn an_argument_that_an_architecture_has_no_register_for_is_an_error() {
    let Some(clang) = clang() else { return };
    let source = Source::new(
        "#include <vmlinux.h>\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n\
         SEC(\"kprobe/x\") int BPF_KPROBE(f, int a, int b, int c, int d, int e, int f7, int g) { return g; }\n",
    );
    let options = Options { arch: Some(Arch::X86), ..Options::default() };
    let error = source.compile(&clang, &options).expect_err("x86-64 passes six in registers");
    assert!(error.to_string().contains("__unsupported__"), "{error}");
}

#[test]
fn loops_and_tail_calls() {
    let object = compile(
        r#"
        struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 4); __uint(key_size, 4); __uint(value_size, 4); } progs SEC(".maps");
        SEC("tc") int program(struct __sk_buff *ctx)
        {
            int i, *p, sum = 0, data[8] = {};
            bpf_for(i, 0, 8) { if (i == 5) continue; sum += data[i]; }
            bpf_repeat(3) sum++;
            bpf_for_each(num, p, 0, 4) { if (*p == 2) break; sum += *p; }
            bpf_tail_call_static(ctx, &progs, 2);
            return sum;
        }"#,
        Arch::X86,
    );
    let Some(object) = object else { return };
    assert_eq!(helpers_called(&object, "tc"), [12]);
}

#[test]
fn byte_order_macros_are_constants_where_their_argument_is() {
    check(
        r#"
        static const __u16 port = bpf_htons(443);
        SEC("xdp") int program(struct xdp_md *ctx)
        {
            struct ethhdr *eth = (void *)(long)ctx->data;
            if ((void *)(eth + 1) > (void *)(long)ctx->data_end) return XDP_DROP;
            switch (eth->h_proto) {
            case bpf_htons(0x0800): return XDP_PASS;
            case __bpf_constant_htons(0x86dd): return XDP_TX;
            }
            _Static_assert(bpf_htonl(0x01020304) == 0x04030201, "htonl");
            _Static_assert(bpf_cpu_to_be64(1ull) == 1ull << 56, "be64");
            return port == eth->h_proto ? bpf_ntohs(eth->h_proto) : XDP_DROP;
        }"#,
    );
}

#[test]
fn usdt_programs_fetch_their_arguments() {
    let object = compile(
        r#"
        #include <bpf/usdt.bpf.h>
        SEC("usdt//usr/lib/libc.so.6:libc:setjmp")
        int BPF_USDT(setjmp, void *env, int value)
        {
            return bpf_usdt_arg_cnt(ctx) + bpf_usdt_cookie(ctx) + bpf_usdt_arg_size(ctx, 1) + value + (env != 0);
        }
        SEC("usdt") int BPF_USDT(none) { return 0; }"#,
        Arch::X86,
    );
    let Some(object) = object else { return };
    let calls = helpers_called(&object, ".text");
    assert!([1, 112, 113, 174].iter().all(|helper| calls.contains(helper)), "{calls:?}");
}
