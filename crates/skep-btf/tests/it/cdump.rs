//! Types as C: what is written, that clang and our own parser lay it out as the BTF says, and bad BTF.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use skep_btf::{Btf, Builder, EnumValue, IntEncoding, Linkage, Member, Param, Type, TypeId, cdecl, cdump};

use crate::random::Random;

const INT: IntEncoding = IntEncoding { signed: true, char: false, bool: false };

/// Writes the types that a text declares, in the order it declares them.
fn written(text: &str) -> String {
    let declared = cdecl::parse(text).unwrap();
    cdump::types(&declared.btf, &declared.declared).unwrap()
}

fn check(text: &str, expected: &str) {
    assert_eq!(written(text), expected, "{text}");
}

fn member(name: &str, ty: TypeId, bit_offset: u32) -> Member<'_> {
    Member { name, ty, bit_offset, bitfield_bits: 0 }
}

#[test]
fn definitions() {
    check(
        "struct s { unsigned a : 3, : 5, b : 4; const char *const p; int m[2][3]; union { long l; u8 raw[8]; }; };",
        "typedef unsigned char __u8;\n\ntypedef __u8 u8;\n\nstruct s {\n\tunsigned int a: 3;\n\tchar: 5;\n\tunsigned int b: 4;\n\
         \tconst char *const p;\n\tint m[2][3];\n\tunion {\n\t\tlong l;\n\t\tu8 raw[8];\n\t};\n};\n\n",
    );
    check(
        "enum e { A = -1, B = 5 }; enum { C };",
        "enum e {\n\tA = -1,\n\tB = 5,\n};\n\nenum {\n\tC = 0,\n};\n\n",
    );
    check("enum e { A = 0xffffffffffffffff };", "enum e {\n\tA = 18446744073709551615ULL,\n};\n\n");
    check(
        "enum __attribute__((packed)) e { A, B };",
        "enum e {\n\tA = 0,\n\tB = 1,\n} __attribute__((mode(byte)));\n\n",
    );
    check("struct s { } ; union u { };", "struct s {};\n\nunion u {};\n\n");
    check(
        "struct s { char c; int i; } __attribute__((packed));",
        "struct s {\n\tchar c;\n\tint i;\n} __attribute__((packed));\n\n",
    );
    check(
        "struct s { int a; } __attribute__((aligned(16)));",
        "struct s {\n\tint a;\n\tint: 32;\n\tlong: 64;\n};\n\n",
    );
    check(
        "struct s { char c; long x __attribute__((aligned(32))); };",
        "struct s {\n\tchar c;\n\tchar: 8;\n\tshort: 16;\n\tint: 32;\n\tlong: 64;\n\tlong: 64;\n\tlong: 64;\n\tlong x;\n\tlong: 64;\n\tlong: 64;\n\tlong: 64;\n};\n\n",
    );
    check(
        "union u { int a; } __attribute__((aligned(8)));",
        "union u {\n\tint a;\n\tstruct {\n\t\tlong: 64;\n\t};\n};\n\n",
    );
}

#[test]
fn declarators() {
    check(
        "typedef int (*(*f)(int a, char *, ...))[4]; typedef void (*g[2])(void); typedef const int *volatile restrict p;",
        "typedef int (*(*f)(int a, char *, ...))[4];\n\ntypedef void (*g[2])(void);\n\ntypedef const int *volatile restrict p;\n\n",
    );
    check("typedef struct { int a; } *t[2];", "typedef struct {\n\tint a;\n} *t[2];\n\n");
}

#[test]
fn what_is_needed_comes_first() {
    check(
        "struct b; typedef struct b b_t; struct a { struct b *b; b_t *t; }; struct b { struct a a; };",
        "struct b;\n\ntypedef struct b b_t;\n\nstruct a {\n\tstruct b *b;\n\tb_t *t;\n};\n\nstruct b {\n\tstruct a a;\n};\n\n",
    );
    check(
        "struct s { struct s *self; struct { struct t *t; } *p; void (*f)(enum e *); }; enum e { A };",
        "struct t;\n\nenum e {\n\tA = 0,\n};\n\nstruct s {\n\tstruct s *self;\n\tstruct {\n\t\tstruct t *t;\n\t} *p;\n\
         \tvoid (*f)(enum e *);\n};\n\n",
    );
}

