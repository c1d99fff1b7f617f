//! Putting objects together.

use skep_btf::Shape;
use skep_obj::linker::{Input, combine};
use skep_obj::{Error, Object, Target};

use crate::fixture;

/// The two objects of `tests/data/linked`, as one.
fn linked() -> Vec<u8> {
    let (first, second) = (fixture::bytes("linked/first"), fixture::bytes("linked/second"));
    let inputs = [Input { file: "first.o", bytes: &first }, Input { file: "second.o", bytes: &second }];
    combine(&inputs).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Changes text in an object's bytes to text of the same length.
fn changed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, w)| *w == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "`{from}` is in the object");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

fn refusal(first: &[u8], second: &[u8]) -> Error {
    let inputs = [Input { file: "first.o", bytes: first }, Input { file: "second.o", bytes: second }];
    combine(&inputs).expect_err("the objects do not go together")
}

#[test]
fn what_both_files_have_is_one_object() {
    let object = Object::read(&linked(), "linked.o").unwrap();
    let expected = [
        "program syscall first",
        "program syscall second",
        "map counts BPF_MAP_TYPE_ARRAY 8",
        "map linked.rodata BPF_MAP_TYPE_ARRAY 4",
        "map linked.bss BPF_MAP_TYPE_ARRAY 8",
        "map linked.data BPF_MAP_TYPE_ARRAY 32",
        "map linked.kconfig BPF_MAP_TYPE_ARRAY 4",
        "variable .rodata step 4",
        "variable .bss first_result 4",
        "variable .bss second_result 4",
        "variable .data state 4",
        "variable .data shared 16",
        "variable .data state 4",
        "variable .data other 4",
    ];
    let mut found = fixture::summary(&object);
    let mut expected = expected.map(str::to_owned).to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(object.externs.len(), 1, "{:?}", object.externs);
}

#[test]
fn types_have_no_doubles() {
    let object = Object::read(&linked(), "linked.o").unwrap();
    let btf = object.btf.unwrap();
    let named = |name: &str| btf.find_all(name).len();
    for name in ["int", "u64", "pair", "counts", "scale", "weight", "shared", "_license", ".data"] {
        let expected = if name == "counts" { 2 } else { 1 };
        assert_eq!(named(name), expected, "{name}: a map and its structure, else one");
    }
    assert_eq!(named("state"), 2, "static variables stay apart");
    let scale = btf.type_by_id(btf.find("scale", skep_btf::Kind::Func).unwrap()).unwrap();
    assert!(matches!(scale.shape, Shape::Func { linkage: skep_btf::Linkage::Global, .. }));
}

#[test]
fn every_program_links_with_its_own_helpers() {
    let object = Object::read(&linked(), "linked.o").unwrap();
    let linked = fixture::link(&object, &Target::default());
    for program in &linked.programs {
        assert!(program.result.is_ok(), "{}: {:?}", program.name, program.result);
    }
    // The strong definition of `scale` wins, and brings the second file's `adjust`, so that `first` has both.
    let names: Vec<_> = linked.programs.iter().map(|p| (p.name.as_str(), p.insns.len())).collect();
    assert_eq!(names.len(), 2);
    assert!(names[0].1 > names[1].1, "{names:?}");
}

#[test]
fn linked_objects_link_again() {
    let once = linked();
    let again = combine(&[Input { file: "linked.o", bytes: &once }]).unwrap();
    let summaries = [&once, &again].map(|bytes| fixture::summary(&Object::read(bytes, "linked.o").unwrap()));
    assert_eq!(summaries[0], summaries[1]);
    let types = [&once, &again].map(|bytes| Object::read(bytes, "linked.o").unwrap().btf.unwrap().len());
    assert_eq!(types[0], types[1]);
}

#[test]
fn what_does_not_go_together_is_named() {
    let (first, second) = (fixture::bytes("linked/first"), fixture::bytes("linked/second"));
    let twice = refusal(&first, &first);
    assert!(twice.to_string().contains("first.o") && twice.message().contains("defined here"), "{twice:?}");
    let licence = refusal(&first, &changed(&second, "GPL\0", "BSD\0"));
    assert_eq!(licence.to_string(), "second.o: section `license`: `BSD` here, `GPL` in the files before");
    let map = refusal(&first, &changed(&second, "max_entries", "max_entriez"));
    assert_eq!(map.place().symbol.as_deref(), Some("counts"), "{map:?}");
    let member = refusal(&first, &changed(&second, "\0second\0", "\0secund\0"));
    assert!(member.message().contains("member `second` is not `secund`"), "{member:?}");
    let foreign = refusal(&first, b"not an object");
    assert_eq!(foreign.kind(), skep_obj::ErrorKind::NotAnObject);
}

#[test]
fn damage_is_an_error() {
    let (first, second) = (fixture::bytes("linked/first"), fixture::bytes("linked/second"));
    for at in (0..second.len()).step_by(61) {
        let mut damaged = second.clone();
        damaged[at] ^= 0xff;
        // Any answer will do but a panic.
        let inputs = [Input { file: "first.o", bytes: &first }, Input { file: "second.o", bytes: &damaged }];
        let _ = combine(&inputs);
        let _ = combine(&[Input { file: "second.o", bytes: &second[..at] }]);
    }
}

/// As for the other test objects: what is compiled anew links to the same.
#[test]
fn linked_objects_are_current() {
    let Some(clang) = fixture::clang() else { return };
    let scratch = std::env::temp_dir().join(format!("skep-obj-linked-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a scratch directory");
    let fresh = ["first", "second"].map(|name| {
        let (path, name) = (scratch.join(format!("{name}.o")), format!("linked/{name}"));
        fixture::compile(clang, &name, &path);
        fixture::bless(&path, &name);
        std::fs::read(&path).expect("what clang wrote")
    });
    let inputs = [Input { file: "first.o", bytes: &fresh[0] }, Input { file: "second.o", bytes: &fresh[1] }];
    let fresh = combine(&inputs).unwrap_or_else(|e| panic!("{e:?}"));
    let summaries =
        [&fresh, &linked()].map(|bytes| fixture::summary(&Object::read(bytes, "linked.o").unwrap()));
    assert_eq!(summaries[0], summaries[1], "`SKEP_BLESS=1 cargo test` compiles them anew");
    std::fs::remove_dir_all(&scratch).expect("the scratch directory");
}
