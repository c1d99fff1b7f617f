//! C declarations: layouts as clang has them, the preprocessor, errors, and that no text breaks the parser.

use std::fmt::Write as _;

use skep_btf::cdecl::{Constant, Declarations, parse, parse_with};
use skep_btf::{Btf, Kind, Type};

use crate::random::Random;

/// Structures in which ABIs differ.
const LAYOUTS: &str = include_str!("../data/layout.h");

/// `struct s 8: a@0 b@32:3`, with offsets in bits, a width for bit fields, and anonymous members in braces.
fn layout(btf: &Btf, ty: &Type<'_>) -> String {
    let composite = ty.composite().expect("only structures and unions have a layout");
    let name = if ty.name.is_empty() { ty.kind().to_string() } else { ty.describe() };
    let mut text = format!("{name} {}:", composite.bytes);
    for member in composite.members.iter().map(Result::unwrap) {
        let inner = btf.resolve(member.ty).unwrap();
        write!(text, " {}", member.name).unwrap();
        if inner.composite().is_some() && inner.name.is_empty() {
            write!(text, "{{{}}}", layout(btf, &inner)).unwrap();
        }
        write!(text, "@{}", member.bit_offset).unwrap();
        if member.bitfield_bits > 0 {
            write!(text, ":{}", member.bitfield_bits).unwrap();
        }
    }
    text
}

fn layouts(declared: &Declarations) -> String {
    let types = declared.btf.types().map(Result::unwrap);
    let named = types.filter(|ty| ty.composite().is_some() && !ty.name.is_empty());
    let mut lines: Vec<String> = named.map(|ty| layout(&declared.btf, &ty)).collect();
    lines.sort();
    lines.join("\n")
}

fn check(text: &str, expected: &str) {
    assert_eq!(layouts(&parse(text).unwrap()), expected, "{text}");
}

fn check_error(text: &str, expected: &str) {
    match parse(text) {
        Ok(declared) => panic!("`{text}` was read as {}", layouts(&declared)),
        Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
    }
}

/// The expected file holds what clang 19 writes into BTF for the header.
#[test]
fn layouts_are_those_of_clang() {
    let declared = parse(LAYOUTS).unwrap();
    crate::golden::check("layout.expected", &format!("{}\n", layouts(&declared)));
}

/// The same question to the clang of this machine: sizes and offsets as static assertions.
#[test]
fn clang_agrees() {
    let declared = parse(LAYOUTS).unwrap();
    let mut text = LAYOUTS.to_owned();
    let mut asserted = 0;
    for ty in declared.btf.types().map(Result::unwrap) {
        let Some(composite) = ty.composite().filter(|_| !ty.name.is_empty()) else { continue };
        let (name, bytes) = (ty.describe(), composite.bytes);
        writeln!(text, "_Static_assert(sizeof({name}) == {bytes}, \"size of {name}\");").unwrap();
        asserted += 1;
        for member in composite.members.iter().map(Result::unwrap).filter(|m| m.bitfield_bits == 0) {
            if !member.name.is_empty() {
                let (field, offset) = (member.name, member.bit_offset / 8);
                let assert = format!("__builtin_offsetof({name}, {field}) == {offset}");
                writeln!(text, "_Static_assert({assert}, \"{name}.{field}\");").unwrap();
                asserted += 1;
            }
        }
    }
    assert!(asserted > 150, "only {asserted} assertions");
    let arguments = ["-target", "bpf", "-fsyntax-only", "-w", "-x", "c", "-"];
    match crate::clang::run(&arguments, &text) {
        None => println!("skipped: there is no clang here"),
        Some(Ok(_)) => {}
        Some(Err(errors)) => panic!("clang disagrees: {errors}"),
    }
}

#[test]
fn names_of_basic_types_may_come_in_any_order() {
    let text = "struct s { int long unsigned a; short unsigned b; long int long c; char signed d; __int128 unsigned e; }";
    let declared = parse(text).unwrap();
    let ty = declared.btf.type_by_id(declared.find("s").unwrap()).unwrap();
    let members = ty.composite().unwrap().members;
    let names: Vec<&str> =
        members.iter().map(|m| declared.btf.type_by_id(m.unwrap().ty).unwrap().name).collect();
    assert_eq!(names, ["unsigned long", "unsigned short", "long long", "signed char", "unsigned __int128"]);
}

