//! Maps of every type that bpf(2) makes without types of their own: the same random commands, sensible and not, are answered
//! alike on both runtimes, value for value and errno for errno.
//!
//! Where values are descriptors, each side gets its own of the same thing, or a number that is none.

use std::collections::BTreeSet;

use skep::runtime::command::{BatchOp, Command, MapCreate, ProgLoad};
use skep::runtime::{Map, Program, Reply, SharedRuntime};
use skep_isa::asm::assemble;
use skep_isa::uapi::{MapType, ProgType};

use super::runtimes;
use crate::harness::Rng;

/// What lies in a map's values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Bytes,
    /// Descriptors of this, or of something else; reading gives ids, of which only that they are there is compared.
    Programs,
    Maps,
    Groups,
    Events,
    Sockets,
}

/// A kind of map: its type, key and value, elements, flags.
struct Shape(MapType, u32, u32, u32, u32, Holds);

const NO_PREALLOC: u32 = 1;
const NO_COMMON_LRU: u32 = 2;
const RDONLY: u32 = 8;
const WRONLY: u32 = 16;
const MMAPABLE: u32 = 1 << 10;

/// Least-recently-used maps have room for all keys: which goes is nobody's promise.
const SHAPES: &[Shape] = &[
    Shape(MapType::ARRAY, 4, 5, 6, 0, Holds::Bytes),
    Shape(MapType::ARRAY, 4, 16, 6, MMAPABLE, Holds::Bytes),
    Shape(MapType::ARRAY, 4, 8, 6, RDONLY, Holds::Bytes),
    Shape(MapType::ARRAY, 4, 8, 6, WRONLY, Holds::Bytes),
    Shape(MapType::PERCPU_ARRAY, 4, 8, 6, 0, Holds::Bytes),
    Shape(MapType::HASH, 3, 5, 4, 0, Holds::Bytes),
    Shape(MapType::HASH, 4, 8, 6, NO_PREALLOC, Holds::Bytes),
    Shape(MapType::HASH, 4, 8, 6, RDONLY, Holds::Bytes),
    Shape(MapType::HASH, 4, 8, 6, WRONLY, Holds::Bytes),
    Shape(MapType::HASH, 20, 8, 1, 0, Holds::Bytes),
    Shape(MapType::PERCPU_HASH, 4, 8, 6, 0, Holds::Bytes),
    Shape(MapType::PERCPU_HASH, 4, 24, 6, NO_PREALLOC, Holds::Bytes),
    Shape(MapType::LRU_HASH, 4, 8, 200, 0, Holds::Bytes),
    Shape(MapType::LRU_HASH, 4, 8, 900, NO_COMMON_LRU, Holds::Bytes),
    Shape(MapType::LRU_PERCPU_HASH, 4, 8, 200, 0, Holds::Bytes),
    Shape(MapType::LPM_TRIE, 5, 8, 6, NO_PREALLOC, Holds::Bytes),
    Shape(MapType::LPM_TRIE, 8, 4, 20, NO_PREALLOC, Holds::Bytes),
    Shape(MapType::QUEUE, 0, 4, 3, 0, Holds::Bytes),
    Shape(MapType::STACK, 0, 8, 3, 0, Holds::Bytes),
    Shape(MapType::QUEUE, 0, 4, 3, RDONLY, Holds::Bytes),
    Shape(MapType::STACK, 0, 4, 3, WRONLY, Holds::Bytes),
    Shape(MapType::BLOOM_FILTER, 0, 4, 1000, 0, Holds::Bytes),
    Shape(MapType::STACK_TRACE, 4, 24, 8, 0, Holds::Bytes),
    Shape(MapType::RINGBUF, 0, 0, 4096, 0, Holds::Bytes),
    Shape(MapType::USER_RINGBUF, 0, 0, 4096, 0, Holds::Bytes),
    Shape(MapType::PROG_ARRAY, 4, 4, 4, 0, Holds::Programs),
    Shape(MapType::PERF_EVENT_ARRAY, 4, 4, 4, 0, Holds::Events),
    Shape(MapType::CGROUP_ARRAY, 4, 4, 4, 0, Holds::Groups),
    Shape(MapType::ARRAY_OF_MAPS, 4, 4, 4, 0, Holds::Maps),
    Shape(MapType::HASH_OF_MAPS, 4, 4, 4, 0, Holds::Maps),
    Shape(MapType::HASH_OF_MAPS, 4, 4, 4, NO_PREALLOC, Holds::Maps),
    Shape(MapType::DEVMAP, 4, 4, 4, 0, Holds::Bytes),
    Shape(MapType::DEVMAP_HASH, 4, 8, 4, 0, Holds::Bytes),
    Shape(MapType::CPUMAP, 4, 4, 2, 0, Holds::Bytes),
    Shape(MapType::XSKMAP, 4, 4, 4, 0, Holds::Sockets),
    Shape(MapType::SOCKMAP, 4, 4, 4, 0, Holds::Sockets),
    Shape(MapType::SOCKMAP, 4, 8, 4, 0, Holds::Sockets),
    Shape(MapType::SOCKHASH, 4, 8, 4, 0, Holds::Sockets),
    Shape(MapType::CGROUP_STORAGE, 8, 8, 0, 0, Holds::Bytes),
    Shape(MapType::PERCPU_CGROUP_STORAGE, 8, 8, 0, 0, Holds::Bytes),
];

