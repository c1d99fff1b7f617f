//! `cargo bench -p skep-vm`: what instructions, calls, helpers and maps cost, in nanoseconds.
//!
//! Each program does one thing in a loop; the time of the empty loop is taken off. Candidates run in turns and the least
//! time counts, because other work on the machine only adds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use skep_isa::asm::assemble;
use skep_isa::uapi::{MapType, ProgType};
use skep_vm::{Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo};

const ITERATIONS: u32 = 20_000;
const ROUNDS: usize = 40;

/// One thing to measure: its name, how often the body does it, the body, and functions behind the exit.
type Case = (&'static str, u32, &'static str, &'static str);

const LOOKUP: &str = "r1 = map[idx:N]; r2 = r10; r2 += -8; call 1";

const CASES: &[Case] = &[
    ("64-bit arithmetic", 6, "r3 += r7; r3 ^= 5; r4 = r3; r4 <<= 3; r3 -= r4; r4 |= r3", ""),
    ("32-bit arithmetic", 6, "w3 += w7; w3 ^= 5; w4 = w3; w4 <<= 3; w3 -= w4; w4 |= w3", ""),
    ("division by register", 1, "r3 /= r7", ""),
    ("jump taken", 2, "goto a\na: goto b\nb:", ""),
    ("load, context", 2, "r3 = *(u64 *)(r6 + 0); r4 = *(u32 *)(r6 + 8)", ""),
    ("store, stack", 2, "*(u64 *)(r10 - 8) = r7; *(u32 *)(r10 - 16) = 1", ""),
    ("atomic add", 1, "lock *(u64 *)(r10 - 8) += r7", ""),
    ("function call", 1, "call f", "f: r0 = 0; exit"),
    ("bpf_ktime_get_ns", 1, "call 5", ""),
    ("bpf_get_current_pid_tgid", 1, "call 14", ""),
    ("array look-up", 1, LOOKUP, "0"),
    ("hash look-up", 1, LOOKUP, "1"),
    ("per-CPU array look-up", 1, LOOKUP, "2"),
    ("LRU hash look-up", 1, LOOKUP, "3"),
    ("hash update", 1, "r1 = map[idx:1]; r2 = r10; r2 += -8; r3 = r10; r3 += -16; r4 = 0; call 2", ""),
    ("ring buffer output", 1, "r1 = map[idx:4]; r2 = r10; r2 += -8; r3 = 8; r4 = 1; call 130", ""),
    (
        "ring buffer reserve+submit",
        1,
        "r1 = map[idx:4]; r2 = 8; r3 = 0; call 131; r1 = r0; r2 = 1; call 132",
        "",
    ),
];

fn main() {
    let maps = maps();
    let empty = program("", "", &maps);
    let programs: Vec<Program> = CASES.iter().map(|(_, _, body, rest)| program(body, rest, &maps)).collect();
    let mut least = vec![f64::INFINITY; CASES.len() + 1];
    for _ in 0..ROUNDS {
        for (least, program) in least.iter_mut().zip(std::iter::once(&empty).chain(&programs)) {
            // A reader keeps the ring buffer from being full.
            maps[4].ring().expect("it is one").drain(&mut |_| std::ops::ControlFlow::Continue(()));
            *least = least.min(time(program));
        }
    }
    println!("{:<28}{:>10}", "", "ns each");
    println!("{:<28}{:>10.2}", "empty loop", least[0]);
    for ((name, times, ..), total) in CASES.iter().zip(&least[1..]) {
        println!("{name:<28}{:>10.2}", (total - least[0]) / f64::from(*times));
    }
    println!("{:<28}{:>10.2}", "program entry", entry(&maps));
}

fn maps() -> Vec<Arc<Map>> {
    let make = |map_type, key, value, entries| {
        Map::create(MapSpec::new(map_type, "m", key, value, entries)).expect("the benchmark's map is valid")
    };
    let maps = vec![
        make(MapType::ARRAY, 4, 8, 1024),
        make(MapType::HASH, 8, 8, 10_000),
        make(MapType::PERCPU_ARRAY, 4, 8, 1024),
        make(MapType::LRU_HASH, 8, 8, 10_000),
        make(MapType::RINGBUF, 0, 0, 1 << 20),
    ];
    for n in 0..9_000u64 {
        for map in [&maps[1], &maps[3]] {
            map.update(&n.to_ne_bytes(), &n.to_ne_bytes(), 0).expect("there is room");
        }
    }
    maps
}

/// A loop around a body; a `rest` that is a number is the map that the body means by `N`.
fn program(body: &str, rest: &str, maps: &[Arc<Map>]) -> Program {
    let is_map = rest.parse::<u32>().is_ok();
    let body = if is_map { body.replace('N', rest) } else { body.to_owned() };
    let rest = if is_map { "" } else { rest };
    let text = format!(
        "r6 = r1; r7 = 3; r8 = {ITERATIONS}\n*(u64 *)(r10 - 8) = 7; *(u64 *)(r10 - 16) = 7\n\
         loop: {body}\nr8 += -1\nif r8 != 0 goto loop\nr0 = 0; exit\n{rest}"
    );
    let insns = assemble(&text.replace("; ", "\n")).unwrap_or_else(|e| panic!("{e}: {text}")).insns;
    let find = |reference| match reference {
        MapRef::Index(n) | MapRef::Fd(n) => maps.get(n as usize).cloned(),
    };
    let info = ProgramInfo::new("bench", ProgType::RAW_TRACEPOINT);
    Program::prepare(&insns, &find, info).expect("the benchmark prepares")
}

/// Nanoseconds of one iteration.
fn time(program: &Program) -> f64 {
    let start = Instant::now();
    black_box(program.run(&mut [0; 64], &mut NoEnv)).expect("the benchmark runs");
    start.elapsed().as_nanos() as f64 / f64::from(ITERATIONS)
}

/// Nanoseconds of a run that does nothing.
fn entry(maps: &[Arc<Map>]) -> f64 {
    let insns = assemble("r0 = 0\nexit").expect("it assembles").insns;
    let find = |_: MapRef| maps.first().cloned();
    let info = ProgramInfo::new("bench", ProgType::RAW_TRACEPOINT);
    let program = Program::prepare(&insns, &find, info).expect("the benchmark prepares");
    let run = || {
        let start = Instant::now();
        for _ in 0..ITERATIONS {
            black_box(program.run(&mut [0; 64], &mut NoEnv)).expect("the benchmark runs");
        }
        start.elapsed().as_nanos() as f64 / f64::from(ITERATIONS)
    };
    (0..ROUNDS).map(|_| run()).fold(f64::INFINITY, f64::min)
}
