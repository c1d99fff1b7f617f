//! A program does the same on the user runtime as on the kernel: same `r0`, same context or packet, same maps.
//!
//! Both runtimes are asked by the same commands: maps are made and filled, the program is loaded, and each test run
//! (`BPF_PROG_TEST_RUN`) is followed by a look at everything. The user runtime interprets one half of the programs and
//! compiles the other. Where it differs from the kernel, it does all of it once more, with everything at other addresses;
//! where it differs from itself, the result depends on those, and nothing can be compared.
//! Programs that only one of the two accepts are counted, no more: `skep verify --against kernel` is about those.
//!
//! Needs what loading programs needs. Programs are random, so try them where nothing is lost: in a guest. Where that is
//! emulated, it can be asked for the kernel's answers alone, to be compared [later](answers) and elsewhere.

mod answers;

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity, set_name};
use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{CallTarget, Imm64, Op, Operand, Reg, Size, decode};
use skep_kernel::KernelRuntime;
use skep_runtime::command::{MapCreate, ProgLoad, TestRun};
use skep_runtime::{Error, Event, Fd, Map, Program, SharedRuntime};
use skep_user::{Config, UserRuntime};
use skep_verifier::MapInfo;
use skep_vm::Engine;

pub use self::answers::{KernelAnswers, KernelQuestions, VmVsAnswers};
use super::made::{self, Verdict};
use crate::campaign::{Run, Target};
use crate::execute::fill;
use crate::generate::{self, Made};
use crate::rng::Rng;

/// Inputs that each accepted program runs on.
const RUNS: usize = 3;
/// Bytes of a context of programs that take any.
const CONTEXT_BYTES: usize = 512;
/// Room for a packet that has grown.
const PACKET_ROOM: usize = 4096;

/// The target.
pub struct VmVsKernel {
    kernel: SharedRuntime,
    /// Two that interpret, and two that compile.
    user: [[SharedRuntime; 2]; 2],
}

impl VmVsKernel {
    /// An error says why programs cannot be loaded.
    pub fn new() -> Result<Self, String> {
        Ok(Self { kernel: kernel()?, user: user()? })
    }
}

/// The kernel, if it makes maps for us.
fn kernel() -> Result<SharedRuntime, String> {
    let kernel: SharedRuntime = Arc::new(KernelRuntime::new());
    let map = MapCreate::new(MapType::ARRAY, "probe", 4, 8, 1);
    Map::create(&kernel, &map, 1).map_err(|e| format!("the kernel makes no maps: {e}"))?;
    Ok(kernel)
}

/// User runtimes: two that interpret, and two that compile.
fn user() -> Result<[[SharedRuntime; 2]; 2], String> {
    let one = |engine| -> Result<SharedRuntime, String> {
        UserRuntime::new(Config { engine, ..Config::default() }).map_err(|e| e.to_string())
    };
    let two = |engine| Ok::<_, String>([one(engine)?, one(engine)?]);
    Ok([two(Engine::Interpreter)?, two(Engine::Jit)?])
}

impl Target for VmVsKernel {
    fn batch(&self, cases: Range<u64>, run: &Run<'_>) {
        stay_on(sched_getcpu());
        made::batch_of(cases, run, generate::steady_program, &mut |_, made, rng| self.differ(made, rng));
    }
}

/// Programs see the processor that they run on, and the name of who runs them.
fn stay_on(processor: usize) {
    let mut one = CpuSet::new();
    one.set(processor);
    sched_setaffinity(None, &one).expect("invariant: a thread may run on a processor that there is");
    set_name(c"tests").expect("invariant: a thread may have a name");
}

/// Runs something on another stack, which programs have theirs on.
fn elsewhere<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let ran = thread::scope(|scope| scope.spawn(run).join());
    ran.unwrap_or_else(|panic| resume_unwind(panic))
}

