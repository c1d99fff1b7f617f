//! Our maps, by programs: compiled, and interpreted.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use skep_isa::uapi::ProgType;
use skep_verifier::{Input, MapInfo, Outcome, Target, Verified, prove};
use skep_vm::{Engine, Map, MapRef, NoEnv, Program, ProgramInfo};

use crate::cases::Case;
use crate::clock::Timer;

/// Makes the map of a case and fills it.
pub(crate) fn map(case: &Case) -> Arc<Map> {
    Map::create(case.spec.clone()).expect("the benchmark's map is valid")
}

/// The program of a case. That it is compiled, where that is asked for, is checked.
pub(crate) fn program(case: &Case, map: &Arc<Map>, iterations: u32, engine: Engine) -> Program {
    let find = |reference| (reference == MapRef::Index(0)).then(|| Arc::clone(map));
    let info = ProgramInfo { engine, ..ProgramInfo::new("bench", ProgType::SCHED_CLS) };
    let verified = verified(case, iterations);
    let program = Program::prepare_verified(&verified, &find, info).expect("the benchmark prepares");
    if let Some(Err(declined)) = program.compiled() {
        panic!("{}: {declined}", case.name);
    }
    program
}

fn verified(case: &Case, iterations: u32) -> Verified {
    let spec = &case.spec;
    let map = MapInfo {
        flags: spec.map_flags,
        ..MapInfo::new(&spec.name, spec.map_type, spec.key_size, spec.value_size, spec.max_entries)
    };
    let (insns, maps, target) = (case.insns(iterations), [map], Target::default());
    let input = Input::new("bench", ProgType::SCHED_CLS, &insns, &maps, &target);
    match prove(&input).outcome {
        Outcome::Accept(verified) => verified,
        other => panic!("{}: {other:?}", case.name),
    }
}

/// Runs the program once; answers nanoseconds.
pub(crate) fn run(program: &Program, map: &Map) -> f64 {
    let timer = Timer::start();
    black_box(program.run(&mut [0; 256], &mut NoEnv)).expect("the benchmark runs");
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
