//! Sampled events in user space: programs run as a command uses processor time, and not while it sleeps.

use std::ffi::OsString;

use skep::object::AttachPoint;
use skep::runtime::command::{MapCreate, ProgLoad};
use skep::runtime::{AttachOptions, Map, Program, Sampling, SamplingRate, Scope, SessionState};
use skep_isa::asm::assemble;
use skep_isa::uapi::{MapType, ProgType};

/// Samples taken of a command, and the period that the program saw.
fn samples(rate: SamplingRate, script: &str) -> (u64, u64) {
    let runtime = skep_user::UserRuntime::new(skep_user::Config::default()).expect("a runtime");
    let map =
        Map::create(&runtime, &MapCreate::new(MapType::ARRAY, "out", 4, 16, 1), 1).expect("it is valid");
    let text = "r9 = map[idx:0]+0
                r2 = 1
                lock *(u64 *)(r9 + 0) += r2
                r2 = *(u64 *)(r1 + 168)
                *(u64 *)(r9 + 8) = r2
                r0 = 0
                exit";
    let insns = assemble(text).expect("the program assembles").insns;
    let fds = [map.fd()];
    let spec = ProgLoad { fd_array: &fds, ..ProgLoad::new(ProgType::PERF_EVENT, "sample", &insns, "GPL") };
    let program = Program::load(&runtime, &spec).expect("it loads");
    let sampling = Some(Sampling { rate, ..Sampling::PROFILE });
    let link = program.attach(&AttachPoint::PerfEvent { sampling }, &AttachOptions::default());
    let link = link.expect("there is such a hook");
    let command = ["sh", "-c", script].map(OsString::from).to_vec();
    let mut session = runtime.start(Scope::Command(command)).expect("it starts");
    let ended = session.wait(None).expect("it ends");
    assert_eq!(ended, SessionState::Ended { code: Some(0), signal: None });
    drop(link);
    let value = map.lookup(&[0; 4]).expect("it is an array").expect("it has one element");
    let word = |at: usize| u64::from_ne_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    (word(0), word(8))
}

#[test]
fn commands_are_sampled_while_they_run() {
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let (count, period) = samples(SamplingRate::Period(2_000_000), busy);
    assert!(count >= 10, "{count} samples of a shell that counts");
    assert_eq!(period, 2_000_000);
    let (count, period) = samples(SamplingRate::FrequencyHz(50), "sleep 0.5");
    assert!(count <= 2, "{count} samples of one that sleeps");
    assert!(period == 20_000_000 || count == 0);
}

#[test]
fn what_cannot_be_sampled_by_is_refused() {
    let runtime = skep_user::UserRuntime::new(skep_user::Config::default()).expect("a runtime");
    let insns = assemble("r0 = 0\nexit").expect("the program assembles").insns;
    let spec = ProgLoad::new(ProgType::PERF_EVENT, "sample", &insns, "GPL");
    let program = Program::load(&runtime, &spec).expect("it loads");
    let cache_misses = Sampling { kind: 0, config: 3, rate: SamplingRate::Period(1000) };
    let too_often = Sampling { rate: SamplingRate::FrequencyHz(1_000_000), ..Sampling::PROFILE };
    for (sampling, why) in [(cache_misses, "no counters"), (too_often, "100 microseconds")] {
        let point = AttachPoint::PerfEvent { sampling: Some(sampling) };
        let error = program.attach(&point, &AttachOptions::default()).expect_err(why);
        assert!(error.to_string().contains(why), "{error}");
    }
}
