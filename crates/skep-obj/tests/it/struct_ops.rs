//! `struct_ops`: structures take the kernel's shape.

use std::sync::Arc;

use skep_btf::cdecl;
use skep_isa::uapi::{AttachType, MapType};
use skep_obj::map::F_LINK;
use skep_obj::{ErrorKind, Linked, MapKind, Target};

use crate::fixture::{link, object};

/// A kernel that has moved members, added one, and does not know `unknown`.
const KERNEL: &str = "
    struct my_ops {
        int (*release)(int); char name[8]; int (*added)(void); int (*init)(void); unsigned flags;
    };
    struct bpf_struct_ops_my_ops { int refcnt; int state; struct my_ops data; };";

fn linked(types: &str) -> Linked {
    let declarations = cdecl::parse(types).unwrap_or_else(|e| panic!("{e}"));
    link(&object("ops"), &Target { btf: Some(Arc::new(declarations.btf)), ..Target::default() })
}

#[test]
fn objects_describe_their_structures() {
    let object = object("ops");
    let map = object.map("ops").expect("the structure");
    assert_eq!((map.kind, map.map_type, map.map_flags), (MapKind::StructOps, MapType::STRUCT_OPS, F_LINK));
    let slots: Vec<_> =
        map.slots.iter().map(|s| (s.at, s.program().map(|p| &*object.programs[p].name))).collect();
    assert_eq!(slots, [(0, Some("init_it")), (16, Some("release_it"))]);
    let other = object.map("other").expect("the other structure");
    assert!(!other.autocreate && other.map_flags == 0);
}

#[test]
fn structures_take_the_kernels_shape() {
    let linked = linked(KERNEL);
    let map = linked.maps.iter().find(|m| m.name == "ops").expect("the structure");
    // refcnt and state, then release, name, added, init, flags.
    assert_eq!((map.value_size, map.data.len()), (48, 48));
    assert_eq!(map.data[16..24], *b"mine\0\0\0\0");
    assert_eq!(map.data[40..44], 7u32.to_le_bytes());
    let slots: Vec<_> =
        map.slots.iter().map(|s| (s.at, s.program().map(|p| &*linked.programs[p].name))).collect();
    assert_eq!(slots, [(32, Some("init_it")), (8, Some("release_it"))]);
    assert!(map.kernel_value_type.is_some());

    let program = |name: &str| linked.programs.iter().find(|p| p.name == name).expect(name);
    for (name, member) in [("init_it", 3), ("release_it", 0)] {
        let program = program(name);
        assert_eq!((program.result.clone(), program.autoload), (Ok(()), true), "{name}");
        assert_eq!(program.expected_attach_type, Some(AttachType(member)), "{name}");
        assert!(program.attach_btf.is_some(), "{name}");
    }
    let error = program("unused").result.clone().expect_err("nothing refers to it");
    assert!(error.to_string().contains("no `struct_ops` structure refers to the program"), "{error}");
}

#[test]
fn a_kernel_without_the_structure_fails_its_programs_alone() {
    let missing_member = KERNEL.replace("unsigned flags;", "");
    for (types, words) in [
        ("struct other { int x; };", "no `struct_ops` type `my_ops`"),
        (&*missing_member, "no member `flags`"),
    ] {
        let linked = linked(types);
        let map = linked.maps.iter().find(|m| m.name == "ops").expect("the structure");
        assert!(!map.autocreate, "{types}");
        let error = linked.programs[0].result.clone().expect_err("it cannot be loaded");
        assert_eq!(error.kind(), ErrorKind::Unresolved);
        assert!(error.to_string().contains(words), "{error}");
    }
}
