//! CO-RE relocations: what an object asks, what different targets answer.

use std::sync::Arc;

use skep_btf::core::{Access, Relo, ReloKind, Resolution, Resolver, essential_name};
use skep_btf::{Btf, Builder, ByteOrder, EnumValue, ErrorKind, IntEncoding, Member, Param, Result, TypeId};

const SIGNED: IntEncoding = IntEncoding { signed: true, char: false, bool: false };
const UNSIGNED: IntEncoding = IntEncoding { signed: false, char: false, bool: false };

fn at(name: &str, ty: TypeId, byte_offset: u32) -> Member<'_> {
    Member { name, ty, bit_offset: byte_offset * 8, bitfield_bits: 0 }
}

fn bits(name: &str, ty: TypeId, bit_offset: u32, bitfield_bits: u8) -> Member<'_> {
    Member { name, ty, bit_offset, bitfield_bits }
}

/// What `make` builds, and the type it answers.
fn build(make: impl FnOnce(&mut Builder) -> TypeId) -> (Arc<Btf>, TypeId) {
    let mut builder = Builder::new();
    let ty = make(&mut builder);
    (Arc::new(builder.finish_btf(None).unwrap()), ty)
}

/// Resolves one relocation.
fn ask(
    local: &(Arc<Btf>, TypeId),
    target: &(Arc<Btf>, TypeId),
    access: &str,
    kind: ReloKind,
) -> Result<Resolution> {
    let targets = [target.0.clone()];
    Resolver::new(&local.0, &targets).resolve(&Relo { insn_off: 0, ty: local.1, access, kind })
}

/// The values for both sides.
fn values(
    local: &(Arc<Btf>, TypeId),
    target: &(Arc<Btf>, TypeId),
    access: &str,
    kind: ReloKind,
) -> (u64, Option<u64>) {
    let resolution = ask(local, target, access, kind).unwrap();
    (resolution.orig, resolution.new)
}

/// `struct task { int pid; int tgid; char comm[16]; struct task *parent; }`, as a program declares it.
fn local_task(b: &mut Builder) -> TypeId {
    let int = b.add_int("int", 4, SIGNED);
    let char = b.add_int("char", 1, UNSIGNED);
    let comm = b.add_array(char, int, 16);
    let task = b.reserve();
    let ptr = b.add_ptr(task);
    let members = [at("pid", int, 0), at("tgid", int, 4), at("comm", comm, 8), at("parent", ptr, 24)];
    b.set(task, skep_btf::Def::Struct { name: "task___mine", bytes: 32, members: &members });
    task
}

/// The same in a kernel: members elsewhere, one within an anonymous union, `pid` a typedef, `comm` longer.
fn kernel_task(b: &mut Builder) -> TypeId {
    let int = b.add_int("int", 4, SIGNED);
    let char = b.add_int("char", 1, UNSIGNED);
    let pid_t = b.add_typedef("pid_t", int);
    let const_pid = b.add_const(pid_t);
    let comm = b.add_array(char, int, 64);
    let inner = b.add_struct("", 8, &[at("state", int, 0), at("tgid", const_pid, 4)]);
    let anonymous = b.add_union("", 8, &[at("raw", int, 0), at("", inner, 0)]);
    let task = b.reserve();
    let ptr = b.add_ptr(task);
    let members = [
        at("flags", int, 0),
        at("", anonymous, 8),
        at("pid", pid_t, 16),
        at("comm", comm, 20),
        at("parent", ptr, 88),
    ];
    b.set(task, skep_btf::Def::Struct { name: "task", bytes: 96, members: &members });
    task
}

