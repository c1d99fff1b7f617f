//! `cargo bench -p skep-vm --bench vm`: what instructions, calls, helpers and maps cost, in nanoseconds, in the interpreter
//! and compiled.
//!
//! Each program does one thing in a loop; the time of the empty loop is taken off. Candidates run in turns and the least
//! time counts, because other work on the machine only adds. Instructions alone are only interpreted: compiled, those
//! whose result nobody wants are gone, and `cargo xtask bench vm` compares those that remain with native code.

use std::hint::black_box;
use std::sync::Arc;

use skep_isa::asm::assemble;
use skep_isa::helper::id;
use skep_isa::uapi::{MapType, ProgType};
use skep_verifier::{Input, MapInfo, Outcome, Target, Verified, prove};
use skep_vm::helper::HostFn;
use skep_vm::{Engine, Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo, Resolve};

#[path = "maps/clock.rs"]
mod clock;

use clock::Timer;

const ITERATIONS: u32 = 20_000;
const ROUNDS: usize = 40;

/// One thing to measure: its name, how often the body does it, the body, and functions behind the exit.
type Case = (&'static str, u32, &'static str, &'static str);

/// Cases from this one on are also compiled.
const FIRST_COMPILED: &str = "function call";

const ENGINES: [Engine; 2] = [Engine::Interpreter, Engine::Jit];

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
    ("helper of the embedder", 4, "call 42; call 42; call 42; call 42", ""),
    ("bpf_ktime_get_ns", 1, "call 5", ""),
    ("bpf_get_current_pid_tgid", 1, "call 14", ""),
    ("bpf_get_prandom_u32", 1, "call 7", ""),
    ("array look-up", 1, LOOKUP, "0"),
    ("hash look-up", 1, LOOKUP, "1"),
    ("per-CPU array look-up", 1, LOOKUP, "2"),
    ("LRU hash look-up", 1, LOOKUP, "3"),
    ("hash update", 1, "r1 = map[idx:1]; r2 = r10; r2 += -8; r3 = r10; r3 += -16; r4 = 0; call 2", ""),
    ("ring buffer output", 1, "r1 = map[idx:4]; r2 = r10; r2 += -8; r3 = 8; r4 = 1; call 130", ""),
    (
        "ring buffer reserve+submit",
        1,
        "r1 = map[idx:4]; r2 = 8; r3 = 0; call 131; if r0 == 0 goto full; r1 = r0; r2 = 1; call 132; full:",
        "",
    ),
];

fn main() {
    let maps = maps();
    let both = |body: &str, rest: &str| ENGINES.map(|engine| program(body, rest, &maps, engine));
    let programs: Vec<[Program; 2]> = std::iter::once(both("", ""))
        .chain(CASES.iter().map(|(_, _, body, rest)| both(body, rest)))
        .collect();
    let mut least = vec![[f64::INFINITY; 2]; programs.len()];
    for _ in 0..ROUNDS {
        for (least, programs) in least.iter_mut().zip(&programs) {
            for (least, program) in least.iter_mut().zip(programs) {
                // A reader keeps the ring buffer from being full.
                maps[4].ring().expect("it is one").drain(&mut |_| std::ops::ControlFlow::Continue(()));
                *least = least.min(time(program));
            }
        }
    }
    let [interpreted, compiled] = least[0];
    println!("{:<28}{:>12}{:>10}", "ns each", "INTERPRETER", "JIT");
    println!("{:<28}{interpreted:>12.2}{compiled:>10.2}", "empty loop");
    let mut is_compiled = false;
    for ((name, times, ..), least) in CASES.iter().zip(&least[1..]) {
        is_compiled |= *name == FIRST_COMPILED;
        let each = |n: usize| (least[n] - [interpreted, compiled][n]) / f64::from(*times);
        let jit = if is_compiled { format!("{:.2}", each(1)) } else { "-".to_owned() };
        println!("{name:<28}{:>12.2}{jit:>10}", each(0));
    }
    for (name, body) in [("program entry", ""), ("the same, with a helper", "call 14\n")] {
        let [interpreted, compiled] = ENGINES.map(|engine| entry(body, engine));
        println!("{name:<28}{interpreted:>12.2}{compiled:>10.2}");
    }
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

/// A loop around a body; a `rest` that is a number is the map that the body means by `N`. How often it goes round is in the
/// context, because a verifier that knew would go round as often.
fn program(body: &str, rest: &str, maps: &[Arc<Map>], engine: Engine) -> Program {
    let is_map = rest.parse::<u32>().is_ok();
    let body = if is_map { body.replace('N', rest) } else { body.to_owned() };
    let rest = if is_map { "" } else { rest };
    let text = format!(
        "r6 = r1; r7 = 3; r8 = *(u64 *)(r1 + 16)\n*(u64 *)(r10 - 8) = 7; *(u64 *)(r10 - 16) = 7; r3 = 0\n\
         loop: {body}\nr8 += -1\nif r8 == 0 goto done\nmay_goto done\ngoto loop\ndone: r0 = 0; exit\n{rest}"
    );
    prepare(&text.replace("; ", "\n"), maps, engine)
}

/// The maps by number, and a helper of the benchmark's own in the place of one that is not asked for otherwise.
struct Refers<'m>(&'m [Arc<Map>]);

