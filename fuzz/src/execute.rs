//! Runs accepted programs in the checked interpreter, in a world that means them no good.
//!
//! Contexts, packets, values of maps and answers of helpers are numbers of the kinds that go wrong. What lies outside of a
//! program's memory is not there, so that every wild access ends the run with a fault.

use std::ops::ControlFlow;
use std::sync::Arc;

use skep_isa::assemble;
use skep_isa::uapi::ProgType;
use skep_verifier::{Input, MapInfo, Target, Verified};
use skep_vm::packet::Packet;
use skep_vm::{Engine, Env, Fault, Map, MapRef, MapSpec, NoEnv, PrepareError, Program, ProgramInfo, Reason};

use crate::generate::Made;
use crate::rng::Rng;

/// Instructions of one run, counted where control goes back; a program may verify and still run long.
const BUDGET: u64 = 200_000;
/// Bytes of a context that is plain memory: as much as programs of any type may read.
const CONTEXT_BYTES: usize = 1 << 16;

/// What programs need beside their code, made once for many.
pub struct Ground {
    infos: Vec<MapInfo>,
    maps: Vec<Arc<Map>>,
    target: Target,
    xdp: Packet,
    buffer: Packet,
    filtered: Packet,
    context: Vec<u8>,
    /// Writes zeros to the ring buffer.
    eraser: Program,
}

impl Ground {
    /// Maps as described, and packets.
    pub fn new(infos: Vec<MapInfo>) -> Self {
        let make = |info: &MapInfo| {
            let spec = MapSpec::new(info.ty, &info.name, info.key_size, info.value_size, info.max_entries)
                .flags(info.flags);
            Map::create(spec).expect("invariant: the maps of made programs are valid")
        };
        let packet = |prog_type| {
            let packet = Packet::of_program(prog_type, 4096).expect("invariant: it runs on packets");
            packet.expect("invariant: there is memory for a packet")
        };
        let maps: Vec<Arc<Map>> = infos.iter().map(make).collect();
        Self {
            eraser: eraser(&maps),
            maps,
            infos,
            target: Target { cpus: skep_vm::possible_cpus(), ..Target::default() },
            xdp: packet(ProgType::XDP),
            buffer: packet(ProgType::SCHED_CLS),
            filtered: packet(ProgType::SOCKET_FILTER),
            context: vec![0; CONTEXT_BYTES],
        }
    }

    /// A made program as the verifier takes it.
    pub fn input<'a>(&'a self, made: &'a Made) -> Input<'a> {
        let input = Input::new("made", made.prog_type, &made.insns, &self.infos, &self.target);
        Input { attach_type: made.attach_type, ..input }
    }

    /// Makes a verified program ready to run.
    pub fn prepare(&self, verified: &Verified, engine: Engine) -> Result<Program, PrepareError> {
        let resolve = |reference| match reference {
            MapRef::Index(number) => self.maps.get(usize::try_from(number).ok()?).cloned(),
            MapRef::Fd(_) => None,
        };
        let info = ProgramInfo { budget: BUDGET, engine, ..ProgramInfo::new("made", verified.prog_type()) };
        Program::prepare_verified(verified, &resolve, info)
    }