/// A map of one runtime, and what its values may name.
struct Side {
    runtime: SharedRuntime,
    map: Map,
    inner: Map,
    other: Map,
    program: Program,
}

impl Side {
    fn new(runtime: &SharedRuntime, shape: &Shape) -> Self {
        let Shape(map_type, key, value, entries, flags, holds) = *shape;
        let cpus = skep::host::possible_cpus();
        let create = |spec: MapCreate<'_>| {
            Map::create(runtime, &spec, cpus).unwrap_or_else(|e| panic!("{map_type} {flags:#x}: {e}"))
        };
        let inner = create(MapCreate::new(MapType::ARRAY, "inner", 4, 8, 2));
        let other = create(MapCreate::new(MapType::HASH, "other", 4, 4, 2));
        let insns = assemble("r0 = 0\nexit").expect("it assembles").insns;
        let program = Program::load(runtime, &ProgLoad::new(ProgType::SCHED_CLS, "p", &insns, "GPL"));
        let template = (holds == Holds::Maps).then(|| inner.fd());
        let spec = MapCreate {
            map_flags: flags,
            inner_map: template,
            ..MapCreate::new(map_type, "m", key, value, entries)
        };
        Self {
            runtime: runtime.clone(),
            map: create(spec),
            inner,
            other,
            program: program.expect("it loads"),
        }
    }

    /// The descriptor that stands for a choice.
    fn descriptor(&self, holds: Holds, choice: u64) -> i32 {
        match (choice, holds) {
            (0..=3, Holds::Maps) => self.inner.fd().0,
            (0..=3, Holds::Programs) => self.program.fd().0,
            (0..=4, _) => self.other.fd().0,
            (5, _) => self.program.fd().0,
            (6 | 7, _) => -1,
            _ => 99_999,
        }
    }

    fn bpf(&self, command: Command<'_>) -> Result<Reply, i32> {
        self.runtime.bpf(command).map_err(|e| e.errno())
    }
}

/// One command, made before either side gets it.
struct Step {
    what: u64,
    key: Vec<u8>,
    value: Vec<u8>,
    choice: u64,
    flags: u64,
    count: u32,
}

impl Step {
    fn random(rng: &mut Rng, shape: &Shape, stride: usize) -> Self {
        let Shape(map_type, key_size, value_size, ..) = *shape;
        let count = rng.below(4) as u32;
        let places = matches!(map_type, MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::CPUMAP);
        // The kernel copies the padding of slots in or not, by type; zeros look the same.
        let padded = (value_size as usize).next_multiple_of(8);
        let percpu = stride > padded;
        let byte = |rng: &mut Rng, n: usize| {
            let pad = percpu && n % padded >= value_size as usize;
            if pad { 0 } else { rng.below(256) as u8 }
        };
        let value = |rng: &mut Rng| -> Vec<u8> {
            match places {
                true => [rng.below(2) as u32, 0].map(u32::to_ne_bytes).as_flattened()[..stride].to_vec(),
                false => (0..stride).map(|n| byte(rng, n)).collect(),
            }
        };
        let several = count.max(1) as usize;
        Self {
            what: rng.below(24),
            key: (0..several).flat_map(|_| key(rng, map_type, key_size as usize)).collect(),
            value: (0..several).flat_map(|_| value(rng)).collect(),
            choice: rng.below(10),
            flags: rng.pick(&[0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 8, 1 << 32]),
            count,
        }
    }

