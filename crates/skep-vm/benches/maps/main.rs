//! `cargo bench -p skep-vm --bench maps`: operations on maps, ours beside Linux's.
//!
//! A program does one operation in a loop on random keys: under Linux's JIT (by `BPF_PROG_TEST_RUN`, as root), compiled by
//! ours, and in our interpreter. They run in turns, and what the same loop takes without the operation is taken off each
//! time. Times are of the processor, because other work may go on. `cargo xtask bench maps` makes the table; here the
//! output is a line for each round: case, candidate, nanoseconds of one operation.
#![expect(unsafe_code, reason = "positions in the kernel's ring buffer are memory that it shares")]

#[path = "../../tests/it/bpf.rs"]
mod bpf;
mod cases;
mod clock;
mod kernel;
mod ours;

use std::sync::{Arc, Barrier};
use std::thread;

use skep_isa::uapi::Cmd;
use skep_vm::{Engine, Map, Program};

use bpf::Attr;
use cases::{Case, Operation};
use kernel::{KernelMap, KernelProgram};

/// Operations in one run.
const ITERATIONS: u32 = 20_000;

fn main() {
    let mut rounds = 15;
    let mut wanted = String::new();
    // Cargo adds `--bench`.
    for arg in std::env::args().skip(1).filter(|arg| arg != "--bench") {
        match arg.parse() {
            Ok(number) => rounds = number,
            Err(_) => wanted = arg,
        }
    }
    let kernel = may_use_kernel();
    if !kernel {
        eprintln!("the kernel's maps are left out: that needs root");
    }
    let all = cases::all();
    for case in all.iter().filter(|case| case.name.contains(&*wanted)) {
        Subject::new(case, kernel).measure(rounds);
    }
    for case in
        all.iter().filter(|case| case.name.starts_with("hash look-up") && case.name.contains(&*wanted))
    {
        Subject::new(case, kernel).measure_threads(rounds);
    }
}

fn may_use_kernel() -> bool {
    let attr = Attr::new().u32(0, 2).u32(4, 4).u32(8, 4).u32(12, 1);
    attr.open(Cmd::MAP_CREATE).is_ok()
}

/// The maps and programs of one case.
struct Subject<'c> {
    case: &'c Case,
    empty: Case,
    map: Arc<Map>,
    compiled: [Program; 2],
    interpreted: [Program; 2],
    kernel: Option<(KernelMap, [KernelProgram; 2])>,
}

impl<'c> Subject<'c> {
    fn new(case: &'c Case, kernel: bool) -> Self {
        let empty = case.empty();
        let map = ours::map(case);
        let programs = |engine| [&empty, case].map(|case| ours::program(case, &map, ITERATIONS, engine));
        let (compiled, interpreted) = (programs(Engine::Jit), programs(Engine::Interpreter));
        let kernel = kernel.then(|| {
            let map = KernelMap::create(&case.spec).expect("the kernel makes the benchmark's map");
            let programs = [&empty, case].map(|case| {
                KernelProgram::load(case, &map, ITERATIONS).expect("the kernel loads the benchmark's program")
            });
            (map, programs)
        });
        let subject = Self { case, empty, map, compiled, interpreted, kernel };
        subject.fill();
        subject
    }

    fn fill(&self) {
        let value = vec![1; self.map.spec().value_stride()];
        for number in 0..self.case.filled {
            let key = self.case.key_bytes(number, number.into());
            let key = if self.case.operation == Operation::Lookup && self.case.key == cases::Key::Address {
                Case { key: cases::Key::Prefix, ..self.case.clone() }.key_bytes(number, 0)
            } else {
                key
            };
            let key = &key[..self.case.key_size()];
            self.map.update(key, &value, 0).expect("the benchmark's map has room");
            if let Some((map, _)) = &self.kernel {
                map.update(key, &value).expect("the kernel's map has room");
            }
        }
    }

    /// Runs every candidate once a round.
    fn measure(&self, rounds: usize) {
        for _ in 0..rounds {
            let each = |with: f64, without: f64| (with - without) / f64::from(ITERATIONS);
            if let Some((map, programs)) = &self.kernel {
                let [without, with] = [(&self.empty, &programs[0]), (self.case, &programs[1])]
                    .map(|(case, program)| program.run(case, map).expect("the kernel runs the program"));
                self.tell("kernel", each(with, without));
            }
            for (candidate, programs) in [("jit", &self.compiled), ("interpreter", &self.interpreted)] {
                let [without, with] = [0, 1].map(|n| ours::run(&programs[n], &self.map));
                self.tell(candidate, each(with, without));
            }
        }
    }

    fn tell(&self, candidate: &str, ns: f64) {
        println!("{}\t{candidate}\t{ns:.2}", self.case.name);
    }

    /// How much more two threads do than one: the operations of both in the time of both.
    fn measure_threads(&self, rounds: usize) {
        let ours = || (0..10).map(|_| ours::run(&self.compiled[1], &self.map)).sum::<f64>();
        for _ in 0..rounds {
            let alone = ours();
            self.tell("two threads, jit", 2.0 * alone / both(&ours));
            if let Some((map, programs)) = &self.kernel {
                let run = || (0..10).map(|_| programs[1].run(self.case, map).expect("it runs")).sum::<f64>();
                let alone = run();
                self.tell("two threads, kernel", 2.0 * alone / both(&run));
            }
        }
    }
}

/// Runs it in two threads at a time; answers the longer of their times.
fn both(run: &(dyn Fn() -> f64 + Sync)) -> f64 {
    let barrier = Barrier::new(2);
    let timed = || {
        barrier.wait();
        run()
    };
    thread::scope(|scope| {
        let other = scope.spawn(timed);
        let own = timed();
        own.max(other.join().expect("the benchmark does not panic"))
    })
}