#[test]
fn usual_names_are_known_unless_declared() {
    check(
        "struct s { u8 a; __be32 b; pid_t c; bool d; size_t e; char f[TASK_COMM_LEN]; }",
        "struct s 40: a@0 b@32 c@64 d@96 e@128 f@192",
    );
    check(
        "typedef char u8[3]; enum { TASK_COMM_LEN = 2 }; struct s { u8 a; char f[TASK_COMM_LEN]; }",
        "struct s 5: a@0 f@24",
    );
    check("#ifndef NAME_MAX\n#define NAME_MAX 7\n#endif\nstruct s { char a[NAME_MAX]; };", "struct s 7: a@0");
    check(
        "struct s { struct in6_addr a; char b; };",
        "struct in6_addr 16: in6_u{union 16: u6_addr8@0 u6_addr16@0 u6_addr32@0}@0\nstruct s 20: a@0 b@128",
    );
    check(
        "struct in_addr { char mine; }; struct s { struct in_addr a; };",
        "struct in_addr 1: mine@0\nstruct s 1: a@0",
    );
}

#[test]
fn whatever_declares_no_type_is_passed_over() {
    let text = r#"
        #include <vmlinux.h>
        Elf *open_elf(const char *path, int *fd);
        static const char *names[] = { "a", "}" };
        static __always_inline struct unknown f(weird_t *x) { struct s { int no; }; return { 1 }; }
        struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, u32); } map SEC(".maps");
        SEC("tracepoint/x") int BPF_PROG(handle, int a) { if (a) { return 1; } return 0; }
        char LICENSE[] SEC("license") = "GPL";
        struct s { int yes; } variable = { .yes = 1 }, *pointer;
        struct s *make(void);
        const volatile bool flag = false;
        int (*function)(struct s *) = 0;
        ;
    "#;
    check(text, "struct s 4: yes@0");
}

#[test]
fn preprocessor() {
    check(
        "#define A 2\n#define B (A * 3)\n#undef A\n#define A 4\nstruct s { char c[B]; };",
        "struct s 12: c@0",
    );
    check(
        "#define T(t, n) t n##_m[sizeof(t)]\nstruct s { T(u32, x); T(u64, y); };",
        "struct s 80: x_m@0 y_m@128",
    );
    check("#define F(x, ...) x __VA_ARGS__\nstruct s { F(int, a, b); };", "struct s 8: a@0 b@32");
    check(
        "#define EMPTY()\n#define G(x) x\n#define H G\nstruct s { EMPTY() int a; H(int b;) };",
        "struct s 8: a@0 b@32",
    );
    check("#define int int\n#define a b\n#define b a\nstruct s { int a; };", "struct s 4: a@0");
    check(
        "#if 0\nit's not C\n#elif defined X || !defined(Y) && 1 ? 2 > 1 : 0\nstruct s { int a; };\n#else\n#error no\n#endif",
        "struct s 4: a@0",
    );
    check(
        "#if __has_builtin(__builtin_x) || UNKNOWN\n#error no\n#endif\nstruct s { int /* a */ a; // b\n};",
        "struct s 4: a@0",
    );
    check(
        "struct s { char a; \\\n int b; } __attribute__((packed, unused, aligned(1)));",
        "struct s 5: a@0 b@8",
    );
}

#[test]
fn constants_are_kept() {
    let text = "#define A (1 << 4)\n#define S \"a\\n\\x41\\\\\"\n#define U ((uid_t)-1)\n#define M (~0ULL)\n#define X unknown\n\
                #define F(x) x\n#define E\nenum e { ONE = 1, HUGE = 0xffffffffffffffff };";
    let declared = parse(text).unwrap();
    let names: Vec<&str> = declared.constants.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["A", "S", "U", "M"]);
    let cases = [
        ("A", Some(Constant::Int(16))),
        ("S", Some(Constant::Str("a\nA\\".into()))),
        ("U", Some(Constant::Int(0xffff_ffff))),
        ("M", Some(Constant::Int(i128::from(u64::MAX)))),
        ("ONE", Some(Constant::Int(1))),
        ("HUGE", Some(Constant::Int(i128::from(u64::MAX)))),
        ("X", None),
        ("F", None),
    ];
    for (name, value) in cases {
        assert_eq!(declared.constant(name), value, "{name}");
    }
}