#[test]
fn names_stay_apart() {
    let mut builder = Builder::new();
    let int = builder.add_int("int", 4, INT);
    let odd = builder.add_int("u24<be>", 4, INT);
    let first = builder.add_struct("s", 4, &[member("a", int, 0)]);
    let second = builder.add_struct("s", 8, &[member("b", first, 0), member("c d", odd, 32)]);
    builder.add_struct("u", 8, &[member("s", second, 0)]);
    builder.add_typedef("x", int);
    let values = [EnumValue { name: "x", value: 1 }];
    builder.add_enum("s", false, &values);
    let btf = builder.finish_btf(None).unwrap();
    let ids: Vec<TypeId> = (1..btf.len() as u32).map(TypeId).collect();
    let expected = "struct s {\n\tint a;\n};\n\ntypedef int _u24_be_;\n\nstruct s___2 {\n\tstruct s b;\n\t_u24_be_ _c_d;\n};\n\n\
                    struct u {\n\tstruct s___2 s;\n};\n\ntypedef int x;\n\nenum s___3 {\n\tx___2 = 1,\n};\n\n";
    assert_eq!(cdump::types(&btf, &ids[1..]).unwrap(), expected);
}

#[test]
fn kfuncs_are_declared() {
    let mut builder = Builder::new();
    let int = builder.add_int("int", 4, INT);
    let fwd = builder.add_fwd("task", false);
    let ptr = builder.add_ptr(fwd);
    let proto = builder.add_func_proto(int, &[Param { name: "task", ty: ptr }]);
    let func = builder.add_func("bpf_task_acquire", proto, Linkage::Static);
    builder.add_decl_tag("bpf_kfunc", func, None);
    let btf = builder.finish_btf(None).unwrap();
    let declaration = "extern int bpf_task_acquire(struct task *task) __weak __ksym;\n";
    assert!(cdump::header(&btf, &cdump::Options::default()).unwrap().contains(declaration));
    assert!(!cdump::header(&btf, &cdump::Options { kfuncs: false }).unwrap().contains("extern"));
    assert_eq!(cdump::declaration(&btf, func, "f").unwrap(), "int f(struct task *task)");
    assert_eq!(cdump::declaration(&btf, ptr, "").unwrap(), "struct task *");
}

/// Offsets and sizes of all members, those of members without a name among them.
fn layout(btf: &Btf, ty: &Type<'_>) -> String {
    let composite = ty.composite().unwrap();
    let mut text = format!("{}:", composite.bytes);
    for member in composite.members.iter().map(Result::unwrap) {
        let inner = btf.resolve(member.ty).unwrap();
        let bytes = btf.size_of(member.ty).unwrap();
        let Member { name, bit_offset, bitfield_bits, .. } = member;
        write!(text, " {name}@{bit_offset}:{bitfield_bits}/{bytes}").unwrap();
        if inner.composite().is_some() && inner.name.is_empty() {
            write!(text, "{{{}}}", layout(btf, &inner)).unwrap();
        }
    }
    text
}

/// The layouts of all structures and unions with a name, by that name.
fn layouts(btf: &Btf) -> HashMap<String, Vec<String>> {
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for ty in btf.types().map(Result::unwrap).filter(|ty| ty.composite().is_some() && !ty.name.is_empty()) {
        let name = ty.name.split("___").next().unwrap();
        found.entry(format!("{} {name}", ty.kind())).or_default().push(layout(btf, &ty));
    }
    found
}

/// Writes all types, reads them back, and compares; the layouts of the reader are tested against clang's elsewhere.
fn check_round_trip(btf: &Btf, excepted: &[&str]) -> usize {
    let header = cdump::header(btf, &cdump::Options::default()).unwrap();
    let read = layouts(&cdecl::parse(&header).unwrap().btf);
    let original = layouts(btf);
    for (name, expected) in &original {
        let found = read.get(name).unwrap_or_else(|| panic!("{name} was not written"));
        let missing = expected.iter().find(|layout| !found.contains(layout));
        assert!(missing.is_none() || excepted.contains(&&**name), "{name}: {missing:?} is not in {found:?}");
    }
    original.len()
}

