//! Maps under several threads: nothing is lost, torn between elements, or counted twice.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use skep_isa::helper::id;
use skep_isa::uapi::MapType;
use skep_isa::{AluOp, AtomicOp, JmpOp, Op, Operand, Reg, Size};
use skep_vm::{Errno, Map, MapSpec, NoEnv};

use crate::build::{add, call, load_map, mov, mov_reg, prepare};

fn map(map_type: MapType, key: u32, value: u32, entries: u32) -> Arc<Map> {
    Map::create(MapSpec::new(map_type, "m", key, value, entries)).expect("the test's map is valid")
}

/// Adds one, atomically, to the value of key 0.
fn count() -> [Op; 10] {
    [
        crate::build::store(Reg::R10, -8, 0),
        load_map(Reg::R1, 0),
        mov_reg(Reg::R2, Reg::R10),
        add(Reg::R2, -8),
        call(id::bpf_map_lookup_elem),
        Op::Jump { wide: true, op: JmpOp::Eq, dst: Reg::R0, src: Operand::Imm(0), off: 2 },
        mov(Reg::R1, 1),
        Op::Atomic {
            size: Size::DW,
            op: AtomicOp::Add { fetch: false },
            base: Reg::R0,
            off: 0,
            src: Reg::R1,
        },
        Op::Alu { wide: true, op: AluOp::Mov, dst: Reg::R0, src: Operand::Imm(0) },
        Op::Exit,
    ]
}

#[test]
fn counters_lose_nothing() {
    const RUNS: u64 = 20_000;
    for map_type in [MapType::ARRAY, MapType::HASH] {
        let map = map(map_type, 4, 8, 4);
        map.update(&[0; 4], &[0; 8], 0).expect("there is room");
        let program = prepare(&count(), &[Arc::clone(&map)]).expect("the test prepares");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..RUNS).for_each(|_| assert_eq!(program.run(&mut [], &mut NoEnv), Ok(0))));
            }
        });
        let mut value = [0; 8];
        map.lookup(&[0; 4], &mut value, 0).expect("it is there");
        assert_eq!(u64::from_ne_bytes(value), 4 * RUNS);
    }
}

#[test]
fn readers_of_a_hash_see_whole_elements() {
    let map = map(MapType::HASH, 8, 8, 64);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..2u64 {
            let (map, stop) = (&map, &stop);
            scope.spawn(move || {
                for round in 0..20_000u64 {
                    let key = (round % 40 * 2 + thread).to_ne_bytes();
                    match map.update(&key, &key, 0) {
                        Ok(()) | Err(Errno::E2BIG) => {}
                        other => panic!("{other:?}"),
                    }
                    if round % 3 == 0 {
                        let _ = map.delete(&key);
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            let mut found = 0;
            while !stop.load(Ordering::Relaxed) || found == 0 {
                for key in 0..80u64 {
                    let mut value = [0; 8];
                    // A value may already belong to the element's next key, which is one of these, too.
                    if map.lookup(&key.to_ne_bytes(), &mut value, 0).is_ok() {
                        found += 1;
                        assert!(u64::from_ne_bytes(value) < 80);
                    }
                }
            }
        });
    });
    let mut keys = BTreeSet::new();
    let (mut key, mut next) = (None::<[u8; 8]>, [0; 8]);
    while map.next_key(key.as_ref().map(|key| &key[..]), &mut next).is_ok() {
        assert!(keys.insert(next), "a key comes twice");
        key = Some(next);
    }
    for key in keys {
        assert_eq!(map.delete(&key), Ok(()));
    }
    for key in 0..64u64 {
        assert_eq!(map.update(&key.to_ne_bytes(), &[0; 8], 0), Ok(()), "an element was lost");
    }
    assert_eq!(map.update(&64u64.to_ne_bytes(), &[0; 8], 0), Err(Errno::E2BIG));
}

#[test]
fn lru_tables_keep_their_size() {
    let map = map(MapType::LRU_HASH, 8, 8, 100);
    thread::scope(|scope| {
        for thread in 0..3u64 {
            let map = &map;
            scope.spawn(move || {
                for n in 0..10_000u64 {
                    map.update(&(n * 3 + thread).to_ne_bytes(), &[0; 8], 0)
                        .expect("an LRU table always has room");
                }
            });
        }
    });
    let (mut key, mut next, mut count) = (None::<[u8; 8]>, [0; 8], 0);
    while map.next_key(key.as_ref().map(|key| &key[..]), &mut next).is_ok() {
        count += 1;
        key = Some(next);
    }
    assert!((98..=103).contains(&count), "{count} elements");
}

#[test]
fn a_ring_buffer_delivers_or_counts_every_record() {
    const RECORDS: u64 = 20_000;
    let ring = map(MapType::RINGBUF, 0, 0, 4096);
    let output = [
        Op::Store { size: Size::DW, base: Reg::R10, off: -8, src: Operand::Reg(Reg::R2) },
        load_map(Reg::R1, 0),
        mov_reg(Reg::R2, Reg::R10),
        add(Reg::R2, -8),
        mov(Reg::R3, 8),
        mov(Reg::R4, 0),
        call(id::bpf_ringbuf_output),
        Op::Exit,
    ];
    let program = prepare(&output, &[Arc::clone(&ring)]).expect("the test prepares");
    let done = AtomicBool::new(false);
    let mut received = Vec::new();
    thread::scope(|scope| {
        let producers: Vec<_> = (0..3u64)
            .map(|thread| {
                let program = &program;
                scope.spawn(move || {
                    for n in 0..RECORDS {
                        let input =
                            skep_vm::Input { args: [thread << 32 | n, 0, 0, 0], ..Default::default() };
                        program.run_with(input, &mut NoEnv).expect("the test runs");
                    }
                })
            })
            .collect();
        let (ring, done, received) = (&ring, &done, &mut received);
        scope.spawn(move || {
            let mut last_round = false;
            while !last_round {
                last_round = done.load(Ordering::SeqCst);
                ring.ring().expect("it is one").drain(&mut |data| {
                    received.push(u64::from_ne_bytes(data.try_into().expect("eight bytes")));
                    ControlFlow::Continue(())
                });
            }
        });
        producers.into_iter().for_each(|producer| producer.join().expect("producers do not panic"));
        done.store(true, Ordering::SeqCst);
    });
    let lost = ring.ring().expect("it is one").take_lost();
    assert_eq!(received.len() as u64 + lost, 3 * RECORDS);
    for thread in 0..3 {
        let own: Vec<u64> = received.iter().copied().filter(|record| record >> 32 == thread).collect();
        assert!(own.is_sorted(), "the records of one producer keep their order");
    }
}
