//! Values: as text, JSON and cells, and back from text.

use skep_btf::{Btf, Builder, ByteOrder, IntEncoding, Member, SecVar, TypeId, cdecl, value};

use crate::random::Random;

/// The main type that a text declares.
fn declared(text: &str) -> (Btf, TypeId) {
    let declared = cdecl::parse(text).unwrap();
    let id = declared.main_type().unwrap();
    (declared.btf, id)
}

#[track_caller]
fn check(text: &str, bytes: &[u8], expected: &str) {
    let (btf, id) = declared(text);
    assert_eq!(value::to_text(&btf, id, bytes), expected, "{text}");
}

#[track_caller]
fn check_json(text: &str, bytes: &[u8], expected: &str) {
    let (btf, id) = declared(text);
    assert_eq!(value::to_json(&btf, id, bytes).unwrap().to_string(), expected, "{text}");
}

/// Parses and shows: what is shown of the bytes must be `expected`.
#[track_caller]
fn check_parse(text: &str, given: &str, expected: &str) {
    let (btf, id) = declared(text);
    let bytes = value::parse(&btf, id, given).unwrap_or_else(|e| panic!("{text}: {given}: {e}"));
    assert_eq!(bytes.len() as u64, btf.size_of(id).unwrap());
    assert_eq!(value::to_text(&btf, id, &bytes), expected, "{text}: {given}");
}

#[track_caller]
fn check_parse_error(text: &str, given: &str, expected: &str) {
    let (btf, id) = declared(text);
    match value::parse(&btf, id, given) {
        Ok(bytes) => panic!("{text}: {given} is {bytes:?}"),
        Err(error) => assert_eq!(error.to_string(), expected, "{text}: {given}"),
    }
}

#[test]
fn scalars() {
    check("typedef u8 t;", &[200], "200");
    check("typedef signed char t;", &[200], "-56");
    check("typedef int t;", &[0xfe, 0xff, 0xff, 0xff], "-2");
    check("typedef u64 t;", &[0xff; 8], "18446744073709551615");
    check(
        "typedef unsigned __int128 t;",
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        "0x100f0e0d0c0b0a090807060504030201",
    );
    check("typedef bool t;", &[1], "true");
    check("typedef char t;", b"A", "'A'");
    check("typedef char t;", &[0xff], "-1");
    check("typedef void *t;", &[0x10, 0x20, 0, 0, 0, 0, 0, 0x80], "0x8000000000002010");
    check("typedef float t;", &1.5_f32.to_le_bytes(), "1.5");
    check("typedef double t;", &(-0.25_f64).to_le_bytes(), "-0.25");
    check("typedef enum { A = -1, B = 7 } t;", &[0xff; 4], "A");
    check("typedef enum { A = -1, B = 7 } t;", &[8, 0, 0, 0], "8");
    check("typedef enum { A = 1, B = 0xffffffff00000000 } t;", &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "B");
}

#[test]
fn structures() {
    let text = "struct s { u8 a : 3, b : 5; int c : 4; enum { X = 1 } d : 2; bool e : 1; union { u16 f; u8 g[2]; }; \
                struct { char h; } i; }";
    check(
        text,
        &[0xab, 0x58, 0x34, 0x12, b'h', 0, 0, 0],
        "{.a = 3, .b = 21, .c = -8, .d = X, .e = true, .f = 4660, .g = [52,18], .i = {.h = 'h'}}",
    );
    check_json(
        text,
        &[0xab, 0x58, 0x34, 0x12, b'h', 0, 0, 0],
        r#"{"a":3,"b":21,"c":-8,"d":"X","e":true,"f":4660,"g":[52,18],"i":{"h":104}}"#,
    );
    let (btf, id) = declared("struct s { struct { int a; } b[2]; int c[3]; struct { } d; char e[4]; };");
    let mut bytes = vec![0; 24];
    bytes[4] = 1;
    bytes[8] = 2;
    let lines = "{\n\t.b = [\n\t\t{\n\t\t\t.a = 0,\n\t\t},\n\t\t{\n\t\t\t.a = 1,\n\t\t},\n\t],\n\t.c = [2,0 (x2)],\n\t.d = {},\n\t.e = \"\",\n}";
    assert_eq!(value::to_lines(&btf, id, &bytes), lines);
}

