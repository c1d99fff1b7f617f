//! Longest-prefix tries: beside a list that is searched through, beside the kernel's, and under several threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use skep_isa::uapi::MapType;
use skep_vm::map::{flags, update};
use skep_vm::{Errno, Map, MapSpec};

use crate::kernel::{Pair, permitted};
use crate::random::Rng;

fn spec(bytes: u32, entries: u32) -> MapSpec {
    MapSpec::new(MapType::LPM_TRIE, "m", 4 + bytes, 8, entries).flags(flags::NO_PREALLOC)
}

fn key(len: u32, bits: &[u8]) -> Vec<u8> {
    [&len.to_ne_bytes()[..], bits].concat()
}

/// Bits that have many prefixes in common.
fn some_bits(rng: &mut Rng, bytes: u32) -> Vec<u8> {
    let mut bits: Vec<u8> = (0..bytes).map(|_| rng.pick(&[0, 0, 0x80, 0xff])).collect();
    let at = rng.below(bytes.into()) as usize;
    bits[at] ^= 1 << rng.below(8);
    bits
}

/// Lengths around the ends of what is looked at in one step come up more often.
fn some_len(rng: &mut Rng, bits: u32) -> u32 {
    let any = rng.below(u64::from(bits) + 1) as u32;
    rng.pick(&[any, any, any, 0, 7, 8, 9, 15, 16, 17, bits]).min(bits)
}

/// A trie as a list: the bits that count, as text, and the value.
#[derive(Default)]
struct List(BTreeMap<String, u64>);

impl List {
    fn name(len: u32, bits: &[u8]) -> String {
        let text: String = bits.iter().map(|byte| format!("{byte:08b}")).collect();
        text[..len as usize].to_owned()
    }

    fn longest(&self, len: u32, bits: &[u8]) -> Option<u64> {
        let name = Self::name(len, bits);
        let prefixes = self.0.iter().filter(|(prefix, _)| name.starts_with(&***prefix));
        prefixes.max_by_key(|(prefix, _)| prefix.len()).map(|(_, value)| *value)
    }
}

#[test]
fn finds_what_a_search_through_all_prefixes_finds() {
    for (seed, bytes) in [1, 2, 3, 4, 7, 8, 9, 16, 33].into_iter().enumerate() {
        const ENTRIES: u32 = 60;
        let map = Map::create(spec(bytes, ENTRIES)).expect("the test's map is valid");
        let (mut list, mut rng) = (List::default(), Rng(seed as u64));
        for n in 0..6000u64 {
            let (len, bits) = (some_len(&mut rng, bytes * 8), some_bits(&mut rng, bytes));
            let name = List::name(len, &bits);
            match rng.below(5) {
                0 | 1 => {
                    let full = list.0.len() == ENTRIES as usize && !list.0.contains_key(&name);
                    let expected = if full { Err(Errno::ENOSPC) } else { Ok(()) };
                    assert_eq!(map.update(&key(len, &bits), &n.to_ne_bytes(), update::ANY), expected);
                    if !full {
                        list.0.insert(name, n);
                    }
                }
                2 => {
                    let expected = list.0.remove(&name).map(drop).ok_or(Errno::ENOENT);
                    assert_eq!(map.delete(&key(len, &bits)), expected, "{name}");
                }
                _ => {
                    let mut value = [0; 8];
                    let found = map.lookup(&key(len, &bits), &mut value, 0);
                    let found = found.map(|()| u64::from_ne_bytes(value)).ok();
                    assert_eq!(found, list.longest(len, &bits), "{name} of {bytes} bytes");
                }
            }
        }
    }
}

#[test]
fn prefixes_of_every_length_answer_alike() {
    if !permitted("prefixes_of_every_length_answer_alike") {
        return;
    }
    for (seed, bytes) in [1, 2, 4, 8, 12, 16].into_iter().enumerate() {
        let pair = Pair::new(spec(bytes, 100));
        let mut rng = Rng(seed as u64 + 77);
        for n in 0..2000u64 {
            let len = some_len(&mut rng, bytes * 8) + u32::from(rng.below(40) == 0);
            let key = key(len, &some_bits(&mut rng, bytes));
            match rng.below(8) {
                0..=2 => pair.update(&key, &mut n.to_ne_bytes(), rng.pick(&[0, 0, 0, 1, 2])),
                3 => pair.delete(&key),
                4 if n % 10 == 0 => pair.keys(),
                _ => pair.lookup(&key, 0),
            }
        }
    }
}

/// Tells others to stop, also when its thread fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One thread adds and removes prefixes; what others find is always a prefix of what they look for.
#[test]
fn readers_find_prefixes_while_they_change() {
    // Room for every prefix that comes up.
    let map = Map::create(spec(4, 24 << 12)).expect("the test's map is valid");
    let value = |len: u32, bits: u32| (u64::from(len) << 32 | u64::from(bits)).to_ne_bytes();
    let put = |map: &Map, len: u32, bits: u32| {
        map.update(&key(len, &bits.to_be_bytes()), &value(len, bits), 0).expect("there is room");
    };
    put(&map, 8, 10 << 24);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (map, stop): (&Arc<Map>, _) = (&map, &stop);
        scope.spawn(move || {
            let _stop = StopAtEnd(stop);
            let mut rng = Rng(1);
            for _ in 0..40_000 {
                let (len, bits) = (9 + rng.below(24) as u32, 10 << 24 | (rng.below(1 << 12) as u32) << 8);
                if rng.below(2) == 0 {
                    put(map, len, bits);
                } else {
                    let _ = map.delete(&key(len, &bits.to_be_bytes()));
                }
            }
        });
        for seed in 2..4 {
            scope.spawn(move || {
                let mut rng = Rng(seed);
                while !stop.load(Ordering::Relaxed) {
                    let address = 10 << 24 | rng.below(1 << 20) as u32;
                    let mut found = [0; 8];
                    map.lookup(&key(32, &address.to_be_bytes()), &mut found, 0)
                        .expect("one always covers it");
                    let found = u64::from_ne_bytes(found);
                    let (len, bits) = ((found >> 32) as u32, found as u32);
                    assert!((8..=32).contains(&len), "{found:#x}");
                    assert_eq!(
                        (address ^ bits) >> (32 - len),
                        0,
                        "{address:#x} is not below {bits:#x}/{len}"
                    );
                }
            });
        }
    });
}