#[test]
fn fields_are_found_by_name() {
    let (local, kernel) = (build(local_task), build(kernel_task));
    let offset = |access| values(&local, &kernel, access, ReloKind::FieldByteOffset);
    assert_eq!(offset("0:0"), (0, Some(16)));
    assert_eq!(offset("0:1"), (4, Some(12)), "through an anonymous union and structure");
    assert_eq!(offset("0:2"), (8, Some(20)));
    assert_eq!(offset("0:2:3"), (11, Some(23)), "an element of an array");
    assert_eq!(offset("0:3"), (24, Some(88)));
    assert_eq!(offset("2:0"), (64, Some(208)), "of the third structure in a row");
    assert_eq!(values(&local, &kernel, "0:2", ReloKind::FieldByteSize), (16, Some(64)));
    assert_eq!(values(&local, &kernel, "0:2", ReloKind::FieldExists), (1, Some(1)));
    assert_eq!(values(&local, &kernel, "0:0", ReloKind::FieldSigned), (1, Some(1)));
    let pid = ask(&local, &kernel, "0:0", ReloKind::FieldByteOffset).unwrap();
    assert_eq!(pid.access, Some(Access { orig_bytes: 4, new_bytes: 4, resizable: true }));
    assert!(pid.validate);
    assert_eq!((pid.target, pid.missing), (Some(0), None));
}

#[test]
fn what_is_missing_is_named() {
    let local = build(local_task);
    let other = build(|b| {
        let int = b.add_int("int", 4, SIGNED);
        let ptr = b.add_ptr(int);
        let array = b.add_array(int, int, 2);
        b.add_struct("task", 8, &[at("pid", ptr, 0), at("comm", array, 8)])
    });
    let check = |access, kind, new, missing: &str| {
        let resolution = ask(&local, &other, access, kind).unwrap();
        assert_eq!(resolution.new, new);
        assert_eq!(resolution.missing.as_deref(), Some(missing));
    };
    let no_tgid = "no field `tgid` in the target's `struct task`";
    check("0:1", ReloKind::FieldByteOffset, None, no_tgid);
    check("0:1", ReloKind::FieldByteSize, None, no_tgid);
    check("0:1", ReloKind::FieldSigned, None, no_tgid);
    check("0:1", ReloKind::FieldExists, Some(0), no_tgid);
    let other_type = "field `pid` of the target's `struct task` has another kind of type";
    check("0:0", ReloKind::FieldByteOffset, None, other_type);
    check("0:2:5", ReloKind::FieldExists, Some(0), "the target's array has 2 elements, no number 5");

    let empty = build(|_| TypeId::VOID);
    let check = |kind, new| {
        let resolution = ask(&local, &empty, "0", kind).unwrap();
        assert_eq!(resolution.new, new);
        assert_eq!(resolution.missing.as_deref(), Some("the target has no type `struct task___mine`"));
    };
    check(ReloKind::TypeExists, Some(0));
    check(ReloKind::TypeMatches, Some(0));
    check(ReloKind::TypeSize, Some(0));
    check(ReloKind::TypeIdTarget, Some(0));
    let nothing = Resolver::new(&local.0, &[])
        .resolve(&Relo { insn_off: 0, ty: local.1, access: "0", kind: ReloKind::TypeExists })
        .unwrap();
    assert_eq!(nothing.missing.as_deref(), Some("the target's types are not known"));
}