#[test]
fn text_is_shown_safely() {
    let show = |bytes: &[u8]| {
        let (btf, id) = declared("typedef char t[8];");
        let cell = value::cells(&btf, id, bytes).remove(0).text;
        (value::to_text(&btf, id, bytes), cell, value::to_json(&btf, id, bytes).unwrap().to_string())
    };
    let strings = |text: &str, cell: &str, json: &str| (text.to_owned(), cell.to_owned(), json.to_owned());
    assert_eq!(show(b"cat\0junk"), strings("\"cat\"", "cat", "\"cat\""));
    assert_eq!(show(b"no end!!"), strings("\"no end!!\"", "no end!!", "\"no end!!\""));
    assert_eq!(show(b"a\x1b[31m\n\0"), strings("\"a\\x1b[31m\\n\"", "a\\x1b[31m\\n", r#""a\u001b[31m\n""#));
    assert_eq!(show(b"\xff\"\\\0\0\0\0\0"), strings(r#""\xff\"\\""#, r#"\xff"\"#, r#""\\xff\"\\""#));
    assert_eq!(
        show("é\u{202e}x\0\0".as_bytes()),
        strings("\"é\\xe2\\x80\\xaex\"", "é\\xe2\\x80\\xaex", "\"é\u{202e}x\"")
    );
}

#[test]
fn records_may_be_shorter_and_longer() {
    let text = "struct event { u32 pid; u64 ts; char comm[4]; struct { int a[2]; } b; };";
    let full = [
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'c', 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9,
        9, 9, 9,
    ];
    check(text, &full, "{.pid = 1, .ts = 2, .comm = \"c\", .b = {.a = [3,4]}}");
    check(text, &full[..17], "{.pid = 1, .ts = 2, .comm = \"c\", .b = {.a = -}}");
    check(text, &full[..12], "{.pid = 1, .ts = -, .comm = -, .b = {.a = -}}");
    check("struct s { int n; char args[16]; };", b"\x01\0\0\0ls\0-l\0\0\0", "{.n = 1, .args = \"ls -l\"}");
    check_json(text, &[], r#"{"pid":null,"ts":null,"comm":null,"b":{"a":null}}"#);
    let (btf, id) = declared(text);
    let columns = |bytes: &[u8]| -> Vec<(String, usize, bool)> {
        value::cells(&btf, id, bytes).into_iter().map(|c| (c.name, c.width, c.right)).collect()
    };
    for len in 0..full.len() {
        assert_eq!(columns(&full[..len]), columns(&full), "{len} bytes");
    }
}

#[test]
fn arrays_without_a_length_take_the_rest() {
    check("struct s { u32 len; char text[]; };", b"\x03\0\0\0abc", "{.len = 3, .text = \"abc\"}");
    check("struct s { u32 n; u16 all[0]; };", &[2, 0, 0, 0, 1, 0, 2, 0, 3], "{.n = 2, .all = [1,2]}");
    check("struct s { u8 mark[0]; u16 a; };", &[1, 0, 2, 0], "{.mark = [], .a = 1}");
    check(
        "struct s { int a; struct { int b; char c[]; } d; };",
        b"\x01\0\0\0\x02\0\0\0xy",
        "{.a = 1, .d = {.b = 2, .c = \"xy\"}}",
    );
}

#[test]
fn cells_flatten_structures() {
    let (btf, id) = declared(
        "struct s { struct { u32 pid; u8 x; } who; union { u32 v4; u8 v6[4]; }; enum { LONG_NAME } op; char comm[16]; u64 ts; };",
    );
    let row = value::cells(&btf, id, &[1; 64]);
    let row: Vec<String> =
        row.iter().map(|c| format!("{} {} {} {}", c.name, c.text, c.width, c.right)).collect();
    let ones = "\\x01".repeat(16);
    assert_eq!(
        row,
        [
            "who.pid 16843009 7 true",
            "who.x 1 4 true",
            "v4 16843009 7 true",
            "v6 [1,1,1,1] 0 false",
            "op 16843009 9 false",
            &format!("comm {ones} 15 false"),
            "ts 72340172838076673 12 true",
        ]
    );
}

#[test]
fn both_byte_orders() {
    for (order, bytes, field) in [(ByteOrder::Little, [1, 2, 0, 0], 1), (ByteOrder::Big, [0, 0, 2, 1], 1)] {
        let mut builder = Builder::with_order(order);
        let int = builder.add_int("unsigned int", 4, IntEncoding::default());
        let bits = |name, bit_offset| Member { name, ty: int, bit_offset, bitfield_bits: 8 };
        // In big-endian memory the first bit of a field is its most significant one.
        let members = if order == ByteOrder::Big {
            [bits("a", 24), bits("b", 16)]
        } else {
            [bits("a", 0), bits("b", 8)]
        };
        let record = builder.add_struct("s", 4, &members);
        let btf = builder.finish_btf(None).unwrap();
        assert_eq!(value::to_text(&btf, int, &bytes), "513", "{order:?}");
        assert_eq!(value::to_text(&btf, record, &bytes), format!("{{.a = {field}, .b = 2}}"), "{order:?}");
        assert_eq!(value::parse(&btf, int, "0x201").unwrap(), bytes, "{order:?}");
        assert_eq!(value::parse(&btf, record, "{1, 2}").unwrap(), bytes, "{order:?}");
    }
}

#[test]
fn sections_are_their_variables() {
    let mut builder = Builder::new();
    let int = builder.add_int("int", 4, IntEncoding::default());
    let var = builder.add_var("count", int, skep_btf::Linkage::Global);
    let section = builder.add_datasec(".bss", 8, &[SecVar { ty: var, offset: 4, bytes: 4 }]);
    let btf = builder.finish_btf(None).unwrap();
    assert_eq!(value::to_text(&btf, section, &[0, 0, 0, 0, 5, 0, 0, 0]), "{.count = 5}");
    assert_eq!(value::parse(&btf, var, "7").unwrap(), [7, 0, 0, 0]);
}

#[test]
fn per_cpu_values() {
    let (btf, id) = declared("typedef u32 t;");
    let bytes = [1, 0, 0, 0, 9, 9, 9, 9, 2, 0, 0, 0, 9, 9, 9, 9];
    assert_eq!(value::per_cpu(&bytes, 4).collect::<Vec<_>>(), [&bytes[..4], &bytes[8..12]]);
    let json = value::per_cpu_to_json(&btf, id, &bytes).unwrap().to_string();
    assert_eq!(json, r#"[{"cpu":0,"value":1},{"cpu":1,"value":2}]"#);
}

#[test]
fn values_are_read_from_text() {
    check_parse("typedef int t;", " -5 ", "-5");
    check_parse("typedef u32 t;", "0xFFFF_ffff", "4294967295");
    check_parse("typedef u8 t;", "0b101", "5");
    check_parse("typedef u8 t;", "017", "15");
    check_parse("typedef u8 t;", "'a'", "97");
    check_parse("typedef char t;", r"'\n'", "10");
    check_parse("typedef s64 t;", "-9223372036854775808", "-9223372036854775808");
    check_parse("typedef unsigned __int128 t;", "0x10000000000000000", "0x00000000000000010000000000000000");
    check_parse("typedef bool t;", "true", "true");
    check_parse("typedef bool t;", "0", "false");
    check_parse("typedef enum { A, B = 5 } t;", "B", "B");
    check_parse("typedef enum { A, B = 5 } t;", "3", "3");
    check_parse("typedef float t;", "-1.5e3", "-1500");
    check_parse("typedef void *t;", "0xffff", "0xffff");
    check_parse("typedef const volatile int t;", "1", "1");
    check_parse("typedef char t[8];", "cat and", "\"cat and\"");
    check_parse("typedef char t[8];", r#""a\tb\x41\101""#, r#""a\tbAA""#);
    check_parse("typedef char t[4];", "{'a', 98}", "\"ab\"");
    check_parse("typedef int t[4];", "1, 2,3", "[1,2,3,0]");
    check_parse("typedef int t[2][2];", "[[1, 2], {3}]", "[[1,2],[3,0]]");
    check_parse("typedef char t[2][4];", r#"["a", b]"#, r#"["a","b"]"#);
    let text = "struct s { u8 a; struct { u16 b; char c[4]; } d[2]; union { u32 e; u8 f; }; int g : 4; };";
    check_parse(
        text,
        "{1, {{2, \"x\"}}, .g = -1}",
        "{.a = 1, .d = [{.b = 2, .c = \"x\"},{.b = 0, .c = \"\"}], .e = 0, .f = 0, .g = -1}",
    );
    check_parse(
        text,
        r#"{"f": 9, "a": 1, "d": [{"c": "yz"}]}"#,
        "{.a = 1, .d = [{.b = 0, .c = \"yz\"},{.b = 0, .c = \"\"}], .e = 9, .f = 9, .g = 0}",
    );
    check_parse(
        "struct s { struct { int a; struct { int b, c; } d; } e; int f; };",
        "{.e.d.c = 3, 4}",
        "{.e = {.a = 0, .d = {.b = 0, .c = 3}}, .f = 4}",
    );
    check_parse(
        text,
        "{}",
        "{.a = 0, .d = [{.b = 0, .c = \"\"},{.b = 0, .c = \"\"}], .e = 0, .f = 0, .g = 0}",
    );
}

#[test]
fn errors_say_what_would_fit() {
    check_parse_error("typedef u8 t;", "300", "300 does not fit in `t` (0..255)");
    check_parse_error("struct s { u8 a; };", "{300}", "`a`: 300 does not fit in `u8` (0..255)");
    check_parse_error("typedef char t;", "200", "200 does not fit in `t` (-128..127)");
    check_parse_error("typedef u32 t;", "-1", "-1 does not fit in `t` (0..4294967295)");
    check_parse_error("typedef u32 t;", "many", "`many` is not a number");
    check_parse_error("typedef u32 t;", "--1", "`--1` is not a number");
    check_parse_error("typedef u32 t;", "", "`` is not a number");
    check_parse_error(
        "typedef u64 t;",
        "0x1ffffffffffffffffffffffffffffffff",
        "`0x1ffffffffffffffffffffffffffffffff` has more than 128 bits",
    );
    check_parse_error("typedef bool t;", "maybe", "`maybe` is neither `true` nor `false`");
    check_parse_error("enum e { A, B };", "C", "`C` is not in `enum e`, which has A, B");
    check_parse_error("typedef char t[4];", "too long", "8 bytes of text do not fit in an array of 4");
    check_parse_error("typedef int t[2];", "1,2,3", "the array has no more than 2 elements");
    check_parse_error("typedef int t[2];", "[1, x]", "[1]: `x` is not a number");
    check_parse_error("typedef int t[2];", "[1, 2", "expected `]`, found the end");
    check_parse_error("struct s { int a : 4; };", "{8}", "`a`: 8 does not fit in 4 bits of `int` (-8..7)");
    check_parse_error("struct s { int a; };", "{.b = 1}", "`struct s` has no member `b`; it has a");
    check_parse_error("struct s { int a; };", "{.a.b = 1}", "`int` has no members");
    check_parse_error("struct s { int a; };", "{1, 2}", "`struct s` has no more than 1 members");
    check_parse_error("struct s { int a; };", "1", "`struct s`: expected `{`, found `1`");
    check_parse_error("struct s { int a; };", "{1} x", "expected nothing more, found `x`");
    check_parse_error("typedef char t[4];", "\"a", "the text is not closed by `\"`");
    check_parse_error(
        "typedef char t[0x10000000];",
        "a",
        "a value of 268435456 bytes is too large to be given as text",
    );
    let (btf, _) = declared("struct s { int (*f)(void); };");
    let proto = btf.types().map(Result::unwrap).find(|ty| ty.kind() == skep_btf::Kind::FuncProto).unwrap();
    assert!(value::parse(&btf, proto.id, "1").is_err());
}

/// What JSON says of random bytes gives the same bytes back, but for what no value holds: padding, the bytes after a
/// string's end, and the set bits of a `bool` beyond the first.
#[test]
fn json_is_read_back() {
    let text = "struct s { u8 a; u16 b : 5, c : 11; s64 d[2]; struct { int e; enum { X, Y = -3 } f; } g[2]; \
                union { u32 h; u8 i[4]; }; void *j; unsigned __int128 k; char l; double m; };";
    let (btf, id) = declared(text);
    let mut random = Random::new(3);
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..btf.size_of(id).unwrap()).map(|_| random.next() as u8).collect();
        let json = value::to_json(&btf, id, &bytes).unwrap();
        let read = value::parse(&btf, id, &json.to_string()).unwrap_or_else(|e| panic!("{json}: {e}"));
        assert_eq!(value::to_json(&btf, id, &read).unwrap(), json);
    }
}

#[test]
fn no_bytes_types_or_text_make_it_panic() {
    const PIECES: &[&str] = &[
        "{", "}", "[", "]", ",", ".x", "=", "\"x\":", "1", "-", "0x", "'", "\\", "\"", "é", " ", "a b",
        "true",
    ];
    let mut random = Random::new(5);
    for _ in 0..2_000 {
        let btf = random.types();
        let bytes: Vec<u8> = (0..random.below(64)).map(|_| random.next() as u8).collect();
        let text: String = (0..random.below(12)).map(|_| *random.pick(PIECES)).collect();
        for id in 0..=btf.len() as u32 {
            let id = TypeId(id);
            drop(value::to_json(&btf, id, &bytes));
            drop(value::to_lines(&btf, id, &bytes));
            drop(value::cells(&btf, id, &bytes));
            drop(value::parse(&btf, id, &text));
        }
    }
}

/// Each structure holds the next one twice and has no size, so the tree would double thirty times.
#[test]
fn no_tree_grows_without_end() {
    let mut builder = Builder::new();
    for level in 1..30 {
        let member = |name| Member { name, ty: TypeId(level + 1), bit_offset: 0, bitfield_bits: 0 };
        builder.add_struct("", 0, &[member("a"), member("b")]);
    }
    builder.add_struct("", 0, &[]);
    let btf = builder.finish_btf(None).unwrap();
    assert!(value::to_text(&btf, TypeId(1), &[]).len() > 1000);
    assert!(value::parse(&btf, TypeId(1), "{.c = 1}").is_err());
}
