//! The engines: each runs a computation on its own memory, and can say what it left there.
#![expect(
    unsafe_code,
    reason = "native code is loaded and called by name; other machines have unsafe interfaces"
)]

use std::ffi::CString;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use skep_isa::Insn;
use skep_isa::uapi::{MapType, ProgType};
use skep_obj::Linked;
use skep_verifier::{Input, MapInfo, Outcome, Target, Verified, prove};
use skep_vm::helper::HostFn;
use skep_vm::packet::Packet;
use skep_vm::{Compiled, Engine as Kind, Env, Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo, Resolve};

use crate::build::Built;
use crate::clock::Timer;
use crate::kernel::InKernel;
use crate::{INPUT, MEMORY};

pub(crate) const NATIVE: &str = "native";
pub(crate) const JIT: &str = "jit";
pub(crate) const INTERPRETER: &str = "interpreter";
/// All engines, in the order of the table.
pub(crate) const NAMES: &[&str] =
    &["vectorised", NATIVE, JIT, "jit, packet", INTERPRETER, "kernel, packet", "rbpf jit", "rbpf interp."];

/// Result, and memory afterwards.
type Left = (u64, Vec<u8>);

/// Something that runs a computation.
pub(crate) trait Engine {
    fn name(&self) -> &'static str;
    /// Runs it once on this memory.
    fn check(&mut self, memory: &[u8]) -> Result<Left, String>;
    /// Nanoseconds of one run, as the average of many.
    fn time(&mut self) -> Result<f64, String>;
}

/// Every engine that can run it.
pub(crate) fn all(built: &Built) -> Result<Vec<Box<dyn Engine>>, String> {
    let mut engines: Vec<Box<dyn Engine>> = vec![
        Box::new(Native::load("vectorised", &built.vectorised)?),
        Box::new(Native::load(NATIVE, &built.native)?),
        Box::new(Ours::global(JIT, built, Kind::Jit)?),
        Box::new(Ours::global(INTERPRETER, built, Kind::Interpreter)?),
    ];
    if let Some(packet) = &built.packet {
        engines.push(Box::new(Ours::packet("jit, packet", packet)?));
        engines.extend(InKernel::load(&packet.programs[0].insns).map(|it| Box::new(it) as Box<dyn Engine>));
    }
    for (name, jit) in [("rbpf jit", true), ("rbpf interp.", false)] {
        match Rbpf::new(name, &built.plain, jit) {
            Ok(engine) => engines.push(Box::new(engine)),
            Err(why) => eprintln!("{name}: {why}"),
        }
    }
    Ok(engines)
}

/// What compiling takes, the best of a few times.
pub(crate) fn compiled(built: &Built) -> Result<Compiled, String> {
    let all = (0..5).map(|_| Ours::global(JIT, built, Kind::Jit)?.compiled());
    let all = all.collect::<Result<Vec<Compiled>, String>>()?;
    all.into_iter().min_by_key(|compiled| compiled.time).ok_or_else(|| "nothing was compiled".to_owned())
}

/// Microseconds until a program has run for the first time since it was verified, the best of a few times: with the
/// interpreter alone, with compiled code that comes later, and with compiled code.
pub(crate) fn first_runs(built: &Built) -> Result<[f64; 3], String> {
    let mut least = [f64::INFINITY; 3];
    for _ in 0..9 {
        for (least, kind) in least.iter_mut().zip([Kind::Interpreter, Kind::Auto, Kind::Jit]) {
            *least = least.min(Ours::first_run(built, kind)?);
        }
    }
    Ok(least)
}

/// Instructions that one run executes.
pub(crate) fn executed(built: &Built, memory: &[u8]) -> Result<u64, String> {
    struct Count(u64);
    impl Env for Count {
        fn watches(&self) -> bool {
            true
        }
        fn step(&mut self, _: usize, _: &[u64; 11]) {
            self.0 += 1;
        }
    }
    let mut count = Count(0);
    let mut engine = Ours::global(INTERPRETER, built, Kind::Interpreter)?;
    engine.check(memory)?;
    engine.run_in(&mut count)?;
    Ok(count.0)
}

/// Nanoseconds of processor time: runs something so often that the clock does not matter, yet not so long that the
/// scheduler always comes in between.
pub(crate) fn average(mut once: impl FnMut()) -> f64 {
    const ENOUGH_NS: f64 = 500_000.0;
    let mut times = 1u32;
    loop {
        let timer = Timer::start();
        for _ in 0..times {
            once();
        }
        let took = timer.ns();
        if took >= ENOUGH_NS || times >= 1 << 28 {
            return took / f64::from(times);
        }
        times *= 2;
    }
}

