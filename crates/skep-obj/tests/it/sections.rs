//! Section names.

use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::section::SECTIONS;
use skep_obj::{AttachPoint, SectionDef};

/// What a name means: program type, attach type, sleepable, attach point.
fn read(section: &str) -> (ProgType, Option<AttachType>, bool, Result<AttachPoint, String>) {
    let def = SectionDef::find(section).unwrap_or_else(|| panic!("`{section}` is known"));
    let point = def.attach_point(section).map_err(|e| e.message().to_owned());
    (def.prog_type, def.attach_type, def.sleepable, point)
}

#[test]
fn every_row_finds_itself() {
    assert_eq!(SECTIONS.len(), 116);
    for def in SECTIONS {
        assert_eq!(SectionDef::find(def.prefix()), Some(def), "{}", def.pattern);
        let with_more = format!("{}/more", def.prefix());
        let found = SectionDef::find(&with_more).map(SectionDef::prefix);
        let expected = def.pattern.ends_with('+').then_some(def.prefix());
        assert_eq!(found, expected, "{with_more}");
        // A name alone never says a malformed place.
        def.attach_point(def.prefix()).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn names_say_where_to_attach() {
    let openat = AttachPoint::Tracepoint { category: "syscalls".into(), name: "sys_enter_openat".into() };
    let tracepoint = (ProgType::TRACEPOINT, None, false, Ok(openat));
    assert_eq!(read("tracepoint/syscalls/sys_enter_openat"), tracepoint);
    assert_eq!(read("tp/syscalls/sys_enter_openat"), tracepoint);

    let kprobe =
        |function: &str, offset, ret| AttachPoint::Kprobe { function: Some(function.into()), offset, ret };
    assert_eq!(read("kprobe/do_unlinkat+0x10").3, Ok(kprobe("do_unlinkat", 16, false)));
    assert_eq!(read("kretprobe/do_unlinkat").3, Ok(kprobe("do_unlinkat", 0, true)));
    assert_eq!(read("kprobe").3, Ok(AttachPoint::Kprobe { function: None, offset: 0, ret: false }));

    let uprobe = |symbol: Option<&str>, offset, ret| AttachPoint::Uprobe {
        path: Some("/usr/lib/libc.so.6".into()),
        symbol: symbol.map(str::to_owned),
        offset,
        ret,
    };
    let (kind, _, sleepable, point) = read("uprobe.s//usr/lib/libc.so.6:malloc+8");
    assert_eq!((kind, sleepable, point), (ProgType::KPROBE, true, Ok(uprobe(Some("malloc"), 8, false))));
    assert_eq!(read("uretprobe//usr/lib/libc.so.6:free").3, Ok(uprobe(Some("free"), 0, true)));
    assert_eq!(read("uprobe//usr/lib/libc.so.6:0x1234").3, Ok(uprobe(None, 0x1234, false)));

    let multi = |pattern: &str, ret, session| AttachPoint::KprobeMulti {
        pattern: Some(pattern.into()),
        ret,
        session,
    };
    assert_eq!(read("kprobe.multi/bpf_*").3, Ok(multi("bpf_*", false, false)));
    assert_eq!(read("kretprobe.multi/bpf_?").3, Ok(multi("bpf_?", true, false)));
    assert_eq!(read("kprobe.session/bpf_*").3, Ok(multi("bpf_*", false, true)));

    let usdt = AttachPoint::Usdt {
        path: Some("libc.so.6".into()),
        provider: Some("libc".into()),
        name: Some("setjmp".into()),
    };
    assert_eq!(read("usdt/libc.so.6:libc:setjmp").3, Ok(usdt));

    let raw = |writable| AttachPoint::RawTracepoint { name: "sys_enter".into(), writable };
    assert_eq!(read("raw_tp/sys_enter").3, Ok(raw(false)));
    assert_eq!(
        read("raw_tracepoint.w/sys_enter"),
        (ProgType::RAW_TRACEPOINT_WRITABLE, None, false, Ok(raw(true)))
    );

    let fexit =
        AttachPoint::Btf { attach_type: Some(AttachType::TRACE_FEXIT), name: Some("vfs_read".into()) };
    assert_eq!(read("fexit.s/vfs_read"), (ProgType::TRACING, Some(AttachType::TRACE_FEXIT), true, Ok(fexit)));
    let freplace = AttachPoint::Btf { attach_type: None, name: Some("f".into()) };
    assert_eq!(read("freplace/f"), (ProgType::EXT, None, false, Ok(freplace)));
    let bind = AttachPoint::Target { attach_type: AttachType::CGROUP_INET4_BIND };
    assert_eq!(read("cgroup/bind4").3, Ok(bind));
    assert_eq!(read("struct_ops/init").3, Ok(AttachPoint::StructOps));
}

#[test]
fn malformed_places_say_the_form() {
    let refused = |section, words: &str| {
        let error = read(section).3.expect_err(section);
        assert!(error.contains(words), "{section}: {error}");
    };
    refused("tracepoint/only_one", "CATEGORY/NAME");
    refused("kprobe/not a function", "FUNCTION+OFFSET");
    refused("kretprobe/f+4", "no offset");
    refused("uprobe/path-without-symbol", "PATH:SYMBOL");
    refused("uretprobe/lib:f+4", "no offset");
    refused("usdt/lib:provider", "PATH:PROVIDER:NAME");
    refused("kprobe.multi/a b", "pattern");
}