    /// Runs a program once; what happens is decided by the random numbers alone.
    pub fn run(&mut self, program: &Program, rng: &mut Rng, see: Option<Step<'_>>) -> Result<(), Box<Fault>> {
        match self.run_once(program, rng, see) {
            Ok(_) => Ok(()),
            // Long is not wrong.
            Err(fault) if matches!(fault.reason, Reason::Budget | Reason::Unsupported(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn run_once(
        &mut self,
        program: &Program,
        rng: &mut Rng,
        see: Option<Step<'_>>,
    ) -> Result<u64, Box<Fault>> {
        self.fill_maps(rng);
        let mut world = World::new(rng.clone(), see);
        match self.packet_of(program) {
            Some(packet) => run_packet(program, packet, rng, &mut world),
            None => {
                fill(&mut self.context, rng);
                program.run(&mut self.context, &mut world)
            }
        }
    }

    /// The packet that programs of this type run on.
    fn packet_of(&mut self, program: &Program) -> Option<&mut Packet> {
        match program.info().prog_type {
            ProgType::XDP => Some(&mut self.xdp),
            ProgType::SCHED_CLS => Some(&mut self.buffer),
            ProgType::SOCKET_FILTER => Some(&mut self.filtered),
            _ => None,
        }
    }

    /// Runs a program once and looks at what is left.
    pub fn run_and_look(&mut self, program: &Program, rng: &mut Rng) -> Left {
        let result = self.run_once(program, rng, None);
        let mut bytes = Vec::new();
        match self.packet_of(program) {
            Some(packet) => {
                bytes.resize(packet.context_bytes(), 0);
                packet.context(0, &mut bytes);
                packet.append_all(&mut bytes);
            }
            None => bytes.extend_from_slice(&self.context),
        }
        Left { result, bytes, maps: self.maps.iter().map(|map| contents(map)).collect() }
    }

    /// Takes everything out of the maps, and makes the context zero.
    pub fn clear(&mut self) {
        self.context.fill(0);
        for map in &self.maps {
            if map.ring().is_some() {
                self.erase(map);
            }
            let zero = vec![0; map.spec().value_stride()];
            for (key, _) in elements(map) {
                // What cannot be removed is overwritten.
                if map.delete(&key).is_err() {
                    map.update(&key, &zero, 0).expect("invariant: elements of arrays can be written");
                }
            }
        }
    }

    fn erase(&self, ring: &Map) {
        contents(ring);
        for _ in 0..ERASURES {
            self.eraser.run(&mut [], &mut NoEnv).expect("invariant: the eraser has one job");
            contents(ring);
        }
    }

    /// Puts something into a few elements.
    fn fill_maps(&self, rng: &mut Rng) {
        for map in self.maps.iter().filter(|map| map.ring().is_none()) {
            if rng.one_in(2) {
                let spec = map.spec();
                let mut key = vec![0; spec.key_size as usize];
                key[0] = rng.below(spec.max_entries as usize) as u8;
                let mut value = vec![0; spec.value_stride()];
                fill(&mut value, rng);
                // A full map takes nothing; that is one more thing that can happen.
                let _ = map.update(&key, &value, 0);
            }
        }
    }
}

fn run_packet(
    program: &Program,
    packet: &mut Packet,
    rng: &mut Rng,
    world: &mut World<'_>,
) -> Result<u64, Box<Fault>> {
    let mut bytes = [0; 96];
    fill(&mut bytes, rng);
    let size = if rng.one_in(4) { 14 } else { 14 + rng.below(bytes.len() - 13) };
    packet.fill(&bytes[..size], 0).expect("invariant: the packet has room");
    let len = packet.context_bytes();
    for off in [12, 16, 32, 44].into_iter().filter(|off| off + 4 <= len) {
        packet.set_field(off, rng.number() as u32);
    }
    program.run_packet(packet, world)
}

/// Bytes of a record that the eraser writes with its header, and how many of them fill the ring buffer.
const ERASURE_BYTES: u32 = 512;
const ERASURES: u32 = 8;

/// A program that writes a record of zeros, as its stack is. A record that is not written shows what was there before,
/// which is the same after a round of these, wherever the next record begins.
fn eraser(maps: &[Arc<Map>]) -> Program {
    let (index, ring) = maps
        .iter()
        .enumerate()
        .find(|(_, map)| map.ring().is_some())
        .expect("invariant: one map is a ring buffer");
    assert_eq!(ring.spec().max_entries, ERASURE_BYTES * ERASURES, "invariant: erasures fill the ring buffer");
    let bytes = ERASURE_BYTES - 8;
    let text = format!(
        "r1 = map[idx:{index}]\nr2 = r10\nr2 += -{bytes}\nr3 = {bytes}\nr4 = 0\ncall 130\nr0 = 0\nexit"
    );
    let insns = assemble(&text).expect("invariant: the eraser assembles").insns;
    let find = |reference| (reference == MapRef::Index(index as i32)).then(|| Arc::clone(ring));
    let info = ProgramInfo::new("eraser", ProgType::RAW_TRACEPOINT);
    Program::prepare(&insns, &find, info).expect("invariant: the eraser can be prepared")
}

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
pub struct Left {
    /// How it ended.
    pub result: Result<u64, Box<Fault>>,
    /// Context, and packet.
    pub bytes: Vec<u8>,
    /// What is in each map: keys and values, or records.
    maps: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
}

/// What is in a map, in order of keys; records of ring buffers are taken out.
fn contents(map: &Map) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    if let Some(ring) = map.ring() {
        ring.drain(&mut |record| {
            found.push((Vec::new(), record.to_vec()));
            ControlFlow::Continue(())
        });
        return found;
    }
    found = elements(map);
    found.sort();
    found
}

/// Keys and values of a map that has such.
fn elements(map: &Map) -> Vec<(Vec<u8>, Vec<u8>)> {
    let spec = map.spec();
    let (mut key, mut found) = (None::<Vec<u8>>, Vec::new());
    let mut next = vec![0; spec.key_size as usize];
    while map.ring().is_none() && map.next_key(key.as_deref(), &mut next).is_ok() {
        let mut value = vec![0; spec.value_stride()];
        if map.lookup(&next, &mut value, 0).is_ok() {
            found.push((next.clone(), value));
        }
        key = Some(next.clone());
    }
    found
}

/// Numbers of the kinds that go wrong.
pub(crate) fn fill(bytes: &mut [u8], rng: &mut Rng) {
    // Most of a large context is never looked at.
    let looked_at = bytes.len().min(512);
    for chunk in bytes[..looked_at].chunks_mut(8) {
        let word = rng.number().to_ne_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Sees each instruction before it runs, with the registers.
pub type Step<'a> = &'a mut dyn FnMut(usize, &[u64; 11]);

/// A world whose answers are random: those that a run may ask for early are made beforehand.
struct World<'a> {
    rng: Rng,
    pid_tgid: u64,
    cpu: u32,
    see: Option<Step<'a>>,
}

impl<'a> World<'a> {
    fn new(mut rng: Rng, see: Option<Step<'a>>) -> Self {
        Self { pid_tgid: rng.number(), cpu: rng.next() as u32, rng, see }
    }
}

impl Env for World<'_> {
    fn pid_tgid(&mut self) -> u64 {
        self.pid_tgid
    }

    fn uid_gid(&mut self) -> u64 {
        self.rng.number()
    }

    fn ktime_ns(&mut self) -> u64 {
        self.rng.number()
    }

    fn cpu(&mut self) -> u32 {
        self.cpu
    }

    fn random(&mut self) -> u32 {
        self.rng.number() as u32
    }

    fn watches(&self) -> bool {
        self.see.is_some()
    }

    fn step(&mut self, slot: usize, regs: &[u64; 11]) {
        if let Some(see) = &mut self.see {
            see(slot, regs);
        }
    }
}
