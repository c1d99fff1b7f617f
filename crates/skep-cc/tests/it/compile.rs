//! What becomes of a source apart from its instructions: dependencies, warnings, errors, options.

use std::fs;
use std::path::Path;

use object::{Object as _, ObjectSection as _};
use skep_cc::{Arch, ErrorKind, Options, Vmlinux};

use crate::{Source, clang};

const PROGRAM: &str = r#"
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "own.h"
SEC("tracepoint/syscalls/sys_enter_openat")
int program(void *ctx) { return ANSWER; }
char LICENSE[] SEC("license") = "GPL";
"#;

#[test]
fn an_object_has_its_sections_and_btf_and_lists_what_it_was_made_from() {
    let Some(clang) = clang() else { return };
    let source = Source::new(PROGRAM);
    let own = source.path.with_file_name("own.h");
    fs::write(&own, "#define ANSWER 42\n").expect("a header");

    let compiled = source.compile(&clang, &Options::default()).expect("a correct program");

    let elf = object::File::parse(&*compiled.object).expect("an ELF object");
    for name in ["tracepoint/syscalls/sys_enter_openat", "license", ".BTF", ".BTF.ext"] {
        assert!(elf.section_by_name(name).is_some(), "no section `{name}`");
    }
    assert_eq!(compiled.dependencies, [source.path.clone(), own]);
    assert_eq!(compiled.warnings, "");
}

#[test]
fn what_clang_says_is_passed_on() {
    let Some(clang) = clang() else { return };
    let error = Source::new("int f(void)\n{\n\treturn oops;\n}\n")
        .compile(&clang, &Options::default())
        .expect_err("an undeclared name");
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let message = error.to_string();
    assert!(message.contains("test.bpf.c:3:9: error: use of undeclared identifier 'oops'"), "{message}");

    let warned =
        Source::new("#warning careful\n").compile(&clang, &Options::default()).expect("only a warning");
    assert!(warned.warnings.contains("careful"), "{}", warned.warnings);
}

#[test]
fn a_missing_source_is_an_error_that_names_it() {
    let Some(clang) = clang() else { return };
    let error = skep_cc::compile_with(&clang, Path::new("/nonexistent/x.bpf.c"), &Options::default())
        .expect_err("there is no such file");
    assert!(error.to_string().contains("/nonexistent/x.bpf.c"), "{error}");
}

#[test]
fn options_reach_clang() {
    let Some(clang) = clang() else { return };
    let source = Source::new(
        "#include <vmlinux.h>\n#include \"own.h\"\n\
         #ifndef __TARGET_ARCH_arm64\n#error arch\n#endif\n\
         _Static_assert(A + B == 3, \"defines\");\n_Static_assert(sizeof(struct mine) == 4, \"own vmlinux.h\");\n",
    );
    let includes = source.path.with_file_name("dir with blank");
    fs::create_dir(&includes).expect("a directory");
    fs::write(includes.join("own.h"), "#define B 2\n").expect("a header");
    let options = Options {
        vmlinux: Vmlinux::Text("struct mine { int x; };".into()),
        includes: vec![includes],
        defines: vec!["A=1".into()],
        arch: Some(Arch::Arm64),
        source_root: None,
    };
    source.compile(&clang, &options).expect("all of them are there");
}

#[test]
fn below_a_source_root_the_bytes_do_not_depend_on_the_place() {
    let Some(clang) = clang() else { return };
    let compile = || {
        let source = Source::new(&PROGRAM.replace("\"own.h\"", "<bpf/bpf_tracing.h>").replace("ANSWER", "1"));
        let root = source.path.parent().map(Path::to_owned);
        let options = Options { source_root: root, ..Options::default() };
        let compiled =
            skep_cc::compile_with(&clang, Path::new("test.bpf.c"), &options).expect("a correct program");
        let elf = object::File::parse(&*compiled.object).expect("an ELF object");
        let sections =
            elf.sections().filter(|section| section.name().is_ok_and(|name| name.starts_with(".BTF")));
        sections.map(|section| section.data().expect("bytes").to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(compile(), compile());
}

#[test]
fn headers_of_the_system_can_be_used_instead_of_vmlinux_h() {
    let Some(clang) = clang() else { return };
    if !Path::new("/usr/include/linux/bpf.h").exists() {
        println!("skipped: the kernel's headers (package linux-libc-dev) are not installed");
        return;
    }
    let source = Source::new(
        "#include <linux/bpf.h>\n#include <linux/if_ether.h>\n#include <bpf/bpf_helpers.h>\n\
         #include <bpf/bpf_endian.h>\nSEC(\"xdp\") int f(struct xdp_md *ctx)\n\
         { return ctx->data_end > 14 ? XDP_PASS : bpf_htons(ETH_P_IP); }\n",
    );
    source.compile(&clang, &Options::default()).expect("a correct program");
}