impl Resolve for Refers<'_> {
    fn map(&self, reference: MapRef) -> Option<Arc<Map>> {
        let (MapRef::Index(number) | MapRef::Fd(number)) = reference;
        self.0.get(number as usize).cloned()
    }

    fn host(&self, helper: u32) -> Option<HostFn> {
        (helper == id::bpf_get_numa_node_id).then_some(own)
    }
}

/// As cheap as can be.
extern "C" fn own(a: u64, b: u64, _: u64, _: u64, _: u64) -> u64 {
    a ^ b
}

fn prepare(text: &str, maps: &[Arc<Map>], engine: Engine) -> Program {
    let info = ProgramInfo { engine, ..ProgramInfo::new("bench", ProgType::RAW_TRACEPOINT) };
    let program =
        Program::prepare_verified(&verify(text, maps), &Refers(maps), info).expect("the benchmark prepares");
    if let Some(Err(declined)) = program.compiled() {
        panic!("{declined}: {text}");
    }
    program
}

fn verify(text: &str, maps: &[Arc<Map>]) -> Verified {
    let insns = assemble(text).unwrap_or_else(|e| panic!("{e}: {text}")).insns;
    let info = |map: &Arc<Map>| {
        let spec = map.spec();
        MapInfo::new(&spec.name, spec.map_type, spec.key_size, spec.value_size, spec.max_entries)
    };
    let (maps, target): (Vec<MapInfo>, _) = (maps.iter().map(info).collect(), Target::default());
    match prove(&Input::new("bench", ProgType::RAW_TRACEPOINT, &insns, &maps, &target)).outcome {
        Outcome::Accept(verified) => verified,
        other => panic!("{other:?}: {text}"),
    }
}

/// Nanoseconds of one iteration.
fn time(program: &Program) -> f64 {
    let mut context = [0; 64];
    context[16..24].copy_from_slice(&u64::from(ITERATIONS).to_ne_bytes());
    let timer = Timer::start();
    black_box(program.run(&mut context, &mut NoEnv)).expect("the benchmark runs");
    timer.ns() / f64::from(ITERATIONS)
}

/// Nanoseconds of a run that does next to nothing.
fn entry(body: &str, engine: Engine) -> f64 {
    let program = prepare(&format!("{body}r0 = 0\nexit"), &[], engine);
    let mut context = [0; 64];
    let mut run = || {
        let timer = Timer::start();
        for _ in 0..ITERATIONS {
            black_box(program.run(&mut context, &mut NoEnv).expect("the benchmark runs"));
        }
        timer.ns() / f64::from(ITERATIONS)
    };
    (0..ROUNDS).map(|_| run()).fold(f64::INFINITY, f64::min)
}
