//! Maps: definitions by types and by structures, initial elements, sizes that depend on the machine.

use skep_isa::uapi::MapType;
use skep_obj::map::SlotTarget;
use skep_obj::{MapDef, MapKind, Pinning, Target};

use crate::fixture::{link, object};

fn find<'m>(maps: &'m [MapDef], name: &str) -> &'m MapDef {
    maps.iter().find(|map| map.name == name).unwrap_or_else(|| panic!("map `{name}`"))
}

#[test]
fn every_property_is_read() {
    let object = object("maps");
    let map = find(&object.maps, "everything");
    assert_eq!((map.map_type, map.kind), (MapType::HASH, MapKind::User));
    assert_eq!((map.key_size, map.value_size, map.max_entries), (8, 24, 1000));
    assert_eq!((map.map_flags, map.numa_node, map.map_extra), (1, 3, 0x1_0000_0002));
    assert!(map.pinning == Pinning::ByName && map.autocreate);
    let btf = object.btf.as_ref().expect("types");
    assert_eq!(btf.type_by_id(map.key_type).expect("the key's type").describe(), "struct key");
    assert_eq!(map.value_type.0, 0);
}

#[test]
fn initial_elements_name_maps_and_programs() {
    let object = object("maps");
    let outer = find(&object.maps, "outer");
    let inner = outer.inner.as_deref().expect("a template");
    assert_eq!((inner.name.as_str(), inner.map_type, inner.max_entries), ("outer.inner", MapType::ARRAY, 2));
    assert_eq!((inner.key_size, inner.value_size, outer.value_size), (4, 8, 4));
    let named: Vec<_> = outer
        .slots
        .iter()
        .map(|slot| match slot.target {
            SlotTarget::Map(map) => (slot.at, object.maps[map].name.as_str()),
            SlotTarget::Program(_) => panic!("a program in a map of maps"),
        })
        .collect();
    assert_eq!(named, [(1, "second"), (3, "first")]);

    let jumps = find(&object.maps, "jumps");
    let programs: Vec<_> =
        jumps.slots.iter().map(|s| (s.at, s.program().map(|p| &*object.programs[p].name))).collect();
    assert_eq!(programs, [(1, Some("tail"))]);
}

#[test]
fn sizes_follow_the_machine() {
    let object = object("maps");
    let size = |pages, cpus| {
        let linked = link(&object, &Target { page_bytes: pages, cpus, ..Target::default() });
        (find(&linked.maps, "ring").max_entries, find(&linked.maps, "events").max_entries)
    };
    assert_eq!(size(4096, 3), (8192, 3));
    assert_eq!(size(65536, 1), (65536, 1));
}

#[test]
fn types_are_given_to_the_kernel_where_it_takes_them() {
    let object = object("maps");
    assert!(find(&object.maps, "everything").types_to_create().is_some_and(|(key, _)| key.0 != 0));
    assert_eq!(find(&object.maps, "outer").types_to_create(), None);
    assert_eq!(find(&object.maps, "events").types_to_create(), None);
}

#[test]
fn maps_as_structures_need_no_types() {
    let object = object("legacy");
    assert!(object.btf.is_none());
    let shape = |name| {
        let map = find(&object.maps, name);
        (map.map_type, map.key_size, map.value_size, map.max_entries, map.map_flags)
    };
    assert_eq!(shape("one"), (MapType::HASH, 4, 8, 16, 1));
    assert_eq!(shape("two"), (MapType::ARRAY, 4, 32, 1, 0));

    let names: Vec<_> =
        object.variables.iter().map(|v| (v.name.as_str(), v.section.as_str(), v.size)).collect();
    assert_eq!(names, [("threshold", ".data", 4), ("seen", ".bss", 8)]);
    assert_eq!(object.variable_bytes("threshold").expect("a variable"), 40u32.to_le_bytes());

    let linked = link(&object, &Target::default());
    let program = &linked.programs[0];
    assert_eq!(program.result, Ok(()));
    let mut maps: Vec<_> = program.map_refs.iter().map(|r| linked.maps[r.map].name.as_str()).collect();
    maps.sort_unstable();
    maps.dedup();
    assert_eq!(maps, ["legacy.bss", "legacy.data", "one", "two"]);
    assert_eq!(program.source_line(0), None);
}

#[test]
fn longer_structures_say_how_maps_are_pinned_and_what_they_hold() {
    let object = object("elfmaps");
    let (shared, inner, outer) =
        (find(&object.maps, "shared"), find(&object.maps, "inner"), find(&object.maps, "outer"));
    assert_eq!(
        (shared.pinning, inner.pinning, outer.pinning),
        (Pinning::ByName, Pinning::None, Pinning::None)
    );
    let template = outer.inner.as_deref().expect("it holds maps");
    assert_eq!((template.map_type, template.value_size, template.max_entries), (MapType::ARRAY, 32, 1));
    assert!(shared.inner.is_none() && inner.inner.is_none());
}