#[test]
fn constant_expressions_follow_the_rules_of_c() {
    let cases = [
        ("1 + 2 * 3 - 4 / 2 % 3", 5),
        ("(1 | 6) ^ 2 & ~0", 5),
        ("1 << 3 >> 1", 4),
        ("-1 > 0U", 1),
        ("-1L > 0U", 0),
        ("!0 && (0 || 0x10 == 020)", 1),
        ("0 && 1 / 0", 0),
        ("1 ? 7 : 1 / 0", 7),
        ("(unsigned char)300", 44),
        ("(char)-1 == -1", 1),
        ("sizeof(int[3]) + sizeof(\"abc\")", 16),
        ("0b101 + 1e", -1),
        ("'\\n' + '\\x7f' + '\\0' + '\\101'", 202),
        ("sizeof(((struct t *)0)->b[1].c)", 4),
        ("offsetof(struct t, b[1].c)", 16),
        ("(unsigned long)&((struct t *)0)->b[0].c", 8),
        ("_Alignof(struct t)", 8),
        ("sizeof_field(struct t, b)", 16),
    ];
    for (expression, value) in cases {
        let text =
            format!("struct t {{ long a; struct {{ int c, d; }} b[2]; }}; enum e {{ V = {expression} }};");
        let found = parse(&text).map(|declared| declared.constant("V"));
        match value {
            -1 => assert!(found.is_err(), "{expression}"),
            value => assert_eq!(found, Ok(Some(Constant::Int(value))), "{expression}"),
        }
    }
}

#[test]
fn includes_are_asked_from_the_caller() {
    let text = "#include \"a.h\"\n#include <b/b.h>\n#include \"a.h\"\nstruct s { struct a a; };";
    let mut asked = Vec::new();
    let declared = parse_with(text, &mut |name| {
        asked.push(name.to_owned());
        (name == "a.h").then(|| "#pragma once\n#include \"c.h\"\nstruct a { int x; };".to_owned())
    })
    .unwrap();
    assert_eq!(layouts(&declared), "struct a 4: x@0\nstruct s 4: a@0");
    assert_eq!(asked, ["a.h", "c.h", "b/b.h"]);
    assert_eq!(declared.missing_includes, ["c.h", "b/b.h"]);

    let error = parse_with("#include \"a.h\"", &mut |_| Some("#include \"a.h\"".into())).unwrap_err();
    assert_eq!(error.to_string(), "`a.h`, line 1, column 2: includes go on without end at `a.h`");
    let error = parse_with("#include \"a.h\"", &mut |_| Some("\nstruct a { int }".into())).unwrap();
    assert_eq!(
        error.errors[0].to_string(),
        "`a.h`, line 2, column 16: expected the name of the member, found `}`"
    );
}

#[test]
fn errors_say_where_and_what() {
    check_error("struct s { u33 a; };", "line 1, column 12: unknown type `u33` (did you mean `u32`?)");
    check_error("struct s {\n\tint a\n};", "line 3, column 1: expected `;` after the member, found `}`");
    check_error("struct s { int a[; };", "line 1, column 18: expected a constant expression, found `;`");
    check_error(
        "struct s { int a;",
        "line 1, column 17: expected `}` at the end of the members, found the end of the text",
    );
    check_error(
        "struct s { struct t a; };",
        "line 1, column 21: `struct t` is not defined before this, so its size is unknown",
    );
    check_error(
        "struct s { s a; };",
        "line 1, column 12: `s` is the tag of a `struct`, `union` or `enum`: write that word before it",
    );
    check_error(
        "struct s { char a[N]; };",
        "line 1, column 19: the value of `N` is unknown: it is neither an enumerator nor a macro that was read; perhaps it is in an include",
    );
    check_error("struct s { char a[1 / 0]; };", "line 1, column 21: division by zero");
    check_error("struct s { char a[-1]; };", "line 1, column 19: an array cannot have -1 elements");
    check_error(
        "struct s { int a : 33; };",
        "line 1, column 16: a bit field of this type has 1 to 32 bits, not 33",
    );
    check_error(
        "struct s { int a; }; struct s { int b; };",
        "line 1, column 29: `struct s` is defined already",
    );
    check_error("struct s { int a; int a; };", "line 1, column 23: there is a member `a` already");
    check_error(
        "struct s { char a[]; int b; };",
        "line 1, column 26: no member can follow the flexible array `a`",
    );
    check_error("struct s { void a; };", "line 1, column 17: `void` has no values");
    check_error("struct s { unsigned float a; };", "line 1, column 21: `unsigned float` is not a type");
    check_error(
        "struct s { int a __attribute__((aligned(3))); };",
        "line 1, column 41: 3 is not an alignment: a power of two up to 2097152 is wanted",
    );
    check_error(
        "struct s { char a[0xffffffff]; char b[0xffffffff]; };",
        "line 1, column 37: the type is larger than 4 GiB here",
    );
    check_error("typedef int;", "line 1, column 12: expected the name of the typedef, found `;`");
    check_error(
        "#define F(x) x\nstruct s { int a[F(1, 2)]; };",
        "line 2, column 18: the macro `F` takes 1 arguments, not 2",
    );
    check_error("#if 1\nstruct s { int a; };", "line 1, column 2: this condition is not closed by `#endif`");
    check_error("#endif", "line 1, column 2: `#endif` without an `#if` before it");
    check_error("struct s { /* int a; };", "line 1, column 12: this comment is not closed by `*/`");
    check_error("#error \"no\"", "line 1, column 2: the text gives up here: \"no\"");
}