#[test]
fn bit_fields_are_shifted_into_place() {
    let layout = |first: u32, order| {
        let mut b = Builder::with_order(order);
        let int = b.add_int("unsigned int", 4, UNSIGNED);
        let ty = b.add_struct("s", 8, &[at("a", int, 0), bits("flag", int, first, 3)]);
        (Arc::new(b.finish_btf(None).unwrap()), ty)
    };
    let (local, kernel) = (layout(33, ByteOrder::Little), layout(50, ByteOrder::Little));
    let ask = |kind| values(&local, &kernel, "0:1", kind);
    assert_eq!(ask(ReloKind::FieldByteOffset), (4, Some(4)));
    assert_eq!(ask(ReloKind::FieldByteSize), (4, Some(4)));
    assert_eq!(ask(ReloKind::FieldLshiftU64), (64 - 4, Some(64 - 21)));
    assert_eq!(ask(ReloKind::FieldRshiftU64), (61, Some(61)));
    assert_eq!(ask(ReloKind::FieldSigned), (0, Some(0)));
    // A field across two words is read as one of eight bytes.
    let across = layout(31, ByteOrder::Little);
    assert_eq!(values(&local, &across, "0:1", ReloKind::FieldByteSize), (4, Some(8)));
    assert_eq!(values(&local, &across, "0:1", ReloKind::FieldByteOffset), (4, Some(0)));
    // On big-endian targets the word is loaded the other way round.
    let (local, kernel) = (layout(33, ByteOrder::Big), layout(50, ByteOrder::Big));
    assert_eq!(values(&local, &kernel, "0:1", ReloKind::FieldLshiftU64), (32 + 1, Some(32 + 18)));
}

#[test]
fn only_sizes_that_keep_the_value_may_change() {
    let one = |bytes, encoding| {
        build(move |b| {
            let int = b.add_int("int_t", bytes, encoding);
            b.add_struct("s", bytes, &[at("x", int, 0)])
        })
    };
    let resizable = |local, target| {
        let access = ask(&local, &target, "0:0", ReloKind::FieldByteOffset).unwrap().access.unwrap();
        (access.orig_bytes, access.new_bytes, access.resizable)
    };
    assert_eq!(resizable(one(4, UNSIGNED), one(8, UNSIGNED)), (4, 8, true));
    assert_eq!(resizable(one(4, SIGNED), one(8, SIGNED)), (4, 8, false));
    assert_eq!(resizable(one(4, SIGNED), one(4, UNSIGNED)), (4, 4, true));
}

#[test]
fn flexible_arrays_have_any_element() {
    let flexible = |name: &'static str, len| {
        build(move |b| {
            let int = b.add_int("int", 4, SIGNED);
            let array = b.add_array(int, int, len);
            b.add_struct(name, 8, &[at("n", int, 0), at("data", array, 4)])
        })
    };
    let (local, kernel) = (flexible("s", 0), flexible("s", 0));
    assert_eq!(values(&local, &kernel, "0:1:7", ReloKind::FieldByteOffset), (32, Some(32)));
    assert_eq!(values(&local, &flexible("s", 1), "0:1:7", ReloKind::FieldExists), (1, Some(0)));
}

#[test]
fn enumeration_values_are_found_by_name() {
    let value = |name, value| EnumValue { name, value };
    let local = build(|b| b.add_enum("color", false, &[value("RED", 0), value("GREEN", 1)]));
    let kernel = build(|b| {
        let values = [value("BLUE", 0), value("GREEN", 1 << 40), value("RED___old", 7)];
        b.add_enum64("color", false, &values)
    });
    assert_eq!(values(&local, &kernel, "1", ReloKind::EnumvalValue), (1, Some(1 << 40)));
    assert_eq!(values(&local, &kernel, "0", ReloKind::EnumvalValue), (0, Some(7)));
    assert_eq!(values(&local, &kernel, "1", ReloKind::EnumvalExists), (1, Some(1)));
    let without = build(|b| b.add_enum("color", false, &[value("BLUE", 0)]));
    assert_eq!(values(&local, &without, "1", ReloKind::EnumvalExists), (1, Some(0)));
    let missing = ask(&local, &without, "1", ReloKind::EnumvalValue).unwrap();
    assert_eq!(missing.new, None);
    assert_eq!(missing.missing.unwrap(), "no value `GREEN` in the target's `enum color`");
}

