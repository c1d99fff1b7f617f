//! Maps through the waist.

use skep_isa::uapi::MapType;
use skep_runtime::command::{BatchOp, Command, MapCreate, ObjectKind, Reply};
use skep_runtime::{ErrorKind, Map};

use crate::kernel;

#[test]
fn elements_come_and_go() {
    let Some(kernel) = kernel() else { return };
    let map = Map::create(&kernel, &MapCreate::new(MapType::HASH, "pairs", 4, 8, 2), 1).expect("a hash");
    let (one, two, three) = (1_u32.to_ne_bytes(), 2_u32.to_ne_bytes(), 3_u32.to_ne_bytes());
    assert_eq!(map.lookup(&one).expect("a look"), None);
    map.update(&one, &[7; 8], 0).expect("room for one");
    map.update(&two, &[9; 8], 1).expect("not there yet");
    assert_eq!(map.lookup(&one).expect("a look"), Some(vec![7; 8]));
    assert_eq!(map.update(&two, &[9; 8], 1).expect_err("there already").kind(), ErrorKind::Exists);
    assert_eq!(map.update(&three, &[1; 8], 0).expect_err("beyond the capacity").kind(), ErrorKind::Full);

    let mut keys = Vec::new();
    let mut key = None;
    while let Some(next) = map.next_key(key.as_deref()).expect("a key or the end") {
        keys.push(next.clone());
        key = Some(next);
    }
    keys.sort();
    assert_eq!(keys, [one.to_vec(), two.to_vec()]);

    map.delete(&one).expect("it is there");
    assert_eq!(map.delete(&one).expect_err("it is not there").kind(), ErrorKind::NotFound);
}

/// Linux would write behind a buffer that is too short.
#[test]
fn short_buffers_are_refused() {
    let Some(kernel) = kernel() else { return };
    let map = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "pair", 4, 16, 1), 1).expect("an array");
    let (key, mut value) = (0_u32.to_ne_bytes(), [0xaa; 24]);
    let (short, behind) = value.split_at_mut(8);
    let lookup = Command::MapLookup { map: map.fd(), key: &key, value: short, flags: 0 };
    let refusal = kernel.bpf(lookup).expect_err("eight bytes for sixteen");
    assert!(refusal.to_string().contains("8 bytes") && refusal.to_string().contains("16"), "{refusal}");
    assert_eq!(behind, [0xaa; 16]);

    let refused = |command| kernel.bpf(command).expect_err("too short").kind();
    assert_eq!(
        refused(Command::MapUpdate { map: map.fd(), key: &key, value: &[0; 15], flags: 0 }),
        ErrorKind::Invalid
    );
    assert_eq!(refused(Command::MapDelete { map: map.fd(), key: &key[..3] }), ErrorKind::Invalid);
    assert_eq!(
        refused(Command::MapGetNextKey { map: map.fd(), key: None, next: &mut [0; 3] }),
        ErrorKind::Invalid
    );
    let two = BatchOp::Update { keys: &[0; 8], values: &[0; 16], count: 2, elem_flags: 0 };
    assert_eq!(map.batch(two).expect_err("one value for two").kind(), ErrorKind::Invalid);
}

#[test]
fn batches_carry_many() {
    let Some(kernel) = kernel() else { return };
    let map = Map::create(&kernel, &MapCreate::new(MapType::HASH, "many", 4, 4, 64), 1).expect("a hash");
    let keys: Vec<u8> = (0..50_u32).flat_map(u32::to_ne_bytes).collect();
    let update = BatchOp::Update { keys: &keys, values: &keys, count: 50, elem_flags: 0 };
    assert_eq!(map.batch(update).expect("room for fifty"), Reply::Batch { count: 50, end: false });

    let (mut position, mut read_keys, mut values) = ([0; 4], vec![0; 64 * 4], vec![0; 64 * 4]);
    let lookup = BatchOp::Lookup {
        in_batch: None,
        out_batch: &mut position,
        keys: &mut read_keys,
        values: &mut values,
        count: 64,
        delete: true,
        elem_flags: 0,
    };
    assert_eq!(map.batch(lookup).expect("all of it"), Reply::Batch { count: 50, end: true });
    assert_eq!(read_keys, values);
    let mut found: Vec<&[u8]> = read_keys[..200].chunks(4).collect();
    let mut expected: Vec<&[u8]> = keys.chunks(4).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(map.next_key(None).expect("the map is empty"), None);
}

#[test]
fn frozen_maps_take_no_updates() {
    let Some(kernel) = kernel() else { return };
    let map = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "cold", 4, 4, 1), 1).expect("an array");
    map.freeze().expect("arrays can be frozen");
    assert_eq!(map.update(&[0; 4], &[1; 4], 0).expect_err("it is frozen").kind(), ErrorKind::Denied);
}

#[test]
fn ids_lead_to_objects() {
    let Some(kernel) = kernel() else { return };
    let map = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "named", 4, 4, 3), 1).expect("an array");
    let mut info = [0; 80];
    let read = kernel
        .bpf(Command::ObjGetInfo { fd: map.fd(), info: &mut info, arrays: &mut [] })
        .expect("it has an info");
    assert!(matches!(read, Reply::Count(64..=80)), "{read:?}");
    let id = u32::from_ne_bytes([info[4], info[5], info[6], info[7]]);
    assert_eq!(&info[24..30], b"named\0");

    let next = kernel.bpf(Command::GetNextId { kind: ObjectKind::Map, id: id - 1 });
    assert_eq!(next.expect("at least ours"), Reply::Id(id));
    let Ok(Reply::Fd(fd)) = kernel.bpf(Command::GetFdById { kind: ObjectKind::Map, id }) else {
        panic!("the id is alive")
    };
    kernel.close(fd);
}

#[test]
fn whole_maps_are_read() {
    let Some(kernel) = kernel() else { return };
    // A hash of many batches, an array, and a trie, which older kernels read key by key.
    let trie = MapCreate { map_flags: 1, ..MapCreate::new(MapType::LPM_TRIE, "trie", 8, 4, 20_000) };
    for spec in [
        MapCreate::new(MapType::HASH, "hash", 8, 4, 20_000),
        MapCreate::new(MapType::PERCPU_HASH, "percpu", 8, 4, 20_000),
        trie,
    ] {
        let map = Map::create(&kernel, &spec, possible_cpus()).expect("a map");
        let value = vec![3; map.value_stride()];
        for n in 0..10_000_u32 {
            let key = [32_u32.to_ne_bytes(), n.to_ne_bytes()].concat();
            map.update(&key, &value, 0).expect("there is room");
        }
        let mut seen = Vec::new();
        map.for_each(&mut |key, element| {
            assert_eq!(element, value);
            seen.push(u32::from_ne_bytes([key[4], key[5], key[6], key[7]]));
        })
        .expect("it can be read");
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..10_000), "{}: {} elements", spec.name, seen.len());
    }
}

fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs is mounted");
    text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok()).map_or(1, |last: usize| last + 1)
}