#[test]
fn one_bad_declaration_does_not_spoil_the_others() {
    let text = "struct a { int x; }; struct b { weird_t y; }; typedef what_t z; struct c { struct a a; };";
    let declared = parse_with(text, &mut |_| None).unwrap();
    assert_eq!(layouts(&declared), "struct a 4: x@0\nstruct c 4: a@0");
    assert_eq!(declared.errors.len(), 2);
    assert!(declared.find("struct b").is_none());
}

#[test]
fn the_main_type_is_the_event_or_the_last_structure() {
    let name = |text: &str| {
        let declared = parse(text).unwrap();
        let id = declared.main_type();
        id.map(|id| declared.btf.type_by_id(id).unwrap().describe())
    };
    assert_eq!(name("struct event { int a; }; struct other { int b; };").as_deref(), Some("struct event"));
    assert_eq!(name("struct a { int a; }; struct b { int b; }; enum e { X };").as_deref(), Some("struct b"));
    assert_eq!(name("typedef struct { int a; } rec_t;").as_deref(), Some("rec_t"));
    assert_eq!(name("struct { int a; }").as_deref(), Some("anonymous struct 1"));
    assert_eq!(name("int x;"), None);
}

#[test]
fn what_is_not_defined_is_a_forward_declaration() {
    let declared = parse("struct s { struct t *p; union u *q; }").unwrap();
    assert!(declared.btf.find("t", Kind::Fwd).is_some() && declared.btf.find("u", Kind::Fwd).is_some());
}

#[test]
fn no_nesting_exhausts_the_stack() {
    for unit in
        ["(", "struct s {", "[1]", "*", "-", "sizeof ", "~(", "1?", "1+(", "int (*", "{", "f(", "int (*f)("]
    {
        let many = unit.repeat(10_000);
        for text in [
            format!("struct s {{ int a[{many}1]; }};"),
            format!("struct s {{ {many} }};"),
            format!("struct s {{ int {many}a; }};"),
            format!("struct s {{ int a{many}; }};"),
            format!("typedef int (*f)({many});"),
            format!("#if {many}\n#endif"),
            many,
        ] {
            // Nearly all of this is wrong; what matters is that the answer comes.
            drop(parse_with(&text, &mut |_| None));
        }
    }
}

#[test]
fn no_macro_grows_without_end() {
    let mut text = String::from("#define A0 1 + 1\n");
    for level in 1..60 {
        writeln!(text, "#define A{level} A{} + A{}", level - 1, level - 1).unwrap();
    }
    text.push_str("struct s { char a[A59]; };");
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.ends_with("the macros produce more than 1000000 tokens"), "{error}");
}

#[test]
fn no_text_makes_it_panic() {
    const PIECES: &[&str] = &[
        "struct ",
        "union ",
        "enum ",
        "typedef ",
        "int ",
        "u32 ",
        "char ",
        "long ",
        "unsigned ",
        "a",
        "b",
        "s ",
        "{ ",
        "} ",
        "; ",
        ", ",
        ": ",
        "( ",
        ") ",
        "[ ",
        "] ",
        "* ",
        "= ",
        "1 ",
        "3",
        "0x",
        "sizeof ",
        "\n#define A ",
        "\n#define F(x, y) ",
        "\n#if ",
        "\n#else\n",
        "\n#endif\n",
        "\n#include \"a\"\n",
        "\n#pragma pack(1)\n",
        "##",
        "F(",
        "A ",
        "\"",
        "'",
        "\\",
        "/*",
        "*/",
        "//",
        "...",
        "-> ",
        "offsetof(",
        "&",
        "const ",
        "__attribute__((",
        "packed",
        "aligned(",
        "mode(",
        "é",
        "\u{0}",
        "? ",
        "<< ",
        "/ ",
        "~",
        "- ",
    ];
    let mut random = Random::new(1);
    for _ in 0..2_000 {
        let len = random.below(60);
        let text: String = (0..len).map(|_| *random.pick(PIECES)).collect();
        drop(parse_with(&text, &mut |_| Some("struct a { int x; };".into())));
    }
    let tokens: Vec<&str> = LAYOUTS.split_inclusive([' ', '\n', ';', '{', '}', '(', ')']).collect();
    for _ in 0..100 {
        let mut text: Vec<&str> = tokens.clone();
        for _ in 0..=random.below(8) {
            let (at, from) = (random.below(text.len()), random.below(text.len()));
            match random.below(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, text[from]),
                _ => text.swap(at, from),
            }
        }
        drop(parse_with(&text.concat(), &mut |_| None));
    }
}