/// A helper as cheap as can be; native code calls it too.
#[unsafe(no_mangle)]
extern "C" fn bench_helper(a: u64, b: u64, _: u64, _: u64, _: u64) -> u64 {
    (a ^ b).wrapping_mul(0x9e37_79b1)
}

/// The kernels say `bpf_get_prandom_u32`, whose place it takes.
const HELPER: u32 = 7;

type Entry = unsafe extern "C" fn(*mut u8) -> u64;

struct Native {
    name: &'static str,
    entry: Entry,
    memory: Vec<u8>,
}

impl Native {
    fn load(name: &'static str, file: &Path) -> Result<Self, String> {
        let path = CString::new(file.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: the library has just been built from our sources, and does nothing when it is loaded.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(format!("`{}` cannot be loaded", file.display()));
        }
        // SAFETY: the library is loaded.
        let entry = unsafe { libc::dlsym(library, c"entry".as_ptr()) };
        if entry.is_null() {
            return Err(format!("`{}` has no `entry`", file.display()));
        }
        // SAFETY: its source says that it has this signature. The library stays loaded.
        let entry = unsafe { std::mem::transmute::<*mut libc::c_void, Entry>(entry) };
        Ok(Self { name, entry, memory: vec![0; MEMORY] })
    }

    fn run(&mut self) -> u64 {
        // SAFETY: the computation stays in the memory that all of them have.
        unsafe { (self.entry)(black_box(self.memory.as_mut_ptr())) }
    }
}

impl Engine for Native {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&mut self, memory: &[u8]) -> Result<Left, String> {
        self.memory.copy_from_slice(memory);
        // Computations answer 32 bits.
        let result = self.run() & 0xffff_ffff;
        Ok((result, self.memory.clone()))
    }

    fn time(&mut self) -> Result<f64, String> {
        Ok(average(|| {
            black_box(self.run());
        }))
    }
}

/// Our own machine.
struct Ours {
    name: &'static str,
    program: Program,
    memory: Memory,
}

enum Memory {
    Global(Arc<Map>),
    Packet(Box<Packet>),
}

/// Finds the map of the global variable, and the trivial helper.
struct Refers(Option<Arc<Map>>);

impl Resolve for Refers {
    fn map(&self, _: MapRef) -> Option<Arc<Map>> {
        self.0.clone()
    }

    fn host(&self, helper: u32) -> Option<HostFn> {
        (helper == HELPER).then_some(bench_helper)
    }
}

impl Ours {
    fn first_run(built: &Built, kind: Kind) -> Result<f64, String> {
        let map = memory_map()?;
        let verified = verify(&built.global, ProgType::SYSCALL)?;
        let started = Instant::now();
        let program = prepare(&verified, Refers(Some(Arc::clone(&map))), kind)?;
        let mut engine = Self { name: JIT, program, memory: Memory::Global(map) };
        engine.run()?;
        Ok(started.elapsed().as_secs_f64() * 1e6)
    }

    fn global(name: &'static str, built: &Built, engine: Kind) -> Result<Self, String> {
        let map = memory_map()?;
        let verified = verify(&built.global, ProgType::SYSCALL)?;
        let program = prepare(&verified, Refers(Some(Arc::clone(&map))), engine)?;
        Ok(Self { name, program, memory: Memory::Global(map) })
    }

    fn packet(name: &'static str, linked: &Linked) -> Result<Self, String> {
        let verified = verify(linked, ProgType::XDP)?;
        let program = prepare(&verified, Refers(None), Kind::Jit)?;
        let packet = Packet::xdp(4096).map_err(|e| e.to_string())?;
        Ok(Self { name, program, memory: Memory::Packet(Box::new(packet)) })
    }

    fn compiled(&self) -> Result<Compiled, String> {
        let compiled = self.program.compiled().ok_or("it was not compiled")?;
        compiled.map_err(|declined| declined.to_string())
    }

    fn run(&mut self) -> Result<u64, String> {
        self.run_in(&mut NoEnv)
    }

    #[inline(always)]
    fn run_in(&mut self, env: &mut dyn Env) -> Result<u64, String> {
        match &mut self.memory {
            Memory::Global(_) => self.program.run(black_box(&mut []), env),
            Memory::Packet(packet) => self.program.run_packet(black_box(packet), env),
        }
        .map_err(|fault| fault.to_string())
    }
}