impl VmVsKernel {
    fn differ(&self, made: &Made, rng: &mut Rng) -> Verdict {
        // Made smaller, it may have lost that.
        if !clears_frames(made) {
            return Verdict::Other("reads what nobody has written");
        }
        let [one, other] = &self.user[rng.below(2)];
        let Ok(user) = Ready::new(one, made) else { return Verdict::Other("rejected") };
        let Ok(kernel) = Ready::new(&self.kernel, made) else {
            return Verdict::Other("only the kernel rejects it");
        };
        let start = rng.clone();
        for run in 1..=RUNS {
            let input = Input::new(made.prog_type, rng);
            let (ours, theirs) = (user.run(&input, rng), kernel.run(&input, rng));
            if ours != theirs {
                return match elsewhere(|| last_of(run, other, made, start)) {
                    Ok(again) if again == ours => Verdict::Wrong(ours.difference(&theirs)),
                    _ => Verdict::Other("depends on addresses"),
                };
            }
            rng.next();
        }
        Verdict::Other("the same")
    }
}

/// What the last of so many runs leaves on another runtime, which maps things elsewhere.
fn last_of(runs: usize, runtime: &SharedRuntime, made: &Made, mut rng: Rng) -> Result<Left, Error> {
    let ready = Ready::new(runtime, made)?;
    let mut run = || {
        let left = ready.run(&Input::new(made.prog_type, &mut rng), &rng);
        rng.next();
        left
    };
    (1..runs).for_each(|_| drop(run()));
    Ok(run())
}

/// What a test run is given.
struct Input {
    data: Vec<u8>,
    context: Vec<u8>,
}

impl Input {
    fn new(prog_type: ProgType, rng: &mut Rng) -> Self {
        let (data, context) = match prog_type {
            ProgType::SYSCALL => (0, CONTEXT_BYTES),
            ProgType::RAW_TRACEPOINT => (0, 12 * 8),
            _ => (14 + rng.below(82), 0),
        };
        let mut input = Self { data: vec![0; data], context: vec![0; context] };
        fill(&mut input.data, rng);
        fill(&mut input.context, rng);
        input
    }
}

/// What a test run leaves behind.
#[derive(Debug, PartialEq, Hash)]
struct Left {
    /// `r0` and the packet, or what the run ended with.
    outcome: Result<(u32, Vec<u8>), i32>,
    context: Vec<u8>,
    /// Elements by key, or records, of each map.
    maps: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Left {
    fn difference(&self, kernel: &Self) -> String {
        match (&self.outcome, &kernel.outcome) {
            (Ok((a, _)), Ok((b, _))) if a != b => format!("`r0` differs\nuser {a:#x}, kernel {b:#x}"),
            (Ok((_, a)), Ok((_, b))) if a != b => format!("the packet differs\nuser {a:x?}\nkernel {b:x?}"),
            (a, b) if a != b => format!("only one run fails\nuser {a:x?}\nkernel {b:x?}"),
            _ if self.context != kernel.context => "the context differs".to_owned(),
            _ => format!("maps differ\nuser {:x?}\nkernel {:x?}", self.maps, kernel.maps),
        }
    }
}

/// A program loaded into a runtime, with maps of its own.
struct Ready {
    program: Program,
    prog_type: ProgType,
    /// The maps it refers to, and what they are.
    maps: Vec<(Map, MapInfo)>,
}

impl Ready {
    fn new(runtime: &SharedRuntime, made: &Made) -> Result<Self, Error> {
        let cpus = skep_vm::possible_cpus() as usize;
        let (infos, referred) = (generate::steady_maps(), maps_of(made));
        let mut maps = Vec::new();
        let mut fds = Vec::new();
        for (number, info) in infos.into_iter().enumerate() {
            let spec = MapCreate::new(info.ty, "fuzz", info.key_size, info.value_size, info.max_entries);
            if referred.contains(&number) {
                maps.push((Map::create(runtime, &spec, cpus)?, info));
            }
            // Places of maps that are not referred to are not looked at.
            fds.push(maps.last().map_or(Fd(0), |(map, _)| map.fd()));
        }
        /// `BPF_F_SLEEPABLE`.
        const SLEEPABLE: u32 = 1 << 4;
        let load = ProgLoad {
            expected_attach_type: Some(made.attach_type),
            prog_flags: if made.prog_type == ProgType::SYSCALL { SLEEPABLE } else { 0 },
            fd_array: &fds,
            ..ProgLoad::new(made.prog_type, "fuzz", &made.insns, "GPL")
        };
        Ok(Self { program: Program::load(runtime, &load)?, prog_type: made.prog_type, maps })
    }

