//! Our maps: by calls, as compiled programs make them, and by interpreted programs.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use skep_isa::uapi::ProgType;
use skep_vm::{Map, MapRef, NoEnv, Program, ProgramInfo};

use crate::cases::{Case, FACTOR, Key, Operation, SUMMAND};
use crate::clock::Timer;

/// Makes the map of a case and fills it.
pub(crate) fn map(case: &Case) -> Arc<Map> {
    Map::create(case.spec.clone()).expect("the benchmark's map is valid")
}

/// The program of a case.
pub(crate) fn program(case: &Case, map: &Arc<Map>, iterations: u32) -> Program {
    let find = |reference| (reference == MapRef::Index(0)).then(|| Arc::clone(map));
    let info = ProgramInfo::new("bench", ProgType::SCHED_CLS);
    Program::prepare(&case.insns(iterations), &find, info).expect("the benchmark prepares")
}

/// Runs the program once; answers nanoseconds.
pub(crate) fn run(program: &Program, map: &Map) -> f64 {
    let timer = Timer::start();
    black_box(program.run(&mut [0; 64], &mut NoEnv)).expect("the benchmark runs");
    let time = timer.ns();
    consume(map);
    time
}

/// Makes all room of a ring buffer free again.
fn consume(map: &Map) {
    if let Some(ring) = map.ring() {
        ring.drain(&mut |_| ControlFlow::Continue(()));
    }
}

/// Does the operations by calls; answers nanoseconds.
pub(crate) fn call(case: &Case, map: &Map, iterations: u32) -> f64 {
    let timer = Timer::start();
    match case.key {
        Key::Index => call_with::<4>(case, map, iterations),
        Key::Word | Key::Prefix | Key::Address => call_with::<8>(case, map, iterations),
    }
    let time = timer.ns();
    consume(map);
    time
}

fn call_with<const KEY: usize>(case: &Case, map: &Map, iterations: u32) {
    let value = 7u64.to_ne_bytes();
    let mut random = u64::from(SUMMAND);
    for _ in 0..iterations {
        random = random.wrapping_mul(FACTOR).wrapping_add(SUMMAND.into());
        let number = ((random >> 32) * u64::from(case.keys)) >> 32;
        let key = case.key_bytes(number as u32, random);
        let key: &[u8; KEY] =
            black_box(&key).first_chunk().expect("invariant: keys have four or eight bytes");
        match case.operation {
            Operation::Nothing => {}
            Operation::Lookup => {
                if let Some(addr) = map.value_addr(key, 0) {
                    let at = std::ptr::with_exposed_provenance::<u64>(addr as usize);
                    // SAFETY: values have eight bytes and stay mapped as long as the map lives; nobody writes meanwhile.
                    black_box(unsafe { at.read_volatile() });
                }
            }
            Operation::Update => {
                // A full map refuses some, as the kernel's does.
                let _ = black_box(map.put(key, &value, 0, 0));
            }
            Operation::Reserve => {
                let ring = map.ring().expect("invariant: the case has a ring buffer");
                if let Some(record) = ring.reserve(16) {
                    let at = std::ptr::with_exposed_provenance_mut::<u64>(ring.address(record) as usize);
                    // SAFETY: the record has sixteen bytes, and is ours until it is committed.
                    unsafe { at.write_volatile(random) };
                    ring.commit(record, 0, false);
                }
            }
        }
    }
}