impl Engine for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&mut self, memory: &[u8]) -> Result<Left, String> {
        match &mut self.memory {
            Memory::Global(map) => map.update(&[0; 4], memory, 0).map_err(|e| e.to_string())?,
            Memory::Packet(packet) => packet.fill(memory, 0).map_err(|e| e.to_string())?,
        }
        let result = self.run()? & 0xffff_ffff;
        let mut left = Vec::new();
        match &self.memory {
            Memory::Global(map) => {
                left.resize(MEMORY, 0);
                map.lookup(&[0; 4], &mut left, 0).map_err(|e| e.to_string())?;
            }
            Memory::Packet(packet) => packet.append_data(&mut left),
        }
        Ok((result, left))
    }

    fn time(&mut self) -> Result<f64, String> {
        self.run()?;
        Ok(average(|| {
            let _ = black_box(self.run());
        }))
    }
}

/// A map of one value, which is the memory.
fn memory_map() -> Result<Arc<Map>, String> {
    let spec = MapSpec::new(MapType::ARRAY, "memory", 4, MEMORY as u32, 1);
    Map::create(spec).map_err(|e| e.to_string())
}

fn verify(linked: &Linked, prog_type: ProgType) -> Result<Verified, String> {
    let memory = || MapInfo::new("memory", MapType::ARRAY, 4, MEMORY as u32, 1);
    let maps: Vec<MapInfo> = linked.maps.first().map(|_| memory()).into_iter().collect();
    let (insns, target) = (&linked.programs[0].insns, Target::default());
    let sleepable = prog_type == ProgType::SYSCALL;
    let input = Input { sleepable, ..Input::new("entry", prog_type, insns, &maps, &target) };
    match prove(&input).outcome {
        Outcome::Accept(verified) => Ok(verified),
        Outcome::Reject(why) => Err(why.to_string()),
        Outcome::Unsupported(why) => Err(why.to_string()),
    }
}

fn prepare(verified: &Verified, refers: Refers, engine: Kind) -> Result<Program, String> {
    let info = ProgramInfo { engine, ..ProgramInfo::new("entry", verified.prog_type()) };
    let program = Program::prepare_verified(verified, &refers, info).map_err(|e| e.to_string())?;
    match program.compiled() {
        Some(Err(declined)) => Err(declined.to_string()),
        _ => Ok(program),
    }
}

/// The machine of the `rbpf` crate.
struct Rbpf {
    name: &'static str,
    machine: rbpf::EbpfVmRaw<'static>,
    jit: bool,
    memory: Vec<u8>,
}

impl Rbpf {
    fn new(name: &'static str, linked: &Linked, jit: bool) -> Result<Self, String> {
        let code: Vec<u8> =
            linked.programs[0].insns.iter().flat_map(|insn: &Insn| insn.to_le_bytes()).collect();
        // Its interface wants the program for as long as the machine lives.
        let code: &'static [u8] = Vec::leak(code);
        let mut machine = rbpf::EbpfVmRaw::new(Some(code)).map_err(|e| e.to_string())?;
        let helper = |a, b, c, d, e| bench_helper(a, b, c, d, e);
        machine.register_helper(HELPER, helper).map_err(|e| e.to_string())?;
        if jit {
            machine.jit_compile().map_err(|e| e.to_string())?;
        }
        Ok(Self { name, machine, jit, memory: vec![0; MEMORY] })
    }

    fn run(&mut self) -> Result<u64, String> {
        // SAFETY: the memory outlives the machine's use of it, which ends with the run.
        let memory = unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr(), MEMORY) };
        let result = if self.jit {
            // SAFETY: the computation stays in the memory that all of them have.
            unsafe { self.machine.execute_program_jit(memory) }
        } else {
            self.machine.execute_program(memory)
        };
        result.map_err(|e| e.to_string())
    }
}

impl Engine for Rbpf {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&mut self, memory: &[u8]) -> Result<Left, String> {
        self.memory.copy_from_slice(memory);
        let result = self.run()? & 0xffff_ffff;
        debug_assert_eq!(self.memory[..INPUT], memory[..INPUT], "computations only read their input");
        Ok((result, self.memory.clone()))
    }

    fn time(&mut self) -> Result<f64, String> {
        self.run()?;
        Ok(average(|| {
            let _ = black_box(self.run());
        }))
    }
}