    /// Fills maps, runs, and looks; the random numbers are as before afterwards.
    fn run(&self, input: &Input, rng: &Rng) -> Left {
        self.fill_maps(&mut rng.clone());
        let mut data = vec![0; if input.data.is_empty() { 0 } else { PACKET_ROOM }];
        let mut context = vec![0; if self.prog_type == ProgType::SYSCALL { input.context.len() } else { 0 }];
        let ran = self.program.test_run(TestRun {
            data_in: &input.data,
            data_out: &mut data,
            ctx_in: &input.context,
            ctx_out: &mut context,
            ..TestRun::default()
        });
        let outcome = match ran {
            Ok(ran) => {
                data.truncate(ran.data_size_out as usize);
                Ok((ran.retval, data))
            }
            Err(e) => Err(e.errno()),
        };
        Left { outcome, context, maps: self.maps.iter().map(|(map, info)| contents(map, info)).collect() }
    }

    /// Puts something into a few elements.
    fn fill_maps(&self, rng: &mut Rng) {
        for (map, info) in self.maps.iter().filter(|(_, info)| info.ty != MapType::RINGBUF) {
            if rng.one_in(2) {
                let mut key = vec![0; info.key_size as usize];
                key[0] = rng.below(info.max_entries as usize) as u8;
                let mut value = vec![0; map.value_stride()];
                fill(&mut value, rng);
                // A full map takes nothing; that is one more thing that can happen.
                let _ = map.update(&key, &value, 0);
            }
        }
    }
}

/// Instructions with their slots.
fn ops(made: &Made) -> impl Iterator<Item = (usize, Op)> + '_ {
    let mut pc = 0;
    std::iter::from_fn(move || {
        let (at, op) = (pc, decode(&made.insns, pc).ok()?);
        pc += op.slots();
        Some((at, op))
    })
}

/// Is all of the frame written at the start of each function?
fn clears_frames(made: &Made) -> bool {
    let callee = |(pc, op): (usize, Op)| match op {
        Op::Call(CallTarget::Local(off)) | Op::LoadImm64 { imm: Imm64::Func(off), .. } => {
            (pc + 1_usize).checked_add_signed(off as isize)
        }
        _ => None,
    };
    // The program itself keeps its context first.
    let starts = ops(made).filter_map(callee).chain([1]);
    starts.into_iter().all(|start| {
        (0..64).all(|n| {
            let clear = Op::Store { size: Size::DW, base: Reg::R10, off: n * 8 - 512, src: Operand::Imm(0) };
            decode(&made.insns, start + n as usize).is_ok_and(|op| op == clear)
        })
    })
}

/// Numbers of the maps that a program refers to.
fn maps_of(made: &Made) -> BTreeSet<usize> {
    let number = |(_, op)| match op {
        Op::LoadImm64 { imm: Imm64::MapIdx(idx) | Imm64::MapIdxValue { idx, .. }, .. } => {
            usize::try_from(idx).ok()
        }
        _ => None,
    };
    ops(made).filter_map(number).collect()
}

/// What is in a map, in order of keys; records of ring buffers are taken out.
fn contents(map: &Map, info: &MapInfo) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    if info.ty == MapType::RINGBUF {
        let mut events = map.events().expect("invariant: a ring buffer can be read");
        let mut keep = |event: Event<'_>| {
            // The kernel keeps no count of what was lost.
            if let Event::Record { data, .. } = event {
                found.push((Vec::new(), data.to_vec()));
            }
            ControlFlow::Continue(())
        };
        events.drain(&mut keep).expect("invariant: a ring buffer can be read");
        return found;
    }
    let mut key = None;
    while let Ok(Some(next)) = map.next_key(key.as_deref()) {
        if let Ok(Some(value)) = map.lookup(&next) {
            found.push((next.clone(), value));
        }
        key = Some(next);
    }
    found.sort();
    found
}