#[test]
fn layouts_survive() {
    let declared = cdecl::parse(include_str!("../data/layout.h")).unwrap();
    assert!(check_round_trip(&declared.btf, &[]) > 50);
}

/// `warn_args` holds a `va_list`, which is another type for BPF than for x86-64.
#[test]
fn layouts_of_the_kernel_survive() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        println!("skipped: there is no /sys/kernel/btf/vmlinux here");
        return;
    };
    let btf = Btf::parse(Arc::new(bytes)).unwrap();
    let count = check_round_trip(&btf, &["struct warn_args"]);
    assert!(count > 1000, "only {count} structures");
}

#[test]
fn clang_compiles_it() {
    let declared = cdecl::parse(include_str!("../data/layout.h")).unwrap();
    let mut text = cdump::header(&declared.btf, &cdump::Options::default()).unwrap();
    for ty in declared.btf.types().map(Result::unwrap).filter(|ty| !ty.name.is_empty()) {
        if let Some(composite) = ty.composite() {
            let (name, bytes) = (ty.describe(), composite.bytes);
            writeln!(text, "_Static_assert(sizeof({name}) == {bytes}, \"{name}\");").unwrap();
        }
    }
    match crate::clang::run(&["-target", "bpf", "-fsyntax-only", "-x", "c", "-"], &text) {
        None => println!("skipped: there is no clang here"),
        Some(result) => drop(result.expect("clang reads the header")),
    }
}

#[test]
fn types_that_c_cannot_say_are_errors() {
    let error = |build: &dyn Fn(&mut Builder)| {
        let mut builder = Builder::new();
        build(&mut builder);
        let btf = builder.finish_btf(None).unwrap();
        cdump::header(&btf, &cdump::Options::default()).unwrap_err().to_string()
    };
    let itself = error(&|b| {
        b.add_struct("s", 4, &[member("a", TypeId(1), 0)]);
    });
    assert_eq!(itself, "type 1: `struct s` contains itself, which C cannot say");
    let typedef = error(&|b| {
        b.add_typedef("t", TypeId(1));
    });
    assert_eq!(typedef, "type 1: `t` contains itself, which C cannot say");
    let pointer = error(&|b| {
        b.add_ptr(TypeId(1));
        b.add_typedef("t", TypeId(1));
    });
    assert_eq!(pointer, "type 1 is nested deeper than 200 types");
    let function = error(&|b| {
        b.add_func("f", TypeId(2), Linkage::Static);
        b.add_func_proto(TypeId::VOID, &[]);
        b.add_struct("s", 8, &[member("f", TypeId(1), 0)]);
    });
    assert_eq!(function, "type 1: no value can have the type `f`");
    let absent = error(&|b| {
        b.add_typedef("t", TypeId(7));
    });
    assert!(absent.contains("type 7 does not exist"), "{absent}");
}

/// Each structure without a name holds the next one twice, so the text doubles thirty times.
#[test]
fn no_text_grows_without_end() {
    let mut builder = Builder::new();
    for level in 1..30 {
        let inner = TypeId(level + 1);
        builder.add_struct("", 0, &[member("a", inner, 0), member("b", inner, 0)]);
    }
    builder.add_struct("", 0, &[]);
    builder.add_struct("s", 0, &[member("a", TypeId(1), 0)]);
    let btf = builder.finish_btf(None).unwrap();
    let error = cdump::header(&btf, &cdump::Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "types without a name are repeated without end");
}

#[test]
fn no_types_make_it_panic() {
    let mut random = Random::new(7);
    for _ in 0..2_000 {
        let btf = random.types();
        drop(cdump::header(&btf, &cdump::Options::default()));
        for id in 0..btf.len() as u32 {
            drop(cdump::declaration(&btf, TypeId(id), "x"));
        }
    }
}
