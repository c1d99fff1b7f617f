//! Maps whose values have special fields: the same random operations of user space, with `BPF_F_LOCK` and without, give the
//! same values and errors on both runtimes.

use std::path::Path;

use skep::object::Object;
use skep::runtime::command::{BatchOp, Command};
use skep::runtime::{Fd, Map, SharedRuntime};
use skep::{Loaded, host};

use super::runtimes;
use crate::harness::Rng;

/// The object's maps, those of its variables left away.
fn maps(loaded: &Loaded) -> Vec<&skep::LoadedMap> {
    loaded.maps().filter(|map| !map.def.name.contains('.')).collect()
}

/// Operations on one map, and what they answer.
fn story(runtime: &SharedRuntime, map: &Map, seed: u64) -> Vec<String> {
    let mut rng = Rng(seed);
    let stride = map.value_stride();
    (0..300)
        .map(|n| {
            let key = (rng.below(8) as u32).to_ne_bytes();
            let flags = [0, 0, 1, 2, 4, 5, 6, 8][rng.below(8) as usize];
            let answer = match rng.below(9) {
                0..=2 => format!(
                    "update {flags} {:?}",
                    map.update(&key, &rng.bytes(stride), flags).map_err(|e| e.errno())
                ),
                3 => format!("delete {:?}", map.delete(&key).map_err(|e| e.errno())),
                4 => {
                    let mut value = vec![0; stride];
                    let take =
                        Command::MapLookupAndDelete { map: map.fd(), key: &key, value: &mut value, flags };
                    let done = runtime.bpf(take).map(drop).map_err(|e| e.errno());
                    format!("take {flags} {:?}", done.map(|()| value))
                }
                5 => format!("batch {:?}", batch(map, &mut rng, stride, flags)),
                _ => format!("look up {flags} {:?}", look_up(runtime, map.fd(), &key, stride, flags)),
            };
            format!("{n}: {} {answer}", u32::from_ne_bytes(key))
        })
        .collect()
}

fn look_up(runtime: &SharedRuntime, map: Fd, key: &[u8], stride: usize, flags: u64) -> Result<Vec<u8>, i32> {
    let mut value = vec![0; stride];
    let done = runtime.bpf(Command::MapLookup { map, key, value: &mut value, flags });
    done.map(|_| value).map_err(|e| e.errno())
}

/// Writes two elements at once.
fn batch(map: &Map, rng: &mut Rng, stride: usize, elem_flags: u64) -> Result<(), i32> {
    let keys: Vec<u8> = (0..2).flat_map(|_| (rng.below(8) as u32).to_ne_bytes()).collect();
    let values = rng.bytes(2 * stride);
    map.batch(BatchOp::Update { keys: &keys, values: &values, count: 2, elem_flags })
        .map(drop)
        .map_err(|e| e.errno())
}

fn load(runtime: &SharedRuntime, object: &Object) -> Loaded {
    skep::load(runtime, object, host::link(object).expect("it links")).expect("it loads")
}

#[test]
fn values_with_special_fields() {
    let Some([user, kernel]) = runtimes() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/alike/special.bpf.c");
    let object = skep::open(&path).expect("it compiles").object;
    let [ours, theirs] = [&user, &kernel].map(|runtime| load(runtime, &object));
    let pairs: Vec<_> = maps(&ours).into_iter().zip(maps(&theirs)).collect();
    assert_eq!(pairs.len(), 9);
    for (a, b) in pairs {
        for seed in [1, 77] {
            let [ours, theirs] =
                [(&user, a), (&kernel, b)].map(|(runtime, map)| story(runtime, &map.map, seed));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs, "`{}`: ours is left, the kernel's right", a.def.name);
            }
        }
    }
}
