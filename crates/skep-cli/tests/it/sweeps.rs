//! Whole tables of the verifier against the kernel it is for: every program of a kind, small, loaded and verified.
//!
//! A fact that is wrong in a table shows as one row here, where objects that people write may never meet it.

use std::fmt::Write as _;

use skep::btf::{Btf, Kind, Shape, Type};
use skep::host;

use crate::harness::{Scratch, has_clang, is_root, run, skip};

/// The kernel whose verdict is ours.
const KERNEL: &str = "6.18.";

const HEAD: &str =
    "#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";

/// Sections of the program types that any machine can load, and how far their contexts reach.
const SECTIONS: &[(&str, u32)] = &[
    ("socket", 200),
    ("tc", 200),
    ("xdp", 32),
    ("cgroup_skb/egress", 200),
    ("cgroup/sock_create", 84),
    ("cgroup/post_bind4", 84),
    ("cgroup/post_bind6", 84),
    ("cgroup/bind4", 84),
    ("cgroup/connect6", 84),
    ("cgroup/sendmsg4", 84),
    ("cgroup/recvmsg6", 84),
    ("cgroup/connect_unix", 84),
    ("cgroup/getsockopt", 48),
    ("cgroup/setsockopt", 48),
    ("cgroup/sysctl", 16),
    ("cgroup/dev", 16),
    ("sockops", 224),
    ("sk_msg", 88),
    ("sk_skb/stream_verdict", 200),
    ("sk_reuseport", 64),
    ("sk_lookup", 80),
    ("flow_dissector", 200),
    ("lwt_in", 200),
    ("lwt_xmit", 200),
    ("perf_event", 190),
    ("tracepoint/syscalls/sys_enter_openat", 72),
    ("raw_tp/sys_enter", 100),
    ("netfilter", 32),
    ("syscall", 32),
];

/// Is this the kernel, may we load, and can we compile? Else the reason is printed.
fn can_compare() -> bool {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let reason = if !kernel.starts_with(KERNEL) {
        format!("the verdict is Linux 6.18's, and this is {}", kernel.trim())
    } else if !is_root() {
        "loading takes root".to_owned()
    } else if !has_clang() {
        "clang is not installed".to_owned()
    } else {
        return true;
    };
    skip(&reason);
    false
}

/// Verifies every program of the source here and in the kernel.
fn compare(name: &str, source: &str) {
    let scratch = Scratch::new(&format!("sweep-{name}"));
    let path = scratch.write(&format!("{name}.bpf.c"), format!("{HEAD}{source}"));
    let said =
        run(["verify", "-j", "--against", "kernel"].iter().map(AsRef::as_ref).chain([path.as_os_str()]));
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", said.stdout, said.stderr));
    assert!(rows.len() > 40, "{name}: only {} programs", rows.len());
    let differ: Vec<String> = rows
        .iter()
        .filter(|row| row["verdict"] != row["kernel"]["verdict"])
        .map(|row| {
            format!(
                "{} {}: {}; the kernel: {}",
                row["section"], row["program"], row["verdict"], row["kernel"]
            )
        })
        .collect();
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
}

#[test]
fn contexts() {
    if !can_compare() {
        return;
    }
    for (number, (section, bytes)) in SECTIONS.iter().enumerate() {
        let mut source = String::new();
        for (size, off) in
            [1, 2, 4, 8].into_iter().flat_map(|size| (0..*bytes).step_by(size).map(move |off| (size, off)))
        {
            let bits = size * 8;
            let _ = writeln!(
                source,
                "SEC(\"{section}\") int r{size}_{off}(void *ctx) \
                 {{ asm volatile(\"r1 = *(u{bits} *)(r1 + {off})\" ::: \"r1\"); return 1; }}\n\
                 SEC(\"{section}\") int w{size}_{off}(void *ctx) \
                 {{ asm volatile(\"r2 = 0; *(u{bits} *)(r1 + {off}) = r2\" ::: \"r2\", \"memory\"); return 1; }}"
            );
        }
        compare(&format!("context{number}"), &source);
    }
}

#[test]
fn results() {
    if !can_compare() {
        return;
    }
    let mut source = String::new();
    for (number, (section, _)) in SECTIONS.iter().enumerate() {
        for value in [-4096i64, -1, 0, 1, 2, 3, 4, 7, 8, 100, 1 << 32] {
            let name = value.to_string().replace('-', "m");
            let _ = writeln!(
                source,
                "SEC(\"{section}\") long v{number}_{name}(void *ctx) {{ return {value}L; }}"
            );
        }
        for mask in ["~0u", "1", "3"] {
            let name = mask.trim_matches(['~', 'u']);
            let _ = writeln!(
                source,
                "SEC(\"{section}\") int m{number}_{name}(void *ctx) {{ return bpf_get_prandom_u32() & {mask}; }}"
            );
        }
        let _ = writeln!(
            source,
            "SEC(\"{section}\") int c{number}(void *ctx) {{ asm volatile(\"r0 = r1; exit\"); return 0; }}"
        );
    }
    compare("results", &source);
}

/// Which arguments of a tracepoint point to structures. The first parameter of its type is not an argument.
fn records(btf: &Btf, declared: &Type<'_>) -> Option<Vec<usize>> {
    let Shape::Typedef(pointer) = declared.shape else { return None };
    let Shape::Ptr(proto) = btf.type_by_id(pointer).ok()?.shape else { return None };
    let Shape::FuncProto(proto) = btf.type_by_id(proto).ok()?.shape else { return None };
    let is_record = |ty| {
        let Shape::Ptr(to) = btf.strip_modifiers(ty).ok()?.shape else { return None };
        matches!(btf.strip_modifiers(to).ok()?.shape, Shape::Struct(_) | Shape::Union(_)).then_some(())
    };
    let arguments = proto.params.iter().flatten().skip(1).enumerate();
    Some(arguments.filter(|(_, param)| is_record(param.ty).is_some()).map(|(at, _)| at).collect())
}

#[test]
fn arguments_of_tracepoints() {
    if !can_compare() {
        return;
    }
    let Some(btf) = host::kernel_btf() else { return skip("this kernel shows no types") };
    let mut source = String::from("long out;\n");
    for declared in btf.types().filter_map(Result::ok).filter(|t| t.kind() == Kind::Typedef) {
        let Some(name) = declared.name.strip_prefix("btf_trace_") else { continue };
        for at in records(&btf, &declared).unwrap_or_default() {
            let _ = writeln!(
                source,
                "SEC(\"tp_btf/{name}\") int {name}_{at}(unsigned long long *ctx) {{ char *p = (char *)ctx[{at}]; \
                 asm volatile(\"%0 = *(u8 *)(%0 + 0)\" : \"+r\"(p)); out = (long)p; return 0; }}"
            );
        }
    }
    compare("tracepoints", &source);
}