#[test]
fn types_are_asked_as_a_whole() {
    let (local, kernel) = (build(local_task), build(kernel_task));
    let ask_type = |kind| values(&local, &kernel, "0", kind);
    assert_eq!(ask_type(ReloKind::TypeExists), (1, Some(1)));
    assert_eq!(ask_type(ReloKind::TypeSize), (32, Some(96)));
    assert_eq!(ask_type(ReloKind::TypeIdLocal), (local.1.0.into(), Some(local.1.0.into())));
    assert_eq!(ask_type(ReloKind::TypeIdTarget), (local.1.0.into(), Some(kernel.1.0.into())));
    // `tgid` is a direct member of one and within an anonymous one of the other, `comm` has another length.
    assert_eq!(ask_type(ReloKind::TypeMatches), (1, Some(0)));
}

/// Does the type that `local` builds match the one that `target` builds?
fn matches(local: impl FnOnce(&mut Builder) -> TypeId, target: impl FnOnce(&mut Builder) -> TypeId) -> bool {
    values(&build(local), &build(target), "0", ReloKind::TypeMatches).1 == Some(1)
}

#[test]
fn types_match_by_all_they_have() {
    let with_int = |name: &'static str, bytes, encoding| {
        move |b: &mut Builder| {
            let int = b.add_int(name, bytes, encoding);
            let more = b.add_int("more", 1, UNSIGNED);
            b.add_struct("s", 16, &[at("more", more, 8), at("x", int, 0)])
        }
    };
    let only_x = |b: &mut Builder| {
        let int = b.add_int("int", 4, SIGNED);
        b.add_struct("s___few", 4, &[at("x", int, 0)])
    };
    assert!(matches(only_x, with_int("int", 4, SIGNED)), "the target may have more members");
    assert!(!matches(with_int("int", 4, SIGNED), only_x), "the target may not have fewer");
    assert!(!matches(only_x, with_int("int", 8, SIGNED)));
    assert!(!matches(only_x, with_int("int", 4, UNSIGNED)));
    assert!(!matches(only_x, with_int("long", 4, SIGNED)), "names count behind typedefs, too");

    let points_to = |struct_or_fwd: fn(&mut Builder) -> TypeId| {
        move |b: &mut Builder| {
            let to = struct_or_fwd(b);
            let ptr = b.add_ptr(to);
            b.add_struct("s", 8, &[at("p", ptr, 0)])
        }
    };
    let full = |b: &mut Builder| b.add_struct("t", 64, &[]);
    let fwd = |b: &mut Builder| b.add_fwd("t", false);
    let union_fwd = |b: &mut Builder| b.add_fwd("t", true);
    let other = |b: &mut Builder| b.add_struct("other", 64, &[]);
    assert!(matches(points_to(full), points_to(fwd)));
    assert!(matches(points_to(fwd), points_to(full)));
    assert!(!matches(points_to(full), points_to(union_fwd)));
    assert!(!matches(points_to(full), points_to(other)));

    let callback = |params: usize, name: &'static str| {
        move |b: &mut Builder| {
            let int = b.add_int(name, 4, SIGNED);
            let params = vec![Param { name: "", ty: int }; params];
            let proto = b.add_func_proto(int, &params);
            let ptr = b.add_ptr(proto);
            b.add_typedef("callback_t", ptr)
        }
    };
    assert!(matches(callback(2, "int"), callback(2, "int")));
    assert!(!matches(callback(2, "int"), callback(3, "int")));
    assert!(!matches(callback(2, "int"), callback(2, "long")));

    let enumeration = |names: &'static [&'static str]| {
        move |b: &mut Builder| {
            let values: Vec<_> = names.iter().map(|name| EnumValue { name, value: 1 }).collect();
            b.add_enum("e", false, &values)
        }
    };
    assert!(matches(enumeration(&["A"]), enumeration(&["B", "A"])));
    assert!(!matches(enumeration(&["A", "C"]), enumeration(&["B", "A"])));
}