    /// Does it, and says all that can be compared.
    fn run(&self, side: &Side, shape: &Shape) -> String {
        let Shape(map_type, key_size, _, _, _, holds) = *shape;
        let (map, stride, flags) = (side.map.fd(), side.map.value_stride(), self.flags);
        let key = &self.key[..key_size as usize];
        let mut value = self.value[..stride].to_vec();
        if holds != Holds::Bytes {
            value.fill(0);
            value[..4].copy_from_slice(&side.descriptor(holds, self.choice).to_ne_bytes());
        }
        // Ids differ; that there is one does not.
        let seen = |value: Vec<u8>| if holds == Holds::Bytes { value } else { vec![] };
        match self.what {
            0..=8 => format!(
                "update {flags} {:?}",
                side.bpf(Command::MapUpdate { map, key, value: &value, flags }).map(drop)
            ),
            9 | 10 => format!("delete {:?}", side.bpf(Command::MapDelete { map, key }).map(drop)),
            11..=14 => {
                // A bloom filter is asked for the value.
                let done = side.bpf(Command::MapLookup { map, key, value: &mut value, flags }).map(drop);
                format!("look up {flags} {:?}", done.map(|()| seen(value)))
            }
            15 | 16 => {
                let done = side.bpf(Command::MapLookupAndDelete { map, key, value: &mut value, flags });
                format!("take {flags} {:?}", done.map(|_| seen(value)))
            }
            17 => format!("keys {:?}", self.keys(side, map_type, key_size as usize)),
            18 if !is_hash(map_type) => {
                let mut next = vec![0; key_size as usize];
                let done = side.bpf(Command::MapGetNextKey { map, key: Some(key), next: &mut next });
                format!("after {:?}", done.map(|_| next))
            }
            19 if holds == Holds::Bytes => {
                let op = BatchOp::Update {
                    keys: &self.key,
                    values: &self.value,
                    count: self.count,
                    elem_flags: flags,
                };
                format!("update {} at once {flags} {:?}", self.count, side.bpf(Command::MapBatch { map, op }))
            }
            20 => {
                let op = BatchOp::Delete { keys: &self.key, count: self.count, elem_flags: flags };
                format!("delete {} at once {flags} {:?}", self.count, side.bpf(Command::MapBatch { map, op }))
            }
            21 | 22 => self.read_batch(side, key_size as usize, stride, seen),
            _ => "nothing".to_owned(),
        }
    }

    /// Everything by iteration; in which order hash tables give it is nobody's promise.
    fn keys(&self, side: &Side, map_type: MapType, key_size: usize) -> (Vec<Vec<u8>>, i32) {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut next = vec![0; key_size];
        let map = side.map.fd();
        let end = loop {
            let key = keys.last().map(Vec::as_slice);
            match side.bpf(Command::MapGetNextKey { map, key, next: &mut next }) {
                Ok(_) => keys.push(next.clone()),
                Err(end) => break end,
            }
            assert!(keys.len() < 2000, "{map_type}: the iteration does not end");
        };
        if is_hash(map_type) {
            keys.sort();
        }
        (keys, end)
    }

    /// Reads, and perhaps removes, everything there is in one batch.
    fn read_batch(
        &self,
        side: &Side,
        key_size: usize,
        stride: usize,
        seen: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> String {
        const ROOM: u32 = 64;
        let delete = self.what == 22;
        let (mut out, mut keys, mut values) = (vec![0; 64], vec![0; key_size * 64], vec![0; stride * 64]);
        let op = BatchOp::Lookup {
            in_batch: None,
            out_batch: &mut out,
            keys: &mut keys,
            values: &mut values,
            count: ROOM,
            delete,
            elem_flags: self.flags,
        };
        let done = side.bpf(Command::MapBatch { map: side.map.fd(), op });
        let count = if let Ok(Reply::Batch { count, .. }) = done { count as usize } else { 0 };
        let pairs = keys.chunks(key_size.max(1)).zip(values.chunks(stride.max(1))).take(count);
        let pairs: BTreeSet<_> = pairs.map(|(key, value)| (key.to_vec(), seen(value.to_vec()))).collect();
        format!("read at once, delete {delete}, {} {done:?} {pairs:?}", self.flags)
    }
}

fn is_hash(map_type: MapType) -> bool {
    let name = map_type.to_string();
    name.contains("hash")
}

/// A key that is likely to be there, or just outside.
fn key(rng: &mut Rng, map_type: MapType, size: usize) -> Vec<u8> {
    let n = rng.below(8) as u32;
    let mut key = match map_type {
        // A length of the prefix, too long now and then, and some bits.
        MapType::LPM_TRIE => {
            [rng.below(36) as u32, n.wrapping_mul(0x4040_4041)].map(u32::to_ne_bytes).concat()
        }
        _ => n.to_ne_bytes().to_vec(),
    };
    key.resize(size, 0);
    key
}

#[test]
fn maps_of_every_type() {
    let Some([user, kernel]) = runtimes() else { return };
    let mut differences = Vec::new();
    for shape in SHAPES {
        for seed in 0..3 {
            let [ours, theirs] = [&user, &kernel].map(|runtime| Side::new(runtime, shape));
            let mut rng = Rng(seed);
            for n in 0..250 {
                if n == 220 {
                    let frozen = [&ours, &theirs]
                        .map(|side| side.bpf(Command::MapFreeze { map: side.map.fd() }).map(drop));
                    if frozen[0] != frozen[1] {
                        differences.push(format!("{} {:#x}: freeze {frozen:?}", shape.0, shape.4));
                    }
                }
                let step = Step::random(&mut rng, shape, theirs.map.value_stride());
                let [a, b] = [&ours, &theirs].map(|side| step.run(side, shape));
                if a != b {
                    let Shape(map_type, _, value, _, flags, _) = shape;
                    differences.push(format!(
                        "{map_type} {flags:#x}, {value} bytes, seed {seed}, {n}: key {:?}, descriptor {}\n    {a}\n    {b}",
                        step.key, step.choice
                    ));
                    break;
                }
            }
        }
    }
    assert!(differences.is_empty(), "ours is above, the kernel's below:\n{}", differences.join("\n"));
}