#[test]
fn candidates_that_disagree_are_ambiguous() {
    let local = build(local_task);
    let two = |second| {
        build(move |b| {
            let int = b.add_int("int", 4, SIGNED);
            b.add_struct("task", 8, &[at("pid", int, 4)]);
            b.add_struct("task___2", 64, &[at("pid", int, second)])
        })
    };
    assert_eq!(values(&local, &two(4), "0:0", ReloKind::FieldByteOffset), (0, Some(4)));
    let error = ask(&local, &two(8), "0:0", ReloKind::FieldByteOffset).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert_eq!(
        error.to_string(),
        "CO-RE relocation `byte_off of struct task___mine.pid`: \
         ambiguous: the field is at bit 32 in one type of that name and at bit 64 in another"
    );
}

#[test]
fn modules_are_searched_for_what_the_kernel_lacks() {
    let local = build(local_task);
    let kernel = build(|b| b.add_int("int", 4, SIGNED));
    let mut b = Builder::split(&kernel.0);
    let int = kernel.1;
    let module_task = b.add_struct("task", 16, &[at("pid", int, 12)]);
    let module = Arc::new(b.finish_btf(Some(kernel.0.clone())).unwrap());
    let targets = [kernel.0.clone(), module];
    let mut resolver = Resolver::new(&local.0, &targets);
    let mut ask = |access, kind| resolver.resolve(&Relo { insn_off: 0, ty: local.1, access, kind }).unwrap();
    let pid = ask("0:0", ReloKind::FieldByteOffset);
    assert_eq!((pid.new, pid.target), (Some(12), Some(1)));
    assert_eq!(ask("0", ReloKind::TypeIdTarget).new, Some(module_task.0.into()));
}

#[test]
fn nonsense_is_an_error() {
    let (local, kernel) = (build(local_task), build(kernel_task));
    for access in ["", ":0", "0:", "x", "-1", "0:9", "0:0:0", "99999999999", "0:2:16"] {
        assert!(ask(&local, &kernel, access, ReloKind::FieldByteOffset).is_err(), "access `{access}`");
    }
    assert!(ask(&local, &kernel, "1", ReloKind::TypeExists).is_err());
    assert!(ask(&local, &kernel, "0", ReloKind::EnumvalValue).is_err());
    assert!(ask(&(local.0, TypeId(1000)), &kernel, "0", ReloKind::TypeExists).is_err());
}

#[test]
fn types_that_contain_each_other_end() {
    // Each level has two anonymous members of the next: 2^40 ways to a member that is not there.
    let nest = |name: &'static str| {
        build(move |b| {
            let int = b.add_int("int", 4, SIGNED);
            let mut ty = b.add_struct("", 4, &[at("x", int, 0)]);
            for _ in 0..40 {
                ty = b.add_struct("", 4, &[at("", ty, 0), at("", ty, 0)]);
            }
            b.add_struct("s", 4, &[at("", ty, 0), at(name, int, 0)])
        })
    };
    let error = ask(&nest("mine"), &nest("theirs"), "0:1", ReloKind::FieldByteOffset).unwrap_err();
    assert!(error.to_string().contains("nest too much"), "{error}");
}

#[test]
fn flavours_are_ignored() {
    for (name, essential) in [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("___x", "___x"),
        ("x____y", "x____y"),
        ("x___", "x___"),
        ("", ""),
    ] {
        assert_eq!(essential_name(name), essential, "{name}");
    }
}

#[test]
fn flavours_of_the_target_are_candidates_however_often_they_are_asked_for() {
    let local = build(|b| {
        let int = b.add_int("int", 4, SIGNED);
        b.add_struct("s___mine", 4, &[at("x", int, 0)])
    });
    let kernel = build(|b| {
        let int = b.add_int("int", 4, SIGNED);
        b.add_struct("s___theirs___too", 4, &[at("x", int, 0)]);
        b.add_struct("as", 4, &[at("x", int, 0)]);
        b.add_struct("s___theirs", 8, &[at("y", int, 0), at("x", int, 4)])
    });
    for _ in 0..10 {
        assert_eq!(values(&local, &kernel, "0:0", ReloKind::FieldByteOffset), (0, Some(4)));
    }
}
